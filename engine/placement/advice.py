"""What would make it faster: the same plan on machines that differ in one thing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec

from engine.placement.fitting import Policy
from engine.placement.footprint import Footprint
from engine.placement.hardware import Accelerator, Hardware
from engine.placement.planner import plan
from engine.placement.words import FORMS, duration, rate
from engine.protocol import FamilyPlan, Placement, WeightForm

_SIZES = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 640, 768, 1024, 1152, 1536, 2048)
"""GiB of memory that one can buy."""
_CARD = Accelerator(
    name="a 24 GB card",
    memory_gib=24,
    read_gb_per_s=900,
    bus_gb_per_s=25,
    bf16_tflops=100,
)
_SMALLER: dict[WeightForm, tuple[WeightForm, ...]] = {
    "bf16": ("int8", "int4"),
    "fp8": ("int4",),
    "int8": ("int4",),
}
"""Forms that the dense part can be packed to while loading, on a processor."""
_MOST = 4
_WORTH = 1.15
"""A typical turn has to be that much faster for a change to be named."""


@dataclass(frozen=True, slots=True)
class _Change:
    what: str
    footprint: Footprint
    hardware: Hardware
    policy: Policy
    bought: bool = True
    """What costs only a setting comes first."""


def helps(
    footprint: Footprint, hardware: Hardware, policy: Policy, now: Placement
) -> tuple[str, ...]:
    """At most four sentences: what a setting gains, then what money does, each the best first; none
    where nothing gains much.
    """
    gains: list[tuple[bool, float, str]] = []
    for change in _changes(footprint, hardware, policy, now):
        then = plan(change.footprint, change.hardware, change.policy)
        if not then.decode:
            continue
        if not now.decode:
            said = f"{change.what}: {_speed(then)}."
        elif now.turn_s / then.turn_s >= _WORTH:
            said = f"{change.what}: {_speed(then)} instead of {_speed(now)}."
        else:
            continue
        gains.append((change.bought, then.turn_s, said))
    return tuple(sentence for _, _, sentence in sorted(gains)[:_MOST])


def relatives(shapes: dict[str, Footprint], hardware: Hardware) -> tuple[FamilyPlan, ...]:
    """Each shape on this machine: those that run well first, the biggest of them first.

    A shape that is published in BF16 or FP8 is shown with INT4 experts where it needs them.
    """
    found = [(f, _relative(name, f, hardware)) for name, f in shapes.items()]
    order = ("runs well", "runs slowly", "does not fit")
    found.sort(key=lambda pair: (order.index(pair[1].verdict), -pair[0].expert.weights))
    return tuple(family for _, family in found)


def _relative(name: str, footprint: Footprint, hardware: Hardware) -> FamilyPlan:
    placement = plan(footprint, hardware)
    if placement.verdict != "runs well" and footprint.expert_form != "int4":
        smaller = plan(footprint.with_experts("int4"), hardware)
        placement = smaller if smaller.decode else placement
    return FamilyPlan(
        name,
        placement.expert_form,
        placement.verdict,
        placement.decode[0].tokens_per_s if placement.decode else 0.0,
        placement.first_token_s,
    )


def _changes(
    footprint: Footprint, hardware: Hardware, policy: Policy, now: Placement
) -> Iterator[_Change]:
    def on(what: str, other: Hardware) -> _Change:
        return _Change(what, footprint, other, policy)

    short = not now.decode or any(layer.mapped for layer in now.layers)
    if short:
        size = _memory_for(footprint, hardware, policy)
        if size is not None:
            bigger = _with_memory(hardware, size)
            yield on(f"{size:,} GiB of memory, for all experts", bigger)
        faster = msgspec.structs.replace(hardware, disk_gb_per_s=2 * hardware.disk_gb_per_s)
        yield on("A disk twice as fast", faster)
    if not hardware.accelerators:
        card = msgspec.structs.replace(hardware, accelerators=(_CARD,))
        yield on("A card with 24 GB", card)
    if footprint.expert_form != "int4" and footprint.expert_count:
        form = FORMS[footprint.expert_form]
        int4 = footprint.with_experts("int4")
        yield _Change(f"A checkpoint with INT4 experts instead of {form}", int4, hardware, policy)
    if now.decode and now.dense_on == "gpu" and now.dense_form == "bf16":
        yield _Change("The dense part in INT8", footprint, hardware, replace(policy, dense="int8"))
    elif now.decode:
        for form in _SMALLER.get(now.dense_form, ()):
            other = replace(policy, dense=form)
            coarse = ", which rounds it coarsely" if form == "int4" else ""
            what = f"The dense part in {FORMS[form]}{coarse}"
            yield _Change(what, footprint, hardware, other, bought=False)
    doubled = {n: 2 * gb for n, gb in hardware.read_gb_per_s.items()}
    wider = msgspec.structs.replace(hardware, read_gb_per_s=doubled)
    yield on("Twice the memory channels", wider)


def _memory_for(footprint: Footprint, hardware: Hardware, policy: Policy) -> int | None:
    """The smallest size on the market at which no expert stays on disk."""
    for size in _SIZES:
        if size <= hardware.memory_gib:
            continue
        placement = plan(footprint, _with_memory(hardware, size), policy)
        if placement.decode and not any(layer.mapped for layer in placement.layers):
            return size
    return None


def _with_memory(hardware: Hardware, size: float) -> Hardware:
    taken = hardware.memory_gib - hardware.available_gib
    return msgspec.structs.replace(
        hardware, memory_gib=size, available_gib=max(size - taken, 0.9 * size), limit_gib=None
    )


def _speed(placement: Placement) -> str:
    speed = rate(placement.decode[0].tokens_per_s)
    return f"{speed} tokens/s and the first after {duration(placement.first_token_s)}"
