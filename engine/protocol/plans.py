"""What a model would do on a machine."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from engine.protocol.chat import Natural
from engine.protocol.experts import Tier
from engine.protocol.replies import ErrorBody

Verdict = Literal["runs well", "runs slowly", "does not fit"]
WeightForm = Literal["float32", "bf16", "fp8", "int8", "int4"]
"""How matrices are held: int8 and int4 in groups of 32 with a bf16 scale, fp8 in blocks of 128x128
with a float32 scale."""
Cause = Literal["memory", "processor", "disk", "accelerator", "bus", "overhead"]
"""What bounds a speed: reading memory, arithmetic of the processor, and so on."""


class PlanRequest(msgspec.Struct, frozen=True):
    """``POST /engine/plan``: what a model would do on a machine."""

    model: str
    """A checkpoint folder, or the name of a shape in ``resources/shapes``."""
    hardware: str = ""
    """Empty: this machine, measured. Else a file, or a name in ``resources/hardware``."""
    context: int = 0
    """Tokens that the cache should hold; 0: 32,768, or what the model allows."""
    experts: WeightForm | None = None
    """Plan as if the routed experts were converted; None: as they are stored."""
    dense: WeightForm | Literal["published"] | None = None
    """Precision of everything else; None: the best that fits."""
    device: Literal["auto", "cpu"] = "auto"
    """``cpu``: as if there were no accelerator."""
    threads: Natural = 0
    """At most; 0: as many as are worth it."""
    expert_memory_bytes: Natural = 0
    """At most, for routed experts; 0: what is left."""


class LayerPlan(msgspec.Struct, frozen=True):
    """One layer: where its dense part is computed, and how many routed experts are in each tier."""

    dense_on: Literal["cpu", "gpu"]
    gpu: int = 0
    ram: int = 0
    mapped: int = 0


class TierPlan(msgspec.Struct, frozen=True):
    """What a tier holds, in bytes by part. ``usable`` is 0 where there is no limit (mapped)."""

    tier: Tier
    usable: int
    parts: dict[str, int]

    @property
    def used(self) -> int:
        return sum(self.parts.values())


class SpeedPlan(msgspec.Struct, frozen=True):
    """``tokens``: the length of the prompt, or of the context that is decoded after."""

    tokens: int
    tokens_per_s: float
    cause: Cause


class Placement(msgspec.Struct, frozen=True):
    """Where everything of a model goes on a machine, what comes of it, and why.

    With the verdict ``does not fit``, layers and tiers may be empty and all speeds missing.
    """

    verdict: Verdict
    expert_form: WeightForm
    why: tuple[str, ...]
    dense_on: Literal["cpu", "gpu"] = "cpu"
    dense_form: WeightForm = "bf16"
    threads: int = 0
    layers: tuple[LayerPlan, ...] = ()
    tiers: tuple[TierPlan, ...] = ()
    kv_tokens: int = 0
    kv_bytes: int = 0
    stream_from: int | None = None
    """Prompts of at least so many tokens are faster with experts streamed to the accelerator."""
    decode: tuple[SpeedPlan, ...] = ()
    """After a short context first, after a full one last."""
    prefill: tuple[SpeedPlan, ...] = ()
    """Of 512 tokens first, of the longest prompt that is planned for last."""
    ceiling_tokens_per_s: float = 0.0
    """Decoding if memory were read at its full rate and nothing else took time."""
    first_token_s: float = 0.0
    """After a prompt of 512 tokens."""
    turn_s: float = 0.0
    """A prompt of 1,024 tokens and a reply of 512."""
    load_s: float = 0.0
    """Until it answers, nothing being in memory before."""
    warm_s: float = 0.0
    """Until every expert that fits is in memory."""


class FamilyPlan(msgspec.Struct, frozen=True):
    """Another model of the family on the same machine."""

    name: str
    expert_form: WeightForm
    verdict: Verdict
    decode_tokens_per_s: float = 0.0
    first_token_s: float = 0.0


class PlanReport(msgspec.Struct, frozen=True):
    """``model`` on ``machine``."""

    model: str
    machine: str
    placement: Placement
    helps: tuple[str, ...] = ()
    """What would make it faster, best first."""
    family: tuple[FamilyPlan, ...] = ()
    """Other models that this machine could run, best first; empty where the model runs well."""


class PlanQuestion(msgspec.Struct, frozen=True):
    """What ``python -m engine.placement --stdin`` reads. ``machine`` is as an earlier answer had
    it and goes before what the request says; None: it is found, or measured.
    """

    request: PlanRequest
    machine: dict[str, Any] | None = None


class PlanAnswer(msgspec.Struct, frozen=True):
    """What it writes: a report, and the machine it is about; or what went wrong."""

    report: PlanReport | None = None
    machine: dict[str, Any] | None = None
    error: ErrorBody | None = None
