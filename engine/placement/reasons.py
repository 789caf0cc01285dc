"""Why a placement is as it is, in plain sentences; and what is missing where nothing fits."""

from __future__ import annotations

from engine.placement.costs import Costs
from engine.placement.fitting import LEAST_CONTEXT, Policy, least_bytes, ram_budget
from engine.placement.footprint import Footprint
from engine.placement.hardware import Hardware
from engine.placement.timing import Timing
from engine.placement.words import CAUSES, FORMS, amount, duration
from engine.protocol import Verdict


def reasons(
    timing: Timing, policy: Policy, verdict: Verdict, stream_from: int | None
) -> tuple[str, ...]:
    """A sentence or two for every decision, in the order in which people ask."""
    return (
        *_judgement(timing, verdict),
        _experts(timing),
        _dense_place(timing, policy),
        _precision(timing, policy),
        _cache(timing, policy),
        _threads(timing),
        *_streaming(timing, stream_from),
        _decode(timing),
        _prefill(timing),
    )


def shortage(
    footprint: Footprint, hardware: Hardware, policy: Policy, costs: Costs
) -> tuple[str, ...]:
    """What would be needed at least, where there is no way to place a model."""
    least, usable = least_bytes(footprint, policy, costs), ram_budget(hardware, costs)
    limit = hardware.limit_gib
    inside = f" (a container limits it to {limit:g} GiB)" if limit is not None else ""
    return (
        f"Every token needs the dense part, the embeddings and a cache of at least "
        f"{LEAST_CONTEXT:,} tokens in memory: {amount(least)} at the lowest precision.",
        f"This machine can give {amount(usable)}{inside}.",
    )


def _judgement(timing: Timing, verdict: Verdict) -> tuple[str, ...]:
    """What made the verdict, where it is not the best."""
    if verdict == "runs well":
        return ()
    seconds = timing.decode(min(512, timing.split.kv_tokens)).seconds
    said = f"A token takes {duration(seconds)}, and a page of thought has five hundred"
    if verdict == "runs slowly":
        return (f"{said}: it runs, for those who can wait.",)
    return (f"{said}: it would start, but memory is too small for it to be of use.",)


def _experts(timing: Timing) -> str:
    f, split = timing.footprint, timing.split
    if not f.expert_count:
        return "The model has no routed experts."
    form, size = FORMS[f.expert_form], amount(f.experts_bytes)
    said = f"The {f.expert_count:,} routed experts take {size} in {form}"
    gpu, _, mapped = timing.chosen()
    if split.gpu_experts == split.experts:
        return f"{said}; all of them fit on the accelerator."
    if split.mapped_experts:
        held = (split.ram_experts + split.gpu_experts) * f.expert_bytes
        missed = amount(mapped * f.moe_layers * f.top_k * f.expert_bytes)
        return (
            f"{said}, {amount(held)} of them in memory at a time. About {mapped:.0%} of the "
            f"choices fall on the rest and are read from disk when needed, {missed} a token."
        )
    if split.gpu_experts:
        return (
            f"{said}; all fit in memory, and the {split.gpu_experts:,} most used also stay on the "
            f"accelerator, where about {gpu:.0%} of the choices fall."
        )
    return f"{said}; all of them fit in memory and are used in place."


def _dense_place(timing: Timing, policy: Policy) -> str:
    hardware, device = timing.hardware, timing.split.device
    if device is not None:
        kind = "shares the machine's memory and " if device.unified else ""
        said = (
            f"Attention, shared experts and cache go to {device.name}: it {kind}reads "
            f"{device.read_gb_per_s:,.0f} GB/s while the processor works on routed experts."
        )
        if len(hardware.accelerators) > 1:
            said += " Only one accelerator is used."
        return said
    if not hardware.accelerators:
        return "Everything is computed on the processor: there is no accelerator."
    name = ", ".join(a.name for a in hardware.accelerators)
    if not policy.devices:
        return f"Everything is computed on the processor, as was asked; {name} stays idle."
    return (
        f"Everything is computed on the processor: the dense part does not fit on {name}, or is "
        "not faster there."
    )


