"""The mixture layer: a sigmoid router, routed experts and the shared expert side by side.

DeepSeek-V3 (arXiv:2412.19437), section 2.1.2: the correction bias only *chooses*; weights come
from the unbiased scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.config import ModelConfig
from engine.experts.base import ExpertBackend
from engine.experts.device import Device, Inline


@dataclass(frozen=True, slots=True)
class Router:
    """weight float32 [E, H], bias float32 [E]."""

    config: ModelConfig
    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[T, H] -> expert ids int32 [T, K], weights float32 [T, K]."""
        config = self.config
        scores = F.linear(x.float(), self.weight).sigmoid()  # [T, E]
        choice = scores + self.bias
        if config.n_group > 1:
            choice = self._limit_groups(choice)
        ids = choice.topk(config.num_experts_per_tok, -1, sorted=False).indices  # [T, K]
        weights = scores.gather(-1, ids)
        if config.norm_topk_prob:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return ids.to(torch.int32), weights * config.routed_scaling_factor

    def _limit_groups(self, choice: Tensor) -> Tensor:
        """Only experts of the best groups stay; a group's score is the sum of its top two."""
        config = self.config
        grouped = choice.unflatten(-1, (config.n_group, -1))  # [T, E] -> [T, G, E/G]
        best = grouped.topk(min(2, grouped.shape[-1]), -1).values.sum(-1)  # [T, G]
        chosen = best.topk(config.topk_group, -1, sorted=False).indices
        closed = torch.ones_like(best, dtype=torch.bool).scatter_(-1, chosen, False)
        left: Tensor = grouped.masked_fill(closed.unsqueeze(-1), -torch.inf)
        return left.flatten(-2)  # [T, G, E/G] -> [T, E]


_HERE = Inline()


@dataclass(frozen=True, slots=True)
class MixtureOfExperts:
    """Route, submit, do the shared expert meanwhile, wait, add."""

    router: Router
    shared: Callable[[Tensor], Tensor] | None
    """None: there is none, or `experts` compute it with the routed ones."""
    experts: ExpertBackend
    device: Device = _HERE
    """Who computes the shared expert; by default the calling thread, between submit and wait."""

    def __call__(self, layer: int, x: Tensor) -> Tensor:
        """[T, H] -> [T, H]"""
        ids, weights = self.router(x)
        ticket = self.experts.submit(layer, x.contiguous(), ids, weights.contiguous())
        if self.shared is None:
            return self.experts.wait(ticket).to(x.dtype)
        shared = self.device.compute(f"shared {layer}", partial(self.shared, x))
        routed = self.experts.wait(ticket).to(x.dtype)
        return shared.value() + routed
