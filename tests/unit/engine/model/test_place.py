"""Dense parts on a device: every tensor of a pass is made where the weights are.

Torch's ``meta`` device stands in for an accelerator: it computes shapes only, but refuses to mix
devices as any other does.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.cache.latent_pool import PagedCache
from engine.checkpoint.mapped import MappedCheckpoint
from engine.config import ModelConfig
from engine.experts.assembly import Assembly
from engine.experts.base import ExpertWeights, Ticket
from engine.experts.device import Done, Inline
from engine.model.deepseek import Batch, Model
from engine.model.dense import Dense
from engine.model.loader import _Loading
from engine.model.page_limit import PageLimit
from engine.model.weights import Weights
from engine.tiny import Family, write_tiny

META = torch.device("meta")


class Elsewhere(Inline):
    @property
    def place(self) -> torch.device:
        return META


class ShapesOnly:
    """Experts that give a result of the right shape where the input was."""

    name = "shapes"

    def add_layer(self, layer: int, experts: list[ExpertWeights]) -> None:
        pass

    def submit(self, layer: int, x: Tensor, ids: Tensor, weights: Tensor) -> Ticket:
        assert x.device == ids.device == weights.device == META
        return Done(torch.zeros(x.shape, device=x.device))

    def wait(self, ticket: Ticket) -> Tensor:
        assert isinstance(ticket, Done)
        result: Tensor = ticket.value()
        return result

    def abort(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("family", ["kimi_k2", "deepseek_v3", "moonlight"])
def test_a_pass_stays_on_its_device(tmp_path: Path, family: Family) -> None:
    folder = write_tiny(tmp_path, family=family)
    config, source = ModelConfig.from_folder(folder), MappedCheckpoint.open(folder)
    weights = Weights(config, source, torch.float32, META)
    assembly = Assembly(ShapesOnly(), Elsewhere())
    model = _Loading(config, Dense(weights), torch.float32, assembly).run(
        PageLimit(source), lambda share: None, lambda: False
    )
    cache, other = model.new_cache(), model.new_cache()
    for parts in ([(cache, 9)], [(cache, 1)], [(cache, 5), (other, 30)], [(cache, 2), (other, 1)]):
        _reaches_the_end(model, [(c, list(range(n))) for c, n in parts])


def _reaches_the_end(model: Model, parts: list[tuple[PagedCache, list[int]]]) -> None:
    """Nothing can be copied off ``meta``: bringing the logits home is the first thing to fail."""
    lengths = [cache.length + len(tokens) for cache, tokens in parts]
    with pytest.raises(NotImplementedError, match="meta") as caught:
        model.forward(Batch(parts))
    assert ".cpu()" in str(caught.traceback[-1].statement)
    assert [cache.length for cache, _ in parts] == lengths
