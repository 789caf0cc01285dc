"""Multi-head latent attention over a cache of compressed latents.

DeepSeek-V2 (arXiv:2405.04434), section 2.1. Two forms of the same sum: *expanded* builds keys and
values of every head from the latents (cheapest when many tokens ask at once: prefill), *absorbed*
folds the up-projections into query and output so that all heads read the latents themselves
(cheapest when few tokens ask: decode). Expanded keys and values exist only for a block of positions
on the native kernels, and only for a few heads elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.cache.latent_pool import PAGE_TOKENS, PagedCache
from engine.config import ModelConfig
from engine.model.layers import RMSNorm
from engine.model.linear import Linear, LinearPair
from engine.model.rope import RotaryTable

if TYPE_CHECKING:
    from engine.experts.native import NativeExperts

Form = Literal["auto", "expanded", "absorbed"]
ABSORB_UP_TO = 4
"""Without native kernels, chunks of at most this many tokens take the absorbed form."""
_BLOCK_BYTES = 64 << 20
"""Of expanded keys and values at a time: few enough to forget, long enough to be worth a call."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One sequence's new tokens in a flat batch: rows `begin`..`end`, after `past` cached."""

    cache: PagedCache
    begin: int
    end: int
    past: int


@dataclass(frozen=True, slots=True)
class Attention:
    """One layer's attention. ``key_up`` [N, D, R] and ``value_up`` [N, Vh, R]: ``kv_b`` by head.

    With `kernels` the native ones attend, in float32, and the form is what takes the fewest
    multiply-adds.
    """

    config: ModelConfig
    rotary: RotaryTable
    q_a: Linear | None
    q_a_norm: RMSNorm | None
    q_b: Linear
    kv_a: Linear
    enter: LinearPair
    """Whichever of q_a and q_b is first, and kv_a."""
    kv_a_norm: RMSNorm
    kv_b: Linear
    key_up: Tensor
    value_up: Tensor
    out: Linear
    kernels: NativeExperts | None = None

    def __call__(
        self,
        layer: int,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        segments: list[Segment],
        form: Form = "auto",
    ) -> Tensor:
        """[T, H] -> [T, H]; writes the new latents of every segment into its cache."""
        q, kv = self.enter(x)  # [T, q_rank or N*(D+P)], [T, R+P]
        q = self._queries(q, cos, sin)  # [T, N, D+P]
        fresh = self._latents(kv, cos, sin)  # [T, R+P]
        for s in segments:
            s.cache.write(layer, s.past, fresh[s.begin : s.end])
        few = [s for s in segments if self._absorb(form, s)]
        outputs = {}
        if few and self.kernels is not None:
            outputs = self._natively(q, layer, few)
        for s in segments:
            if s.begin in outputs:
                continue
            expanded = self._expanded if self.kernels is None else self._blocks
            attend = self._absorbed if s in few else expanded
            outputs[s.begin] = attend(q[s.begin : s.end], layer, s)  # [t, N*Vh]
        heads = torch.cat([outputs[s.begin] for s in segments])  # [T, N*Vh]
        return self.out(heads)  # [T, N*Vh] -> [T, H]

    def latents(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """What the cache keeps of tokens: [T, H] -> [T, R+P]"""
        return self._latents(self.kv_a(x), cos, sin)

    def _latents(self, kv: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[T, R+P] -> [T, R+P], normed and turned."""
        config = self.config
        latent, k_rope = kv.split(
            (config.kv_lora_rank, config.qk_rope_head_dim), -1
        )  # [T, R], [T, P]
        k_rope = self.rotary.rotate(k_rope, cos, sin)
        return torch.cat((self.kv_a_norm(latent), k_rope), -1)  # [T, R+P]

    def read(self, x: Tensor, cos: Tensor, sin: Tensor, cached: Tensor) -> Tensor:
        """One token's attention to latents [L, R+P], its own the last: [1, H] -> [1, H]"""
        q = (self.q_a or self.q_b)(x)  # [1, q_rank or N*(D+P)]
        q = self._queries(q, cos, sin)  # [1, N, D+P]
        return self.out(self._attend(q, cached, len(cached) - 1))

    def _absorb(self, form: Form, s: Segment) -> bool:
        """Whether a segment takes the absorbed form."""
        if form != "auto" or self.kernels is None:
            return form == "absorbed" or (form == "auto" and s.end - s.begin <= ABSORB_UP_TO)
        config = self.config
        t, total = s.end - s.begin, s.past + s.end - s.begin
        key, value = config.qk_nope_head_dim, config.v_head_dim
        rank, rope = config.kv_lora_rank, config.qk_rope_head_dim
        pairs = t * (s.past + total + 1) // 2
        absorbed = t * rank * (key + value) + pairs * (2 * rank + rope)
        return absorbed <= total * rank * (key + value) + pairs * (key + rope + value)

    def _queries(self, q: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """What `enter` gives, [T, q_rank or N*(D+P)] -> [T, N, D+P], the last P of each turned."""
        config = self.config
        if self.q_a_norm is not None:
            q = self.q_b(self.q_a_norm(q))  # [T, q_rank] -> [T, N*(D+P)]
        q = q.unflatten(-1, (config.num_attention_heads, -1))  # [T, N, D+P]
        self.rotary.turn(q[..., config.qk_nope_head_dim :], cos, sin)
        return q

    def _halves(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """[t, N, D+P] -> [N, t, D], [N, t, P], views."""
        widths = (self.config.qk_nope_head_dim, self.config.qk_rope_head_dim)
        nope, rope = q.transpose(0, 1).split(widths, -1)
        return nope, rope

    def _natively(self, q: Tensor, layer: int, few: list[Segment]) -> dict[int, Tensor]:
        """Queries [T, N, D+P] of segments, natively -> begin: [t, N*Vh]."""
        assert self.kernels is not None
        config = self.config
        rows = torch.cat([torch.arange(s.begin, s.end) for s in few])
        nope, rope = self._halves(q[rows].float())  # [N, t, D], [N, t, P]
        inside = torch.cat((nope @ self.key_up.float(), rope), -1)  # [N, t, R+P]
        parts = [(s.cache, s.past, s.end - s.begin) for s in few]
        inside = inside.transpose(0, 1).flatten(1)  # [N, t, R+P] -> [t, N*(R+P)]
        context = self.kernels.attend_latents(config, layer, inside, parts)  # [t, N*R]
        context = context.unflatten(1, (-1, config.kv_lora_rank)).transpose(0, 1)  # [N, t, R]
        out = context @ self.value_up.float().transpose(1, 2)  # [N, t, R] -> [N, t, Vh]
        heads = out.transpose(0, 1).flatten(1).to(q.dtype)  # [t, N*Vh]
        return dict(zip([s.begin for s in few], heads.split([n for *_, n in parts]), strict=True))

    def _blocks(self, q: Tensor, layer: int, s: Segment) -> Tensor:
        """Queries [t, N, D+P] over all that is cached, natively -> [t, N*Vh]."""
        config = self.config
        each = config.num_attention_heads * (config.qk_nope_head_dim + config.v_head_dim)
        step = max(PAGE_TOKENS, _BLOCK_BYTES // (4 * each) // PAGE_TOKENS * PAGE_TOKENS)

        def expanded() -> Iterator[tuple[Tensor, Tensor]]:
            total = s.past + q.shape[0]
            for begin in range(0, total, step):
                cached = s.cache.read(layer, begin, min(begin + step, total), q.dtype)  # [L, R+P]
                both = self.kv_b(cached[:, : config.kv_lora_rank])  # [L, R] -> [L, N*(D+Vh)]
                yield both.float(), cached.float()

        assert self.kernels is not None
        out = self.kernels.attend(config, q.flatten(1).float(), s.past, expanded())
        return out.to(q.dtype)

    def _expanded(self, q: Tensor, layer: int, s: Segment) -> Tensor:
        """The same on torch."""
        config = self.config
        q = q.transpose(0, 1)  # [t, N, D+P] -> [N, t, D+P]
        total = s.past + q.shape[1]
        cached = s.cache.read(layer, 0, total, q.dtype)  # [L, R+P]
        latent, k_rope = cached.split((config.kv_lora_rank, config.qk_rope_head_dim), -1)
        mask = None if s.past == 0 else _causal_mask(q.shape[1], total, s.past, q.device)
        each = total * (q.shape[-1] + config.v_head_dim) * q.element_size()
        step = max(1, _BLOCK_BYTES // each)
        outputs = []
        for first in range(0, config.num_attention_heads, step):
            heads = slice(first, first + step)
            k_nope = latent @ self.key_up[heads].to(q.dtype).transpose(1, 2)  # [n, L, D]
            value = latent @ self.value_up[heads].to(q.dtype).transpose(1, 2)  # [n, L, Vh]
            k = torch.cat((k_nope, k_rope.expand(k_nope.shape[0], -1, -1)), -1)  # [n, L, D+P]
            attended = F.scaled_dot_product_attention(
                q[None, heads],
                k[None],
                value[None],
                attn_mask=mask,
                is_causal=mask is None,
                scale=config.softmax_scale,
            )
            outputs.append(attended[0])  # [n, t, Vh]
        return torch.cat(outputs).transpose(0, 1).flatten(1)  # [N, t, Vh] -> [t, N*Vh]

    def _absorbed(self, q: Tensor, layer: int, s: Segment) -> Tensor:
        """The same, reading the latents once for all heads; softmax in float32."""
        cached = s.cache.read(layer, 0, s.past + q.shape[0], q.dtype)  # [L, R+P]
        return self._attend(q, cached, s.past)

    def _attend(self, q: Tensor, cached: Tensor, past: int) -> Tensor:
        """Queries [t, N, D+P] over latents [L, R+P] -> [t, N*Vh]"""
        config, t = self.config, q.shape[0]
        nope, rope = self._halves(q)  # [N, t, D], [N, t, P]
        inside = torch.cat((nope @ self.key_up.to(q.dtype), rope), -1)  # [N, t, R+P]
        scores = (inside @ cached.T).float() * config.softmax_scale  # [N, t, L]
        if t > 1:
            scores.masked_fill_(~_causal_mask(t, len(cached), past, q.device), -torch.inf)
        weights = scores.softmax(-1).to(cached.dtype)
        context = weights @ cached[:, : config.kv_lora_rank]  # [N, t, L] x [L, R] -> [N, t, R]
        out = context @ self.value_up.to(context.dtype).transpose(1, 2)  # [N, t, Vh]
        return out.transpose(0, 1).flatten(1)  # [t, N*Vh]


def _causal_mask(t: int, total: int, past: int, place: torch.device) -> Tensor:
    """True where query i (position past+i) may read position j. [t, L]"""
    return torch.ones(t, total, dtype=torch.bool, device=place).tril(past)
