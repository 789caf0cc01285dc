"""What fits where: the bytes of every part, tier by tier, never more than a tier may hold.

The dense part goes to the processor or to an accelerator, where some experts may stay with it and
room may be kept to stream the others through. Its precision and the room for experts follow.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.placement.costs import Costs
from engine.placement.footprint import Footprint
from engine.placement.hardware import Accelerator, Hardware
from engine.placement.room import experts_at_a_time
from engine.placement.timing import Split
from engine.protocol import WeightForm

DEFAULT_CONTEXT = 32_768
LEAST_CONTEXT = 2_048
"""Below this a thinking model is of no use."""

# Best first. On the processor INT8 comes before BF16: it is read in half the time, and its rounding
# is below that of the INT8 activations it is multiplied with.
_ON_PROCESSOR: tuple[WeightForm, ...] = ("int8", "int4")
_ON_DEVICE: tuple[WeightForm, ...] = ("bf16", "int8", "int4")
_HOT_SHARES = (0.0, 0.125, 0.25, 0.5, 1.0)
"""Of the experts that an accelerator has room for, how many to keep there: what they save the
processor they cost the accelerator, so that the best may lie between."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is wanted of a placement. ``context`` 0: 32,768 tokens, or what the model allows."""

    context: int = 0
    devices: bool = True
    """Whether accelerators may be used."""
    processor: bool = True
    """Whether the dense part may be computed on the processor."""
    dense: WeightForm | None = None
    """The dense part's precision; None: the best that fits."""
    hot_experts: bool = True
    """Whether experts may be kept on an accelerator that has room for them."""
    threads: int = 0
    """At most; 0: any number that was measured."""
    expert_bytes: int = 0
    """Of memory, at most, for routed experts; 0: what is left."""

    def wanted(self, footprint: Footprint) -> int:
        """Tokens of cache to make room for."""
        return min(self.context or DEFAULT_CONTEXT, footprint.context_length)


@dataclass(frozen=True, slots=True)
class Fit:
    """One way that fits: the split (with the fewest threads) and the bytes behind it."""

    split: Split
    ram: dict[str, int]
    gpu: dict[str, int]


def ram_budget(hardware: Hardware, costs: Costs) -> int:
    """Bytes of memory that a placement may fill."""
    return int(hardware.usable_bytes * (1 - costs.spare_share))


def device_budget(device: Accelerator, costs: Costs) -> int:
    """Bytes on an accelerator that a placement may fill."""
    return int(device.memory_bytes * (1 - costs.device_spare_share))


def fits(footprint: Footprint, hardware: Hardware, policy: Policy, costs: Costs) -> list[Fit]:
    """Every way that fits; none if the machine is too small."""
    found = [
        _on_device(footprint, hardware, device, policy, costs, share, streams)
        for device in (hardware.accelerators if policy.devices else ())
        for share in (_HOT_SHARES if policy.hot_experts and not device.unified else (0.0,))
        for streams in (True, False)
    ]
    if policy.processor:
        found.append(_on_processor(footprint, hardware, policy, costs))
    return [fit for fit in found if fit is not None]


def least_bytes(footprint: Footprint, policy: Policy, costs: Costs) -> int:
    """Memory without which the model cannot run on a processor alone."""
    form = policy.dense or _ON_PROCESSOR[-1]
    least = min(LEAST_CONTEXT, footprint.context_length)
    return (
        costs.program_bytes
        + footprint.embedding_bytes
        + footprint.dense_bytes(form)
        + least * footprint.kv_bytes_per_token
        + _working_set(footprint)
    )


def _on_processor(
    footprint: Footprint, hardware: Hardware, policy: Policy, costs: Costs
) -> Fit | None:
    base = {"program": costs.program_bytes, "embeddings": footprint.embedding_bytes}
    room = ram_budget(hardware, costs) - sum(base.values()) - _working_set(footprint)
    chosen = _form_and_context(footprint, room, policy, _ON_PROCESSOR)
    if chosen is None:
        return None
    form, kv_tokens = chosen
    base |= _dense_and_cache(footprint, form, kv_tokens)
    return _filled(footprint, hardware, policy, costs, base, {}, form, None, kv_tokens, 0, False)


