"""Which experts will the next layer want? Its router says so before the layer is reached.

Applied to the hidden state of this layer, the next router errs by what this layer still adds to
the residual stream, which is little: most of its choices come true (docs/tiers.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

RouterOf = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class _Known:
    """A layer's router and the weight [H] of the norm before it."""

    router: RouterOf
    norm: Tensor


class ReadAhead:
    """Guesses the experts of layers that were added. ``most`` tokens at once at most: a long
    prompt wants all of them anyway."""

    def __init__(self, most: int = 8) -> None:
        self._most = most
        self._known: dict[int, _Known] = {}
        self._factor: dict[int, Tensor] = {}

    def add_layer(self, layer: int, router: RouterOf, norm: Tensor) -> None:
        """Make a layer's router known; norm is the weight of the norm before it, [H]."""
        self._known[layer] = _Known(router, norm)

    def guess(self, layer: int, x: Tensor) -> list[int]:
        """Experts of the layer after `layer`, likeliest first, from its normed input x [T, H]."""
        following = self._known.get(layer + 1)
        if following is None or layer not in self._known or not 0 < len(x) <= self._most:
            return []
        ids, _ = following.router(x * self._between(layer))  # [T, H] -> [T, K]
        return [e for e, _ in Counter(ids.flatten().tolist()).most_common()]

    def _between(self, layer: int) -> Tensor:
        """What makes one layer's normed input the next one's: the quotient of the norms' weights.

        Where the first is about zero nothing can be restored.
        """
        if layer not in self._factor:
            here, there = self._known[layer].norm.float(), self._known[layer + 1].norm.float()
            usable = here.abs() > 1e-3
            self._factor[layer] = torch.where(usable, there / here.where(usable, torch.ones(())), 0)
        return self._factor[layer]
