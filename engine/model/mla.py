"""Multi-head latent attention over a cache of compressed latents.

DeepSeek-V2 (arXiv:2405.04434), section 2.1. Two forms of the same sum: *expanded* builds keys and
values of every head from the latents (cheapest when many tokens ask at once: prefill), *absorbed*
folds the up-projections into query and output so that all heads read the latents themselves
(cheapest when one token asks: decode).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.cache.latent_pool import PagedCache
from engine.config import ModelConfig
from engine.model.layers import RMSNorm
from engine.model.linear import Linear
from engine.model.rope import RotaryTable

Form = Literal["auto", "expanded", "absorbed"]
ABSORB_UP_TO = 4
"""Chunks of at most this many tokens take the absorbed form."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One sequence's new tokens in a flat batch: rows `begin`..`end`, after `past` cached."""

    cache: PagedCache
    begin: int
    end: int
    past: int


@dataclass(frozen=True, slots=True)
class Attention:
    """One layer's attention. ``key_up`` [N, D, R] and ``value_up`` [N, Vh, R]: ``kv_b`` by head."""

    config: ModelConfig
    rotary: RotaryTable
    q_a: Linear | None
    q_a_norm: RMSNorm | None
    q_b: Linear
    kv_a: Linear
    kv_a_norm: RMSNorm
    kv_b: Linear
    key_up: Tensor
    value_up: Tensor
    out: Linear

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
        config = self.config
        q_nope, q_rope = self._queries(x, cos, sin)  # [N, T, D], [N, T, P]
        latent, k_rope = self.kv_a(x).split(
            (config.kv_lora_rank, config.qk_rope_head_dim), -1
        )  # [T, R], [T, P]
        k_rope = self.rotary.rotate(k_rope, cos, sin)
        fresh = torch.cat((self.kv_a_norm(latent), k_rope), -1)  # [T, R+P]
        outputs = []
        for s in segments:
            total = s.past + s.end - s.begin
            s.cache.write(layer, s.past, fresh[s.begin : s.end])
            cached = s.cache.read(layer, 0, total, x.dtype)  # [L, R+P]
            one = slice(s.begin, s.end)
            absorb = form == "absorbed" or (form == "auto" and s.end - s.begin <= ABSORB_UP_TO)
            attend = self._absorbed if absorb else self._expanded
            outputs.append(attend(q_nope[:, one], q_rope[:, one], cached, s.past))  # [N, t, Vh]
        heads = torch.cat(outputs, 1) if len(outputs) > 1 else outputs[0]  # [N, T, Vh]
        return self.out(heads.transpose(0, 1).flatten(1))  # [T, N*Vh] -> [T, H]

    def _queries(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """[T, H] -> unrotated [N, T, D] and rotated [N, T, P] parts."""
        config = self.config
        if self.q_a is not None and self.q_a_norm is not None:
            x = self.q_a_norm(self.q_a(x))  # [T, H] -> [T, q_rank]
        q = self.q_b(x).unflatten(-1, (config.num_attention_heads, -1))  # [T, N, D+P]
        nope, rope = q.transpose(0, 1).split(
            (config.qk_nope_head_dim, config.qk_rope_head_dim), -1
        )  # [N, T, D], [N, T, P]
        return nope, self.rotary.rotate(rope, cos, sin)

    def _expanded(self, q_nope: Tensor, q_rope: Tensor, cached: Tensor, past: int) -> Tensor:
        """Queries [N, t, D], [N, t, P] over [L, R+P] -> [N, t, Vh]."""
        config = self.config
        latent, k_rope = cached.split((config.kv_lora_rank, config.qk_rope_head_dim), -1)
        both = self.kv_b(latent).unflatten(-1, (config.num_attention_heads, -1))  # [L, N, D+Vh]
        k_nope, value = both.transpose(0, 1).split(
            (config.qk_nope_head_dim, config.v_head_dim), -1
        )  # [N, L, D], [N, L, Vh]
        k = torch.cat((k_nope, k_rope.expand(k_nope.shape[0], -1, -1)), -1)  # [N, L, D+P]
        q = torch.cat((q_nope, q_rope), -1)  # [N, t, D+P]
        mask = None if past == 0 else _causal_mask(q.shape[1], cached.shape[0], past, q.device)
        return F.scaled_dot_product_attention(
            q[None],
            k[None],
            value[None],
            attn_mask=mask,
            is_causal=mask is None,
            scale=config.softmax_scale,
        )[0]

    def _absorbed(self, q_nope: Tensor, q_rope: Tensor, cached: Tensor, past: int) -> Tensor:
        """The same, reading the latents once for all heads; softmax in float32."""
        config = self.config
        q = torch.cat(
            (q_nope @ self.key_up.to(q_nope.dtype), q_rope), -1
        )  # [N, t, D] -> [N, t, R+P]
        scores = (q @ cached.T).float() * config.softmax_scale  # [N, t, L]
        t = scores.shape[1]
        if t > 1:
            scores.masked_fill_(~_causal_mask(t, cached.shape[0], past, q.device), -torch.inf)
        weights = scores.softmax(-1).to(cached.dtype)
        context = weights @ cached[:, : config.kv_lora_rank]  # [N, t, L] x [L, R] -> [N, t, R]
        return context @ self.value_up.to(context.dtype).transpose(1, 2)  # [N, t, Vh]


def _causal_mask(t: int, total: int, past: int, place: torch.device) -> Tensor:
    """True where query i (position past+i) may read position j. [t, L]"""
    return torch.ones(t, total, dtype=torch.bool, device=place).tril(past)
