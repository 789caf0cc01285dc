"""Which experts will the next layer want? Its router says so before the layer is reached.

Applied to the normed input of this layer, the next router errs by what this layer still adds to
the residual stream and by the difference of the two norms' weights, which are both small: most of
its choices come true (docs/tiers.md has the numbers).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from torch import Tensor

RouterOf = Callable[[Tensor], tuple[Tensor, Tensor]]


class ReadAhead:
    """Guesses the experts of layers that were added.

    ``most``: tokens at once at most; a long prompt wants all experts anyway.
    """

    def __init__(self, most: int = 8) -> None:
        self._most = most
        self._routers: dict[int, RouterOf] = {}

    def add_layer(self, layer: int, router: RouterOf) -> None:
        """Make a layer's router known: x [T, H] -> ids int32 [T, K], weights [T, K]."""
        self._routers[layer] = router

    def guess(self, layer: int, x: Tensor) -> list[int]:
        """Experts of the layer after `layer`, likeliest first, from its normed input x [T, H]."""
        following = self._routers.get(layer + 1)
        if following is None or not 0 < len(x) <= self._most:
            return []
        ids, _ = following(x)  # [T, H] -> [T, K]
        return [e for e, _ in Counter(ids.flatten().tolist()).most_common()]
