"""The processor's experts as a device's layer sees them.

One transfer job takes a layer's way: tokens to host memory, the expert pool, the result back. It
runs on the device's copy queue, so that the caller is free at once and the device computes the
shared expert meanwhile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from engine.errors import Aborted
from engine.experts.base import ExpertBackend, ExpertWeights, Ticket, check_submission
from engine.experts.device import Device, Pending


@dataclass(frozen=True, slots=True)
class _Trip:
    """A layer's tokens on their way to the processor and back."""

    pending: Pending[Tensor]

    @property
    def done(self) -> bool:
        return self.pending.done


class HybridExperts:
    """Implements :class:`engine.experts.base.ExpertBackend` for tensors on a device."""

    def __init__(self, experts: ExpertBackend, device: Device) -> None:
        self._experts, self._device = experts, device
        self._staging = Staging(device)
        self._epoch = 0

    @property
    def name(self) -> str:
        return f"{self._experts.name} beside {self._device.name}"

    def add_layer(self, layer: int, experts: list[ExpertWeights]) -> None:
        self._experts.add_layer(layer, experts)

    def submit(self, layer: int, x: Tensor, ids: Tensor, weights: Tensor) -> Ticket:
        check_submission(x, ids, weights)
        epoch = self._epoch

        def trip() -> Tensor:
            if self._epoch != epoch:
                raise Aborted()
            host = self._staging.fetch(x, ids, weights)
            with self._device.timeline.span("experts", f"layer {layer}"):
                ticket = self._experts.submit(layer, *host)
                if self._epoch != epoch:  # the abort came before there was anything to abort
                    self._experts.abort()
                result = self._experts.wait(ticket)
            return self._staging.give(result)

        return _Trip(self._device.copy(f"trip {layer}", trip))

    def wait(self, ticket: Ticket) -> Tensor:
        assert isinstance(ticket, _Trip)
        return ticket.pending.value()

    def abort(self) -> None:
        self._epoch += 1
        self._experts.abort()

    def close(self) -> None:
        self._experts.abort()  # a trip in flight ends soon, and the queue with it
        self._device.close()
        self._experts.close()


class Staging:
    """Host memory for what travels: of one trip at a time, so one piece each way is enough.

    The next trip overwrites the outward piece only after its own expert pool is done with it, and
    the homeward piece only after `give` saw it arrive.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._out = device.host_bytes(0)
        self._home = device.host_bytes(0)

    def fetch(self, *tensors: Tensor) -> list[Tensor]:
        """Copies in host memory."""
        places, size = [], 0
        for tensor in tensors:
            places.append(size)
            size += -(-tensor.nbytes // 64) * 64  # kernels load whole cache lines
        self._out = self._grown(self._out, size)
        copies = [
            self._out[at : at + t.nbytes].view(t.dtype).view(t.shape)
            for at, t in zip(places, tensors, strict=True)
        ]
        for copy, tensor in zip(copies, tensors, strict=True):
            copy.copy_(tensor, non_blocking=True)
        self._device.settle()
        return copies

    def give(self, result: Tensor) -> Tensor:
        """A copy on the device. Where the device shares the host's memory, the thing itself."""
        if self._device.place.type == "cpu":
            return result
        self._home = self._grown(self._home, result.nbytes)
        staged = self._home[: result.nbytes].view(result.dtype).view(result.shape)
        staged.copy_(result)
        there = staged.to(self._device.place, non_blocking=True)
        self._device.settle()
        return there

    def _grown(self, memory: Tensor, size: int) -> Tensor:
        if size <= memory.numel():
            return memory
        return self._device.host_bytes(1 << math.ceil(math.log2(size)))
