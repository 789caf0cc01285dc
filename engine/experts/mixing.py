"""One expert's share of a batch, in torch, wherever its tensors live."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.experts.base import ExpertWeights
from engine.experts.reference import dense


def mix_in(
    out: Tensor,
    x: Tensor,
    ids: Tensor,
    weights: Tensor,
    which: int,
    expert: ExpertWeights,
) -> None:
    """Add expert `which` to `out` float32 [T, H] for the tokens that chose it.

    `x` [T, H] in the dtype to multiply in; experts added in ascending order give the bits of
    :class:`engine.experts.reference.ReferenceExperts`, if that is float32.
    """
    token, slot = (ids == which).nonzero(as_tuple=True)  # [n], [n]
    if not len(token):
        return
    rows = x[token]  # [n, H]
    gate, up, down = (dense(m).to(x.dtype) for m in (expert.gate, expert.up, expert.down))
    inner = F.silu(F.linear(rows, gate)) * F.linear(rows, up)  # [n, I]
    y = F.linear(inner, down).float()  # [n, H]
    out.index_add_(0, token, y * weights[token, slot, None])


def working_dtype(place: torch.device) -> torch.dtype:
    """Accelerators multiply bf16 many times faster; processors mostly do not."""
    return torch.float32 if place.type == "cpu" else torch.bfloat16
