# ruff: noqa: E501  (patterns are kept whole, whatever their length)
"""Tasks for the calculator: expressions, words for operations, word problems, chains."""

from __future__ import annotations

import random
from collections.abc import Callable

from .grammar import Speaker, dress, fill
from .names import integer, noun, person, plural
from .problems import CHAINS, COMMANDS, FOLLOW_UPS, PHRASES, STORIES, Problem
from .task import Turn
from .tools import World

ASK = (
    "What is <E>?",
    "{What's|What is|what does} <E>{ equal| come to||}?",
    "{Calculate|Compute|Work out|Evaluate|Figure out|Solve|Crunch|Determine} <E>{ for me||}.",
    "{Can|Could|Would} you {please |}{calculate|compute|work out|evaluate|figure out|tell "
    "me|determine|reckon} <E>?",
    "How much is <E>?",
    "<E> = ?",
    "<E>",
    "<E> equals what?",
    "{Tell me|Give me|Find|Show me|I need|I want|I'd like|Get me|Hand me} {the {result|value|answer|"
    "outcome} of |}<E>.",
    "{Do you know|Any idea|Can you tell me|Do you happen to know} {what|how much} <E> is?",
    "{What|How much} do {you|I} get {for|from|if I do|out of} <E>?",
    "{The result of|The value of} <E>, please.",
    "{Use|Take} the calculator{:| for| and work out} <E>.",
    "Was ist <E>?",
    "{Wie viel|Was} ergibt <E>?",
    "Combien font <E>?",
    "Cuánto es <E>?",
    "^Let me have the value of <E>.",
    "^<E> is how much?",
    "^Would you compute <E> for me?",
    "^My sum is <E>. What is the result?",
    "^I want the result of <E>.",
    "How big is <E>?",
    "I wonder what <E> makes.",
    "Please have a go at <E>.",
    "Run the numbers on <E>.",
    "<E>, what does that give?",
)
HINTS = (
    " {Use|Please use|Using|With} the calculator{, please|}.",
    " {You {can|should|may|must} use the calculator.|Do it with the calculator.|The calculator "
    "helps.|Rely on the calculator.|Take your calculator.}",
    " Answer with {the|a} number.",
)


def number(rng: random.Random, digits: int = 6) -> str:
    """An operand as plain text: mostly an integer, now and then a decimal."""
    if rng.random() < 0.18:
        places = rng.choice((1, 2, 2))
        return f"{integer(rng, 4)}.{rng.randint(0, 10**places - 1):0{places}d}"
    return str(integer(rng, digits))


def grouped(text: str, rng: random.Random) -> str:
    """Now and then writes 12345 as 12,345."""
    if text.isdigit() and len(text) > 3 and rng.random() < 0.15:
        return f"{int(text):,}"
    return text


def expression(rng: random.Random) -> tuple[str, str]:
    """(as the user writes it, as the calculator takes it)."""
    count = rng.choice((1, 1, 1, 2, 2, 3))
    values = [number(rng, 6 if count == 1 else 4) for _ in range(count + 1)]
    signs = [rng.choice("+-**/+-*") for _ in range(count)]
    if rng.random() < 0.04:
        signs[0] = "//" if rng.random() < 0.4 else "%"
    bracket = -1
    if count > 1 and rng.random() < 0.3:
        bracket = rng.randrange(count)
    style = rng.random()
    words = {"+": "+", "-": "-", "*": rng.choice("**x×"), "/": rng.choice("//÷")}
    if style > 0.8:
        words = {
            "+": rng.choice(("plus", "+")),
            "-": rng.choice(("minus", "-")),
            "*": rng.choice(("times", "times", "multiplied by")),
            "/": rng.choice(("divided by", "divided by", "over")),
        }
    gap = "" if style < 0.3 else " "
    shown, plain = "", ""
    for i, value in enumerate(values):
        before = "(" if i == bracket else ""
        after = ")" if i == bracket + 1 and bracket >= 0 else ""
        plain += before + value + after
        shown += before + grouped(value, rng) + after
        if i < count:
            plain += signs[i]
            word = words.get(signs[i], signs[i])
            wide = gap if len(word) == 1 and not word.isalpha() else " "
            if word == "x" and not gap:
                wide = ""
            shown += wide + word + wide
    return shown, plain


