"""The whole network: embedding, layers, final norm, head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.cache.latent_pool import LatentForm, LatentPool, PagedCache, page_count
from engine.config import ModelConfig
from engine.errors import Aborted
from engine.experts.base import ExpertBackend
from engine.model.layers import NativeSwiGLU, RMSNorm, SwiGLU
from engine.model.linear import Linear
from engine.model.mla import Attention, Form, Segment
from engine.model.moe import MixtureOfExperts
from engine.model.mtp import Predictor
from engine.model.page_limit import PageLimit
from engine.model.rope import RotaryTable

if TYPE_CHECKING:
    from engine.model.network import NativeNetwork

FEW_TOKENS = 64
"""A step of at most this many tokens is taken by the native network whole, where there is one: it
is faster beyond, too, but between layers a step can be stopped."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Pre-norm attention and feed-forward (dense or mixture)."""

    attention_norm: RMSNorm
    attention: Attention
    mlp_norm: RMSNorm
    mlp: SwiGLU | NativeSwiGLU | MixtureOfExperts


@dataclass(frozen=True, slots=True)
class Batch:
    """New tokens of several sequences: (its cache, its token ids) each.

    ``rows``: of how many of each part's last tokens logits are wanted; empty: of the last one.
    """

    parts: Sequence[tuple[PagedCache, Sequence[int]]]
    rows: Sequence[int] = ()


class Model:
    """A loaded model. Engine thread only; `dtype` is float32 or bfloat16."""

    def __init__(
        self,
        config: ModelConfig,
        dtype: torch.dtype,
        embedding: Tensor,
        layers: list[Layer],
        norm: RMSNorm,
        head: Linear,
        rotary: RotaryTable,
        experts: ExpertBackend,
        pages: PageLimit,
        place: torch.device,
        cache_dtype: torch.dtype | None = None,
        network: NativeNetwork | None = None,
        predictor: Predictor | None = None,
    ) -> None:
        self.config = config
        self.dtype = dtype
        self.experts = experts
        self._embedding = embedding
        self._layers = layers
        self._norm = norm
        self._head = head
        self._rotary = rotary
        self._pages = pages
        self.place = place
        narrow = (cache_dtype or dtype) == torch.bfloat16
        self.cache_form: LatentForm = "bf16" if narrow else "float32"
        self._network = network
        self.predictor = predictor
        """Drafts tokens, where the checkpoint's layer for that was loaded."""

    @property
    def network(self) -> NativeNetwork | None:
        """What takes small batches whole, if anything does."""
        return self._network

    def new_pool(self, pages: int, form: LatentForm | None = None) -> LatentPool:
        """Pages where attention computes; `form` None: what the model was loaded for."""
        return LatentPool(self.config, pages, form or self.cache_form, self.place)

    def new_cache(self, limit: int | None = None, form: LatentForm | None = None) -> PagedCache:
        """An empty cache of its own for one sequence of at most `limit` tokens."""
        limit = limit or self.config.max_position_embeddings
        return PagedCache(self.new_pool(page_count(limit), form), limit)

    @torch.inference_mode()
    def forward(
        self,
        batch: Batch,
        should_abort: Callable[[], bool] = lambda: False,
        told: Callable[[float], None] = lambda _: None,
        *,
        all_logits: bool = False,
        form: Form = "auto",
    ) -> Tensor:
        """Logits float32 [rows, V] of each part's last tokens ([T, V] with `all_logits`).

        Raises Aborted between layers when `should_abort` says so; the caches then keep the length
        that they had. `told` hears between them which share of the layers is done.
        """
        segments = _segments(batch)
        flat = [i for _, tokens in batch.parts for i in tokens]
        ids = torch.tensor(flat, device=self.place)  # [T]
        positions = torch.cat([torch.arange(s.past, s.past + s.end - s.begin) for s in segments])
        cos, sin = (t.to(self.place) for t in self._rotary.at(positions))
        x = self._embedding[ids].to(self.dtype)  # [T] -> [T, H]
        whole = form == "auto" and len(flat) <= FEW_TOKENS
        if self._network is not None and whole:
            logits, hidden = self._network.step(x, cos, sin, segments)  # [T, H] -> [T, V]
            _finish(segments)
            if self.predictor is not None:
                self.predictor.follow(ids, hidden.to(x.dtype, copy=True), segments)
            wanted = _wanted(batch, segments)
            return logits if all_logits or len(wanted) == len(logits) else logits[wanted]
        for i, layer in enumerate(self._layers):
            if should_abort():
                raise Aborted()
            x = x + layer.attention(i, layer.attention_norm(x), cos, sin, segments, form)
            normed = layer.mlp_norm(x)
            mlp = layer.mlp
            x = x + (mlp(i, normed) if isinstance(mlp, MixtureOfExperts) else mlp(normed))
            self._pages.keep()
            told((i + 1) / len(self._layers))
        _finish(segments)
        if self.predictor is not None:
            self.predictor.follow(ids, self._norm(x), segments)
        if not all_logits:
            x = x[_wanted(batch, segments)]  # [T, H] -> [rows, H]
            if not len(x):
                return torch.empty(0, self.config.vocab_size)
        return self._head(self._norm(x)).float().cpu()

    def close(self) -> None:
        """Stop the expert workers."""
        self.experts.close()


def _finish(segments: list[Segment]) -> None:
    """Every layer has the new latents."""
    for s in segments:
        s.cache.length = s.past + s.end - s.begin


def _wanted(batch: Batch, segments: list[Segment]) -> list[int]:
    """Which tokens of the flat batch give logits."""
    rows = batch.rows or [1] * len(segments)
    return [i for s, n in zip(segments, rows, strict=True) for i in range(s.end - n, s.end)]


def _segments(batch: Batch) -> list[Segment]:
    segments, at = [], 0
    for cache, tokens in batch.parts:
        assert tokens, "a part without tokens has no last token"
        cache.reserve(cache.length + len(tokens))
        segments.append(Segment(cache, at, at + len(tokens), cache.length))
        at += len(tokens)
    return segments
