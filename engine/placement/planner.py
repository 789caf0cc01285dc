"""``plan``: a model, a machine and what is wanted give a placement, its speeds and its reasons.

Pure: the same values give the same placement. Of all ways that fit, with every number of threads
that was measured, the one is taken that answers a typical turn soonest; one with room to stream
experts for long prompts may be a little slower.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from engine.placement.costs import MEASURED, Costs
from engine.placement.fitting import (
    Fit,
    Policy,
    device_budget,
    fits,
    ram_budget,
)
from engine.placement.footprint import Footprint
from engine.placement.hardware import Hardware
from engine.placement.reasons import reasons, shortage
from engine.placement.timing import Timing
from engine.protocol import LayerPlan, Placement, SpeedPlan, TierPlan, Verdict

PROMPT = 512
LONG_PROMPT = 16_384
WELL_TOKENS_PER_S = 5.0
"""About as fast as people read."""
WELL_FIRST_TOKEN_S = 60.0
STREAMING_MAY_COST = 0.1
"""Of a typical turn's time: long prompts, which a typical turn has not, gain far more by it."""
USABLE_TOKENS_PER_S = 0.5
"""Below this, with experts on disk, it is not called running: a page of thought takes an hour."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The way that was chosen."""

    fit: Fit
    timing: Timing


def plan(
    footprint: Footprint,
    hardware: Hardware,
    policy: Policy | None = None,
    costs: Costs = MEASURED,
) -> Placement:
    """Where everything goes. Never raises: what does not fit is a verdict, with what is missing."""
    policy = policy or Policy()
    choice = _choose(footprint, hardware, policy, costs)
    if choice is None:
        return Placement(
            verdict="does not fit",
            expert_form=footprint.expert_form,
            why=shortage(footprint, hardware, policy, costs),
        )
    timing, split = choice.timing, choice.timing.split
    longest = min(LONG_PROMPT, split.kv_tokens)
    short = min(PROMPT, split.kv_tokens)
    decode = tuple(_decoding(timing, n) for n in sorted({short, split.kv_tokens}))
    first = timing.prefill(short).seconds + timing.decode(short).seconds
    ready, warm = timing.load()
    cache = split.kv_tokens * footprint.kv_bytes_per_token
    stream_from = timing.crossover(split.kv_tokens)
    verdict = _verdict(timing, short, first)
    return Placement(
        verdict=verdict,
        expert_form=footprint.expert_form,
        why=reasons(timing, policy, verdict, stream_from),
        dense_on="gpu" if split.device else "cpu",
        dense_form=split.dense_form,
        threads=split.threads,
        layers=_layers(timing),
        tiers=_tiers(choice, hardware, costs),
        kv_tokens=split.kv_tokens,
        kv_bytes=cache,
        stream_from=stream_from,
        decode=decode,
        prefill=tuple(_prefilling(timing, n) for n in sorted({short, longest})),
        ceiling_tokens_per_s=_ceiling(timing, short),
        first_token_s=first,
        turn_s=timing.turn().seconds,
        load_s=ready,
        warm_s=warm,
    )


def _choose(
    footprint: Footprint, hardware: Hardware, policy: Policy, costs: Costs
) -> Choice | None:
    choices = [
        Choice(fit, Timing(footprint, hardware, replace(fit.split, threads=threads), costs))
        for fit in fits(footprint, hardware, policy, costs)
        for threads in _thread_counts(hardware, policy)
    ]
    # More threads only where they gain something: of equals the first has the fewest.
    choices.sort(key=lambda c: c.timing.turn().seconds)
    if not choices:
        return None
    most = choices[0].timing.turn().seconds * (1 + STREAMING_MAY_COST)
    return next((c for c in choices if _streams(c.timing, most)), choices[0])


def _thread_counts(hardware: Hardware, policy: Policy) -> tuple[int, ...]:
    """Those that were measured; those that are allowed, if any of them is."""
    allowed = tuple(n for n in hardware.threads if not policy.threads or n <= policy.threads)
    return allowed or hardware.threads[:1]


def _streams(timing: Timing, most: float) -> bool:
    """Whether some prompts are faster streamed, and a typical turn takes `most` seconds."""
    split = timing.split
    gains = split.streams and timing.turn().seconds <= most
    return gains and timing.crossover(split.kv_tokens) is not None


def _verdict(timing: Timing, context: int, first_token_s: float) -> Verdict:
    rate = 1 / timing.decode(context).seconds
    if timing.split.mapped_experts and rate < USABLE_TOKENS_PER_S:
        return "does not fit"
    well = rate >= WELL_TOKENS_PER_S and first_token_s <= WELL_FIRST_TOKEN_S
    return "runs well" if well else "runs slowly"


def _decoding(timing: Timing, context: int) -> SpeedPlan:
    spent = timing.decode(context)
    return SpeedPlan(context, 1 / spent.seconds, spent.cause)


def _prefilling(timing: Timing, tokens: int) -> SpeedPlan:
    spent = timing.prefill(tokens)
    return SpeedPlan(tokens, tokens / spent.seconds, spent.cause)


def _ceiling(timing: Timing, context: int) -> float:
    """Decoding if every tier were read at its full rate at once and nothing else took time."""
    f, split, hardware = timing.footprint, timing.split, timing.hardware
    gpu, ram, mapped = timing.chosen()
    chosen = f.moe_layers * f.top_k * f.expert_bytes
    dense = f.dense_bytes(split.dense_form) + context * f.kv_bytes_per_token
    host, device = chosen * (ram + mapped), chosen * gpu
    if split.device is None:
        host += dense
    else:
        device += dense
    times = [host / hardware.read_rate(split.threads), chosen * mapped / hardware.disk_rate]
    if split.device is not None:
        times.append(device / (split.device.read_gb_per_s * 1e9))
    return 1 / max(times)


def _layers(timing: Timing) -> tuple[LayerPlan, ...]:
    """Experts of each tier spread over the layers as evenly as whole experts allow."""
    f, split = timing.footprint, timing.split
    on: Literal["cpu", "gpu"] = "gpu" if split.device else "cpu"
    dense = [LayerPlan(dense_on=on) for _ in range(f.dense_layers)]
    held = split.gpu_experts + split.ram_experts
    routed = []
    for i in range(f.moe_layers):
        gpu = _share(split.gpu_experts, i, f.moe_layers)
        kept = _share(held, i, f.moe_layers)
        routed.append(LayerPlan(dense_on=on, gpu=gpu, ram=kept - gpu, mapped=f.experts - kept))
    return (*dense, *routed)


def _share(total: int, index: int, of: int) -> int:
    return total // of + (index < total % of)


def _tiers(choice: Choice, hardware: Hardware, costs: Costs) -> tuple[TierPlan, ...]:
    split, size = choice.timing.split, choice.timing.footprint.expert_bytes
    tiers = [TierPlan("ram", ram_budget(hardware, costs), choice.fit.ram)]
    if split.device is not None and choice.fit.gpu:
        tiers.insert(0, TierPlan("gpu", device_budget(split.device, costs), choice.fit.gpu))
    if split.mapped_experts:
        tiers.append(TierPlan("mapped", 0, {"experts": split.mapped_experts * size}))
    return tuple(tiers)
