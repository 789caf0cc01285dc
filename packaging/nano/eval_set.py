"""The held-out tasks behind ``selenograph eval nano``: nothing of their wording was trained on."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from .corpus.dialogue import make
from .corpus.task import Dialogue

SPREAD = (("calculator", 0.35), ("data", 0.25), ("notes", 0.30), ("talk", 0.10))
SKIPPED = ("no tool", "denied", "calculator error")


def describe(dialogue: Dialogue, number: int) -> dict[str, Any]:
    """A task as JSON."""
    turn = dialogue.turns[-1]
    task: dict[str, Any] = {
        "id": f"nano-{number:03d}",
        "family": turn.family,
        "prompt": turn.user,
        "expect": list(turn.expect),
        "tools": list(dialogue.world.tools),
        "unseen": list(turn.unseen),
    }
    if dialogue.world.files:
        task["files"] = dialogue.world.files
    if not turn.steps:
        task["calls"] = False
    return task


def draw(seed: int, count: int) -> list[Dialogue]:
    """Single-turn tasks in the spread above, shuffled, no question twice."""
    rng = random.Random(f"eval:{seed}")
    drawn: list[Dialogue] = []
    seen: set[str] = set()
    for group, share in SPREAD:
        wanted = len(drawn) + round(share * count)
        while len(drawn) < wanted:
            dialogue = make(rng, held=True, group=group)
            turn = dialogue.turns[-1]
            if len(dialogue.turns) > 1 or turn.family in SKIPPED or turn.user in seen:
                continue
            if turn.unseen:
                seen.add(turn.user)
                drawn.append(dialogue)
    rng.shuffle(drawn)
    return drawn


def write(path: Path, seed: int, count: int) -> None:
    """Writes the task set."""
    tasks = [describe(d, i) for i, d in enumerate(draw(seed, count))]
    body = {"name": "nano", "seed": seed, "tasks": tasks}
    path.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
