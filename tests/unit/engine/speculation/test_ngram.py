"""The drafter copies what followed, stays away where that is not what comes, and never repeats."""

from __future__ import annotations

import random

import hypothesis.strategies as st
from hypothesis import given, settings

from engine.speculation.adaptive import StepCosts
from engine.speculation.mtp import new_drafters
from engine.speculation.ngram import NgramDrafter

MOST = 7


def write(prompt: list[int], reply: list[int], each: float = 0.1) -> tuple[float, NgramDrafter]:
    """Write a known reply: seconds, where every token after the first costs `each` of a step."""
    drafter = NgramDrafter(StepCosts())
    tokens, seconds, end = list(prompt), 0.0, len(prompt) + len(reply)
    whole = prompt + reply
    while len(tokens) < end:
        drafts = drafter.draft(tokens, min(MOST, end - len(tokens) - 1))
        assert drafts == drafter.draft(tokens, min(MOST, end - len(tokens) - 1))
        accepted = 0
        while accepted < len(drafts) and drafts[accepted] == whole[len(tokens) + accepted]:
            accepted += 1
        took = 1 + each * len(drafts) + 1e-9 * len(tokens)
        tokens += whole[len(tokens) : len(tokens) + accepted + 1]
        drafter.observe(len(drafts), accepted, 1 + len(drafts), took)
        seconds += took
    assert tokens == whole
    return seconds, drafter


def test_copying_is_quick_and_free_text_as_quick_as_ever() -> None:
    draw = random.Random(1)
    argument = [draw.randrange(50000) for _ in range(300)]
    seconds, _ = write([*argument, 7, 8], [*argument[:2], *argument])
    assert len(argument) / seconds > 4
    text = [draw.randrange(50000) for _ in range(600)]
    seconds, _ = write(text[:300], text[300:])
    assert seconds < 301


def test_a_list_is_copied_in_order_though_entries_begin_alike() -> None:
    """Each entry starts with 12 equal tokens: what follows last time is the entry just written."""
    draw = random.Random(2)
    same = [draw.randrange(50000) for _ in range(12)]
    rows = [draw.randrange(50000) for _ in range(12)]
    listing = [token for row in rows for token in [*same, row, row + 1, row + 2]]
    seconds, _ = write([1, 2, 3, *listing, 4, 5], [1, 2, 3, *listing])
    assert len(listing) / seconds > 3.5


def test_a_copy_that_reaches_its_own_beginning_goes_round() -> None:
    drafter = NgramDrafter(StepCosts())
    tokens = [9, 9, *([1, 2, 3] * 4)]
    assert drafter.draft(tokens, 7) == [], "no step was measured yet"
    drafter.observe(0, 0, 1, 0.05)
    drafts = drafter.draft([*tokens, 1], 7)
    assert drafts == [2, 3, 1, 2, 3, 1, 2][: len(drafts)]
    assert len(drafts) > 2


def test_sequences_of_one_engine_share_what_a_step_costs() -> None:
    new = new_drafters()
    first, second = new(), new()
    first.draft([1, 2], 7)
    first.observe(0, 0, 1, 0.05)
    tokens = [*range(100, 140), *range(100, 120)]
    assert second.draft(tokens, 3) == [120, 121, 122]
    assert second.draft(tokens, 3, beside=1) == [120, 121, 122]


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), max_size=200), st.integers(0, 20))
def test_drafts_are_copied_from_the_sequence(stream: list[int], prompt: int) -> None:
    seconds, drafter = write(stream[:prompt], stream[prompt:], each=0.0)
    assert seconds <= len(stream[prompt:]) + 1e-3
    for count in range(MOST + 1):
        drafts = drafter.draft(stream, count)
        assert len(drafts) <= count
        assert set(drafts) <= set(stream)
