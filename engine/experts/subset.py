"""A routed batch cut down to some of its experts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Subset:
    """The tokens that need any of the experts, and of each token those experts only.

    ``rows`` int64 [t] are the tokens' places in the whole batch.
    """

    rows: Tensor
    ids: Tensor
    weights: Tensor

    def scatter(self, part: Tensor, whole: Tensor) -> None:
        """Add a result of the subset, [t, H], to the whole batch's, [T, H], in place."""
        whole.index_add_(0, self.rows, part)


def narrow(ids: Tensor, weights: Tensor, wanted: Tensor) -> Subset | None:
    """Keep the entries for which `wanted`, bool [T, K], holds; None if there is none.

    Rows are as wide as the widest needs. Shorter ones repeat their first expert with weight 0:
    its bytes are in the cache by then, so a repeat costs no read.
    """
    if bool(wanted.all()):
        return Subset(torch.arange(len(ids), device=ids.device), ids, weights)
    rows = wanted.any(-1).nonzero().squeeze(-1)  # [t]
    if not len(rows):
        return None
    wanted, ids, weights = wanted[rows], ids[rows], weights[rows]
    width = int(wanted.sum(-1).max())
    # A stable sort of "not wanted" brings the wanted ones to the front in their order.
    order = (~wanted).to(torch.uint8).sort(dim=-1, stable=True).indices[:, :width]  # [t, K']
    kept = wanted.gather(-1, order)
    ids, weights = ids.gather(-1, order), weights.gather(-1, order)
    ids = torch.where(kept, ids, ids[:, :1])
    return Subset(rows, ids.contiguous(), (weights * kept).contiguous())