def _precision(timing: Timing, policy: Policy) -> str:
    f, split = timing.footprint, timing.split
    form, size = FORMS[split.dense_form], amount(f.dense_bytes(split.dense_form))
    if policy.dense:
        return f"The dense part is held in {form}, as was asked: {size}."
    if split.dense_form == "bf16":
        return f"The dense part keeps BF16, {size}: there is room for it."
    if split.dense_form == "int8" and f.dense_form == "fp8":
        return f"The dense part is held in INT8, {size}: as big as the FP8 in which it is stored."
    if split.device is None and split.dense_form == "int8":
        return (
            f"The dense part is held in INT8, {size}: each token reads all of it, in BF16 it would "
            f"be {amount(f.dense_bytes('bf16'))}, and INT8 in groups of 32 loses next to nothing."
        )
    if split.dense_form == "int8":
        return (
            f"The dense part is held in INT8, {size}: in BF16 ({amount(f.dense_bytes('bf16'))}) it "
            "does not fit beside the cache."
        )
    return (
        f"The dense part is held in INT4, {size}, because INT8 ({amount(f.dense_bytes('int8'))}) "
        "does not fit beside the cache. This costs some quality."
    )


def _cache(timing: Timing, policy: Policy) -> str:
    f, kv = timing.footprint, timing.split.kv_tokens
    wanted = policy.wanted(f)
    said = f"The cache holds {kv:,} tokens in {amount(kv * f.kv_bytes_per_token)}"
    if kv < wanted:
        return f"{said}; the wanted {wanted:,} do not fit."
    if policy.context > f.context_length:
        return f"{said}, which is all that the model allows."
    return f"{said} ({f.kv_bytes_per_token:,} bytes a token)."


def _threads(timing: Timing) -> str:
    hardware, threads = timing.hardware, timing.split.threads
    rate = f"{hardware.read_rate(threads) / 1e9:,.3g} GB/s"
    nodes = (
        f", the rows of every expert split over {hardware.numa_nodes} memory nodes"
        if hardware.numa_nodes > 1
        else ""
    )
    some = f"{threads} threads read" if threads > 1 else "1 thread reads"
    said = f"{some} memory at {rate}{nodes}"
    if threads == max(hardware.threads):
        fewer = [n for n in hardware.threads if n < threads]
        enough = [n for n in fewer if hardware.read_rate(n) >= 0.97 * hardware.read_rate(threads)]
        if enough:
            return f"{said}. {enough[0]} would do for that; the others help with prompts."
        return f"{said}: each measured step up to them gained." if fewer else f"{said}."
    return f"{said}. More gained nothing."


def _streaming(timing: Timing, stream_from: int | None) -> tuple[str, ...]:
    split = timing.split
    if split.device is None or split.gpu_experts == split.experts:
        return ()
    if not split.streams:
        return ("Prompts are computed by the processor: no room is left to stream experts.",)
    rate = f"{split.device.bus_gb_per_s:g} GB/s"
    if stream_from is None:
        return (f"Streaming experts over the bus ({rate}) never beats computing them in place.",)
    return (
        f"Prompts of {stream_from:,} tokens and more stream the experts to the accelerator: the "
        f"bus ({rate}) needs the same time for a long prompt as for a short one.",
    )


def _decode(timing: Timing) -> str:
    f, split = timing.footprint, timing.split
    spent = timing.decode(min(512, split.kv_tokens))
    size = f.decode_bytes(split.dense_form)
    return (
        f"A token reads {amount(size)} of weights; {CAUSES[spent.cause]} takes "
        f"{spent.by[spent.cause] / spent.seconds:.0%} of its {duration(spent.seconds)}."
    )


def _prefill(timing: Timing) -> str:
    tokens = min(512, timing.split.kv_tokens)
    spent = timing.prefill(tokens)
    return (
        f"A prompt of {tokens:,} tokens takes {duration(spent.seconds)}, most of it "
        f"{CAUSES[spent.cause]}."
    )
