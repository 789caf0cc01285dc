"""Small data questions for the Python tool."""

from __future__ import annotations

import random

from .arithmetic import denied
from .grammar import Speaker, dress, fill
from .list_questions import LISTS, Kind
from .names import FIRST, noun, word
from .task import Turn
from .tools import World
from .word_questions import NUMBERS, TEXTS, WORDS

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
