# ruff: noqa: E501  (patterns are kept whole, whatever their length)
"""Look-ups in a folder of notes: search, read, follow a reference, add up, or not found."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from .arithmetic import close_with, denied
from .facts import FACTS
from .folders import build, file_name
from .grammar import Speaker, dress, fill
from .task import Turn
from .tools import World

SOURCES = (
    "",
    "",
    " {in|from|according to|using} my notes",
    " in {the|this|my|our} {notes|files|folder|notes folder}",
    " {Look in|Check|See|Search|Consult} {my|the} {notes|files|folder}.",
    " {It is|It's|That is|It should be} {somewhere |}in {my|the} {notes|files|papers}.",
    " {My notes|The notes|The files} {say it|should say|know it|will tell}.",
)


def place_source(text: str, speaker: Speaker) -> str:
    """Adds to a question where the answer is to be found."""
    source = speaker.expand(speaker.rng.choice(SOURCES))[0]
    if not source:
        return text
    if source.strip()[0].isupper():
        return text + source
    if text.endswith(("?", ".")):
        return text[:-1] + source + text[-1]
    return text + source


def ask_fact(speaker: Speaker, kind: str) -> str:
    """A question for a fact, slots open."""
    return speaker.pick(FACTS[kind].asks)


def say(kind: str, subject: str, value: str) -> str:
    """The closing sentence for a fact."""
    return fill(FACTS[kind].says, {"S": subject, "V": value})


def lookup_task(speaker: Speaker, world: World) -> Turn:
    """Search for a subject and copy the right value."""
    rng = speaker.rng
    folder = build(speaker, rng.randint(1, 4), rng.randint(2, 7))
    _, kind, subject, value = rng.choice(folder.facts)
    world.files, world.facts = folder.texts(), folder.facts
    text = place_source(ask_fact(speaker, kind), speaker)
    turn = Turn("notes", dress(text, speaker, {"S": subject, "V": value}))
    return find(turn, speaker, world, kind, subject, value)


def find(turn: Turn, speaker: Speaker, world: World, kind: str, subject: str, value: str) -> Turn:
    """Finds a fact with whichever file tools there are."""
    if "search_files" not in world.tools:
        return browse(turn, world, kind, subject, value)
    why = f"I search the notes for {subject}."
    result = turn.use(world, why, "search_files", query=subject)
    if result.startswith("error: the user denied"):
        return denied(turn, result)
    return told(turn, kind, subject, value)


def told(turn: Turn, kind: str, subject: str, value: str) -> Turn:
    """The closing reply with a value that was found."""
    return turn.finish(f"{subject}: {value}.", say(kind, subject, value), value)


def browse(turn: Turn, world: World, kind: str, subject: str, value: str) -> Turn:
    """Without search: list the files and read them one by one."""
    listing = turn.use(
        world, f"I look for {subject}. First I list the files.", "list_files", path="."
    )
    if listing.startswith("error: the user denied"):
        return denied(turn, listing)
    for i, path in enumerate(listing.split("\n")):
        why = f"I read {path}." if i == 0 else f"No {subject} there. I read {path}."
        text = turn.use(world, why, "read_file", path=path)
        if value in text and subject.lower() in text.lower():
            return told(turn, kind, subject, value)
    return missing(turn, subject)


def missing(turn: Turn, subject: str) -> Turn:
    """The honest reply when the notes say nothing."""
    return turn.finish(
        f"There is nothing about {subject}.",
        f"I found nothing about {subject} in the notes.",
        "nothing|no |not",
    )


def missing_task(speaker: Speaker, world: World) -> Turn:
    """A question whose answer is not in the folder."""
    rng = speaker.rng
    folder = build(speaker, rng.randint(1, 3), rng.randint(1, 4))
    world.files = folder.texts()
    kind = rng.choice(tuple(FACTS))
    subject = FACTS[kind].subject(rng)
    while any(subject.lower() in t.lower() for t in world.files.values()):
        subject = FACTS[kind].subject(rng)
    text = place_source(ask_fact(speaker, kind), speaker)
    turn = Turn("notes missing", dress(text, speaker, {"S": subject}))
    if "search_files" not in world.tools:
        return browse(turn, world, kind, subject, "\0")
    turn.use(world, f"I search the notes for {subject}.", "search_files", query=subject)
    return missing(turn, subject)


READ = (
    "{Read|Open|Look into|Look in|Check|Inspect} <F>{:| and tell me:|.} <A>",
    "{In|According to|From|Using} <F>{,|:} <A>",
    "{The file|My file|} <F> {has the answer|knows|says it|should say}: <A>",
    "<A> {It is in|It's in|See|Look in|Read|Check|The answer is in|You find it in} <F>.",
    "^The file <F> should say it: <A>",
    "^Please open <F>. <A>",
    "Take the answer from <F>: <A>",
)


def read_task(speaker: Speaker, world: World) -> Turn:
    """Read a named file and pick the value."""
    rng = speaker.rng
    folder = build(speaker, rng.randint(1, 3), rng.randint(2, 6))
    path, kind, subject, value = rng.choice(folder.facts)
    world.files = folder.texts()
    frame = (
        speaker.pick(READ) if not speaker.held or rng.random() < 0.5 else speaker.expand(READ[0])[0]
    )
    text = frame.replace("<A>", ask_fact(speaker, kind))
    turn = Turn("notes read", dress(text, speaker, {"F": path, "S": subject}))
    if "read_file" not in world.tools:
        turn.user = fill("<q>", {"q": turn.user})
        return find(turn, speaker, world, kind, subject, value)
    turn.use(world, f"I read {path}.", "read_file", path=path)
    return told(turn, kind, subject, value)


REFER = (
    "{The rest is in|See|More in|Details in|Look in|Continued in|Moved to|Written down in|Now kept "
    "in} <F>{.|}",
    "<S>: see <F>",
    "{For|About} <S>{,|:} {see|look in|read} <F>{.|}",
    "<S> is {described|noted|listed|recorded} in <F>.",
)


def follow_task(speaker: Speaker, world: World) -> Turn:
    """A note that points to another file (once or twice)."""
    rng = speaker.rng
    folder = build(speaker, rng.randint(2, 4), rng.randint(1, 4))
    names = list(folder.files)
    rng.shuffle(names)
    kind = rng.choice(tuple(FACTS))
    fact = FACTS[kind]
    subject, value = fact.subject(rng), fact.value(rng)
    if any(subject.lower() in t.lower() for t in folder.texts().values()):
        return follow_task(speaker, world)
    hops = names[: rng.choice((2, 2, 2, 3)) if len(names) > 2 else 2]
    known = [line for line in fact.lines if not line.startswith("^")]
    folder.files[hops[-1]].append(fill(rng.choice(known), {"S": subject, "V": value}))
    for here, there in pairwise(hops):
        line = fill(Speaker(rng, speaker.held).pick(REFER), {"S": subject, "F": there})
        if subject not in line:
            line = f"{subject}: {line[0].lower()}{line[1:]}"
        folder.files[here].append(line)
    for lines in folder.files.values():
        rng.shuffle(lines)
    world.files = folder.texts()
    frame = speaker.pick(READ)
    text = frame.replace("<A>", ask_fact(speaker, kind))
    if not speaker.held and rng.random() < 0.3:
        text = "Start with <F>. " + ask_fact(speaker, kind)
    turn = Turn("notes follow", dress(text, speaker, {"F": hops[0], "S": subject}))
    if "read_file" not in world.tools:
        return find(turn, speaker, world, kind, subject, value)
    for i, path in enumerate(hops):
        why = f"I read {path}." if i == 0 else f"It points to {path}. I read it."
        turn.use(world, why, "read_file", path=path)
    return told(turn, kind, subject, value)


LIST = (
    "{Which|What} {files|notes} {are|do I have|are there} in {the|this|my} folder?",
    "{List|Show|Show me|Name|Give me|Enumerate} {the|my|all} {files|notes}{ in the folder| in this folder|}{.|, please.}",
    "{What is|What's} in {the|this|my} folder?",
    "{Which|What} files do {I|we} have{ here|}?",
    "{Can|Could} you list {the|my|all} files?",
    "^I want to see {the|my} files.",
    "^Which {files|notes} are there?",
    "Please tell me the names of my notes.",
    "Let me see the contents of the folder.",
)
HOW_MANY = (
    "How many {files|notes} {are {there |}in {the|this|my} folder|do I have|are there{ here|}|does the folder hold}?",
    "{Count|Tally} {the|my} {files|notes}{ in the folder|}.",
)


def list_task(speaker: Speaker, world: World) -> Turn:
    """The names or the number of files."""
    rng = speaker.rng
    folder = build(speaker, rng.randint(1, 6), rng.randint(1, 3))
    world.files = folder.texts()
    counting = rng.random() < 0.35
    turn = Turn("notes list", dress(speaker.pick(HOW_MANY if counting else LIST), speaker, {}))
    result = turn.use(world, "I list the files.", "list_files", path=".")
    if result.startswith("error: the user denied"):
        return denied(turn, result)
    names = result.split("\n")
    if counting:
        noun_form = "file" if len(names) == 1 else "files"
        listed = ", ".join(names)
        return turn.finish(
            f"{listed}: {len(names)}.",
            f"There are {len(names)} {noun_form}." if len(names) != 1 else "There is 1 file.",
            str(len(names)),
        )
    return turn.finish("These are the files.", f"The files are: {', '.join(names)}.", *names)


SUM = (
    "{What do|How much do} the <S> and the <R> cost {together|in total|altogether|combined}?",
    "{What is|Find|Tell me|Give me|State} the {total|total price|sum|combined price} of the <S> and the <R>{?|.}",
    "{Add up|Add|Tot up} the {prices|costs} of the <S> and the <R>.",
    "How much {is|are} the <S> {plus|and} the <R> {together|in total}?",
    "{I want to buy|I bought|We need|I shall take} the <S> and the <R>. {What is the total|How much is that{ "
    "together| in total|}}?",
    "^I bought the <S> and the <R>, what did they cost together?",
    "What would I pay for both the <S> and the <R>?",
)
DIFFERENCE = (
    "How much {more|more expensive} is the <S> than the <R>?",
    "What is the {price difference|difference in price} between the <S> and the <R>?",
    "^Tell me the price difference between the <S> and the <R>.",
    "By how much does the price of the <S> exceed that of the <R>?",
)


def sum_task(speaker: Speaker, world: World) -> Turn:
    """Two prices looked up, then added or subtracted."""
    rng = speaker.rng
    folder = build(
        speaker, rng.randint(1, 3), rng.randint(2, 5), ("price", "price", "where", "phone")
    )
    while sum(f[1] == "price" for f in folder.facts) < 2:
        folder = build(speaker, rng.randint(1, 3), rng.randint(2, 5), ("price", "price", "where"))
    one, two = rng.sample([f for f in folder.facts if f[1] == "price"], 2)
    world.files = folder.texts()
    a, b = (f[3].replace("€", "").split()[0] for f in (one, two))
    differ = rng.random() < 0.25
    text = place_source(speaker.pick(DIFFERENCE if differ else SUM), speaker)
    turn = Turn("notes sum", dress(text, speaker, {"S": one[2], "R": two[2]}))
    if "search_files" not in world.tools or "calculator" not in world.tools:
        world.tools = ("calculator", "list_files", "read_file", "search_files")
    turn.use(world, f"I need two prices. First the {one[2]}.", "search_files", query=one[2])
    turn.use(world, f"The {one[2]} costs {a}. Now the {two[2]}.", "search_files", query=two[2])
    plain = f"{a}-{b}" if differ else f"{a}+{b}"
    result = turn.use(
        world, f"The {two[2]} costs {b}. I need {plain}.", "calculator", expression=plain
    )
    return close_with(turn, speaker, plain, result)


def wrong_file_task(speaker: Speaker, world: World) -> Turn:
    """A named file that does not exist: the error, then the listing, then the near name or honesty."""
    rng = speaker.rng
    folder = build(speaker, rng.randint(1, 3), rng.randint(1, 4))
    _, kind, subject, value = rng.choice(folder.facts)
    world.files = folder.texts()
    lost = file_name(rng)
    while lost in folder.files:
        lost = file_name(rng)
    text = speaker.pick(READ).replace("<A>", ask_fact(speaker, kind))
    turn = Turn("notes error", dress(text, speaker, {"F": lost, "S": subject}))
    world.tools = ("list_files", "read_file", "search_files", *world.tools)
    turn.use(world, f"I read {lost}.", "read_file", path=lost)
    why = f"There is no file {lost}. I search for {subject}."
    turn.use(world, why, "search_files", query=subject)
    return turn.finish(
        f"{subject}: {value}.",
        f"There is no file {lost}, but the notes say: {say(kind, subject, value)}",
        value,
    )


FILE_DATA = (
    "{What is|Find|Tell me|Give me|Compute|Report} {the <K>|the <K> of the {numbers|values}|the <K> of "
    "all values} in <F>{?|.}",
    "{Read|Open|Load|Take} <F> and {give me|compute|tell me|find|calculate|report} the <K>{| of the "
    "{numbers|values}}.",
    "{The {numbers|values|readings|scores|marks} are in|My {numbers|values|scores} are in} <F>. {What "
    "is|Find|Give me} the <K>{?|.}",
    "<F> {has|holds|contains} {numbers|values|my scores}. {What is|What's|Find|I need|State} the <K>.",
    "^The file <F> has numbers. Tell me the <K>.",
    "Of the figures stored in <F>, what is the <K>?",
)
FILE_KINDS = (
    ("{mean|average}", "from statistics import mean\nmean(<P>)", "mean"),
    ("median", "from statistics import median\nmedian(<P>)", "median"),
    ("{sum|total}", "sum(<P>)", "sum"),
    ("{largest|highest|biggest|maximum} {number|value}", "max(<P>)", "largest value"),
    ("{smallest|lowest|minimum} {number|value}", "min(<P>)", "smallest value"),
    ("{number of values|count of values}", "len(<P>)", "count"),
)


def file_data_task(speaker: Speaker, world: World) -> Turn:
    """Numbers in a file, read and given to Python."""
    rng = speaker.rng
    if not {"read_file", "python"} <= set(world.tools):
        return read_task(speaker, world)
    folder = build(speaker, rng.randint(1, 3), rng.randint(1, 3))
    path = rng.choice(tuple(folder.files))
    numbers = [str(rng.randint(1, rng.choice((20, 99, 500)))) for _ in range(rng.randint(3, 8))]
    folder.files[path] = [rng.choice(("\n", ", ", " ", "\n")).join(numbers)]
    world.files = folder.texts()
    phrase, snippet, plan = rng.choice(FILE_KINDS)
    text = speaker.pick(FILE_DATA).replace("<K>", speaker.any(phrase))
    turn = Turn("notes data", dress(text, speaker, {"F": path}))
    turn.use(world, f"I read {path}.", "read_file", path=path)
    listed = f"[{', '.join(numbers)}]"
    result = turn.use(
        world,
        f"I need the {plan}. Python can do that.",
        "python",
        code=fill(snippet, {"P": listed}),
    )
    return turn.finish(f"The output is {result}.", f"The {plan} is {result}.", result)


def again_task(speaker: Speaker, world: World, before: Turn) -> Turn:
    """A second look-up in the folder of the turn before."""
    facts = [f for f in world.facts if f[2] not in before.user]
    if not facts:
        return lookup_task(speaker, world)
    _, kind, subject, value = speaker.rng.choice(facts)
    text = speaker.expand("{And |And |}")[0] + ask_fact(speaker, kind)
    turn = Turn("notes", dress(text, speaker, {"S": subject, "V": value}))
    return find(turn, speaker, world, kind, subject, value)


MAKERS: tuple[tuple[float, Callable[[Speaker, World], Turn]], ...] = (
    (0.34, lookup_task),
    (0.12, missing_task),
    (0.17, read_task),
    (0.13, follow_task),
    (0.07, list_task),
    (0.09, file_data_task),
    (0.12, sum_task),
    (0.04, wrong_file_task),
)