def slots(rng: random.Random) -> dict[str, str]:
    """Fresh values for every slot of the patterns."""
    thing, other = noun(rng), noun(rng)
    price = (
        str(integer(rng, 3))
        if rng.random() < 0.5
        else f"{rng.randint(1, 99)}.{rng.randint(1, 99):02d}"
    )
    return {
        "a": number(rng, 5),
        "b": number(rng, 4),
        "c": number(rng, 3),
        "d": number(rng, 3),
        "p": str(rng.randint(2, 400)),
        "q": str(rng.randint(2, 99)),
        "r": str(rng.randint(2, 99)),
        "s": str(rng.randint(2, 12)),
        "m": price,
        "n": str(rng.randint(1, 60)),
        "B": rng.choice(("50", "100", "200", "500", "1000", "20")),
        "N": person(rng),
        "M": person(rng),
        "X": plural(thing),
        "Z": plural(other),
        "Y": thing,
    }


def close_with(turn: Turn, speaker: Speaker, plain: str, result: str) -> Turn:
    """The closing reply for a calculator result."""
    if result.startswith("error: "):
        reason = result.removeprefix("error: ")
        return turn.finish(
            f"The calculator says: {reason}.", f"I can't calculate {plain}: {reason}.", "can't"
        )
    value = result.removeprefix("about ")
    link = "is about" if result != value else "="
    return turn.finish(f"The result is {result}.", f"{plain} {link} {value}.", value)


def compute(turn: Turn, world: World, speaker: Speaker, plain: str) -> Turn:
    """One calculator call and the reply; Python where the calculator is missing."""
    if "calculator" in world.tools:
        why = f"I need {plain}. I use the calculator."
        result = turn.use(world, why, "calculator", expression=plain)
        if not result.startswith("error: the user denied"):
            return close_with(turn, speaker, plain, result)
        return denied(turn, result)
    code = plain if "sqrt" not in plain else f"import math\nmath.{plain}"
    result = turn.use(
        world, f"I need {plain}. There is no calculator, so I use Python.", "python", code=code
    )
    if result.startswith("error: the user denied"):
        return denied(turn, result)
    if result.startswith("error: "):
        reason = result.removeprefix("error: ")
        return turn.finish(
            f"Python says: {reason}.", f"I can't calculate {plain}: {reason}.", "can't"
        )
    return turn.finish(f"The result is {result}.", f"{plain} = {result}.", result)


def denied(turn: Turn, result: str) -> Turn:
    """The honest reply when the user refused a call."""
    _, _, reason = result.partition("this call: ")
    tail = f" ({reason})" if reason else ""
    return turn.finish(
        "The user denied the call, so I stop here.",
        f"You denied the call{tail}, so I can't give the answer.",
        "denied",
    )


def ask_expression(speaker: Speaker, shown: str, values: dict[str, str]) -> str:
    """A question about a written-out expression."""
    hint = speaker.expand(speaker.rng.choice(HINTS))[0] if speaker.rng.random() < 0.25 else ""
    return dress(speaker.pick(ASK), speaker, {**values, "E": shown}, hint)


def plain_task(speaker: Speaker, world: World) -> Turn:
    """An expression, an operation in words, a command or a story."""
    rng = speaker.rng
    values = slots(rng)
    roll = rng.random()
    if roll < 0.4:
        shown, plain = expression(rng)
        return compute(
            Turn("calculator", ask_expression(speaker, shown, values)), world, speaker, plain
        )
    if roll < 0.6:
        pattern, plain = rng.choice(PHRASES)
        shown = fill(Speaker(rng, False).expand(pattern)[0], values)
        user = ask_expression(speaker, shown, values)
    else:
        bank = COMMANDS if roll < 0.75 else STORIES
        user, plain = from_bank(speaker, bank, values)
    return compute(Turn("calculator", user), world, speaker, fill(plain, values))


IN_PYTHON = (
    " {Use|Please use|Use the} python{ for it| for that| tool|}.",
    " {With|In|Using} python{, please|}.",
    " {Let python do it|Run it in python|Have python work it out}.",
)


