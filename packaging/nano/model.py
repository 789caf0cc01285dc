"""The training-side network: K2 skeleton on flat token batches.

Tokens of all documents lie in one flat dimension T; only attention sees documents, group by group
of equal length, so no attention is spent across documents and little on padding.
Reference for the maths: DeepSeek-V3 technical report (arXiv:2412.19437), section 2.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .config import NanoConfig
from .quant import fake_quant


@dataclass(frozen=True, slots=True)
class Groups:
    """How a flat batch divides into documents: runs of `count` documents padded to `length`."""

    parts: tuple[tuple[int, int], ...]

    @property
    def tokens(self) -> int:
        """Tokens including padding."""
        return sum(count * length for count, length in self.parts)

    def positions(self) -> torch.Tensor:
        """Position of each token in its document. [T]"""
        return torch.cat([torch.arange(length).repeat(count) for count, length in self.parts])


def rope_table(cfg: NanoConfig, positions: torch.Tensor) -> torch.Tensor:
    """Rotations as complex numbers of length one. [T] -> [T, 1, P/2]"""
    half = cfg.qk_rope_head_dim // 2
    inv = cfg.rope_theta ** (-torch.arange(half, dtype=torch.float32) / half)
    angle = positions.float()[:, None] * inv  # [T] -> [T, P/2]
    return torch.polar(torch.ones_like(angle), angle)[:, None]


def rotate(x: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Rotates interleaved pairs (0,1), (2,3), ... [T, N, P] -> [T, N, P]"""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))  # [T, N, P] -> [T, N, P/2]
    return torch.view_as_real(pairs * turns).flatten(-2).to(x.dtype)


class Normalise(torch.autograd.Function):
    """x / rms(x) * weight with its gradient written out: half the passes over memory."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        inverse = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
        unit = x * inverse
        ctx.save_for_backward(unit, weight, inverse)
        return unit * weight

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        unit, weight, inverse = ctx.saved_tensors
        to_unit = grad * weight
        to_x = (to_unit - unit * (to_unit * unit).mean(-1, keepdim=True)).mul_(inverse)
        return to_x, (grad * unit).flatten(0, -2).sum(0), None


class RMSNorm(nn.Module):
    """Root-mean-square norm in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Normalise.apply(x.float(), self.weight, self.eps)


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, watch: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Causal attention; with `watch` also the largest logit of each head. [B, N, L, D] x 3

    Written out, because torch's fused kernel is over twice as slow backwards in bf16 on CPUs at
    these lengths.
    """
    length = q.shape[-2]
    mask = torch.full((length, length), -torch.inf).triu(1)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # [B, N, L, L]
    scores = scores.float() + mask
    peak = scores.detach().amax((0, 2, 3)) if watch else None
    return scores.softmax(-1).to(v.dtype) @ v, peak


class Attention(nn.Module):
    """Multi-head latent attention, expanded form."""

    def __init__(self, cfg: NanoConfig) -> None:
        super().__init__()
        n, self.cfg = cfg.num_attention_heads, cfg
        self.q_a_proj = nn.Linear(cfg.hidden_size, cfg.q_lora_rank, bias=False)
        self.q_a_layernorm = RMSNorm(cfg.q_lora_rank, cfg.rms_norm_eps)
        self.q_b_proj = nn.Linear(cfg.q_lora_rank, n * cfg.qk_head_dim, bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(
            cfg.hidden_size, cfg.kv_lora_rank + cfg.qk_rope_head_dim, bias=False
        )
        self.kv_a_layernorm = RMSNorm(cfg.kv_lora_rank, cfg.rms_norm_eps)
        self.kv_b_proj = nn.Linear(
            cfg.kv_lora_rank, n * (cfg.qk_nope_head_dim + cfg.v_head_dim), bias=False
        )
        self.o_proj = nn.Linear(n * cfg.v_head_dim, cfg.hidden_size, bias=False)
        self.watch = False
        self.max_logit: torch.Tensor | None = None

    def forward(self, x: torch.Tensor, rope: torch.Tensor, groups: Groups) -> torch.Tensor:
        """[T, H] -> [T, H]; with `watch` also records the largest logit of each head. [N]"""
        cfg, n = self.cfg, self.cfg.num_attention_heads
        q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x))).unflatten(-1, (n, -1))
        q_nope, q_rope = q.split((cfg.qk_nope_head_dim, cfg.qk_rope_head_dim), -1)
        latent, k_rope = self.kv_a_proj_with_mqa(x).split(
            (cfg.kv_lora_rank, cfg.qk_rope_head_dim), -1
        )
        kv = self.kv_b_proj(self.kv_a_layernorm(latent)).unflatten(-1, (n, -1))
        k_nope, v = kv.split((cfg.qk_nope_head_dim, cfg.v_head_dim), -1)
        k_rope = rotate(k_rope.unsqueeze(-2), rope).expand(-1, n, -1)  # [T, P] -> [T, N, P]
        q = torch.cat((q_nope, rotate(q_rope, rope)), -1)  # [T, N, D+P]
        k = torch.cat((k_nope, k_rope), -1)  # [T, N, D+P]
        outs, at = [], 0
        maxima: list[torch.Tensor] = []
        for count, length in groups.parts:
            part = slice(at, at + count * length)
            at += count * length
            qg, kg, vg = (
                t[part].unflatten(0, (count, length)).transpose(1, 2) for t in (q, k, v)
            )  # [B, N, L, D]
            out, peak = attend(qg, kg, vg, self.watch)
            if peak is not None:
                maxima.append(peak)
            outs.append(out.transpose(1, 2).flatten(0, 1).flatten(1))  # [B*L, N*V]
        if maxima:
            self.max_logit = torch.stack(maxima).amax(0)
        return self.o_proj(torch.cat(outs))


class Mlp(nn.Module):
    """SwiGLU feed-forward."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden, inner, bias=False)
        self.up_proj = nn.Linear(hidden, inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)

    def forward(self, x: torch.Tensor, quantise: bool = False) -> torch.Tensor:
        """[T, H] -> [T, H]; `quantise` computes with the INT4 values."""
        gate, up, down = self.gate_proj.weight, self.up_proj.weight, self.down_proj.weight
        if quantise:
            gate, up, down = fake_quant(gate), fake_quant(up), fake_quant(down)
        inner = F.linear(x, torch.cat((gate, up)))
        a, b = inner.chunk(2, -1)
        return F.linear(F.silu(a) * b, down)