def _on_device(
    footprint: Footprint,
    hardware: Hardware,
    device: Accelerator,
    policy: Policy,
    costs: Costs,
    hot_share: float,
    streams: bool,
) -> Fit | None:
    """``streams``: with buffers for streaming, which take room from the hot experts."""
    buffers = 2 * costs.stream_buffer_bytes
    ram = {"program": costs.program_bytes, "embeddings": footprint.embedding_bytes}
    gpu = {"program": costs.device_program_bytes}
    host_room = ram_budget(hardware, costs) - sum(ram.values()) - _working_set(footprint)
    if host_room < 0:
        return None
    room = device_budget(device, costs) - sum(gpu.values())
    if device.unified:
        # Its memory is the host's: what goes there is missing here.
        room = min(room, host_room - costs.device_program_bytes)
    # What is stored in FP8 gains nothing from BF16.
    forms = _ON_DEVICE[1:] if footprint.dense_form == "fp8" else _ON_DEVICE
    chosen = _form_and_context(footprint, room, policy, forms)
    if chosen is None:
        return None
    form, kv_tokens = chosen
    gpu |= _dense_and_cache(footprint, form, kv_tokens)
    room -= sum(gpu.values()) - costs.device_program_bytes
    host_room -= sum(gpu.values()) if device.unified else 0
    if streams:
        if room < buffers or host_room < buffers * (2 if device.unified else 1):
            return None
        gpu["streaming"] = ram["streaming"] = buffers
        room -= buffers
    hot = int(hot_share * min(footprint.expert_count, room // footprint.expert_bytes))
    if streams and hot == footprint.expert_count:
        return None  # nothing is left to stream
    if device.unified:
        ram |= {f"{part} (accelerator)": size for part, size in gpu.items()}
        gpu = {}
    return _filled(
        footprint, hardware, policy, costs, ram, gpu, form, device, kv_tokens, hot, streams
    )


def _filled(
    footprint: Footprint,
    hardware: Hardware,
    policy: Policy,
    costs: Costs,
    ram: dict[str, int],
    gpu: dict[str, int],
    form: WeightForm,
    device: Accelerator | None,
    kv_tokens: int,
    hot: int,
    streams: bool,
) -> Fit:
    """Give experts what memory is left; the rest of them stays on disk."""
    size = footprint.expert_bytes
    room = ram_budget(hardware, costs) - sum(ram.values())
    # What is free when experts get their place: caches and activations take theirs later.
    free = room + ram["program"] + ram.get("cache", 0)
    rest = footprint.expert_count - hot
    least = _working_set(footprint)
    held = experts_at_a_time(rest * size, room, free, least) // size
    if policy.expert_bytes:
        held = min(held, max(policy.expert_bytes, least) // size)
    split = Split(
        threads=hardware.threads[0],
        dense_form=form,
        device=device,
        gpu_experts=hot,
        ram_experts=held,
        mapped_experts=footprint.expert_count - hot - held,
        kv_tokens=kv_tokens,
        streams=streams,
    )
    return Fit(
        split,
        ram | ({"experts": held * size} if held else {}),
        gpu | ({"experts": hot * size} if hot else {}),
    )


def _form_and_context(
    footprint: Footprint, room: int, policy: Policy, forms: tuple[WeightForm, ...]
) -> tuple[WeightForm, int] | None:
    """The best precision that fits beside the wanted cache; else beside as much as possible."""
    forms = (policy.dense,) if policy.dense else forms
    wanted, least = policy.wanted(footprint), min(LEAST_CONTEXT, policy.wanted(footprint))
    for enough in (wanted, least):
        for form in forms:
            tokens = (room - footprint.dense_bytes(form)) // footprint.kv_bytes_per_token
            if tokens >= enough:
                return form, min(tokens, wanted)
    return None


def _dense_and_cache(footprint: Footprint, form: WeightForm, kv_tokens: int) -> dict[str, int]:
    cache = kv_tokens * footprint.kv_bytes_per_token
    return {"dense": footprint.dense_bytes(form), "cache": cache}


def _working_set(footprint: Footprint) -> int:
    """One token's experts of one layer: without room for these nothing can be computed."""
    return footprint.top_k * footprint.expert_bytes if footprint.moe_layers else 0
