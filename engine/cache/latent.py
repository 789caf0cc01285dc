"""The compressed KV cache of one sequence: per layer and token R latent + P rotary-key values."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.config import ModelConfig

_FIRST = 256


class LatentCache:
    """Grows by doubling up to ``limit`` tokens. Engine thread only.

    ``length`` counts the tokens whose latents are complete in every layer.
    """

    def __init__(
        self,
        config: ModelConfig,
        dtype: torch.dtype,
        limit: int,
        place: torch.device | None = None,
    ) -> None:
        self.limit = limit
        self.length = 0
        self._layers = config.num_hidden_layers
        self._width = config.latent_dim
        shape = self._layers, 0, self._width
        self._data = torch.empty(shape, dtype=dtype, device=place)  # [L, capacity, R+P]

    @property
    def data(self) -> Tensor:
        """All layers, [layers, capacity, R+P]; another tensor after `reserve` has grown it."""
        return self._data

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self._data.nbytes

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` in all."""
        assert tokens <= self.limit, "the scheduler admits no sequence longer than the context"
        capacity = self._data.shape[1]
        if tokens <= capacity:
            return
        capacity = min(max(tokens, 2 * capacity, _FIRST), self.limit)
        data = self._data.new_empty(self._layers, capacity, self._width)
        data[:, : self.length] = self._data[:, : self.length]
        self._data = data

    def layer(self, layer: int, tokens: int) -> Tensor:
        """A view of the first `tokens` positions, [tokens, R+P]."""
        return self._data[layer, :tokens]

    def truncate(self, tokens: int) -> None:
        """Forget everything after `tokens`."""
        assert 0 <= tokens <= self.length
        self.length = tokens

    def copy_prefix(self, tokens: int) -> LatentCache:
        """A cache of its own with the first `tokens` positions."""
        assert 0 <= tokens <= self.length
        other = object.__new__(LatentCache)
        other.limit, other.length = self.limit, tokens
        other._layers, other._width = self._layers, self._width
        other._data = self._data[:, :tokens].clone()
        return other
