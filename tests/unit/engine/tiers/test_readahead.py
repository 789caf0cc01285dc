"""Guessing the next layer's experts with its own router."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.tiers.readahead import ReadAhead


def _chooses(ids: list[list[int]], weights: list[list[float]]) -> object:
    def router(x: Tensor) -> tuple[Tensor, Tensor]:
        assert x.shape == (len(ids), 4)
        return torch.tensor(ids, dtype=torch.int32), torch.tensor(weights)

    return router


def _ahead(ids: list[list[int]], weights: list[list[float]], share: float) -> ReadAhead:
    ahead = ReadAhead(most=2, share=share)
    ahead.add_layer(3, _chooses(ids, weights))  # type: ignore[arg-type]
    return ahead


def test_the_heaviest_come_first() -> None:
    ids, weights = [[4, 7, 1, 2]], [[0.1, 0.4, 0.3, 0.2]]
    assert _ahead(ids, weights, 1.0).guess(2, torch.ones(1, 4)) == [7, 1, 2, 4]
    assert _ahead(ids, weights, 0.5).guess(2, torch.ones(1, 4)) == [7, 1]


def test_what_several_tokens_want_counts_together() -> None:
    ids, weights = [[0, 1], [1, 2]], [[0.5, 0.3], [0.3, 0.4]]
    assert _ahead(ids, weights, 0.6).guess(2, torch.ones(2, 4)) == [1, 0]


def test_nothing_is_guessed_for_prompts_or_behind_the_last_layer() -> None:
    ahead = _ahead([[0, 1]], [[0.5, 0.5]], 1.0)
    assert ahead.guess(2, torch.ones(3, 4)) == []
    assert ahead.guess(2, torch.ones(0, 4)) == []
    assert ahead.guess(3, torch.ones(1, 4)) == []
