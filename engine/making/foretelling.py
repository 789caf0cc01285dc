"""A model whose every next token is known, with a layer for multi-token prediction of known skill:
what such drafts gain and cost can be measured, and that they change nothing.

Attention and experts do all their work and add nothing, so the residual stream is the embedding of
the last token: random signs, of which the head knows which token comes after it. The first half of
the ordinary tokens follow each other in one ring and the second half in another, so nothing repeats
that could be copied. The prediction layer does the same with the embedding that it is given, but
its head is right only after a share of the first half, and never after one of the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.checkpoint.names import Expected
from engine.config import ModelConfig
from engine.making.idle import Idle, Matrix
from engine.making.shapes import read_shape
from engine.making.vocabulary import CONTROL
from engine.making.writer import Choice, write_model

_MARGIN = 24.0
"""Of the right token's logit; the others spread by this over the root of the hidden size."""


def foretelling_shape(layers: int, sizes: Mapping[str, int]) -> dict[str, Any]:
    """A config.json in K2's form with a prediction layer; `sizes` in place of K2's."""
    raw = read_shape("k2-thinking", layers=layers, experts="int4")
    return {**raw, "vocab_size": 2048, **sizes, "num_nextn_predict_layers": 1}


def write_foretelling(out: Path, raw: dict[str, Any], right: float, seed: int = 0) -> Path:
    """A folder of the shape `raw`, whose drafts are right after a share of half of the tokens.

    Raises as `write_model` does.
    """
    source = Foretelling(ModelConfig.from_dict(raw), right, seed)
    return write_model(raw, out, Choice(), source=source)


class Foretelling(Idle):
    """Bytes of such a model's tensors."""

    def __init__(self, config: ModelConfig, right: float, seed: int = 0) -> None:
        super().__init__(config, seed)
        rng = np.random.default_rng(seed)
        vocab, hidden = config.vocab_size, config.hidden_size
        self._signs = (1 - 2 * rng.integers(0, 2, (vocab, hidden))).astype(np.float32)
        ordinary = vocab - len(CONTROL)
        self.after = np.arange(vocab)
        """What follows each token; a control token follows itself."""
        for half in np.array_split(np.arange(ordinary), 2):
            ring = rng.permutation(half)
            self.after[ring] = np.roll(ring, -1)
        wrong = (rng.random(vocab) >= right) | (np.arange(vocab) >= ordinary // 2)
        self._guessed = np.where(wrong, (self.after + 1) % ordinary, self.after)
        self._hidden = hidden

    def _built(self, item: Expected) -> Matrix | None:
        name = item.name
        if name.endswith("o_proj.weight"):
            return np.zeros(item.shape, np.float32)
        if "embed_tokens" in name:
            return self._signs
        if "shared_head" in name:
            return self._head(self._guessed)
        if "lm_head" in name:
            return self._head(self.after)
        if "eh_proj" in name:  # the embedding's half comes first
            return np.eye(*item.shape, dtype=np.float32)
        return None

    def _head(self, after: NDArray[np.int64]) -> Matrix:
        """[V, H]: the row of what follows a token knows that token."""
        head = np.zeros_like(self._signs)
        np.add.at(head, after, self._signs * np.float32(_MARGIN / self._hidden))
        return head
