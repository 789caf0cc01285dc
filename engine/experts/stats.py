"""How often each routed expert was chosen, and how well the tiers foresaw it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GPU, RAM, MAPPED = range(3)
"""Where an expert is: on the device, in memory, in its file."""
TIERS = ("gpu", "ram", "mapped")
_MARK_EVERY = 5.0
_WINDOW = 60.0
_FEW = 8
"""Tokens up to which adding one by one is quicker than counting all first."""


@dataclass(frozen=True, slots=True)
class StatsSnapshot:
    """Numbers at one moment, of plain types. Rows are layers with routed experts."""

    layers: tuple[int, ...]
    experts: int
    top_k: int
    began: float
    """Unix time at which counting began."""
    tokens: int
    seconds: float
    counts: bytes
    """uint32 little-endian [layers, experts], since the load."""
    minute_tokens: int
    minute_seconds: float
    minute_counts: bytes
    """The same over about the last minute."""
    placement: bytes
    """uint8 [layers, experts], indices into ``TIERS``."""
    tier_hits: tuple[int, ...]
    """Choices by where the expert was when it was chosen; they add up to all hits."""
    predicted: int
    """Experts of which read-ahead said that the next layer would need them."""
    predicted_right: int
    read_ahead_hits: int
    """Of the choices of mapped experts, those that had been read ahead."""

    @property
    def prediction_hit_rate(self) -> float | None:
        """Of the mapped experts that were needed, the share that had been read ahead."""
        needed = self.tier_hits[MAPPED]
        return self.read_ahead_hits / needed if needed else None


class ExpertStats:
    """Counts on the engine thread; `snapshot` from any."""

    def __init__(self, layers: Sequence[int], experts: int, top_k: int) -> None:
        self.layers = tuple(layers)
        self.experts = experts
        self.top_k = top_k
        self.hits: NDArray[np.int64] = np.zeros((len(layers), experts), np.int64)
        self.placement: NDArray[np.uint8] = np.full(self.hits.shape, RAM, np.uint8)
        self.on_gpu: NDArray[np.bool_] = np.zeros(self.hits.shape, bool)
        self.gpu_hits = 0
        self.mapped_hits = 0
        self.tokens = 0
        self.predicted = 0
        self.predicted_right = 0
        self.read_ahead_hits = 0
        self.last: dict[int, NDArray[np.int32]] = {}
        """The newest routing of each layer, ids [T, K], e.g. to tell whose tokens chose what."""
        self._rows = list(self.hits)  # views: indexing one takes a tenth of indexing the whole
        self._starts = np.arange(len(layers))[:, None, None] * experts  # in `hits` laid flat
        self._row = {layer: row for row, layer in enumerate(self.layers)}
        self._began, self._began_wall = time.monotonic(), time.time()
        self._lock = threading.Lock()
        self._marks: deque[_Mark] = deque([_Mark(self._began, 0, self.hits.copy())])
        self._heat = np.zeros(self.hits.shape, np.float64)
        self._folded = _Mark(self._began, 0, self.hits.copy())

    def row(self, layer: int) -> int:
        """A layer's row in the arrays."""
        return self._row[layer]

    def count(self, layer: int, ids: NDArray[np.int32]) -> None:
        """Add a layer's routing, ids [T, K]."""
        row = self._row[layer]
        if row == 0:
            self.tokens += len(ids)
            self._mark()
        self.last[layer] = ids
        if len(ids) <= _FEW:
            np.add.at(self._rows[row], ids, 1)
        else:
            self._rows[row] += np.bincount(ids.reshape(-1), minlength=self.experts)

    def count_all(self, ids: NDArray[np.int32]) -> None:
        """Add the routing of every layer, ids [L, T, K]."""
        self.tokens += ids.shape[1]
        self._mark()
        self.last.update(zip(self.layers, ids, strict=True))
        np.add.at(self.hits.reshape(-1), self._starts + ids, 1)

    def heat(self, half_life: float = 4096.0) -> NDArray[np.float64]:
        """Hits [layers, experts] of which each counts half as much after `half_life` tokens."""
        with self._lock:
            since, old = self.tokens - self._folded.tokens, self._folded.hits
            if since:
                now = self.hits.copy()
                self._heat = self._heat * 0.5 ** (since / half_life) + (now - old)
                self._folded = _Mark(0.0, self.tokens, now)
            return self._heat.copy()

    def snapshot(self) -> StatsSnapshot:
        """The present numbers. Any thread; a step under way may be in them by half."""
        now = time.monotonic()
        with self._lock:
            mark = next((m for m in self._marks if now - m.at <= _WINDOW), self._marks[-1])
        gpu, mapped = self.gpu_hits, self.mapped_hits
        hits, tokens = self.hits.copy(), self.tokens
        total = int(hits.sum())
        # What was read for a layer under way is counted before its choices are.
        ram = max(total - gpu - mapped, 0)
        return StatsSnapshot(
            layers=self.layers,
            experts=self.experts,
            top_k=self.top_k,
            began=self._began_wall,
            tokens=tokens,
            seconds=now - self._began,
            counts=hits.astype("<u4").tobytes(),
            minute_tokens=tokens - mark.tokens,
            minute_seconds=now - mark.at,
            minute_counts=(hits - mark.hits).astype("<u4").tobytes(),
            placement=np.where(self.on_gpu, np.uint8(GPU), self.placement).tobytes(),
            tier_hits=(gpu, ram, mapped),
            predicted=self.predicted,
            predicted_right=self.predicted_right,
            read_ahead_hits=self.read_ahead_hits,
        )

    def _mark(self) -> None:
        now = time.monotonic()
        if now - self._marks[-1].at < _MARK_EVERY:
            return
        with self._lock:
            self._marks.append(_Mark(now, self.tokens, self.hits.copy()))
            while now - self._marks[0].at > _WINDOW + _MARK_EVERY:
                self._marks.popleft()


@dataclass(frozen=True, slots=True)
class _Mark:
    """The counts at one moment."""

    at: float
    tokens: int
    hits: NDArray[np.int64]
