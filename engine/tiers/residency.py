"""Experts of which only some may be in memory: read before they are needed, dropped for others.

What is dropped stays mapped, so a layer can always be computed; the budget holds because every
expert that a call touches was admitted first, and calls that need more than there is room for are
done in waves.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor

from engine.errors import Aborted, ResourceError
from engine.experts.base import ExpertBackend, ExpertWeights, Ticket, tensors_of
from engine.experts.stats import MAPPED, RAM, ExpertStats
from engine.experts.subset import narrow
from engine.tiers.policies import DecayedLfu, Policy, PolicyMaker
from engine.tiers.readahead import ReadAhead
from engine.tiers.resident import ResidentSet

READERS = 4
"""Threads that read; a disk that serves several requests at once wants several."""


@dataclass(eq=False, slots=True, weakref_slot=True)
class _Submitted:
    """A call under way on `keys`, or its outcome."""

    keys: frozenset[int]
    ticket: Ticket | None = None
    result: Tensor | None = None

    @property
    def done(self) -> bool:
        return self.ticket is None or self.ticket.done


class TieredExperts:
    """Implements :class:`engine.experts.base.ExpertBackend` within `budget` bytes of experts.

    Wraps a backend that computes from the mapped files. Engine thread only, but for `abort`.
    """

    def __init__(
        self,
        experts: ExpertBackend,
        stats: ExpertStats,
        budget: int,
        policy: PolicyMaker = DecayedLfu,
        ahead: ReadAhead | None = None,
    ) -> None:
        self.budget = budget
        self._experts, self._stats, self._ahead = experts, stats, ahead
        self._make_policy = policy
        self._policy: Policy | None = None
        self._pages = ResidentSet()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="read-ahead")
        self._loading: dict[int, Future[None]] = {}
        self._foreseen: set[int] = set()
        """Read ahead and not used since."""
        self._guess: tuple[int, frozenset[int]] = (-1, frozenset())
        """The layer that was guessed last, and the keys."""
        self._under_way: WeakSet[_Submitted] = WeakSet()
        self._epoch = 0

    @property
    def name(self) -> str:
        return f"{self._experts.name}, {self.budget / 1e9:.3g} GB at a time"

    def add_layer(self, layer: int, experts: list[ExpertWeights]) -> None:
        self._experts.add_layer(layer, experts)
        first = self._key(layer, 0)
        for key, expert in enumerate(experts, first):
            self._pages.add(key, tensors_of(expert))
        self._stats.placement[self._stats.row(layer)] = MAPPED

    def submit(self, layer: int, x: Tensor, ids: Tensor, weights: Tensor) -> Ticket:
        epoch = self._epoch
        policy = self._ready()
        first = self._key(layer, 0)
        chosen, choices = np.unique(ids.numpy(), return_counts=True)
        needed = [first + e for e in chosen.tolist()]
        self._count(layer, needed, choices.tolist())
        if len(needed) > policy.room:
            return _Submitted(frozenset(), result=self._in_waves(layer, x, ids, weights, epoch))
        self._admit(needed)
        self._arrive(needed)
        submitted = _Submitted(frozenset(needed), self._experts.submit(layer, x, ids, weights))
        self._under_way.add(submitted)
        self._read_ahead(layer, x)
        return submitted

    def wait(self, ticket: Ticket) -> Tensor:
        assert isinstance(ticket, _Submitted)
        if ticket.ticket is not None:
            inner, ticket.ticket = ticket.ticket, None
            self._under_way.discard(ticket)
            ticket.result = self._experts.wait(inner)
        if ticket.result is None:
            raise Aborted()
        return ticket.result

    def abort(self) -> None:
        self._epoch += 1
        self._experts.abort()

    def settle(self) -> None:
        """Sleep until nothing is computed or read any more."""
        for submitted in list(self._under_way):
            try:
                self.wait(submitted)
            except Aborted:
                submitted.result = None
        self._arrive(list(self._loading))

    def close(self) -> None:
        self._readers.shutdown(cancel_futures=True)
        self._experts.close()
        self._pages.close()

    # -- what is where

    def _key(self, layer: int, expert: int) -> int:
        return self._stats.row(layer) * self._stats.experts + expert

    def _ready(self) -> Policy:
        """The policy, once all layers are known. Raises ResourceError if nothing fits."""
        if self._policy is None:
            largest = self._pages.largest or 1
            capacity = min(self.budget // largest, len(self._pages))
            if capacity < 1:
                raise ResourceError(
                    "budget_too_small",
                    f"one expert takes {largest:,} bytes, the budget is {self.budget:,}",
                    "give the experts more memory",
                )
            self._policy = self._make_policy(capacity)
        return self._policy

    def _count(self, layer: int, needed: list[int], choices: list[int]) -> None:
        stats, policy = self._stats, self._ready()
        guessed_layer, guess = self._guess
        if guessed_layer == layer:
            stats.predicted += len(guess)
            stats.predicted_right += len(guess.intersection(needed))
        for key, count in zip(needed, choices, strict=True):
            ahead = key in self._foreseen
            if ahead or key not in policy:
                stats.mapped_hits += count
                stats.read_ahead_hits += count if ahead else 0
            self._foreseen.discard(key)

    def _admit(self, keys: Iterable[int], *, use: bool = True) -> None:
        """Make room and begin to read what is not there. `keys` are busy while others come."""
        policy = self._ready()
        keys = list(keys)
        busy = self._busy().union(keys)
        if len(busy) > policy.room:
            self.settle()
            busy = frozenset(keys)
        for key in keys:
            absent = key not in policy
            gone = policy.access(key, busy) if use else policy.admit(key, busy)
            if gone is not None:
                self._drop(gone)
            if absent:
                self._place(key, RAM)
                self._pages.begin(key)
                self._loading[key] = self._readers.submit(self._pages.read, key)

    def _arrive(self, keys: Iterable[int]) -> None:
        """Sleep until they are in memory."""
        for key in keys:
            future = self._loading.pop(key, None)
            if future is not None:
                future.result()

    def _drop(self, key: int) -> None:
        self._foreseen.discard(key)
        self._place(key, MAPPED)
        self._pages.drop(key)

    def _place(self, key: int, tier: int) -> None:
        self._stats.placement.reshape(-1)[key] = tier

    def _busy(self) -> frozenset[int]:
        self._loading = {k: f for k, f in self._loading.items() if not f.done()}
        return frozenset(self._loading).union(*(s.keys for s in self._under_way))

    # -- schedules

    def _read_ahead(self, layer: int, x: Tensor) -> None:
        """Begin to read what the next layer will likely want, as far as there is room beside."""
        if self._ahead is None:
            return
        policy = self._ready()
        guess = [self._key(layer + 1, e) for e in self._ahead.guess(layer, x)]
        self._guess = layer + 1, frozenset(guess)
        absent = [key for key in guess if key not in policy]
        room = policy.room - len(self._busy().union(k for k in guess if k in policy))
        if absent and room > 0:
            self._foreseen.update(absent[:room])
            held = [key for key in guess if key in policy]
            self._admit([*held, *absent[:room]], use=False)

    def _in_waves(
        self, layer: int, x: Tensor, ids: Tensor, weights: Tensor, epoch: int
    ) -> Tensor | None:
        """The whole result, a few experts at a time; None if it was aborted.

        While one wave is computed the next is read: each takes half of the room.
        """
        self.settle()
        room = self._ready().room
        waves = ids.unique().split(max(1, room // 2))
        keys = [[self._key(layer, e) for e in wave.tolist()] for wave in waves]
        out = torch.zeros(x.shape, dtype=torch.float32)  # [T, H]
        self._admit(keys[0])
        for n, wave in enumerate(waves):
            if self._epoch != epoch:
                return None
            self._arrive(keys[n])
            part = narrow(ids, weights, torch.isin(ids, wave))
            assert part is not None
            rows = x[part.rows].contiguous()
            ticket = self._experts.submit(layer, rows, part.ids, part.weights)
            running = _Submitted(frozenset(keys[n]), ticket)
            self._under_way.add(running)
            if n + 1 < len(waves) and room > 1:
                self._admit(keys[n + 1])
            try:
                part.scatter(self.wait(running), out)
            except Aborted:
                return None
            if n + 1 < len(waves) and room == 1:
                self._admit(keys[n + 1])
        return out
