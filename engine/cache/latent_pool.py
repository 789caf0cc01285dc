"""Paged KV cache: per layer and token R latent + P rotary-key values (arXiv:2405.04434, 2.1).

A pool is one tensor `[pages, layers, 64, row]`. A page comes first, so that all layers of 64 tokens
are one block: to copy, spill or store it is one move of memory.
"""

from __future__ import annotations

import math
import mmap
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.config import ModelConfig
from engine.errors import ResourceError

PAGE_TOKENS = 64
LatentForm = Literal["float32", "bf16", "int8"]
"""``int8``: R int8 | P bf16 | a float32 scale for each 64 of R, in bytes; the rest are values."""
GROUP = 64
"""Values of an int8 latent that share a scale."""
_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "int8": torch.uint8}
_HUGE: int | None = getattr(mmap, "MADV_HUGEPAGE", None)
"""Attention reads latents a fifth faster from huge pages."""
_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000) if sys.platform == "linux" else 0


class PageSource(Protocol):
    """Where a sequence's pages come from and go back to."""

    def take(self) -> int:
        """A page for the caller alone. Raises ResourceError ``cache_full``."""

    def give(self, page: int) -> None:
        """Take a page back."""


class LatentPool:
    """Pages of one model's latents. Engine thread only."""

    def __init__(
        self,
        config: ModelConfig,
        pages: int,
        form: LatentForm,
        place: torch.device | None = None,
    ) -> None:
        assert pages > 0
        self.form: LatentForm = form
        self.pages = pages
        self.rank, self.rope = config.kv_lora_rank, config.qk_rope_head_dim
        self.row = row_width(config, form)
        shape = pages, config.latent_layers, PAGE_TOKENS, self.row
        self.data = _allocate(shape, _DTYPES[form], place)
        """[pages, layers, 64, row]; see :data:`LatentForm` for a row."""
        self._touched = 0
        self._given: list[int] = []

    @property
    def page_bytes(self) -> int:
        """Of one page in all layers."""
        return self.data.stride(0) * self.data.element_size()

    @property
    def row_bytes(self) -> int:
        """Of one token in all layers."""
        return self.page_bytes // PAGE_TOKENS

    @property
    def free(self) -> int:
        """Pages that nobody has."""
        return self.pages - self._touched + len(self._given)

    def take(self) -> int:
        """A page for the caller alone, a used one first. Raises ResourceError ``cache_full``."""
        if self._given:
            return self._given.pop()
        if self._touched == self.pages:
            raise ResourceError(
                "cache_full",
                f"all {self.pages:,} pages of the cache ({self.pages * PAGE_TOKENS:,} tokens) "
                "are in use",
                "try again when other replies have ended, or load with a larger cache",
                retryable=True,
            )
        self._touched += 1
        return self._touched - 1

    def give(self, page: int) -> None:
        """Take a page back."""
        self._given.append(page)

    def copy(self, source: int, to: int, tokens: int) -> None:
        """Copy the first `tokens` rows of a page, in all layers."""
        self.data[to, :, :tokens] = self.data[source, :, :tokens]

    def dump(self, page: int, tokens: int) -> NDArray[np.uint8]:
        """A copy of a page's first `tokens` rows in all layers, bytes [layers * tokens * row].

        Any thread, for a page that nobody writes to.
        """
        rows = self.data[page, :, :tokens].view(torch.uint8)  # [layers, tokens, row bytes]
        copy = torch.empty(rows.shape, dtype=torch.uint8)
        copy.copy_(rows)
        raw: NDArray[np.uint8] = copy.flatten().numpy()
        return raw

    def fill(self, page: int, tokens: int, raw: NDArray[np.uint8]) -> None:
        """The opposite, for a page that nobody reads."""
        rows = self.data[page, :, :tokens].view(torch.uint8)  # [layers, tokens, row bytes]
        rows.copy_(torch.from_numpy(raw).view(rows.shape))

    def free_pages(self) -> set[int]:
        """Those that nobody has, one by one: for checks."""
        given = set(self._given)
        assert len(given) == len(self._given), "a page was given back twice"
        return given | set(range(self._touched, self.pages))


