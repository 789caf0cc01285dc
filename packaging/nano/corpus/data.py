# ruff: noqa: E501  (patterns are kept whole, whatever their length)
"""Small data questions for the Python tool."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .arithmetic import denied
from .grammar import Speaker, dress, fill
from .names import FIRST, noun, word
from .task import Turn
from .tools import World


@dataclass(frozen=True, slots=True)
class Kind:
    """A question about a list or a word: patterns, code, how to say the answer."""

    name: str
    asks: tuple[str, ...]
    code: str
    says: str
    plan: str


def ask(noun_phrase: str, *more: str) -> tuple[str, ...]:
    """The common ways to ask for a value of the list <L>."""
    n = noun_phrase
    return (
        f"What is {n} of <L>?",
        f"{{Find|Give me|Tell me|Compute|Calculate|Get|Work out|Fetch|Report}} {n} of "
        f"{{these numbers: |the numbers |the list ||}}<L>.",
        f"{{Here are|These are|I have}} {{my|some|the|our}} {{numbers|values|scores|results|"
        f"readings|prices|measurements|marks}}: <L>. {{What is|What's|Give me|Find|Tell me}} {n}{{?|.}}",
        f"{{My|The|Our}} {{scores|values|temperatures|prices|readings|weights|measurements}} "
        f"{{are|were}} <L>. {{What is|What's|Find|I need|Please state}} {n}.",
        f"{{What's|What is}} {n} {{of|for|in}} {{these|this list|the following|the numbers|this "
        f"series}}: <L>?",
        f"<L> - {{what is|what's|give me|find}} {n}?",
        f"{{Use python to|With python,|Using python,|In python,}} {{find|compute|get|give me}} {n} "
        f"of <L>.",
        f"{{Can|Could}} you {{find|compute|tell me|give me|look up}} {n} of <L>?",
        f"^Find {n}. The numbers are <L>.",
        f"^<L>: tell me {n}.",
        f"^I need {n} of the list <L>.",
        f"^Could I get {n} for the values <L>?",
        f"^My numbers are <L>, so what is {n}?",
        f"For the data <L>, what would {n} be?",
        f"Take a look at <L> and report {n}.",
        f"I wrote down <L>; I would like {n}.",
        *more,
    )


LISTS: tuple[Kind, ...] = (
    Kind(
        "mean",
        ask(
            "the {mean|average|mean value|average value}",
            "{Average|Mean} <L>.",
            "Durchschnitt von <L>?",
        ),
        "from statistics import mean\nmean(<P>)",
        "The mean is <r>.",
        "mean",
    ),
    Kind(
        "median",
        ask("the {median|median value|middle value}"),
        "from statistics import median\nmedian(<P>)",
        "The median is <r>.",
        "median",
    ),
    Kind(
        "mode",
        ask("the {mode|most common number|most frequent value}"),
        "from statistics import mode\nmode(<P>)",
        "The mode is <r>.",
        "mode",
    ),
    Kind(
        "sum",
        ask(
            "the {sum|total}",
            "{Add up|Sum|Sum up|Total} {the {numbers|list} |}<L>.",
            "Summe von <L>?",
        ),
        "sum(<P>)",
        "The sum is <r>.",
        "sum",
    ),
    Kind(
        "largest",
        ask(
            "the {largest|biggest|highest|greatest|maximum} {number|value|}",
            "Which {number|one} {is|of these is} the {largest|biggest|highest}: <L>?",
            "{Max|Maximum} of <L>?",
        ),
        "max(<P>)",
        "The largest is <r>.",
        "largest value",
    ),
    Kind(
        "smallest",
        ask(
            "the {smallest|lowest|minimum|least} {number|value|}",
            "Which {number|one} {is|of these is} the {smallest|lowest}: <L>?",
            "{Min|Minimum} of <L>?",
        ),
        "min(<P>)",
        "The smallest is <r>.",
        "smallest value",
    ),
    Kind(
        "range",
        ask("the {range|spread|difference between the largest and the smallest}"),
        "x = <P>\nmax(x) - min(x)",
        "The range is <r>.",
        "range",
    ),
    Kind(
        "count",
        (
            "How many {numbers|values|entries|items} are {in|there in} {the list |this list: "
            "||}<L>?",
            "Count the {numbers|values|entries|elements} {in|of} <L>.",
            "{How long is|What is the length of} the list <L>?",
            "{Here is a list|I have}: <L>. How many {numbers|values|entries} {is that|are there}?",
            "^In the list <L>, how many numbers are there?",
            "What is the count of values in <L>?",
        ),
        "len(<P>)",
        "There are <r> values.",
        "count",
    ),
    Kind(
        "sort",
        (
            "{Sort|Order|Arrange|Put in order} {these numbers: |the list |the numbers ||}<L>"
            "{ in ascending order| from small to large| ascending|}.",
            "{Can|Could} you {sort|order|arrange} <L>{ for me|}?",
            "{Put|Bring} <L> in {ascending |}order.",
            "Sort: <L>",
            "^The list is <L>. Sort it.",
            "Rank <L> from lowest to highest.",
        ),
        "sorted(<P>)",
        "Sorted: <r>.",
        "sorted list",
    ),
    Kind(
        "down",
        (
            "{Sort|Order|Arrange} {the numbers |the list ||}<L> {in descending "
            "order|descending|from large to small|from highest to lowest}.",
            "{Put|Bring} <L> in descending order.",
            "^The list is <L>. Sort it in descending order.",
            "Rank <L> from highest to lowest.",
        ),
        "sorted(<P>, reverse=True)",
        "Sorted downwards: <r>.",
        "list sorted downwards",
    ),
    Kind(
        "reverse",
        (
            "{Reverse|Turn around|Flip} the {list|order of} <L>.",
            "{Write|Give me} <L> {backwards|in reverse order|back to front}.",
        ),
        "<P>[::-1]",
        "Reversed: <r>.",
        "list reversed",
    ),
    Kind(
        "over",
        (
            "^In the list <L>, how many values are {above|greater than} <k>?",
            "How many {of <L>|numbers in <L>|of the numbers <L>|values in <L>} are {over|above|"
            "greater than|larger than|more than|bigger than|higher than} <k>?",
            "{Count|Tally} {the numbers|the values|how many} {in|of} <L> {over|above|greater "
            "than|larger than|exceeding} <k>.",
            "{My|The|Our} {scores|values|temperatures} {are|were} <L>. How many are "
            "{over|above|greater than|larger than|beyond} <k>?",
        ),
        "sum(v > <k> for v in <P>)",
        "<r> of them are over <k>.",
        "count over <k>",
    ),
    Kind(
        "under",
        (
            "^In the list <L>, how many values are {below|less than} <k>?",
            "How many {of <L>|numbers in <L>|of the numbers <L>|values in <L>} are {under|"
            "below|less than|smaller than|lower than} <k>?",
            "{Count|Tally} {the numbers|the values|how many} {in|of} <L> {under|below|less than|"
            "smaller than} <k>.",
            "{My|The|Our} {scores|values|temperatures} {are|were} <L>. How many are "
            "{under|below|less than|lower than} <k>?",
        ),
        "sum(v < <k> for v in <P>)",
        "<r> of them are under <k>.",
        "count under <k>",
    ),
    Kind(
        "even",
        (
            "^In the list <L>, how many numbers are even?",
            "How many {even numbers are in <L>|of <L> are even|numbers in <L> are even}?",
            "{Count|Tally} the even numbers in <L>.",
        ),
        "sum(v % 2 == 0 for v in <P>)",
        "<r> of them are even.",
        "count of even numbers",
    ),
    Kind(
        "odd",
        (
            "^In the list <L>, how many numbers are odd?",
            "How many {odd numbers are in <L>|of <L> are odd|numbers in <L> are odd}?",
            "{Count|Tally} the odd numbers in <L>.",
        ),
        "sum(v % 2 == 1 for v in <P>)",
        "<r> of them are odd.",
        "count of odd numbers",
    ),
    Kind(
        "unique",
        (
            "How many {different|distinct|unique} {numbers|values} are {there |}in <L>?",
            "{Count|Tally} the {distinct|different|unique} {numbers|values} {in|of} <L>.",
        ),
        "len(set(<P>))",
        "There are <r> different values.",
        "count of different values",
    ),
    Kind(
        "unique list",
        (
            "{Remove|Drop|Delete} {the |}duplicates {from|in} <L>.",
            "{What are|List|Give me} the {unique|distinct|different} {numbers|values} "
            "{in|of} <L>{?|.}",
        ),
        "sorted(set(<P>))",
        "Without duplicates: <r>.",
        "list without duplicates",
    ),
    Kind(
        "squares",
        ask("the sum of {the |}squares"),
        "sum(v * v for v in <P>)",
        "The sum of squares is <r>.",
        "sum of squares",
    ),
    Kind(
        "product",
        ask("the product"),
        "from math import prod\nprod(<P>)",
        "The product is <r>.",
        "product",
    ),
    Kind(
        "times",
        (
            "How {often|many times} {does|is} <k> {appear |occur |}in <L>?",
            "{Count|Tally} {how often <k> appears in|the <k>s in} <L>.",
        ),
        "<P>.count(<k>)",
        "<k> appears <r> times.",
        "count of <k>",
    ),
)
WORDS: tuple[Kind, ...] = (
    Kind(
        "reverse",
        (
            "{Reverse|Turn around|Flip|Invert} the {word|text|name} <Q>.",
            "{Write|Spell|Say} {the word |}<Q> {backwards|in reverse|from the end}.",
            "What is {the word |}<Q> {backwards|reversed|spelled backwards}?",
            "Reverse <Q>.",
            "^I want the word <Q> {backwards|in reverse}.",
            "How does <Q> read from right to left?",
        ),
        "'<W>'[::-1]",
        "Reversed: <s>.",
        "word reversed",
    ),
    Kind(
        "length",
        (
            "How {many letters|many characters|long} {are in|has|does|is} {the word |}<Q>{ have|}?",
            "{Count|Tally} the {letters|characters} {in|of} {the word |}<Q>.",
            "{What is|Tell me|Give me} the {length|number of letters} of {the word |}<Q>{?|.}",
            "^The word <Q> has how many {letters|characters}?",
            "Of how many letters does <Q> consist?",
        ),
        "len('<W>')",
        "<W> has <r> letters.",
        "number of letters",
    ),
    Kind(
        "letter",
        (
            "How {many times does the letter|often does the letter|often does} <c> {appear|"
            "occur|show up} in {the word |}<Q>?",
            "How many {times <c> |<c>'s |letters <c> |}are {there |}in {the word |}<Q>{? "
            "I mean the letter <c>.|, the letter <c> I mean?}",
            "{Count|Tally} the {letter|letters} <c> in {the word |}<Q>.",
            "How many <c>'s are {there |}in <Q>?",
        ),
        "'<W>'.count('<c>')",
        "The letter <c> appears <r> times.",
        "count of the letter <c>",
    ),
    Kind(
        "upper",
        (
            "^I want the word <Q> in {capitals|uppercase|capital letters}.",
            "{Write|Put|Spell|Give me} {the word |}<Q> in {capitals|capital letters|upper "
            "case|uppercase|all caps}.",
            "{Uppercase|Capitalise} the word <Q>.",
        ),
        "'<W>'.upper()",
        "In capitals: <s>.",
        "word in capitals",
    ),
    Kind(
        "vowels",
        (
            "How many vowels {are in|are there in|does} {the word |}<Q>{ have|}?",
            "{Count|Tally} the vowels {in|of} {the word |}<Q>.",
        ),
        "sum(c in 'aeiou' for c in '<W>')",
        "<W> has <r> vowels.",
        "number of vowels",
    ),
    Kind(
        "palindrome",
        (
            "Is {the word |}<Q> a palindrome?",
            "{Check|Tell me|Test} {if|whether} {the word |}<Q> is a palindrome.",
        ),
        "'<W>' == '<W>'[::-1]",
        "Palindrome: <r>.",
        "palindrome test",
    ),
)
NUMBERS: tuple[Kind, ...] = (
    Kind(
        "prime",
        (
            "What is the <k><o> prime{ number|}?",
            "{Find|Give me|Tell me|Compute|Name} the <k><o> prime{ number|}.",
            "{Which|What} {number is|prime is} the <k><o> prime?",
            "{Prime number|The prime} {no.|number} <k>{, please.|?}",
            "Which prime comes at place <k>?",
        ),
        "n, p = 0, 1\nwhile n < <k>:\n    p += 1\n    n += all(p % d for d in range(2, p))\np",
        "The <k><o> prime is <r>.",
        "prime number <k>",
    ),
    Kind(
        "fibonacci",
        (
            "What is the <k><o> {fibonacci|Fibonacci} number?",
            "{Find|Give me|Tell me|Compute|Name} the <k><o> {fibonacci|Fibonacci} number.",
            "{Fibonacci|The Fibonacci} number <k>{, please.|?}",
            "Which number is <k><o> in the Fibonacci series?",
        ),
        "a, b = 0, 1\nfor _ in range(<k>):\n    a, b = b, a + b\na",
        "The <k><o> Fibonacci number is <r>.",
        "Fibonacci number <k>",
    ),
    Kind(
        "factorial",
        (
            "What is {the factorial of <k>|<k> factorial|<k>!}{?|?}",
            "{Find|Give me|Compute|Calculate|Evaluate} {the factorial of <k>|<k> factorial}.",
            "{Factorial of <k>|<k>!}{?|, please.}",
        ),
        "from math import factorial\nfactorial(<k>)",
        "<k>! = <r>.",
        "factorial of <k>",
    ),
    Kind(
        "is prime",
        (
            "Is <n> {a prime number|prime|a prime}?",
            "{Check|Tell me|Test|Verify} {if|whether} <n> is {prime|a prime number}.",
        ),
        "all(<n> % d for d in range(2, <n>))",
        "Prime: <r>.",
        "prime test of <n>",
    ),
    Kind(
        "gcd",
        (
            "What is the {gcd|greatest common divisor|highest common factor} of <n> and <m>?",
            "{Find|Compute|Give me} the {gcd|greatest common divisor} of <n> and <m>.",
        ),
        "from math import gcd\ngcd(<n>, <m>)",
        "The greatest common divisor is <r>.",
        "gcd",
    ),
    Kind(
        "lcm",
        (
            "What is the {lcm|least common multiple|smallest common multiple} of <n> and <m>?",
            "{Find|Compute|Give me} the {lcm|least common multiple} of <n> and <m>.",
        ),
        "from math import lcm\nlcm(<n>, <m>)",
        "The least common multiple is <r>.",
        "lcm",
    ),
    Kind(
        "sum to",
        (
            "{What is|Give me|Find} the sum of {all |the |}{numbers|integers} from 1 to <n>{?|.}",
            "{Add up|Sum} {all |the |}{numbers|integers} from 1 {to|up to|through} <n>.",
        ),
        "sum(range(1, <n> + 1))",
        "The sum from 1 to <n> is <r>.",
        "sum from 1 to <n>",
    ),
    Kind(
        "divisors",
        (
            "{What are|List|Give me|Find|Name} {all |}the divisors of <n>{?|.}",
            "Which numbers divide <n>?",
        ),
        "[d for d in range(1, <n> + 1) if <n> % d == 0]",
        "The divisors are <r>.",
        "divisors of <n>",
    ),
    Kind(
        "digits",
        ("What is the {sum of the digits|digit sum} of <n>?", "{Add up|Sum} the digits of <n>."),
        "sum(int(c) for c in str(<n>))",
        "The digit sum is <r>.",
        "digit sum",
    ),
    Kind(
        "binary",
        (
            "{What is|Write|Give me|Show} <n> in binary{?|.}",
            "{Convert|Turn} <n> {to|into} binary.",
        ),
        "bin(<n>)[2:]",
        "In binary: <s>.",
        "binary form",
    ),
    Kind(
        "hex",
        (
            "{What is|Write|Give me|Show} <n> in {hex|hexadecimal}{?|.}",
            "{Convert|Turn} <n> {to|into} {hex|hexadecimal}.",
        ),
        "hex(<n>)[2:]",
        "In hexadecimal: <s>.",
        "hexadecimal form",
    ),
)
TEXTS: tuple[Kind, ...] = (
    Kind(
        "names",
        (
            "{Sort|Order|Arrange} {the {names|words} |}<T>{ alphabetically| by alphabet|}.",
            "{Put|Bring} {the {names|words} |}<T> in alphabetical order.",
        ),
        "sorted(<U>)",
        "In order: <t>.",
        "sorted names",
    ),
    Kind(
        "longest",
        (
            "Which {word|name} is the longest: <T>?",
            "{Find|Tell me|Pick} the longest of <T>.",
            "What is the longest {word|name} {of|in} <T>?",
        ),
        "max(<U>, key=len)",
        "The longest is <s>.",
        "longest word",
    ),
    Kind(
        "first",
        (
            "Which {word|name} {comes|is} first {alphabetically|in the alphabet}: <T>?",
            "What is the alphabetically first {word|name} {of|in} <T>?",
        ),
        "min(<U>)",
        "The first is <s>.",
        "alphabetically first word",
    ),
    Kind(
        "how many",
        (
            "How many {words|names} are {these|there|in the list}: <T>?",
            "Count {these|the} {words|names}: <T>.",
        ),
        "len(<U>)",
        "There are <r>.",
        "count",
    ),
)
PLAN = "I need the <plan>. Python can do that."
BANKS = ((0.56, LISTS), (0.16, WORDS), (0.18, NUMBERS), (0.1, TEXTS))


def ordinal(n: int) -> str:
    """The ending of an ordinal number."""
    if n % 100 in (11, 12, 13):
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")


def written(values: list[str], rng: random.Random) -> str:
    """A list as people write it."""
    roll = rng.random()
    if roll < 0.4:
        return ", ".join(values)
    if roll < 0.65:
        return ", ".join(values[:-1]) + " and " + values[-1]
    if roll < 0.8:
        return f"[{', '.join(values)}]"
    if roll < 0.9:
        return " ".join(values)
    return rng.choice((",", "; ")).join(values)


def list_values(rng: random.Random, product: bool) -> list[str]:
    """Three to ten numbers of one kind."""
    count = rng.randint(3, 5 if product else 10)
    roll = rng.random()
    if roll < 0.6 or product:
        top = rng.choice((9, 20, 50, 99, 99))
        return [str(rng.randint(1, top)) for _ in range(count)]
    if roll < 0.85:
        return [str(rng.randint(10, rng.choice((300, 999, 2000)))) for _ in range(count)]
    return [f"{rng.randint(0, 40)}.{rng.randint(1, 9)}" for _ in range(count)]


def letter_word(rng: random.Random) -> str:
    """A common or invented word, now and then a palindrome."""
    roll = rng.random()
    if roll < 0.06:
        half = word(rng)[:4]
        return half + half[-2::-1]
    return noun(rng) if roll < 0.6 else word(rng)


def values_for(kind: Kind, rng: random.Random) -> dict[str, str]:
    """Slots for a question of this kind."""
    numbers = list_values(rng, kind.name == "product")
    if kind.name in ("even", "odd"):
        numbers = [n.split(".")[0] for n in numbers]
    if kind.name in ("mode", "unique", "unique list", "times"):
        numbers += rng.choices(numbers, k=2)
        rng.shuffle(numbers)
    texts = [
        rng.choice(FIRST) if rng.random() < 0.4 else word(rng) for _ in range(rng.randint(3, 6))
    ]
    w = letter_word(rng)
    k = rng.choice(numbers) if kind.name in ("over", "under", "times") else str(rng.randint(3, 30))
    if kind.name in ("over", "under") and rng.random() < 0.7:
        k = str(rng.choice((5, 10, 20, 50, 12, 15, 25, 30, 40, 60, 100)))
    return {
        "L": written(numbers, rng),
        "P": f"[{', '.join(numbers)}]",
        "W": w,
        "Q": rng.choice((w, f"'{w}'", f'"{w}"', w)),
        "c": rng.choice(w),
        "k": k,
        "o": ordinal(int(float(k))),
        "n": str(rng.randint(10, 999)),
        "m": str(rng.randint(10, 400)),
        "T": written(texts, rng).strip("[]"),
        "U": "[" + ", ".join(f"'{t}'" for t in texts) + "]",
    }


def data_task(speaker: Speaker, world: World) -> Turn:
    """One data question, answered by a few lines of Python."""
    rng = speaker.rng
    roll, bank = rng.random(), LISTS
    for share, candidate in BANKS:
        bank = candidate
        if roll < share:
            break
        roll -= share
    kind = rng.choice(bank)
    values = values_for(kind, rng)
    hint = " Use python." if rng.random() < 0.1 else ""
    turn = Turn("data", dress(speaker.pick(kind.asks), speaker, values, hint))
    plan = fill(fill(PLAN, {"plan": kind.plan}), values)
    if kind.name in ("sum", "mean") and "python" not in world.tools:
        return by_calculator(turn, world, kind, values)
    result = turn.use(world, plan, "python", code=fill(kind.code, values))
    if result.startswith("error: the user denied"):
        return denied(turn, result)
    spoken = {
        **values,
        "r": result,
        "s": result.strip("'"),
        "t": result.strip("[]").replace("'", ""),
    }
    expect = spoken["s"] if "<s>" in kind.says else spoken["t"] if "<t>" in kind.says else result
    return turn.finish(f"The output is {result}.", fill(kind.says, spoken), expect)


def by_calculator(turn: Turn, world: World, kind: Kind, values: dict[str, str]) -> Turn:
    """Sum and mean with the calculator, for a prompt without Python."""
    numbers = values["P"].strip("[]").split(", ")
    plain = "+".join(numbers)
    if kind.name == "mean":
        plain = f"({plain})/{len(numbers)}"
    result = turn.use(
        world, f"I need the {kind.plan}. The calculator can do it.", "calculator", expression=plain
    )
    if result.startswith("error: the user denied"):
        return denied(turn, result)
    value = result.removeprefix("about ")
    said = fill(kind.says, {"r": result})
    return turn.finish(f"The result is {result}.", said, value)
