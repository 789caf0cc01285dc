# ruff: noqa: E501  (patterns are kept whole, whatever their length)
"""Look-ups in a folder of notes: search, read, follow a reference, add up, or not found."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from .arithmetic import close_with, denied
from .grammar import Speaker, dress, fill
from .names import clock, code, date, integer, name, noun, person, plural, word
from .task import Turn
from .tools import World


@dataclass(frozen=True, slots=True)
class Fact:
    """A relation: how notes state it, how users ask for it, how the answer says it.

    Slots: <S> the subject, <V> the value.
    """

    subject: Callable[[random.Random], str]
    value: Callable[[random.Random], str]
    lines: tuple[str, ...]
    asks: tuple[str, ...]
    says: str


def price(rng: random.Random) -> str:
    """An amount with its currency."""
    amount = (
        str(integer(rng, 4))
        if rng.random() < 0.7
        else f"{rng.randint(1, 99)}.{rng.randint(1, 99):02d}"
    )
    return rng.choice((f"{amount} euros", f"{amount} euros", f"{amount} dollars", f"€{amount}"))


def amount(rng: random.Random) -> str:
    """A plain number."""
    return str(integer(rng, 4))


def thing(rng: random.Random) -> str:
    """Something one can own or buy, invented adjective now and then."""
    return f"{word(rng)} {noun(rng)}" if rng.random() < 0.4 else noun(rng)


def project(rng: random.Random) -> str:
    """The name of a project, a boat, a hut."""
    return name(rng)


def place(rng: random.Random) -> str:
    """Where something is."""
    return rng.choice(
        (
            name(rng),
            f"the {noun(rng)}",
            f"{name(rng)} {rng.choice(('Street', 'Hall', 'Bay', 'Farm'))}",
        )
    )


def phone(rng: random.Random) -> str:
    """A telephone number."""
    return "".join(rng.choice("0123456789") for _ in range(rng.choice((4, 5, 6))))


FACTS: dict[str, Fact] = {
    "price": Fact(
        thing,
        price,
        (
            "The <S> costs <V>.",
            "<S>: <V>",
            "Price of the <S>: <V>",
            "Bought a <S> for <V>.",
            "We paid <V> for the <S>.",
            "For the <S> they want <V>.",
        ),
        (
            "{What|How much} {does|did} the <S> cost?",
            "{What is|What's|Find|Tell me|State} the price of the <S>{?|.}",
            "How {much|expensive} {is|was} the <S>?",
            "What {did|do} {we|I} pay for the <S>?",
            "^Can you tell me the price of the <S>?",
            "^I want to know what the <S> costs.",
            "How much money was spent on the <S>?",
            "What do they charge for the <S>?",
        ),
        "The <S> costs <V>.",
    ),
    "date": Fact(
        project,
        date,
        (
            "The meeting with <S> is on <V>.",
            "<S>: meeting on <V>",
            "Meet <S> on <V>.",
            "Appointment with <S>: <V>",
            "We see <S> on <V>.",
        ),
        (
            "When {is the {meeting|appointment} with|do I meet|do we meet|am I meeting|do I see} <S>?",
            "{What|On what|On which} {day|date} {is the meeting with|do I meet} <S>?",
            "{What is|Find|Tell me} the date of the {meeting|appointment} with <S>{?|.}",
            "^Can you tell me when I meet <S>?",
            "For what day did I put down <S>?",
        ),
        "The meeting with <S> is on <V>.",
    ),
    "birthday": Fact(
        person,
        date,
        (
            "<S>'s birthday is on <V>.",
            "Birthday of <S>: <V>",
            "<S> was born on <V>.",
            "<S> has a birthday on <V>.",
        ),
        (
            "When is <S>'s birthday?",
            "When {was <S> born|does <S> have a birthday}?",
            "{What is|Find|Tell me|Look up|Dig up} {the birthday of <S>|<S>'s birthday}{?|.}",
            "^Can you tell me the birthday of <S>?",
            "On which day should I congratulate <S>?",
        ),
        "<S>'s birthday is on <V>.",
    ),
    "home": Fact(
        person,
        place,
        (
            "<S> lives in <V>.",
            "<S>: lives in <V>",
            "<S> moved to <V>.",
            "Home of <S>: <V>",
            "<S> has a flat in <V>.",
        ),
        (
            "Where does <S> live?",
            "{What is|Tell me|Find|Check} {the home|the address} of <S>{?|.}",
            "{In which place|Where} {is the home of|can I find|can I visit} <S>?",
            "^Can you tell me where <S> lives?",
            "In what place is <S> at home?",
        ),
        "<S> lives in <V>.",
    ),
    "phone": Fact(
        person,
        phone,
        (
            "<S>'s phone number is <V>.",
            "Phone of <S>: <V>",
            "<S>: phone <V>",
            "Call <S> at <V>.",
            "<S> can be reached at <V>.",
        ),
        (
            "{What is|What's|Find|Tell me|Give me|Fetch} {<S>'s phone number|the phone number of <S>|"
            "<S>'s number|the number of <S>}{?|.}",
            "{How|Under what number} can I {call|reach} <S>?",
            "^Can you tell me the phone number of <S>?",
            "Which digits do I dial for <S>?",
        ),
        "<S>'s phone number is <V>.",
    ),
    "code": Fact(
        project,
        code,
        (
            "The code for <S> is <V>.",
            "<S> code: <V>",
            "Password of <S>: <V>",
            "Code <S>: <V>",
            "<S> opens with <V>.",
        ),
        (
            "{What is|What's|Find|Tell me|Give me|Look up|Fetch} the {code|password} {for|of} <S>{?|.}",
            "{Which|What} {code|password} {does <S> have|belongs to <S>|opens <S>}?",
            "^Can you tell me the code for <S>?",
            "I forgot the code of <S>, what was it?",
        ),
        "The code for <S> is <V>.",
    ),
    "where": Fact(
        thing,
        place,
        (
            "The <S> is in <V>.",
            "<S>: kept in <V>",
            "I put the <S> in <V>.",
            "The <S> is stored in <V>.",
            "You find the <S> in <V>.",
        ),
        (
            "Where {is|did I put|do I find|can I find|do we keep|have I left} the <S>?",
            "{In which place|Where} {is the <S> kept|is the <S> stored|is the <S>}?",
            "{Find out|Tell me|Look up} where the <S> is.",
            "^Can you tell me where the <S> is?",
            "What is the place of the <S>?",
        ),
        "The <S> is in <V>.",
    ),
    "leader": Fact(
        project,
        person,
        (
            "<V> leads the <S> project.",
            "<S> project: led by <V>",
            "The leader of <S> is <V>.",
            "Ask <V> about <S>.",
            "The <S> project is run by <V>.",
        ),
        (
            "Who {leads|runs|is in charge of|is responsible for|heads} {the <S> project|<S>|project <S>}?",
            "{What is|Who is|Find|Tell me} the {leader|head|boss} of {<S>|the <S> project}{?|.}",
            "^Can you tell me who leads the <S> project?",
            "Whom do I ask about <S>?",
        ),
        "<V> leads the <S> project.",
    ),
    "count": Fact(
        lambda rng: plural(thing(rng)),
        amount,
        (
            "We have <V> <S>.",
            "<S>: <V>",
            "There are <V> <S> in stock.",
            "Counted <V> <S>.",
            "<V> <S> are left.",
        ),
        (
            "How many <S> {do we have|are there|are in stock|did we count|do I have|remain}?",
            "{What is|Find|Tell me|State} the number of <S>{?|.}",
            "^Can you tell me how many <S> we have?",
            "Of the <S>, how many do we own?",
        ),
        "There are <V> <S>.",
    ),
    "time": Fact(
        lambda rng: f"{rng.choice(('train', 'bus', 'boat', 'ferry', 'flight'))} to {name(rng)}",
        clock,
        (
            "The <S> leaves at <V>.",
            "<S>: <V>",
            "Departure of the <S>: <V>",
            "Take the <S> at <V>.",
            "The <S> goes at <V>.",
        ),
        (
            "When does the <S> {leave|go|depart|start}?",
            "At what time {does the <S> leave|is the <S>}?",
            "{What is|Find|Tell me} the {time|departure} of the <S>{?|.}",
            "^Can you tell me when the <S> leaves?",
            "What hour is set for the <S>?",
        ),
        "The <S> leaves at <V>.",
    ),
    "likes": Fact(
        person,
        noun,
        (
            "<S> likes <V>.",
            "<S>'s favourite thing: <V>",
            "Gift for <S>: <V>",
            "<S> wants a <V>.",
            "<S> is fond of <V>.",
        ),
        (
            "What does <S> {like|want|enjoy}?",
            "What {is a good gift|could I give|should I buy} {for <S>|to <S>}?",
            "{Find|Tell me} {what <S> likes|the gift for <S>}.",
            "^Can you tell me what <S> likes?",
            "Which present would please <S>?",
        ),
        "<S> likes <V>.",
    ),
    "job": Fact(
        person,
        lambda rng: rng.choice(JOBS),
        (
            "<S> works as a <V>.",
            "<S> is a <V>.",
            "Job of <S>: <V>",
            "<S>: <V>",
            "<S> earns a living as a <V>.",
        ),
        (
            "What {is <S>'s job|does <S> do|does <S> work as|is the job of <S>|is <S>'s trade}?",
            "{Find|Tell me|Look up} {the job of <S>|<S>'s job|what <S> does}.",
            "^Can you tell me the job of <S>?",
            "What does <S> do for a living?",
        ),
        "<S> works as a <V>.",
    ),
}
JOBS = [
    "baker",
    "painter",
    "teacher",
    "doctor",
    "farmer",
    "pilot",
    "singer",
    "writer",
    "lawyer",
    "nurse",
    "cook",
    "driver",
    "gardener",
    "plumber",
    "tailor",
    "sailor",
    "judge",
    "clerk",
    "guide",
    "smith",
    "dentist",
    "actor",
    "miner",
    "carpenter",
]
FILLERS = (
    "Buy <n1> and <n2>.",
    "Remember the <n1>.",
    "<N> called about the <n1>.",
    "The <n1> is broken.",
    "Clean the <n1> on <D>.",
    "No news from <N>.",
    "Ask <N> for the <n1>.",
    "# <T>",
    "- <n1>",
    "",
    "Nothing new about the <n1>.",
    "It rained all day.",
    "Check the <n1> again.",
)
SOURCES = (
    "",
    "",
    " {in|from|according to|using} my notes",
    " in {the|this|my|our} {notes|files|folder|notes folder}",
    " {Look in|Check|See|Search|Consult} {my|the} {notes|files|folder}.",
    " {It is|It's|That is|It should be} {somewhere |}in {my|the} {notes|files|papers}.",
    " {My notes|The notes|The files} {say it|should say|know it|will tell}.",
)
EXT = ("txt", "txt", "txt", "md")


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


def file_name(rng: random.Random) -> str:
    """A file name: common, invented, or of two parts."""
    roll = rng.random()
    stem = noun(rng) if roll < 0.45 else word(rng)
    if roll > 0.75:
        stem += rng.choice(("_notes", "-list", "2", f"_{rng.randint(2019, 2026)}", f"-{noun(rng)}"))
    return f"{stem}.{rng.choice(EXT)}"


def filler(speaker: Speaker) -> str:
    """A line that answers nothing."""
    rng = speaker.rng
    slots = {"n1": noun(rng), "n2": noun(rng), "N": person(rng), "D": date(rng), "T": name(rng)}
    return fill(rng.choice(FILLERS), slots)


@dataclass(slots=True)
class Folder:
    """A folder being written: facts with where they went."""

    files: dict[str, list[str]]
    facts: list[tuple[str, str, str, str]]
    """(file, kind, subject, value)"""

    def texts(self) -> dict[str, str]:
        """Name -> text."""
        return {n: "\n".join(lines).strip("\n") for n, lines in self.files.items()}


def build(speaker: Speaker, files: int, facts: int, kinds: tuple[str, ...] = ()) -> Folder:
    """A folder of invented notes; every subject occurs once."""
    rng = speaker.rng
    folder = Folder({}, [])
    while len(folder.files) < files:
        folder.files.setdefault(file_name(rng), [])
    used: set[str] = set()
    names = list(folder.files)
    while len(folder.facts) < facts:
        kind = rng.choice(kinds or tuple(FACTS))
        fact = FACTS[kind]
        subject, value = fact.subject(rng), fact.value(rng)
        if folder.facts and rng.random() < 0.35:
            kind, subject = sibling(rng, folder, kinds) or (kind, subject)
            fact, value = FACTS[kind], FACTS[kind].value(rng)
        elif any(subject.lower() in u or u in subject.lower() for u in used):
            continue
        used.add(subject.lower())
        target = rng.choice(names)
        wording = Speaker(rng, speaker.held).pick(fact.lines)
        line = fill(wording, {"S": subject, "V": value})
        if rng.random() < 0.15:
            line = "- " + line
        folder.files[target].append(line[0].upper() + line[1:] if rng.random() < 0.8 else line)
        folder.facts.append((target, kind, subject, value))
    for lines in folder.files.values():
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            lines.insert(rng.randint(0, len(lines)), filler(speaker))
        if not any(lines):
            lines.append(filler(speaker) or "Nothing here.")
    return folder


SIBLINGS = (
    {"birthday", "home", "phone", "likes", "job"},
    {"price", "where"},
    {"date", "code", "leader"},
)
"""Kinds that can be noted of the same subject."""


def sibling(rng: random.Random, folder: Folder, kinds: tuple[str, ...]) -> tuple[str, str] | None:
    """Another kind for a subject that the folder has already; None if there is none."""
    _, kind, subject, _ = rng.choice(folder.facts)
    known = {k for _, k, s, _ in folder.facts if s == subject}
    family: set[str] = next((f for f in SIBLINGS if kind in f), set())
    open_kinds = sorted(k for k in family - known if not kinds or k in kinds)
    return (rng.choice(open_kinds), subject) if open_kinds else None


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
