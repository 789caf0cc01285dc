"""The index finds what a search through all tokens finds, but for slots that were taken over."""

from __future__ import annotations

import random

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from engine.native import _kernels
from engine.speculation.adaptive import LONGEST

STREAMS = st.lists(st.integers(0, 2), max_size=120) | st.lists(
    st.integers(0, 2**31 - 1), max_size=40
)
SIZES = (2, 4, 8)


def matched(tokens: list[int], at: int) -> int:
    """How many tokens before `at` equal the last ones."""
    return next((i for i in range(at) if tokens[at - 1 - i] != tokens[-1 - i]), at)


def best(tokens: list[int]) -> int:
    """The length of the longest of the indexed n-grams that ends the tokens and stood before."""
    lengths = [matched(tokens, at) for at in range(1, len(tokens))]
    return max((n for n in SIZES if n <= max(lengths, default=0)), default=0)


@settings(deadline=None)
@given(STREAMS, st.lists(st.integers(1, 80), max_size=30))
def test_what_is_found_stands_there_and_what_followed_is_judged(
    stream: list[int], steps: list[int]
) -> None:
    index, end, last = _kernels.NgramIndex(), 0, (0, 0)
    holes = looks = 0
    for step in [*steps, len(stream)]:
        tokens = stream[: end + step]
        fresh = tokens[end:]
        at, length, right, wrong = index.look(fresh)
        if last[1]:
            followed = stream[last[0] : last[0] + len(fresh)]
            pairs = list(zip(fresh, followed, strict=True))
            assert right == next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
            assert wrong == (right < len(pairs))
        else:
            assert (right, wrong) == (0, False)
        if length:
            assert 2 <= length <= LONGEST
            assert tokens[at - length : at] == tokens[-length:]
            assert at < len(tokens), "something followed"
        looks += 1
        holes += length < best(tokens)
        end, last = len(tokens), (at, length)
    # Another n-gram may have taken the slot: 240 of them in 1,024.
    assert holes <= 1 + looks // 4


@settings(deadline=None)
@given(STREAMS, st.integers(0, 120))
def test_in_bulk_and_token_by_token_are_the_same(stream: list[int], first: int) -> None:
    bulk, single = _kernels.NgramIndex(), _kernels.NgramIndex()
    bulk.look(stream[:first])
    for token in stream[:first]:
        single.look([token])
    for token in stream[first:]:
        a, b = bulk.look([token]), single.look([token])
        # One of them may be following an older match, as long as what the other found.
        assert a[1] == b[1]


def test_a_long_sequence_keeps_its_memory_bounded_and_finds_far_things() -> None:
    draw = random.Random(0)
    tokens = [draw.randrange(1 << 17) for _ in range(1 << 17)]
    index, hits = _kernels.NgramIndex(), 0
    index.look(tokens)
    for start in range(0, len(tokens), len(tokens) // 64):
        hits += index.look(tokens[start : start + 10])[:2] == (start + 10, 10)
    assert index.nbytes <= 56 * len(tokens)
    assert hits >= 60


def test_of_equal_matches_the_latest_is_found_and_lengths_are_capped() -> None:
    index = _kernels.NgramIndex()
    assert index.look([1, 2, 3, 1, 2, 4, 1, 2])[:2] == (5, 2)
    assert index.look([*range(10, 60), *range(10, 60)])[:2] == (58, LONGEST)


def test_only_token_ids_are_taken() -> None:
    index = _kernels.NgramIndex()
    with pytest.raises(TypeError):
        index.look([1 << 31])
    with pytest.raises(TypeError):
        index.look(["1"])  # type: ignore[list-item]
    assert index.look([]) == (0, 0, 0, False)
