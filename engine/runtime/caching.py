"""The caches of a loaded model, as its load request says."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from engine.cache.archive import ArchiveUse, PageArchive
from engine.cache.budget import pool_pages
from engine.cache.fingerprint import fingerprint
from engine.cache.host_store import HostStore
from engine.cache.latent_pool import LatentForm, LatentPool, page_bytes
from engine.cache.prefix_tree import PrefixTree
from engine.cache.snapshot import SnapshotFolder
from engine.config import ModelConfig
from engine.model.deepseek import Model
from engine.model.page_limit import mapped_limit
from engine.model.weights import free_memory
from engine.protocol import LoadRequest
from engine.version import VERSION

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


def host_cache_bytes(
    config: ModelConfig, request: LoadRequest, folder: Path, form: LatentForm, on_device: bool
) -> int:
    """The most that caches will take of the host's memory, before anything is loaded.

    Raises ResourceError ``cache_too_small``.
    """
    beside = _free_memory(folder)
    if on_device:
        return beside // _SPILL_SHARE
    form = form if request.cache_form == "auto" else request.cache_form
    pages = pool_pages(config, form, context_of(config, request), request.cache_bytes, beside)
    return pages * page_bytes(config, form)


def context_of(config: ModelConfig, request: LoadRequest) -> int:
    """Tokens of the longest sequence."""
    longest = config.max_position_embeddings
    return min(request.max_context or longest, longest)


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
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return max(0, free_memory() - min(weights, mapped_limit()))


def _free_on_device() -> int:
    try:
        return int(torch.accelerator.get_memory_info()[0])
    except (AttributeError, RuntimeError, NotImplementedError):
        return 0
