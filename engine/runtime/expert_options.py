"""Where routed experts are to be, as a load request says or free memory suggests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import torch

from engine.cache.latent_pool import LatentForm
from engine.config import ModelConfig
from engine.experts.accelerator import find_accelerator
from engine.experts.assembly import ExpertOptions, hot_room
from engine.model.loader import fitting_dtype
from engine.model.weights import ROOM, free_memory
from engine.placement.footprint import Footprint, footprint
from engine.placement.room import budget
from engine.protocol import LoadRequest, WeightForm
from engine.runtime.caching import host_cache_bytes
from engine.runtime.streaming import stream_from

_PAGES = 64 << 10
"""What an expert's ends in the file may take beside it: six ranges in whole pages."""


def expert_options(request: LoadRequest, folder: Path) -> ExpertOptions:
    """What the load needs to know. Raises CheckpointError, ResourceError."""
    asked = request.expert_memory_bytes
    return ExpertOptions(
        device=request.device,
        ram_bytes=fitting_budget(request, folder) if asked is None else asked,
        policy=request.expert_policy,
        read_ahead=request.read_ahead,
        reading=request.expert_reading,
        on_gpu=_hot(request),
        deferred=request.deferred_experts,
        stream_from=stream_from(request, folder),
    )


def fitting_budget(request: LoadRequest, folder: Path) -> int:
    """Bytes for experts where not all of them fit into free memory; 0: the system decides.

    It also decides where a budget cannot be had, or would take away what was asked for: drafts of
    the checkpoint's own layer. Raises CheckpointError, ResourceError ``cache_too_small``.
    """
    config = ModelConfig.from_folder(folder)
    size = footprint(config)
    place = find_accelerator() if request.device == "auto" else None
    drafts = request.speculation == "mtp" and place is None
    if sys.platform != "linux" or not size.expert_count or drafts:
        return 0
    dtype = _dtype(request, config)
    form: LatentForm = "bf16" if dtype == torch.bfloat16 else "float32"
    hot = 0
    if place is not None:
        hot = hot_room(_hot(request), place, size.expert_count, size.expert_bytes)
    free = free_memory()
    return budget(
        (size.expert_count - hot) * size.expert_bytes,
        _dense_bytes(request, size, dtype) if place is None else 0,
        host_cache_bytes(config, request, folder, form, place is not None) + ROOM,
        free,
        2 * size.top_k * (size.expert_bytes + _PAGES),
    )


def _hot(request: LoadRequest) -> int | Literal["auto"]:
    return "auto" if request.hot_experts is None else request.hot_experts


def _dtype(request: LoadRequest, config: ModelConfig) -> torch.dtype:
    if request.dtype == "auto":
        return fitting_dtype(config)
    return torch.float32 if request.dtype == "float32" else torch.bfloat16


def _dense_bytes(request: LoadRequest, size: Footprint, dtype: torch.dtype) -> int:
    """What every token reads besides routed experts, on a machine without accelerator."""
    form: WeightForm
    if request.dense == "int8" or request.dense == "int4":
        form = request.dense
    else:
        form = "float32" if dtype == torch.float32 else size.dense_form
    embedding = 0 if size.tied else size.embedding_bytes
    return size.dense_bytes(form) + embedding