class PagedCache:
    """One sequence's pages. Engine thread only.

    ``length`` counts the tokens whose latents are complete in every layer. The first ``shared``
    pages may be read by other sequences too: they are full, and nothing is written there.
    """

    def __init__(self, pool: LatentPool, limit: int, source: PageSource | None = None) -> None:
        self.pool = pool
        self.limit = limit
        self.pages: list[int] = []
        self.length = 0
        self.shared = 0
        self._source = source or pool

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` in all. Raises ResourceError ``cache_full``."""
        assert tokens <= self.limit, "the scheduler admits no sequence longer than the context"
        while len(self.pages) * PAGE_TOKENS < tokens:
            self.pages.append(self._source.take())

    def truncate(self, tokens: int) -> None:
        """Forget everything after `tokens`; pages without any go back."""
        assert self.shared * PAGE_TOKENS <= tokens <= self.length
        self.length = tokens
        while len(self.pages) * PAGE_TOKENS >= tokens + PAGE_TOKENS:
            self._source.give(self.pages.pop())

    def write(self, layer: int, begin: int, fresh: Tensor) -> None:
        """Store the latents `fresh` [t, R+P] of any float type at positions `begin`..."""
        assert begin >= self.shared * PAGE_TOKENS
        rows = pack_rows(fresh, self.pool.rank) if self.pool.form == "int8" else fresh
        for page, at, offset, count in self._spans(begin, begin + len(rows)):
            self.pool.data[page, layer, offset : offset + count] = rows[at : at + count]

    def read(self, layer: int, begin: int, end: int, dtype: torch.dtype) -> Tensor:
        """The latents at positions `begin`..`end`, a copy in `dtype`, [end - begin, R+P]."""
        first = begin // PAGE_TOKENS
        pages = self.pages[first : page_count(end)]
        table = torch.tensor(pages, dtype=torch.int64, device=self.pool.data.device)
        rows = self.pool.data[table, layer].flatten(0, 1)  # [pages, 64, row] -> [tokens, row]
        rows = rows[begin - first * PAGE_TOKENS : end - first * PAGE_TOKENS]
        if self.pool.form == "int8":
            return unpack_rows(rows, self.pool.rank, self.pool.rope, dtype)
        return rows.to(dtype)

    def _spans(self, begin: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """(page, first of the given rows, first row of the page, rows) page by page."""
        at = begin
        while at < end:
            offset = at % PAGE_TOKENS
            count = min(PAGE_TOKENS - offset, end - at)
            yield self.pages[at // PAGE_TOKENS], at - begin, offset, count
            at += count


def page_count(tokens: int) -> int:
    """Pages that hold `tokens`."""
    return -(-tokens // PAGE_TOKENS)


def row_width(config: ModelConfig, form: LatentForm) -> int:
    """Of one token in one layer: values, or bytes for int8."""
    rank, rope = config.kv_lora_rank, config.qk_rope_head_dim
    if form == "int8":
        return -(-_int8_bytes(rank, rope) // 4) * 4
    return rank + rope


def page_bytes(config: ModelConfig, form: LatentForm) -> int:
    """Of 64 tokens in all layers."""
    row = row_width(config, form) * _DTYPES[form].itemsize
    return config.latent_layers * PAGE_TOKENS * row


def pack_rows(latents: Tensor, rank: int) -> Tensor:
    """[t, R+P] of any float type -> uint8 [t, row]: each value to the nearest step of its scale."""
    values = latents[:, :rank].float()  # [t, R]
    scales = _grouped(values).abs().amax(-1) / 127  # [t, R] -> [t, R/64]
    steps = _spread(scales, rank).clamp_min(torch.finfo(torch.float32).tiny)  # [t, R]
    small = (values / steps).round_().clamp_(-127, 127).to(torch.int8)
    keys = latents[:, rank:].to(torch.bfloat16)  # [t, P]
    parts = [_as(part, torch.uint8) for part in (small, keys, scales)]
    width = sum(part.shape[1] for part in parts)
    return torch.nn.functional.pad(torch.cat(parts, -1), (0, -width % 4))


def unpack_rows(rows: Tensor, rank: int, rope: int, dtype: torch.dtype) -> Tensor:
    """uint8 [t, row] -> [t, R+P] in `dtype`."""
    used = _int8_bytes(rank, rope)
    small, keys, scales = rows[:, :used].split((rank, 2 * rope, used - rank - 2 * rope), -1)
    wide = small.view(torch.int8).float() * _spread(_as(scales, torch.float32), rank)  # [t, R]
    return torch.cat((wide.to(dtype), _as(keys, torch.bfloat16).to(dtype)), -1)


def _int8_bytes(rank: int, rope: int) -> int:
    return rank + 2 * rope + 4 * -(-rank // GROUP)


def _grouped(values: Tensor) -> Tensor:
    """[t, R] -> [t, R/64, 64], filled up with zeros."""
    padded = torch.nn.functional.pad(values, (0, -values.shape[1] % GROUP))
    return padded.view(len(values), padded.shape[1] // GROUP, GROUP)


def _spread(scales: Tensor, rank: int) -> Tensor:
    """[t, R/64] -> [t, R]"""
    return scales.repeat_interleave(GROUP, 1)[:, :rank]


def _as(raw: Tensor, dtype: torch.dtype) -> Tensor:
    """The same bytes as numbers of another width; a copy, for they may begin anywhere."""
    return raw.clone(memory_format=torch.contiguous_format).view(dtype)


def _allocate(shape: Sequence[int], dtype: torch.dtype, place: torch.device | None) -> Tensor:
    """On a processor: pages that are never touched take no memory, nor a promise of any."""
    if place is not None and place.type != "cpu":
        return torch.empty(*shape, dtype=dtype, device=place)
    count = math.prod(shape)
    try:
        if not _NO_RESERVE:
            return torch.empty(*shape, dtype=dtype)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
        memory = mmap.mmap(-1, count * dtype.itemsize, flags=flags)
        if _HUGE is not None:
            with suppress(OSError):  # systems without them
                memory.madvise(_HUGE)
        flat: Tensor = torch.frombuffer(memory, dtype=dtype)
        return flat.view(*shape)
    except (OSError, RuntimeError):
        raise ResourceError(
            "out_of_memory",
            f"there is no room for a cache of {count * dtype.itemsize:,} bytes",
            "load with a smaller cache or a shorter context",
        ) from None
