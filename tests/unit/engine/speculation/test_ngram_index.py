"""The index finds what a search through all tokens finds, but for slots that were taken over."""

from __future__ import annotations

import random

import hypothesis.strategies as st
from hypothesis import given, settings

from engine.speculation.ngram_index import LONGEST, SIZES, Match, NgramIndex, matched


def search(tokens: list[int]) -> Match | None:
    """By brute force: the latest place after the longest of the indexed n-grams."""
    for size in reversed(SIZES):
        for at in range(len(tokens) - 1, size - 1, -1):
            if matched(tokens, at) >= size:
                return Match(at, matched(tokens, at))
    return None


STREAMS = st.lists(st.integers(0, 2), max_size=120) | st.lists(st.integers(0, 1 << 17), max_size=40)


@settings(deadline=None)
@given(STREAMS, st.lists(st.integers(1, 80), max_size=6))
def test_nothing_better_than_what_is_found_is_later(stream: list[int], cuts: list[int]) -> None:
    index, end = NgramIndex(), 0
    for step in [*cuts, len(stream)]:
        end = min(end + step, len(stream))
        tokens = stream[:end]
        index.extend(tokens)
        # Where an n-gram took another's slot, less is found, but nothing that is not there.
        found, best = index.find(tokens), search(tokens)
        if found is not None:
            assert best is not None
            assert found.length >= 2
            assert tokens[found.at - found.length : found.at] == tokens[-found.length :]
            assert found.at <= best.at or found.length < best.length


@settings(deadline=None)
@given(STREAMS, st.integers(0, 120))
def test_in_bulk_and_token_by_token_are_the_same(stream: list[int], first: int) -> None:
    bulk, single = NgramIndex(), NgramIndex()
    bulk.extend(stream[:first])
    bulk.extend(stream)
    for end in range(len(stream) + 1):
        single.extend(stream[:end])
    assert bulk._tables == single._tables
    assert bulk._slots == single._slots


def test_a_long_sequence_keeps_its_memory_bounded_and_finds_far_things() -> None:
    draw = random.Random(0)
    tokens = [draw.randrange(1 << 17) for _ in range(1 << 17)]
    starts = range(0, len(tokens), len(tokens) // 64)
    index, hits = NgramIndex(), 0
    for start in starts:
        tokens += tokens[start : start + 10]
        index.extend(tokens)
        hits += index.find(tokens) == Match(start + 10, 10)
    assert index.nbytes <= 48 * len(tokens)
    assert hits >= 60


def test_of_equal_matches_the_latest_is_found_and_lengths_are_capped() -> None:
    index, tokens = NgramIndex(), [1, 2, 3, 1, 2, 4, 1, 2]
    index.extend(tokens)
    assert index.find(tokens) == Match(5, 2)
    index.extend([*tokens, *range(10, 60), *range(10, 60)])
    found = index.find([*tokens, *range(10, 60), *range(10, 60)])
    assert found == Match(58, LONGEST)
