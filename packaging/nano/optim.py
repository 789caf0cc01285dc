"""MuonClip: Muon on the matrices, AdamW on the rest, and QK-clip for MLA.

Muon: Jordan et al. 2024, as in `torch.optim.Muon`; update RMS matched to AdamW as in
arXiv:2502.16982. QK-clip: Kimi K2 technical report (arXiv:2507.20534), section 2.1.
"""

from __future__ import annotations

import torch

from .model import Attention, Nano


def build(model: Nano, lr: float) -> list[torch.optim.Optimizer]:
    """[Muon over projection matrices, AdamW over embedding, head, router and norms]."""
    matrices, rest = [], []
    for name, p in model.named_parameters():
        plain = p.dim() != 2 or name.startswith(("embed_tokens", "lm_head")) or ".gate." in name
        (rest if plain else matrices).append(p)
    return [
        torch.optim.Muon(
            matrices, lr=lr, weight_decay=0.02, momentum=0.95, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.97), weight_decay=0.0),
    ]


@torch.no_grad()
def clip_qk(attention: Attention, tau: float) -> float:
    """Rescales heads whose largest logit passed `tau`; returns the largest logit seen.

    The unrotated parts of query and key share the factor (its square root each); the rotary key
    is shared by all heads, so the query's rotary part takes the whole factor.
    """
    seen = attention.max_logit
    if seen is None:
        return 0.0
    cfg = attention.cfg
    factor = (tau / seen).clamp(max=1.0)  # [N]
    if bool((factor < 1).any()):
        q = attention.q_b_proj.weight.unflatten(0, (cfg.num_attention_heads, -1))
        kv = attention.kv_b_proj.weight.unflatten(0, (cfg.num_attention_heads, -1))
        root = factor.sqrt()[:, None, None]
        q[:, : cfg.qk_nope_head_dim] *= root
        q[:, cfg.qk_nope_head_dim :] *= factor[:, None, None]
        kv[:, : cfg.qk_nope_head_dim] *= root
    attention.max_logit = None
    return float(seen.max())
