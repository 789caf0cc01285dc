"""The layer for multi-token prediction that DeepSeek-V3 checkpoints carry, used to draft.

DeepSeek-V3 (arXiv:2412.19437), section 2.2: from the hidden state of token i and the embedding of
token i+1 one more layer foretells token i+2. The report leaves open which hidden state; the layer
was trained on the one after the final norm, and a chain of drafts goes on with what the layer's own
norm gives.

What the layer keeps of token q, from the hidden state of q-1, lies beside the latents of token q,
rotated at q: distances are what they are in the report, and a page depends on no token after it.
Token 0 has no such row and is never read. After a prefix that came from a cache the hidden state
before the first new token is not known; zeros stand for it.

Rows are computed when a draft wants them, or when their page is full and may be shared: while
nothing is drafted, the layer is read once for 64 tokens. Zeros stand for those that are owed, so
that is what a page has that is kept before it is full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from engine.cache.latent_pool import PAGE_TOKENS, PagedCache
from engine.model.layers import RMSNorm
from engine.model.linear import Linear
from engine.model.mla import Segment
from engine.model.moe import MixtureOfExperts
from engine.model.rope import RotaryTable

if TYPE_CHECKING:
    from engine.model.deepseek import Layer

_KEPT = 32
"""Hidden states kept of a sequence's last step: more than a step has drafts."""


@dataclass(frozen=True, slots=True)
class PredictionLayer:
    """The layer's parts. ``join`` is [H, 2H], the embedding's half first."""

    index: int
    """Of its latents in the cache."""
    embedding: Tensor
    embedding_norm: RMSNorm
    hidden_norm: RMSNorm
    join: Linear
    layer: Layer
    norm: RMSNorm
    head: Linear

    def enter(self, ids: Tensor, hidden: Tensor) -> Tensor:
        """Tokens [T] and the hidden states before them [T, H] -> [T, H]"""
        x = self.embedding_norm(self.embedding[ids].to(hidden.dtype))  # [T] -> [T, H]
        return self.join(torch.cat((x, self.hidden_norm(hidden)), -1))  # [T, 2H] -> [T, H]


@dataclass(frozen=True, slots=True)
class _Seen:
    """Hidden states [n, H] of the tokens from position ``begin`` on."""

    hidden: Tensor
    begin: int

    def at(self, position: int) -> Tensor | None:
        """[H], if it is kept."""
        i = position - self.begin
        return self.hidden[i] if 0 <= i < len(self.hidden) else None


@dataclass(frozen=True, slots=True)
class _Rows:
    """What a page's rows are made of: tokens [n] from position ``begin`` on, and the hidden states
    before them [n, H]."""

    begin: int
    ids: Tensor
    before: Tensor

    @property
    def end(self) -> int:
        return self.begin + len(self.ids)

    def upto(self, end: int) -> _Rows:
        """Those before position `end`."""
        return _Rows(self.begin, self.ids[: end - self.begin], self.before[: end - self.begin])

    def then(self, more: _Rows) -> _Rows:
        """With those that follow, also in place of what was drafted in vain."""
        known = self.upto(more.begin)
        ids, before = torch.cat((known.ids, more.ids)), torch.cat((known.before, more.before))
        return _Rows(self.begin, ids, before)


class Predictor:
    """Follows what the model computes and drafts from it. Engine thread only."""

    def __init__(self, layer: PredictionLayer, rotary: RotaryTable) -> None:
        self._layer = layer
        self._rotary = rotary
        self._seen: WeakKeyDictionary[PagedCache, _Seen] = WeakKeyDictionary()
        self._owed: WeakKeyDictionary[PagedCache, _Rows] = WeakKeyDictionary()

    def follow(self, ids: Tensor, hidden: Tensor, segments: Sequence[Segment]) -> None:
        """Keep what a step's tokens [T] with hidden states [T, H], after the final norm, give."""
        before = hidden.roll(1, 0)  # [T, H]
        for s in segments:
            seen = self._seen.get(s.cache)
            last = seen.at(s.past - 1) if seen is not None else None
            before[s.begin] = last if last is not None else 0
            kept = max(s.begin, s.end - _KEPT)
            self._seen[s.cache] = _Seen(hidden[kept : s.end], s.past + kept - s.begin)
        self._write([due for s in segments if (due := self._due(s, ids, before)) is not None])

    def _due(self, s: Segment, ids: Tensor, before: Tensor) -> tuple[PagedCache, _Rows] | None:
        """What is to be computed now of a segment, and of what is owed from before it."""
        rows = _Rows(s.past, ids[s.begin : s.end], before[s.begin : s.end])
        owed = self._pay(s.cache, s.past)
        if owed is not None:
            rows = owed.then(rows)
        if rows.end // PAGE_TOKENS > rows.begin // PAGE_TOKENS:
            return s.cache, rows
        self._owed[s.cache] = rows
        width = s.cache.pool.rank + s.cache.pool.rope
        s.cache.write(self._layer.index, s.past, before.new_zeros(s.end - s.begin, width))
        return None

    def _pay(self, cache: PagedCache, end: int) -> _Rows | None:
        """What is owed of a cache before position `end`, if nobody else's rows came between."""
        owed = self._owed.pop(cache, None)
        if owed is None or not owed.begin < end <= owed.end:
            return None
        return owed.upto(end) if owed.begin >= cache.shared * PAGE_TOKENS else None

    def _write(self, due: Sequence[tuple[PagedCache, _Rows]]) -> None:
        if not due:
            return
        inner = self._layer.layer
        ids, before = torch.cat([r.ids for _, r in due]), torch.cat([r.before for _, r in due])
        positions = torch.cat([torch.arange(r.begin, r.end) for _, r in due])
        cos, sin = (t.to(before.device) for t in self._rotary.at(positions))
        x = inner.attention_norm(self._layer.enter(ids, before))  # [T, H]
        fresh = inner.attention.latents(x, cos, sin)  # [T, H] -> [T, R+P]
        split = fresh.split([len(r.ids) for _, r in due])
        for (cache, rows), latents in zip(due, split, strict=True):
            cache.write(self._layer.index, rows.begin, latents)

    @torch.inference_mode()
    def draft(self, cache: PagedCache, token: int, most: int) -> list[int]:
        """The likeliest tokens after `token`, which follows what is cached, one by one.

        None if the hidden state before it is not known.
        """
        position = cache.length
        seen = self._seen.get(cache)
        hidden = seen.at(position - 1) if seen is not None else None
        if hidden is None:
            return []
        owed = self._pay(cache, position)
        if owed is not None:
            self._write([(cache, owed)])
        part, inner = self._layer, self._layer.layer
        cached = cache.read(part.index, 1, position, hidden.dtype)  # [L-1, R+P]
        hidden, drafts = hidden[None], [token]
        for at in range(position, position + most):
            cos, sin = (t.to(hidden.device) for t in self._rotary.at(torch.tensor([at])))
            ids = torch.tensor(drafts[-1:], device=hidden.device)  # [1]
            x = part.enter(ids, hidden)  # [1, H]
            normed = inner.attention_norm(x)
            cached = torch.cat((cached, inner.attention.latents(normed, cos, sin)))
            x = x + inner.attention.read(normed, cos, sin, cached)
            normed = inner.mlp_norm(x)
            mlp = inner.mlp
            added = mlp(part.index, normed) if isinstance(mlp, MixtureOfExperts) else mlp(normed)
            hidden = part.norm(x + added)
            drafts.append(int(part.head(hidden)[0].argmax()))
        return drafts[1:]