class Moe(nn.Module):
    """Sigmoid router with correction bias (arXiv:2408.15664), routed experts and a shared one."""

    e_score_correction_bias: torch.Tensor
    load: torch.Tensor

    def __init__(self, cfg: NanoConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.gate = nn.Linear(cfg.hidden_size, cfg.n_routed_experts, bias=False)
        self.register_buffer("e_score_correction_bias", torch.zeros(cfg.n_routed_experts))
        self.register_buffer("load", torch.zeros(cfg.n_routed_experts), persistent=False)
        self.experts = nn.ModuleList(
            Mlp(cfg.hidden_size, cfg.moe_intermediate_size) for _ in range(cfg.n_routed_experts)
        )
        self.shared_experts = Mlp(cfg.hidden_size, cfg.moe_intermediate_size * cfg.n_shared_experts)

    def route(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Chosen experts and their weights. [T, H] -> ids [T, K], weights [T, K]"""
        with torch.autocast("cpu", enabled=False):
            score = F.linear(x.float(), self.gate.weight).sigmoid()  # [T, H] -> [T, E]
        ids = (score + self.e_score_correction_bias).topk(self.cfg.num_experts_per_tok, -1).indices
        weights = score.gather(-1, ids)  # [T, E] -> [T, K]
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return ids, weights * self.cfg.routed_scaling_factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, H] -> [T, H]"""
        ids, weights = self.route(x)
        flat = ids.flatten()
        order = flat.argsort()
        counts = flat.bincount(minlength=self.cfg.n_routed_experts)
        if self.training:
            self.load += counts
        tokens = order // self.cfg.num_experts_per_tok
        rows = x[tokens].split(counts.tolist())  # [T, H] -> E x [n, H]
        outs = [e(r, quantise=True) for e, r in zip(self.experts, rows, strict=True)]
        picked = torch.cat(outs) * weights.flatten()[order, None].to(outs[0].dtype)
        shared = self.shared_experts(x)
        return shared.index_add(0, tokens, picked.to(shared.dtype))

    @torch.no_grad()
    def balance(self, rate: float) -> None:
        """Nudges the choice bias of under- and overloaded experts and forgets the counts."""
        self.e_score_correction_bias += rate * (self.load.mean() - self.load).sign()
        self.load.zero_()


class Layer(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, cfg: NanoConfig, dense: bool) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)
        self.self_attn = Attention(cfg)
        self.post_attention_layernorm = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)
        self.mlp = Mlp(cfg.hidden_size, cfg.intermediate_size) if dense else Moe(cfg)

    def forward(self, x: torch.Tensor, rope: torch.Tensor, groups: Groups) -> torch.Tensor:
        x = x + self.self_attn(self.input_layernorm(x), rope, groups)
        return x + self.mlp(self.post_attention_layernorm(x))


class Nano(nn.Module):
    """Embedding, layers, norm and an untied head."""

    def __init__(self, cfg: NanoConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.embed_tokens = nn.Embedding(cfg.vocab_size, cfg.hidden_size)
        self.layers = nn.ModuleList(
            Layer(cfg, dense=i < cfg.first_k_dense_replace) for i in range(cfg.num_hidden_layers)
        )
        self.norm = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)
        self.lm_head = nn.Linear(cfg.hidden_size, cfg.vocab_size, bias=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                depth = math.sqrt(2 * cfg.num_hidden_layers)
                scale = depth if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
                nn.init.normal_(p, std=1.0 / math.sqrt(p.shape[1]) / scale)
        nn.init.normal_(self.embed_tokens.weight, std=0.5)
        nn.init.normal_(self.lm_head.weight, std=0.02)

    def forward(
        self, ids: torch.Tensor, groups: Groups, select: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits of all or the selected flat positions. [T] -> [T, V]"""
        rope = rope_table(self.cfg, groups.positions())
        x = self.embed_tokens(ids)  # [T] -> [T, H]
        for layer in self.layers:
            x = layer(x, rope, groups)
        if select is not None:
            x = x[select]
        return self.lm_head(self.norm(x))

    def moes(self) -> list[Moe]:
        """The mixture layers."""
        return [layer.mlp for layer in self.layers if isinstance(layer.mlp, Moe)]

    def attentions(self) -> list[Attention]:
        """The attention blocks in order."""
        return [layer.self_attn for layer in self.layers]
