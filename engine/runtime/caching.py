"""The caches of a loaded model, as its load request says."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import psutil
import torch

from engine.cache.archive import ArchiveUse, PageArchive
from engine.cache.budget import pool_pages
from engine.cache.fingerprint import fingerprint
from engine.cache.host_store import HostStore
from engine.cache.latent_pool import LatentForm, LatentPool
from engine.cache.prefix_tree import PrefixTree
from engine.cache.snapshot import SnapshotFolder
from engine.model.deepseek import Model
from engine.placement.limits import memory_limit
from engine.protocol import LoadRequest
from engine.version import VERSION

_MAPPED_SHARE = 0.7
"""Of memory that mapped weights may keep; see :mod:`engine.model.page_limit`."""
_SPILL_SHARE = 4
"""One part in so many of free memory takes what leaves a device."""


def new_tree(model: Model, request: LoadRequest, folder: Path, context: int) -> PrefixTree:
    """An empty tree over a pool of its own.

    Raises ResourceError ``cache_too_small``, ``out_of_memory``; CheckpointError.
    """
    form: LatentForm = model.cache_form if request.cache_form == "auto" else request.cache_form
    on_device, beside = model.place.type != "cpu", _free_memory(folder)
    free = _free_on_device() if on_device else beside
    pages = pool_pages(model.config, form, context, request.cache_bytes, free)
    pool = model.new_pool(pages, form)
    host = HostStore(beside // _SPILL_SHARE) if on_device else None
    wanted = request.snapshots
    if host is None and wanted is None:
        return PrefixTree(pool)
    root = _root(model, request, folder, pool)
    disk = (
        SnapshotFolder(Path(wanted.folder).expanduser(), root, wanted.max_bytes)
        if wanted is not None
        else None
    )
    return PrefixTree(pool, PageArchive(pool, root, host, disk))


def cache_use(tree: PrefixTree) -> dict[str, Any]:
    """Fields of the engine's status. Any thread."""
    pool = tree.pool
    use = tree.archive.use if tree.archive is not None else ArchiveUse()
    return {
        "cached_tokens": tree.tokens,
        "cache_pages": pool.pages,
        "cache_pages_used": pool.pages - pool.free,
        "cache_bytes": pool.pages * pool.page_bytes,
        "cache_form": pool.form,
        "spilled_pages": use.host_pages,
        "snapshot_pages": use.disk_pages,
        "snapshot_bytes": use.disk_bytes,
        "snapshot_error": use.error,
    }


def _root(model: Model, request: LoadRequest, folder: Path, pool: LatentPool) -> bytes:
    """The key before any page: all that a page's latents depend on, but for its tokens."""
    computed = (
        VERSION,
        str(model.dtype),
        request.mode,
        request.dense,
        request.deferred_experts,
        pool.form,
        tuple(pool.data.shape[1:]),
    )
    return hashlib.blake2b(fingerprint(folder) + repr(computed).encode(), digest_size=16).digest()


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
