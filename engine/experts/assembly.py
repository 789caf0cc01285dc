"""Puts together who computes routed experts: the processor's backend and what is wanted around it.

From the inside out: the backend, a memory budget, the way to a device, hot experts on it, deferral,
streaming of long prompts, and outermost the counters. Nothing is added that was not asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import psutil
import torch

from engine.experts.accelerator import AcceleratorDevice, find_accelerator
from engine.experts.base import ExpertBackend
from engine.experts.deferral import DeferringExperts
from engine.experts.device import Device, Inline, ThreadDevice
from engine.experts.gpu import DeviceExperts, SplitExperts
from engine.experts.hybrid import HybridExperts
from engine.experts.observed import ObservedExperts
from engine.experts.stats import ExpertStats
from engine.experts.streaming import LongPrompts, StreamedExperts
from engine.experts.timeline import Timeline
from engine.experts.trace import TraceRecorder
from engine.tiers.policies import DecayedLfu, Lru, PolicyMaker
from engine.tiers.readahead import ReadAhead, RouterOf
from engine.tiers.reading import Wish
from engine.tiers.residency import TieredExperts

DeviceChoice = Literal["auto", "cpu", "thread"]
PolicyChoice = Literal["lfu", "lru"]
_POLICIES: dict[PolicyChoice, PolicyMaker] = {"lfu": DecayedLfu, "lru": Lru}
_SPARE_CORES_FROM = 8
"""Physical cores of a machine on which the four readers do not slow the experts down."""
_SPARE_DEVICE_BYTES = 2 << 30
"""Left free on a device when hot experts fill it: for activations and the cache's growth."""


@dataclass(frozen=True, slots=True)
class ExpertOptions:
    """Where routed experts are and who computes beside them. The default is the plain path."""

    device: DeviceChoice = "auto"
    """``auto``: the accelerator, if there is one; ``thread``: two threads play one."""
    ram_bytes: int = 0
    """Memory for experts; 0: no budget of our own, the system decides."""
    policy: PolicyChoice = "lfu"
    read_ahead: Literal["auto", "on", "off"] = "auto"
    """Whether the next layer's likely experts are read early; ``auto``: where cores are to spare,
    because on few cores reading takes from computing what it saves (docs/tiers.md)."""
    reading: Wish = "auto"
    """How missing experts are read: through the map, directly, or as measured when loading."""
    on_gpu: int | Literal["auto"] = "auto"
    """Hot experts on the device: how many, or as many as its memory takes."""
    deferred: int = 0
    """Experts of a token that join one layer later."""
    stream_from: int = 0
    """Tokens of a call from which experts stream to the device; 0: never."""
    stream_bytes: int = 1 << 30
    """Of each of the two streaming buffers."""
    trace_rows: int = 0
    """Routing to keep for a trace, in tokens x layers."""
    spans: int = 0
    """Spans to keep on the device's timeline."""

    @property
    def wraps(self) -> bool:
        """Whether each layer's call is changed on its way, even without a second device."""
        return bool(self.ram_bytes or self.deferred)


@dataclass(frozen=True, slots=True)
class Assembly:
    """What a model is given: its experts, and the device that computes beside them."""

    experts: ExpertBackend
    device: Device
    ahead: ReadAhead | None = None
    tiered: TieredExperts | None = None

    def prepare(self) -> None:
        """To be called when the experts have all their layers."""
        if self.tiered is not None:
            self.tiered.prepare()

    def learn(self, layer: int, router: RouterOf) -> None:
        """A layer's router, for read-ahead."""
        if self.ahead is not None:
            self.ahead.add_layer(layer, router)


def choose_device(choice: DeviceChoice, spans: int = 0) -> Device:
    """The device for a choice."""
    timeline = Timeline(spans)
    if choice == "thread":
        return ThreadDevice(timeline)
    place = find_accelerator() if choice == "auto" else None
    return AcceleratorDevice(place, timeline) if place is not None else Inline(timeline)


def assemble(
    computing: ExpertBackend,
    device: Device,
    layers: Sequence[int],
    sizes: tuple[int, int, int],
    options: ExpertOptions,
) -> Assembly:
    """Wrap `computing` as `options` say; `sizes`: experts of a layer, chosen of them, bytes of one.

    Raises ResourceError ``unsupported``: a budget where the system offers no means for one.
    """
    count, top_k, nbytes = sizes
    stats = ExpertStats(layers, count, top_k)
    experts, ahead, beside = computing, None, not isinstance(device, Inline)
    tiered = None
    if options.ram_bytes:
        ahead = ReadAhead() if _reads_ahead(options) else None
        policy = _POLICIES[options.policy]
        tiered = TieredExperts(experts, stats, options.ram_bytes, policy, ahead, options.reading)
        experts = tiered
    if beside:
        experts = HybridExperts(experts, device)
    total = len(layers) * count
    room = 0 if not beside else hot_room(options.on_gpu, device.place, total, nbytes)
    if room:
        experts = SplitExperts(experts, DeviceExperts(device), stats, room)
    if options.deferred:
        experts = DeferringExperts(experts, options.deferred)
    stream_from = options.stream_from if beside else 0
    if stream_from:
        streamed = StreamedExperts(device, options.stream_bytes)
        experts = LongPrompts(experts, streamed, stream_from)
    recorder = TraceRecorder(count, top_k, options.trace_rows) if options.trace_rows else None
    observed = ObservedExperts(experts, stats, recorder, stream_from)
    return Assembly(observed, device, ahead, tiered)


def _reads_ahead(options: ExpertOptions) -> bool:
    if options.read_ahead == "auto":
        return (psutil.cpu_count(logical=False) or 1) >= _SPARE_CORES_FROM
    return options.read_ahead == "on"


def hot_room(wanted: int | Literal["auto"], place: torch.device, experts: int, nbytes: int) -> int:
    """How many hot experts a device gets."""
    if wanted != "auto":
        return min(wanted, experts)
    if place.type == "cpu":  # it shares the memory that they are in already
        return 0
    free = _free_bytes(place) - _SPARE_DEVICE_BYTES
    return max(0, min(free // nbytes, experts))


def _free_bytes(place: torch.device) -> int:
    """0 where torch cannot tell."""
    try:
        free, _ = torch.accelerator.get_memory_info(place)
    except (AttributeError, RuntimeError, NotImplementedError):
        return 0
    return int(free)
