# ruff: noqa: E501  (patterns are kept whole, whatever their length)
"""What a calculator is asked for in words: phrases, commands, stories, chains."""

from __future__ import annotations

Problem = tuple[str, str]
PHRASES: tuple[Problem, ...] = (
    ("{the sum of <a> and <b>|<a> added to <b>|the total of <a> and <b>}", "<a>+<b>"),
    ("the difference between <a> and <b>", "<a>-<b>"),
    (
        "{the product of <a> and <b>|<a> multiplied with <b>|<a> multiplied by the number <b>}",
        "<a>*<b>",
    ),
    ("{the product of <p>, <q> and <r>|<p> times <q> times <r>}", "<p>*<q>*<r>"),
    ("{the quotient of <a> and <q>|<a> divided by <q>|<a> split into <q> parts}", "<a>/<q>"),
    ("<a> times <q>{,|} {plus|and then plus} <b>", "<a>*<q>+<b>"),
    ("<a> times <q>{,|} {minus|less} <b>", "<a>*<q>-<b>"),
    ("the product of <a> and <q>{,|} {plus|increased by|raised by} <b>", "<a>*<q>+<b>"),
    ("the sum of <a> and <b>{,|} {times|multiplied by} <q>", "(<a>+<b>)*<q>"),
    ("the sum of <a> and <b>{,|} divided by <q>", "(<a>+<b>)/<q>"),
    ("{<p> squared|the square of <p>}", "<p>**2"),
    ("{<p> cubed|the cube of <p>}", "<p>**3"),
    ("{<q> to the power {of |}<s>|<q> raised to the power {of |}<s>|<q>^<s>|<q>**<s>}", "<q>**<s>"),
    ("{the square root of <a>|sqrt(<a>)|the root of <a>}", "sqrt(<a>)"),
    ("{half of|a half of|one half of} <a>", "<a>/2"),
    ("{a quarter of|one quarter of|a fourth of} <a>", "<a>/4"),
    ("{a third of|one third of} <a>", "<a>/3"),
    ("{double <a>|twice <a>|two times <a>}", "2*<a>"),
    ("{three times <a>|triple <a>}", "3*<a>"),
    ("{<q>% of <a>|<q> percent of <a>|<q> % of <a>|<q> per cent of <a>}", "<q>/100*<a>"),
    (
        "{<a> plus <q>%|<a> increased by <q>%|<a> with <q>% added|<a> and <q>% on top}",
        "<a>*(100+<q>)/100",
    ),
    ("{<a> minus <q>%|<a> reduced by <q>%|<a> less <q>%|<a> with <q>% off}", "<a>*(100-<q>)/100"),
    ("the {remainder|rest} {of <a> divided by <q>|when <a> is divided by <q>}", "<a>%<q>"),
    ("<a> {mod|modulo} <q>", "<a>%<q>"),
    ("the {average|mean} of <a> and <b>", "(<a>+<b>)/2"),
    ("the {larger|bigger|greater} of <a> and <b>", "max(<a>,<b>)"),
    ("the smaller of <a> and <b>", "min(<a>,<b>)"),
    ("{the area of a rectangle of <p> by <q>|the area of a <p> by <q> rectangle}", "<p>*<q>"),
)
COMMANDS: tuple[Problem, ...] = (
    ("{Add|Sum|Sum up} <a> {and|to|plus} <b>.", "<a>+<b>"),
    ("{Subtract|Take|Deduct} <b> from <a>.", "<a>-<b>"),
    ("Take <a> and {subtract|take away} <b>.", "<a>-<b>"),
    ("{Multiply|Times} <a> {by|with|and} <b>.", "<a>*<b>"),
    ("Divide <a> by <q>.", "<a>/<q>"),
    ("Multiply <a> by <q> and add <b>.", "<a>*<q>+<b>"),
    ("Multiply <a> by <q> and subtract <b>.", "<a>*<q>-<b>"),
    ("Divide <a> by <q> and add <b>.", "<a>/<q>+<b>"),
    ("Add <a> and <b> and multiply {it|the sum|the result} by <q>.", "(<a>+<b>)*<q>"),
    ("Subtract <b> from <a> and {divide|then divide} {it|the result} by <q>.", "(<a>-<b>)/<q>"),
    ("{Square <p>.|Calculate the square of <p>.}", "<p>**2"),
    ("{Double|Make twice} <a>.", "2*<a>"),
    ("{Halve <a>.|Divide <a> by two.}", "<a>/2"),
    ("{Increase|Raise} <a> by <q>%.", "<a>*(100+<q>)/100"),
    ("{Decrease|Reduce|Lower|Cut} <a> by <q>%.", "<a>*(100-<q>)/100"),
    (
        "{What percentage of <a> is <q>?|What percent of <a> is <q>?|<q> is what percent of <a>?}",
        "<q>/<a>*100",
    ),
    ("How many times does <q> {go|fit} into <a>?", "<a>//<q>"),
    ("{What is left|What remains} {if I take|when you take} <b> {away |}from <a>?", "<a>-<b>"),
    ("By how much is <a> {larger|bigger|greater} than <b>?", "<a>-<b>"),
    ("Start with <a>, add <b>, {then |}{take away|subtract} <c>.", "<a>+<b>-<c>"),
)
STORIES: tuple[Problem, ...] = (
    (
        "{I have|There are|We have|We bought|<N> has|On the table are} <p> {boxes|bags|crates} of <q> "
        "<X> {and|plus} <r> {more|single ones|loose ones}. How many <X> {are there|is that|do we "
        "have}{ in total| altogether|}?",
        "<p>*<q>+<r>",
    ),
    (
        "<p> {boxes|bags|packs|cartons|trays} {with|of} <q> <X> each and <r> {more|extra ones}: how "
        "many <X>{ in all| in total| altogether|}?",
        "<p>*<q>+<r>",
    ),
    ("How many <X> are in <p> {boxes|bags|crates|tins} of <q>{ each|}?", "<p>*<q>"),
    (
        "{A|One} <Y> costs <m> {euros|dollars|pounds|francs}. {What|How much} {do|would} <p> "
        "{of them |<X> |}cost?",
        "<p>*<m>",
    ),
    (
        "<p> <X> at <m> {euros|dollars|pounds} each{:|,} {what is the total|how much is that|what do I "
        "pay|what is the bill}?",
        "<p>*<m>",
    ),
    (
        "<N> {buys|bought|picks up} <p> <X> at <m> {euros|dollars} each and <q> <Z> at <n> "
        "{euros|dollars} each. {What is the total|How much {is it|does it cost}{ in total|}}?",
        "<p>*<m>+<q>*<n>",
    ),
    (
        "<N> {pays|paid} for <p> <X> at <m> {euros|dollars} each with <B>. {How much change|What "
        "change} does {<N>|she|he} get{ back|}?",
        "<B>-<p>*<m>",
    ),
    (
        "<N> {has|had|owns|keeps} <a> <X> and {gives away|sells|sold|loses|gave away|hands out} <r>. "
        "How many {are left|remain|does <N> have now|<X> are left}?",
        "<a>-<r>",
    ),
    (
        "<N> {has|had} <a> <X> and {gets|finds|buys|receives} <b> more. How many {are there|is "
        "that|does <N> have}{ now|}?",
        "<a>+<b>",
    ),
    ("<N> has <a> <X> and <M> has <b>. How many do they have{ together| in total|}?", "<a>+<b>"),
    (
        "{We|They|<p> people} {share|split|divide up} <a> <X> {equally |}among <q> "
        "{people|children|friends}. How many does each{ one|} get?",
        "<a>/<q>",
    ),
    (
        "A bill of <m> {euros|dollars} is {split|shared|divided} {between|among|by} <q> "
        "{people|friends}. {What|How much} does each{ one|} pay?",
        "<m>/<q>",
    ),
    (
        "A {train|car|bus|boat|plane} {goes|travels|drives|does} <p> km {an hour|per hour}. How far "
        "does it {go|get|travel} in <q> hours?",
        "<p>*<q>",
    ),
    (
        "{We|I|<N>} {drove|walked|cycled} <a> km in <q> hours. {What is the average speed|How fast was "
        "that{ on average|}}?",
        "<a>/<q>",
    ),
    (
        "{A|The} <Y> {costs|is priced at} <m> {euros|dollars|pounds}. {There is a discount of <q>%|It "
        "is reduced by <q>%|I get <q>% off|The shop takes <q>% off}. {What|How much} do I pay?",
        "<m>*(100-<q>)/100",
    ),
    (
        "{The price of <m> goes up by <q>%.|The rent of <m> rises by <q>%.|My pay of <m> is raised by "
        "<q>%.} What is {it now|the new amount}?",
        "<m>*(100+<q>)/100",
    ),
    ("How many {seconds|minutes} are {there |}in <p> {minutes|hours}?", "<p>*60"),
    ("How many hours are {there |}in <p> days?", "<p>*24"),
    ("How many days are {there |}in <p> weeks?", "<p>*7"),
    (
        "{A room is|The garden is|A field is|A yard is} <p> m long and <q> m wide. {What is the "
        "area|How many square metres is that}?",
        "<p>*<q>",
    ),
    (
        "{A field is|The garden is} <p> m long and <q> m wide. {What is the perimeter|How long is the "
        "fence around it}?",
        "2*(<p>+<q>)",
    ),
    (
        "{I save|<N> saves|We put aside} <p> {euros|dollars} {a|every|each} {month|week}. How much "
        "{is that|do I have|does that make} after <q> {months|weeks}?",
        "<p>*<q>",
    ),
    (
        "<N> earns <m> an hour and works <q> hours. {How much is that|What is the pay|What does <N> "
        "get}?",
        "<m>*<q>",
    ),
    (
        "<N> reads <p> pages a day. How many days {does a book of <a> pages take|for <a> pages}?",
        "<a>/<p>",
    ),
    ("{What is|How much is|Calculate} a tip of <q>% on <m>{ euros| dollars|}?", "<q>/100*<m>"),
    ("^<N> has <p> bags with <q> <X> in each bag. How many <X> are there?", "<p>*<q>"),
    ("^We had <a> <X> and then <N> sold <r> of them. How many <X> are left?", "<a>-<r>"),
    ("^I buy <p> <X>, one <Y> costs <m> euros. How much do I pay?", "<p>*<m>"),
    ("<N> packs <a> <X> into boxes of <q>. How many boxes is that?", "<a>/<q>"),
    ("In a hall there are <p> rows with <q> seats each. How many seats is that?", "<p>*<q>"),
    ("<N> had <a> <X>, gave <r> to <M> and got <b> more later. How many now?", "<a>-<r>+<b>"),
    (
        "In a {school|cinema|theatre} there are <p> {rows|rooms|groups} of <q> {chairs|children|"
        "people}. How many {is that|are there|in total}?",
        "<p>*<q>",
    ),
    (
        "<N> had <a> <X>, {used|lost|sold} <r> and {bought|found} <b> more. How many are there "
        "now?",
        "<a>-<r>+<b>",
    ),
    (
        "{I want to put|<N> puts} <a> <X> into {bags|boxes|groups} of <q>. How many "
        "{bags|boxes|groups} {do I need|is that}?",
        "<a>/<q>",
    ),
    (
        "{A shop sells|The shop has|They sell} {boxes|bags|packs} {of|with} <q> <X>. {I have|I bought|We took|<N> has} <p> {boxes|bags|packs} and <r> {more|single} <X>. How many <X> {do I have|is that|are there}?",
        "<p>*<q>+<r>",
    ),
    (
        "{A|One|Each} {box|bag|pack} {has|holds|contains} <q> <X>. {I have|There are|We need|<N> buys} <p> {boxes|bags|packs}. How many <X> {is that|are there|do I have|does that make}?",
        "<p>*<q>",
    ),
    (
        "{I paid|We paid|I spent|<N> spent} <m> and <n>{ euros| dollars|}. {What is|What's} the total?",
        "<m>+<n>",
    ),
    (
        "{I paid|I spent|<N> spent|We spent} <m> {on|for} {a <Y>|the <Y>|<X>} and <n> {on|for} <Z>. {How much is that|What is the total|What did I spend}{ in total| altogether|}?",
        "<m>+<n>",
    ),
    (
        "{I have|<N> has|I had} <B> {euros|dollars}{ and spend| and spent|. I spend} <n>{ on a <Y>| on <X>|}. {How much is left|What is left|How much do I have left}?",
        "<B>-<n>",
    ),
    (
        "{The <Y> costs|A <Y> is} <m> {euros|dollars} and {the delivery|the shipping|the tax} {is|costs} <n>. {What is the total|How much do I pay}?",
        "<m>+<n>",
    ),
    (
        "{If|When} {one|a} <Y> {weighs|costs|takes} <n> {kg|grams|minutes|euros}, {how much do|what do} <p> {weigh|cost|take}?",
        "<n>*<p>",
    ),
    (
        "<p> {people|children|workers} each {pay|give|bring|eat} <q> {euros|<X>}. {How much is that|How many is that|What is the total}{ in total|}?",
        "<p>*<q>",
    ),
    (
        "{Yesterday|Last week|In May} {we sold|I counted|there were} <a> <X>, {today|this week|in June} <b>. {How many more|What is the difference}?",
        "<b>-<a>",
    ),
    (
        "{Yesterday|Last week|In May} {we sold|I counted|there were} <a> <X>, {today|this week|in June} <b>. {How many {is that|in all|together}|What is the sum}?",
        "<a>+<b>",
    ),
    (
        "{I am|<N> is} <q> years old{ and|,} {<M>|my {brother|sister|father}} is <r> years {older|older than me}. How old is {<M>|my {brother|sister|father}|he|she}?",
        "<q>+<r>",
    ),
    (
        "{A tank|The barrel|A pool} holds <a> litres. <b> litres are {gone|used|taken out}. How {many|much} {litres |}{are|is} left?",
        "<a>-<b>",
    ),
    (
        "{One|A} {euro|dollar} is <n> {crowns|yen|pesos}. How {many|much} {crowns|yen|pesos} {is|are} <p> {euros|dollars}?",
        "<n>*<p>",
    ),
    (
        "{From|Out of} <a> {people|<X>|votes} <b> {are|were} {new|red|for it|broken}. {What percentage is that|What percent is that|How many percent is that}?",
        "<b>/<a>*100",
    ),
)
CHAINS: tuple[tuple[str, str, str], ...] = (
    (
        "{First |}{calculate|compute|work out|determine} <E>, {then|after that|and then} {divide|split} "
        "{the result|it|that|the answer} by <q>.",
        "/",
        "<q>",
    ),
    (
        "{First |}{calculate|compute|work out} <E>. {Then|After that|Next,|Afterwards} {multiply|scale} "
        "{the result|it|that} by <q>.",
        "*",
        "<q>",
    ),
    (
        "{First |}{calculate|compute|work out} <E>{,|.} {then|after that|next} add <b>{ to it| to "
        "the result|}.",
        "+",
        "<b>",
    ),
    (
        "{First |}{calculate|compute|work out} <E>{,|.} {then|after that|next} {subtract|take away} "
        "<b>{ from it| from the result|}.",
        "-",
        "<b>",
    ),
    (
        "{What is|How much is} <E>? {And|Then} {what do I get if I |}{divide|split} {that|it|the result} "
        "by <q>?",
        "/",
        "<q>",
    ),
    ("{What is|How much is} <E>? {And|Then} {double it|twice that}{, please|}.", "*", "2"),
    ("{What is|How much is} <E>? {And|Then} {multiply|times} {that|it} by <q>.", "*", "<q>"),
    ("{Work out|Calculate} <E> and {use|take} the result: {add <b>|plus <b>}.", "+", "<b>"),
    ("Step 1: <E>. Step 2: {multiply|take} the result {by|times} <q>.", "*", "<q>"),
    ("^Take <E>, then multiply that by <q>.", "*", "<q>"),
    ("^Compute <E>; now divide the result by <q>.", "/", "<q>"),
    ("Step one is <E>, step two is to multiply what you get by <q>.", "*", "<q>"),
)
FOLLOW_UPS: tuple[tuple[str, str, str], ...] = (
    (
        "{And|Now|Then|OK, now|} {divide|split} {that|it|the result} by <q>{.|, please.}",
        "/",
        "<q>",
    ),
    ("{And|Now|Then|} {multiply|scale} {that|it|the result} by <q>.", "*", "<q>"),
    ("{And times <q>?|What about times <q>?|And that times <q>?}", "*", "<q>"),
    ("{Now|And|Then|} add <b>{ to that| to it|}.", "+", "<b>"),
    ("{And|Now} plus <b>?", "+", "<b>"),
    ("{And|Now|} {subtract|take away} <b>{ from that| from it|}.", "-", "<b>"),
    ("{And|What about} half of {that|it}?", "/", "2"),
    ("{Double|Make twice} {that|it}.", "*", "2"),
)
