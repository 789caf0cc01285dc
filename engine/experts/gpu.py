"""Hot experts on the device, the others on the processor: one batch, split and added up."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import Aborted, ResourceError
from engine.experts.base import ExpertBackend, ExpertWeights, Ticket, tensors_of, with_tensors
from engine.experts.device import Device, Pending
from engine.experts.mixing import mix_in, working_dtype
from engine.experts.stats import ExpertStats
from engine.experts.subset import Subset, narrow

log = logging.getLogger("engine")
_T = TypeVar("_T")


class DeviceExperts:
    """Computes the experts that it holds, from their packed bytes on the device.

    Packed they take a quarter of the memory and of the reading; widening them is arithmetic, of
    which a device has plenty.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._held: dict[tuple[int, int], Pending[ExpertWeights]] = {}
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, layer: int, which: int, expert: ExpertWeights) -> None:
        """Begin to bring an expert over. It counts as held from now on."""

        def bring() -> ExpertWeights:
            there = [t.to(self._device.place, copy=True) for t in tensors_of(expert)]
            return with_tensors(expert, there)

        self._held[layer, which] = self._device.copy(f"expert {layer}.{which}", bring)

    def drop(self, layer: int, which: int) -> None:
        """Free an expert's memory."""
        del self._held[layer, which]

    def submit(self, layer: int, part: Subset, x: Tensor) -> Pending[Tensor | None]:
        """Start; every expert in `part` is held. x [t, H]. Gives [t, H], None if aborted."""
        epoch = self._epoch
        experts = {e: self._held[layer, e] for e in part.ids.unique().tolist()}

        def work() -> Tensor | None:
            wide = x.to(working_dtype(self._device.place))
            out = torch.zeros(x.shape, dtype=torch.float32, device=x.device)  # [t, H]
            for which, expert in experts.items():
                if self._epoch != epoch:
                    return None
                mix_in(out, wide, part.ids, part.weights, which, expert.value())
            return out

        return self._device.compute(f"hot {layer}", work)

    def abort(self) -> None:
        """End what is under way between two experts. Any thread."""
        self._epoch += 1

    def close(self) -> None:
        """Free everything."""
        self._held.clear()


@dataclass(frozen=True, slots=True)
class _Split:
    """The two parts of a call, and the call, should the device not finish its own."""

    layer: int
    x: Tensor
    cold: tuple[Subset, Ticket] | None
    hot: tuple[Subset, Pending[Tensor | None] | None] | None

    @property
    def done(self) -> bool:
        hot = self.hot[1] if self.hot is not None else None
        return (self.cold is None or self.cold[1].done) and (hot is None or hot.done)


class SplitExperts:
    """Implements :class:`engine.experts.base.ExpertBackend`.

    The `room` most frequent experts move to the device, as `stats` has them, and are reviewed
    every `review` calls of the first layer. A lost device costs nothing but its speed: from then
    on the processor computes everything.
    """

    def __init__(
        self,
        cold: ExpertBackend,
        hot: DeviceExperts,
        stats: ExpertStats,
        room: int,
        review: int = 64,
    ) -> None:
        self._cold, self._hot, self._stats = cold, hot, stats
        self._room, self._review = room, review
        self._experts: dict[int, list[ExpertWeights]] = {}
        self._steps = 0
        self._lost = False

    @property
    def name(self) -> str:
        return f"{self._cold.name}, {0 if self._lost else self._room} hot experts on the device"

    def add_layer(self, layer: int, experts: list[ExpertWeights]) -> None:
        self._cold.add_layer(layer, experts)
        self._experts[layer] = experts

    def submit(self, layer: int, x: Tensor, ids: Tensor, weights: Tensor) -> Ticket:
        row = self._stats.row(layer)
        if row == 0:
            self._steps += 1
            if self._steps % self._review == 0:
                self.review()
        on_device = torch.from_numpy(self._stats.on_gpu[row]).to(ids.device)[ids.long()]  # [T, K]
        hot, cold = narrow(ids, weights, on_device), narrow(ids, weights, ~on_device)
        # The device first: queueing there takes no time, and both then work side by side.
        started = None
        if hot is not None:
            self._stats.gpu_hits += int(on_device.sum())
            started = hot, self._try(partial(self._hot.submit, layer, hot, _rows(x, hot)))
        return _Split(
            layer, x, (cold, self._start(layer, x, cold)) if cold is not None else None, started
        )

    def wait(self, ticket: Ticket) -> Tensor:
        assert isinstance(ticket, _Split)
        x = ticket.x
        out = torch.zeros(x.shape, dtype=torch.float32, device=x.device)  # [T, H]
        if ticket.cold is not None:
            part, cold = ticket.cold
            part.scatter(self._cold.wait(cold), out)
        if ticket.hot is not None:
            part, hot = ticket.hot
            part.scatter(self._finish(ticket.layer, x, part, hot), out)
        return out

    def abort(self) -> None:
        self._hot.abort()
        self._cold.abort()

    def close(self) -> None:
        self._hot.close()
        self._cold.close()

    def review(self) -> None:
        """Bring over what is hot now in place of what no longer is."""
        if self._lost:
            return
        held = self._stats.on_gpu
        go, come = choose_hot(self._stats.heat(), held, self._room)
        for row, which in go:
            self._hot.drop(self._stats.layers[row], which)
            held[row, which] = False
        for row, which in come:
            layer = self._stats.layers[row]
            self._hot.hold(layer, which, self._experts[layer][which])
            held[row, which] = True

    def _start(self, layer: int, x: Tensor, part: Subset) -> Ticket:
        return self._cold.submit(layer, _rows(x, part), part.ids, part.weights)

    def _finish(
        self, layer: int, x: Tensor, part: Subset, hot: Pending[Tensor | None] | None
    ) -> Tensor:
        """The device's part; from the processor, if the device is lost."""
        done = self._try(lambda: (hot.value(),)) if hot is not None else None
        if done is None:
            return self._cold.wait(self._start(layer, x, part))
        (result,) = done
        if result is None:
            raise Aborted()
        return result

    def _try(self, work: Callable[[], _T]) -> _T | None:
        """None if the device is lost; then its experts are the processor's again."""
        try:
            return work()
        except ResourceError as error:
            if error.code != "device_lost":
                raise
            log.error("%s; its experts are computed on the processor from now on", error.message)
            self._lost = True
            self._hot.close()
            self._stats.on_gpu[:] = False
            return None


def choose_hot(
    heat: NDArray[np.float64], held: NDArray[np.bool_], room: int, margin: float = 1.2
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(row, expert) pairs to drop and to bring over, so that the hottest `room` are held.

    One that is held stays unless a newcomer is `margin` times as hot: moving costs bus time.
    What was never chosen is not brought.
    """
    worth = np.where(held, heat * margin, heat).reshape(-1)
    best = np.argsort(-worth, kind="stable")[:room]
    wanted: NDArray[np.bool_] = np.zeros(held.shape, bool)
    wanted.reshape(-1)[best] = worth[best] > 0

    def pairs(which: NDArray[np.bool_]) -> list[tuple[int, int]]:
        return [(int(r), int(e)) for r, e in zip(*which.nonzero(), strict=True)]

    # Held ones that cooled to nothing stay while there is room: dropping gains nothing.
    surplus = held & ~wanted
    spare = room - int((wanted | held).sum())
    return (pairs(surplus) if spare < 0 else []), pairs(wanted & ~held)


def _rows(x: Tensor, part: Subset) -> Tensor:
    return x if len(part.rows) == len(x) else x[part.rows].contiguous()