def python_task(speaker: Speaker, world: World) -> Turn:
    """An expression that the user wants done in Python."""
    rng = speaker.rng
    if "python" not in world.tools:
        return plain_task(speaker, world)
    shown, plain = expression(rng)
    if rng.random() < 0.3:
        base, power = rng.randint(2, 30), rng.randint(2, 20)
        shown = rng.choice(
            (f"{base}**{power}", f"{base} to the power of {power}", f"{base}^{power}")
        )
        plain = f"{base}**{power}"
    text = speaker.pick(ASK[:5])
    user = dress(text, speaker, {"E": shown}, speaker.expand(rng.choice(IN_PYTHON))[0])
    turn = Turn("data", user)
    result = turn.use(world, f"I need {plain}. I use Python.", "python", code=plain)
    if result.startswith("error: "):
        reason = result.removeprefix("error: ")
        return turn.finish(
            f"Python says: {reason}.", f"I can't calculate {plain}: {reason}.", "can't"
        )
    return turn.finish(f"The result is {result}.", f"{plain} = {result}.", result)


def zero_task(speaker: Speaker, world: World) -> Turn:
    """A division by zero, reported as such."""
    rng = speaker.rng
    a, b = number(rng, 4), number(rng, 3)
    shown, plain = rng.choice(
        (
            (f"{a} / 0", f"{a}/0"),
            (f"{a} divided by 0", f"{a}/0"),
            (f"{a}/({b}-{b})", f"{a}/({b}-{b})"),
            (f"{a} / 0 + {b}", f"{a}/0+{b}"),
        )
    )
    return compute(
        Turn("calculator error", ask_expression(speaker, shown, slots(rng))), world, speaker, plain
    )


def from_bank(speaker: Speaker, bank: tuple[Problem, ...], values: dict[str, str]) -> Problem:
    """(dressed question, pattern of the expression) from a bank of problems."""
    known = [p for p in bank if not p[0].startswith("^")]
    unseen = [p for p in bank if p[0].startswith("^")]
    hint = speaker.expand(speaker.rng.choice(HINTS))[0] if speaker.rng.random() < 0.15 else ""
    for _ in range(200):
        whole = speaker.held and unseen and speaker.rng.random() < 0.4
        pattern, plain = speaker.rng.choice(unseen if whole else known)
        text, used = speaker.expand(pattern.removeprefix("^"))
        if whole:
            speaker.unseen.append(pattern)
        if not speaker.held or whole or used:
            break
    return dress(text, speaker, values, hint), plain


def chain_task(speaker: Speaker, world: World) -> Turn:
    """Two calculator calls, the second on the first result."""
    rng = speaker.rng
    values = slots(rng)
    shown, plain = expression(rng)
    while plain.count("/") or plain.count("%"):
        shown, plain = expression(rng)
    bank = [c for c in CHAINS if speaker.held or not c[0].startswith("^")]
    pattern, sign, other = rng.choice(bank)
    if pattern.startswith("^"):
        speaker.unseen.append(pattern)
    text = speaker.expand(pattern.removeprefix("^"))[0]
    user = dress(text, speaker, {**values, "E": shown})
    turn = Turn("calculator chain", user)
    first = turn.use(
        world, f"First step: {plain}. I use the calculator.", "calculator", expression=plain
    )
    second = f"{first}{sign}{fill(other, values)}"
    why = f"The first result is {first}. Next: {second}."
    return close_with(turn, speaker, second, turn.use(world, why, "calculator", expression=second))


def follow_up(speaker: Speaker, world: World, before: Turn) -> Turn | None:
    """A next turn on the last turn's number; None where it does not fit."""
    value = before.expect[0] if before.expect else ""
    if not value.replace(".", "", 1).isdigit() or len(value) > 9 or "calculator" not in world.tools:
        return None
    values = slots(speaker.rng)
    pattern, sign, other = speaker.rng.choice(FOLLOW_UPS)
    user = dress(speaker.expand(pattern)[0], speaker, values)
    plain = f"{value}{sign}{fill(other, values)}"
    turn = Turn("calculator", user)
    why = f"The last result was {value}. I need {plain}."
    return close_with(turn, speaker, plain, turn.use(world, why, "calculator", expression=plain))


MAKERS: tuple[tuple[float, Callable[[Speaker, World], Turn]], ...] = (
    (0.79, plain_task),
    (0.14, chain_task),
    (0.05, python_task),
    (0.02, zero_task),
)
