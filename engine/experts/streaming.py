"""Long prompts on a device that holds no experts: their weights stream through two buffers.

A slab is as many consecutive experts of a layer as fit into a buffer: a whole layer where memory
allows it. While the device computes one slab, the copy queue fills the other buffer with the next,
over the layers' borders too. The crossover length from which this beats the processor is the bus's
time for all experts against the processor's time for the prompt; the planner knows both.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from engine.errors import Aborted, ResourceError
from engine.experts.base import (
    ExpertBackend,
    ExpertWeights,
    Ticket,
    check_submission,
    tensors_of,
    with_tensors,
)
from engine.experts.device import Device, Pending
from engine.experts.mixing import mix_in, working_dtype

BUFFERS = 2
_LINE = 256
"""Alignment of tensors in a buffer, for vector loads on any device."""


@dataclass(frozen=True, slots=True)
class Slab:
    """Experts `first`..`first + len(experts)` of a layer."""

    layer: int
    first: int
    experts: tuple[ExpertWeights, ...]

    @property
    def what(self) -> str:
        """Its name on the timeline."""
        return f"layer {self.layer} from {self.first}"

    @property
    def nbytes(self) -> int:
        """What it takes in a buffer."""
        return sum(_room(e) for e in self.experts)


@dataclass(frozen=True, slots=True)
class _Streamed:
    """A layer under way, slab by slab, and what they add up to."""

    parts: list[Pending[bool]]
    out: Tensor

    @property
    def done(self) -> bool:
        return all(part.done for part in self.parts)


class StreamedExperts:
    """Implements :class:`engine.experts.base.ExpertBackend` for tensors on `device`.

    ``buffer_bytes`` bounds each of the two buffers, in host memory and on the device.
    """

    def __init__(self, device: Device, buffer_bytes: int) -> None:
        self._device = device
        self._buffer_bytes = buffer_bytes
        self._layers: dict[int, list[ExpertWeights]] = {}
        self._slabs: list[Slab] = []
        self._span: dict[int, range] = {}
        """Which slabs are a layer's."""
        self._buffers: list[_Buffer] = []
        self._loads: deque[tuple[int, Pending[list[ExpertWeights]]]] = deque()
        self._users: list[Pending[bool] | None] = [None] * BUFFERS
        """The computation that last read each buffer."""
        self._epoch = 0

    @property
    def name(self) -> str:
        return f"streamed to {self._device.name}"

    def add_layer(self, layer: int, experts: list[ExpertWeights]) -> None:
        self._layers[layer] = experts

    def submit(self, layer: int, x: Tensor, ids: Tensor, weights: Tensor) -> Ticket:
        check_submission(x, ids, weights)
        self._prepare()
        span = self._span[layer]
        if not self._loads or self._loads[0][0] != span.start:
            self._begin_at(span.start)
        out = torch.zeros(x.shape, dtype=torch.float32, device=x.device)  # [T, H]
        x = x.to(working_dtype(self._device.place))
        parts = []
        for n in span:
            _, load = self._loads.popleft()
            slab, epoch = self._slabs[n], self._epoch
            work = partial(self._compute, slab, load, epoch, (out, x, ids, weights))
            part = self._device.compute(slab.what, work)
            parts.append(part)
            self._users[n % BUFFERS] = part
            self._load(n + BUFFERS)
        return _Streamed(parts, out)

    def wait(self, ticket: Ticket) -> Tensor:
        assert isinstance(ticket, _Streamed)
        # Of each part, that nothing of it writes to `out` any more.
        ends = [part.value() for part in ticket.parts]
        if not all(ends):
            raise Aborted()
        return ticket.out

    def abort(self) -> None:
        self._epoch += 1

    def close(self) -> None:
        self._device.close()
        self._loads.clear()
        self._buffers.clear()
        self._layers.clear()

    def _prepare(self) -> None:
        """Cut layers into slabs and take the buffers, once all layers are known."""
        if self._buffers:
            return
        for layer, experts in sorted(self._layers.items()):
            slabs = _cut(layer, experts, self._buffer_bytes)
            self._span[layer] = range(len(self._slabs), len(self._slabs) + len(slabs))
            self._slabs += slabs
        size = max(s.nbytes for s in self._slabs)
        self._buffers = [_Buffer(self._device, size) for _ in range(BUFFERS)]

    def _begin_at(self, n: int) -> None:
        """Forget what was loaded for another place; the copy queue's order keeps buffers whole."""
        self._loads.clear()
        for slab in range(n, n + BUFFERS):
            self._load(slab)

    def _load(self, n: int) -> None:
        if n >= len(self._slabs):
            return
        buffer, user = self._buffers[n % BUFFERS], self._users[n % BUFFERS]
        slab = self._slabs[n]
        load = self._device.copy(slab.what, partial(buffer.fill, slab, user))
        self._loads.append((n, load))

    def _compute(
        self,
        slab: Slab,
        load: Pending[list[ExpertWeights]],
        epoch: int,
        batch: tuple[Tensor, Tensor, Tensor, Tensor],
    ) -> bool:
        """Add a slab's experts to the batch's result; False if that was aborted."""
        for which, expert in enumerate(load.value(), slab.first):
            if self._epoch != epoch:
                return False
            mix_in(*batch, which, expert)
        return True


