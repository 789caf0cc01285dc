"""The caches of a loaded model, as its load request says."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

from engine.cache.budget import pool_pages
from engine.cache.latent_pool import LatentForm
from engine.cache.prefix_tree import PrefixTree
from engine.model.deepseek import Model
from engine.placement.limits import memory_limit
from engine.protocol import LoadRequest

_MAPPED_SHARE = 0.7
"""Of memory that mapped weights may keep; see :mod:`engine.model.page_limit`."""


def new_tree(model: Model, request: LoadRequest, folder: Path, context: int) -> PrefixTree:
    """An empty tree over a pool of its own. Raises ResourceError ``cache_too_small``."""
    form: LatentForm = model.cache_form if request.cache_form == "auto" else request.cache_form
    free = _free_memory(folder) if model.place.type == "cpu" else _free_on_device()
    pages = pool_pages(model.config, form, context, request.cache_bytes, free)
    return PrefixTree(model.new_pool(pages, form))


def _free_memory(folder: Path) -> int:
    """What is left when the mapped weights have all been read; until then they count as free."""
    memory, limit = psutil.virtual_memory(), memory_limit()
    free, total = int(memory.available), int(memory.total)
    if limit is not None:
        free, total = min(free, limit.free), min(total, limit.limit)
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return max(0, free - min(weights, int(total * _MAPPED_SHARE)))


def _free_on_device() -> int:
    try:
        return int(torch.accelerator.get_memory_info()[0])
    except (AttributeError, RuntimeError, NotImplementedError):
        return 0
