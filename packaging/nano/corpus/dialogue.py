"""Whole conversations, and their rendering with a loss mask."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from .. import text as t
from . import arithmetic, data, notes, talk
from .grammar import Speaker
from .task import Dialogue, Turn
from .tools import World

SHARES = {"calculator": 0.28, "data": 0.24, "notes": 0.34, "talk": 0.14}
NOTES = ("list_files", "read_file", "search_files")
NEEDED = {"calculator": ("calculator",), "data": ("python",), "talk": (), "notes": NOTES}
DENIALS = ("", "", ": not now", ": too slow", ": I do not want that", ": wrong tool", ": private")


def choose_tools(rng: random.Random, group: str) -> tuple[str, ...]:
    """Mostly all five, or those without a folder, otherwise a set that can do the task."""
    roll = rng.random()
    if roll < 0.5 or (group == "notes" and roll < 0.65):
        return t.TOOL_NAMES
    if roll < 0.7 and group != "notes":
        return ("calculator", "python")
    if group == "calculator":
        needed = ("calculator",) if rng.random() < 0.75 else ("python",)
        banned = {"calculator"} if needed == ("python",) else set()
    elif group == "data":
        needed, banned = ("python",), set()
    elif group == "notes":
        needed = NOTES if rng.random() < 0.6 else ("list_files", "read_file")
        banned = set(NOTES) - set(needed)
    else:
        needed, banned = (), set()
    kept = [n for n in t.TOOL_NAMES if n in needed or (n not in banned and rng.random() < 0.4)]
    return tuple(kept)


def make_turn(rng: random.Random, held: bool, group: str, world: World) -> Turn:
    """One task of a group in `world`."""
    speaker = Speaker(rng, held)
    turn = choose_maker(rng, group, world)(speaker, world)
    turn.unseen = tuple(speaker.unseen)
    return turn


def choose_maker(rng: random.Random, group: str, world: World) -> Callable[[Speaker, World], Turn]:
    """What makes a task of this group, given the tools."""
    if group == "data":
        return data.data_task
    if group == "talk":
        return talk.talk_task
    makers = arithmetic.MAKERS if group == "calculator" else notes.MAKERS
    maker = rng.choices([m for _, m in makers], [w for w, _ in makers])[0]
    if maker is arithmetic.chain_task and "calculator" not in world.tools:
        return arithmetic.plain_task
    if maker is notes.list_task and "list_files" not in world.tools:
        return notes.lookup_task
    return maker


def cannot(rng: random.Random, held: bool, group: str) -> Dialogue:
    """A task whose tools are not declared: it says so."""
    world = World(tools=t.TOOL_NAMES)
    turn = make_turn(rng, held, group, world)
    banned = {
        "calculator": {"calculator", "python"},
        "data": {"python", "calculator"},
        "notes": set(NOTES),
    }[group]
    world.tools = tuple(n for n in t.TOOL_NAMES if n not in banned and rng.random() < 0.7)
    turn.steps.clear()
    turn.family = "no tool"
    turn.finish(
        "I have no tool for that.", "I can't do that here. " + talk.abilities(world), "can't"
    )
    return Dialogue(world, [turn])


def make(rng: random.Random, held: bool = False, group: str | None = None) -> Dialogue:
    """A conversation of one to three turns; only the last one is learnt from or scored."""
    group = group or rng.choices(tuple(SHARES), tuple(SHARES.values()))[0]
    roll = rng.random()
    if roll < 0.025 and group != "talk":
        return cannot(rng, held, group)
    world = World(tools=choose_tools(rng, group))
    if roll < 0.05 and group != "talk":
        world.denied = t.TOOL_NAMES
        world.deny_text = "error: the user denied this call" + rng.choice(DENIALS)
        maker = {
            "calculator": arithmetic.plain_task,
            "data": data.data_task,
            "notes": notes.lookup_task,
        }
        turn = maker[group](Speaker(rng, held), world)
        turn.family = "denied"
        return Dialogue(world, [turn])
    turns: list[Turn] = []
    if rng.random() < 0.15:
        for _ in range(rng.choice((1, 1, 1, 2, 2, 3) if rng.random() < 0.95 else (4, 5, 6, 8))):
            earlier = rng.choices(("calculator", "data", "talk", "notes"), (0.45, 0.2, 0.2, 0.15))[
                0
            ]
            if all(n in world.tools for n in NEEDED[earlier]):
                turns.append(make_turn(rng, held, earlier, world))
    last = turns[-1] if turns else None
    if last and last.family == "notes" and group == "notes" and world.facts:
        return Dialogue(world, [*turns, notes.again_task(Speaker(rng, held), world, last)])
    if (
        last
        and last.family.startswith("calculator")
        and group == "calculator"
        and rng.random() < 0.6
    ):
        after = arithmetic.follow_up(Speaker(rng, held), world, last)
        if after is not None:
            return Dialogue(world, [*turns, after])
    turns.append(make_turn(rng, held, group, world))
    return Dialogue(world, turns)


def render(dialogue: Dialogue) -> list[tuple[str, bool]]:
    """Segments (text, learnt) of the whole conversation, as its last turn sees it."""
    parts: list[tuple[str, bool]] = [(t.open_prompt(dialogue.world.tools), False)]
    count = 0
    for turn in dialogue.turns:
        current = turn is dialogue.turns[-1]
        parts.append((t.user_text(turn.user), False))
        for step in turn.steps:
            call = f"functions.{step.tool}:{count}"
            count += 1
            parts.append((t.OPEN_REPLY, False))
            body = t.reply_text(step.reasoning if current else "", "", [(call, step.arguments)])
            parts.append((body, current))
            parts.append((t.tool_text(call, step.result), False))
        parts.append((t.OPEN_REPLY, False))
        parts.append((t.reply_text(turn.reasoning if current else "", turn.answer), current))
    return parts


def stream(seed: int, held: bool = False) -> Iterator[Dialogue]:
    """Endless conversations of one seed."""
    rng = random.Random(seed)
    while True:
        yield make(rng, held)