class LongPrompts:
    """Implements :class:`engine.experts.base.ExpertBackend`: by length, one of two others.

    ``crossover``: from how many tokens in a call on `streamed` is the quicker one.
    """

    def __init__(self, usual: ExpertBackend, streamed: ExpertBackend, crossover: int) -> None:
        self.crossover = crossover
        self._usual, self._streamed = usual, streamed

    @property
    def name(self) -> str:
        return f"{self._usual.name}, {self._streamed.name} from {self.crossover} tokens"

    def add_layer(self, layer: int, experts: list[ExpertWeights]) -> None:
        self._usual.add_layer(layer, experts)
        self._streamed.add_layer(layer, experts)

    def submit(self, layer: int, x: Tensor, ids: Tensor, weights: Tensor) -> Ticket:
        return self._for(len(x)).submit(layer, x, ids, weights)

    def wait(self, ticket: Ticket) -> Tensor:
        backend = self._streamed if isinstance(ticket, _Streamed) else self._usual
        return backend.wait(ticket)

    def abort(self) -> None:
        self._usual.abort()
        self._streamed.abort()

    def close(self) -> None:
        self._streamed.close()
        self._usual.close()

    def _for(self, tokens: int) -> ExpertBackend:
        return self._streamed if tokens >= self.crossover else self._usual


class _Buffer:
    """Host memory that the device copies from quickly, and as much on the device.

    A device that shares the host's memory computes from the first.
    """

    def __init__(self, device: Device, size: int) -> None:
        self._host = device.host_bytes(size)
        shared = device.place.type == "cpu"
        self._there = (
            self._host if shared else torch.empty(size, dtype=torch.uint8, device=device.place)
        )

    def fill(self, slab: Slab, user: Pending[bool] | None) -> list[ExpertWeights]:
        """Once `user` has read what was there: the slab's experts, over this buffer's memory."""
        if user is not None:
            user.wait()
        at, experts = 0, []
        for expert in slab.experts:
            views = []
            for tensor in tensors_of(expert):
                place = slice(at, at + tensor.nbytes)
                self._host[place].view(tensor.dtype).view(tensor.shape).copy_(tensor)
                views.append(self._there[place].view(tensor.dtype).view(tensor.shape))
                at += _aligned(tensor.nbytes)
            experts.append(with_tensors(expert, views))
        if self._there is not self._host:
            self._there[:at].copy_(self._host[:at], non_blocking=True)
        return experts


def _cut(layer: int, experts: list[ExpertWeights], limit: int) -> list[Slab]:
    """Slabs of at most `limit` bytes. Raises ResourceError if one expert alone is larger."""
    slabs: list[Slab] = []
    taken: list[ExpertWeights] = []
    size = 0
    for which, expert in enumerate(experts):
        room = _room(expert)
        if room > limit:
            raise ResourceError(
                "budget_too_small",
                f"one expert takes {room:,} bytes, a buffer has {limit:,}",
                "give the streaming buffers more memory, or stream no prompts",
            )
        if taken and size + room > limit:
            slabs.append(Slab(layer, which - len(taken), tuple(taken)))
            taken, size = [], 0
        taken.append(expert)
        size += room
    slabs.append(Slab(layer, len(experts) - len(taken), tuple(taken)))
    return slabs


def _room(expert: ExpertWeights) -> int:
    return sum(_aligned(t.nbytes) for t in tensors_of(expert))


def _aligned(size: int) -> int:
    return -(-size // _LINE) * _LINE
