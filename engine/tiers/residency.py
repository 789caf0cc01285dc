"""Experts of which only some may be in memory: read before they are needed, dropped for others.

Memory is the mapped file's own pages or, where that reads faster, slots into which experts are read
directly. What is dropped stays mapped, so a layer can always be computed; the budget holds because
every expert that a call touches was admitted first, and calls that need more than there is room for
are done in waves.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as await_futures
from contextlib import suppress
from dataclasses import dataclass
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor

from engine.errors import Aborted, ResourceError
from engine.experts.base import (
    ExpertBackend,
    ExpertWeights,
    MovableExperts,
    Ticket,
    tensors_of,
)
from engine.experts.stats import MAPPED, RAM, ExpertStats
from engine.experts.subset import narrow
from engine.tiers.direct import DirectSet, NotDirectError
from engine.tiers.policies import DecayedLfu, Policy, PolicyMaker
from engine.tiers.readahead import ReadAhead
from engine.tiers.reading import Held, Reading, Wish, compare, fits, refuse
from engine.tiers.resident import ResidentSet
from engine.tiers.slots import Slots

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
        reading: Wish = "auto",
    ) -> None:
        self.budget = budget
        self.reading: Reading | None = None
        """How experts come; None until `prepare`."""
        self._wish = reading
        self._experts, self._stats, self._ahead = experts, stats, ahead
        self._make_policy = policy
        self._policy: Policy | None = None
        self._mapped = ResidentSet()
        self._held: Held = self._mapped
        self._as_mapped: dict[int, ExpertWeights] = {}
        self._nbytes = 0
        """Of all experts."""
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="read-ahead")
        self._loading: dict[int, Future[None]] = {}
        self._foreseen: set[int] = set()
        """Read ahead and not used since."""
        self._guess: tuple[int, frozenset[int]] = (-1, frozenset())
        """The layer that was guessed last, and the keys."""
        self._under_way: WeakSet[_Submitted] = WeakSet()
        self._computing: list[tuple[Ticket, frozenset[int]]] = []
        """Calls that may not have ended, with their keys, even if nobody will wait for them."""
        self._epoch = 0

    @property
    def name(self) -> str:
        how = f", {self.reading}" if self.reading is not None else ""
        held = f"{self.budget / 1e9:.3g} of {self._nbytes / 1e9:.3g} GB at a time"
        if self.budget >= self._nbytes:
            held = f"all {self._nbytes / 1e9:.3g} GB at a time"
        return f"{self._experts.name}, {held}{how}"

    def add_layer(self, layer: int, experts: list[ExpertWeights]) -> None:
        self._experts.add_layer(layer, experts)
        first = self._key(layer, 0)
        for key, expert in enumerate(experts, first):
            self._mapped.add(key, tensors_of(expert))
            self._nbytes += sum(t.nbytes for t in tensors_of(expert))
            self._as_mapped[key] = expert
        self._stats.placement[self._stats.row(layer)] = MAPPED

    def prepare(self) -> None:
        """Choose how to read, once all layers are known: sleeps up to about a second.

        Raises CheckpointError if the files cannot be read, ResourceError ``unsupported`` if
        direct reading was asked for and is not to be had.
        """
        if self.reading is None:
            self.reading = self._choose()

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
        submitted = self._begin(needed, self._experts.submit(layer, x, ids, weights))
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
            with suppress(Aborted):
                self.wait(submitted)
        for ticket, _ in self._computing:
            with suppress(Aborted):
                self._experts.wait(ticket)
        await_futures(self._loading.values())

    def close(self) -> None:
        self._readers.shutdown(cancel_futures=True)
        self._experts.close()
        if self._held is not self._mapped:
            self._held.close()
        self._mapped.close()

    # -- what is where

    def _key(self, layer: int, expert: int) -> int:
        return self._stats.row(layer) * self._stats.experts + expert

    def _ready(self) -> Policy:
        """The policy, once all layers are known. Raises ResourceError if nothing fits."""
        if self._policy is None:
            self.prepare()
            capacity = self._capacity
            if capacity < 1:
                raise ResourceError(
                    "budget_too_small",
                    f"one expert takes {self._mapped.largest:,} bytes, "
                    f"the budget is {self.budget:,}",
                    "give the experts more memory",
                )
            self._policy = self._make_policy(capacity)
        return self._policy

    @property
    def _capacity(self) -> int:
        """How many experts fit into the budget."""
        return min(self.budget // (self._mapped.largest or 1), len(self._mapped))

    def _choose(self) -> Reading:
        """Take a way to read: the map, unless another is to be had and faster."""
        experts, count, size = self._experts, self._capacity, self._mapped.largest
        if self._wish == "map":
            return Reading(False, "as asked")
        if not isinstance(experts, MovableExperts) or not size:
            return refuse(self._wish, "they are computed where they are")
        if not count:
            return Reading(False, "nothing fits")
        if self._wish == "auto" and not fits(count * size):
            return Reading(False, "memory is short")

        def move(key: int, expert: ExpertWeights) -> None:
            row, which = divmod(key, self._stats.experts)
            experts.move_expert(self._stats.layers[row], which, expert)

        try:
            slots = Slots(size, count)
        except OSError as error:
            return refuse(self._wish, f"the system says: {error.strerror}")
        direct = DirectSet(self._mapped, self._as_mapped, slots, move)
        try:
            direct.open()
            reading = Reading(True, "as asked")
            if self._wish == "auto":
                reading = compare(self._mapped, direct, count, self._readers)
        except NotDirectError as error:
            direct.close()
            return refuse(self._wish, str(error))
        except BaseException:
            direct.close()
            raise
        if reading.direct:
            self._held = direct
        else:
            direct.close()
        return reading

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
                self._held.begin(key)
            if absent or self._failed(key):
                self._loading[key] = self._readers.submit(self._held.read, key)

    def _arrive(self, keys: Iterable[int]) -> None:
        """Sleep until they are in memory. Raises CheckpointError."""
        for key in keys:
            future = self._loading.get(key)
            if future is not None:
                future.result()
                del self._loading[key]
                self._held.arrive(key)

    def _failed(self, key: int) -> bool:
        """Whether it could not be read. Who needs it next has it tried again."""
        future = self._loading.get(key)
        return future is not None and future.done() and future.exception() is not None

    def _drop(self, key: int) -> None:
        self._foreseen.discard(key)
        self._place(key, MAPPED)
        self._loading.pop(key, None)
        self._held.drop(key)

    def _begin(self, keys: list[int], ticket: Ticket) -> _Submitted:
        """A call on `keys` that was submitted."""
        submitted = _Submitted(frozenset(keys), ticket)
        self._under_way.add(submitted)
        self._computing.append((ticket, submitted.keys))
        return submitted

    def _place(self, key: int, tier: int) -> None:
        self._stats.placement.reshape(-1)[key] = tier

    def _busy(self) -> frozenset[int]:
        """Keys that are being read or computed."""
        self._computing = [(t, keys) for t, keys in self._computing if not t.done]
        coming = frozenset(k for k, f in self._loading.items() if not f.done())
        computed = (keys for _, keys in self._computing)
        return coming.union(*computed, *(s.keys for s in self._under_way))

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
            running = self._begin(keys[n], ticket)
            if n + 1 < len(waves) and room > 1:
                self._admit(keys[n + 1])
            try:
                part.scatter(self.wait(running), out)
            except Aborted:
                return None
            if n + 1 < len(waves) and room == 1:
                self._admit(keys[n + 1])
        return out
