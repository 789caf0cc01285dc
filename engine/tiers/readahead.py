"""Which experts will the next layer want? Its router says so before the layer is reached.

Applied to the normed input of this layer, the next router errs by what this layer still adds to
the residual stream and by the difference of the two norms' weights, which are both small: most of
its choices come true (docs/tiers.md has the numbers).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from torch import Tensor

RouterOf = Callable[[Tensor], tuple[Tensor, Tensor]]


class ReadAhead:
    """Guesses the experts of layers that were added.

    ``most``: tokens at once at most; a long prompt wants all experts anyway. ``share``: of what the
    router chooses, the part that is worth reading: the heaviest choices come true most often, and
    a wrong guess costs a read when reading is what all wait for.
    """

    def __init__(self, most: int = 8, share: float = 0.5) -> None:
        self._most, self._share = most, share
        self._routers: dict[int, RouterOf] = {}

    def add_layer(self, layer: int, router: RouterOf) -> None:
        """Make a layer's router known: x [T, H] -> ids int32 [T, K], weights [T, K]."""
        self._routers[layer] = router

    def guess(self, layer: int, x: Tensor) -> list[int]:
        """Experts of the layer after `layer`, likeliest first, from its normed input x [T, H]."""
        following = self._routers.get(layer + 1)
        if following is None or not 0 < len(x) <= self._most:
            return []
        ids, weights = following(x)  # [T, H] -> [T, K]
        heavy: Counter[int] = Counter()
        for expert, weight in zip(ids.flatten().tolist(), weights.flatten().tolist(), strict=True):
            heavy[expert] += weight
        return [e for e, _ in heavy.most_common(math.ceil(len(heavy) * self._share))]
