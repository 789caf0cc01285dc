"""What of a conversation fits into the model's window: a pure decision from tokens.

Nothing is done until the window is full. Then results of tools are hidden, the oldest first, until
it is ``LOW`` full, so that the beginning of the prompt stays the same for many steps and an
engine's prefix cache can serve it. Where that is not enough, the oldest steps are to be replaced
by notes. System prompt, user messages of the running turn, the plan and the last steps stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.agent.history import Segment
from app.state import Turn

LOW = 0.6
"""Of the room, to which it is emptied."""
KEEP_STEPS = 4
PLACEHOLDER = 40
"""Tokens of what stands for a hidden result."""
_ENOUGH = 0.8
"""Hiding that leaves more than this is followed by notes at once, for it would soon come again."""
_WORTH = 0.15
"""Of the room that notes have to save."""


@dataclass(frozen=True, slots=True)
class Item:
    """A message as the decision sees it. ``step``: its place among the steps, -1 before them."""

    key: str
    tokens: int
    step: int
    hideable: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """``hide``: results by call id. ``steps``: how many of the oldest become notes."""

    before: int
    after: int
    hide: tuple[str, ...] = ()
    steps: int = 0


def room_of(window: int, reply: int | None) -> int:
    """Tokens of a prompt that leave room for a reply; a reply may want a quarter at most."""
    quarter = window // 4
    return window - min(reply or quarter, quarter)


def notes_size(room: int) -> int:
    """Tokens that notes may have."""
    return min(2_048, room // 8)


def decide(items: Sequence[Item], room: int, keep: int = KEEP_STEPS) -> Decision:
    """Both of ``hide`` and ``steps`` are empty as long as the items fit into ``room``."""
    total = before = sum(item.tokens for item in items)
    if total <= room:
        return Decision(before, before)
    steps = max((item.step for item in items), default=-1) + 1
    hide: list[str] = []
    for item in items:
        if total <= room * LOW:
            break
        if item.hideable and item.step < steps - keep and item.tokens > PLACEHOLDER:
            hide.append(item.key)
            total -= item.tokens - PLACEHOLDER
    if total <= room * _ENOUGH:
        return Decision(before, total, tuple(hide))
    gone = set(hide)
    count, after = _notes(items, gone, total, room, steps - keep)
    if count:
        return Decision(before, after, tuple(hide), count)
    if total > room and keep > 1:
        return decide(items, room, keep // 2)
    return Decision(before, total, tuple(hide))


def _notes(
    items: Sequence[Item], hidden: set[str], total: int, room: int, most: int
) -> tuple[int, int]:
    """(how many steps become notes, the tokens then); no steps if that is not worth it."""
    notes = notes_size(room)
    saved = [0] * max(0, most)
    for item in items:
        if 0 <= item.step < most:
            saved[item.step] += PLACEHOLDER if item.key in hidden else item.tokens
    after = total + notes
    count = 0
    for tokens in saved:
        count += 1
        after -= tokens
        if after <= room * LOW:
            break
    if not saved or total - after < room * _WORTH:
        return 0, total
    return count, after


def items_of(segments: Sequence[Segment], tokens: Sequence[int], plan_call: str) -> list[Item]:
    """``plan_call``: the result that shows the present plan; it is not hidden."""
    items: list[Item] = []
    spans: dict[str, int] = {}
    for segment, count in zip(segments, tokens, strict=True):
        step = spans.setdefault(segment.span, len(spans)) if segment.span else -1
        hideable = segment.kind == "result" and not segment.hidden and segment.key != plan_call
        items.append(Item(segment.key, count, step, hideable))
    return items


def end_of(path: Sequence[Turn], segments: Sequence[Segment], steps: int) -> tuple[str, int]:
    """(turn, number of its steps) where the first ``steps`` of the segments end."""
    spans = list(dict.fromkeys(s.span for s in segments if s.span))
    last = spans[steps - 1]
    for turn in reversed(path):
        for i, step in enumerate(turn.steps):
            if step.span == last:
                return turn.id, i + 1
    raise ValueError(f"no step {last}")


def guess(text: str) -> int:
    """Tokens of a message by its length."""
    return len(text.encode()) // 4 + 8


def words(segment: Segment) -> str:
    """All of a message's text."""
    m = segment.message
    calls = "".join(f"{c.id}{c.function.name}{c.function.arguments}" for c in m.tool_calls)
    return f"{m.content or ''}{m.reasoning_content or ''}{calls}"
