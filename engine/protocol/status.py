"""What an engine is doing, and has done since the load."""

from __future__ import annotations

from typing import Literal

import msgspec

from engine.protocol.experts import Tier
from engine.protocol.replies import ErrorBody

LoadState = Literal["empty", "loading", "ready", "failed"]


class TierUse(msgspec.Struct, frozen=True):
    """One tier: the routed experts in it, and how often they were chosen since the load."""

    tier: Tier
    experts: int = 0
    bytes: int = 0
    hits: int = 0


Outcome = Literal["done", "aborted", "failed"]
STEP_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds by which steps are counted; longer ones come last."""


class Counters(msgspec.Struct, frozen=True):
    """What was done since the load; of requests that ended as they should, but for the steps."""

    done: int = 0
    aborted: int = 0
    failed: int = 0
    preemptions: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompts' tokens those that others had computed."""
    computed_tokens: int = 0
    """Of all steps: prompts, replies and drafts."""
    written_tokens: int = 0
    accepted_drafts: int = 0
    rejected_drafts: int = 0
    step_seconds: float = 0.0
    steps: tuple[int, ...] = ()
    """By :data:`STEP_SECONDS`."""


class EngineStatus(msgspec.Struct, frozen=True):
    """``GET /engine/status`` and the data of ``status`` on ``/engine/events``."""

    protocol: int
    version: str
    pid: int
    state: LoadState
    uptime_s: float = 0.0
    model: str | None = None
    model_path: str | None = None
    family: str | None = None
    fingerprint: str | None = None
    dtype: str | None = None
    experts: str | None = None
    """Which expert backend serves, e.g. ``native avx2`` or ``reference``."""
    threads: int = 0
    context_length: int = 0
    load_progress: float | None = None
    """0 to 1 while loading."""
    error: ErrorBody | None = None
    running: int = 0
    waiting: int = 0
    running_background: int = 0
    """Of those that run; the rest are interactive."""
    waiting_background: int = 0
    prefilling: int = 0
    """Of those that run: whose prompts are not computed yet."""
    counters: Counters = Counters()
    resident_bytes: int = 0
    prefill_tokens_per_s: float = 0.0
    decode_tokens_per_s: float = 0.0
    cached_tokens: int = 0
    """Tokens in the prefix tree, whether or not a sequence holds them."""
    held_pages: int = 0
    """Pages of the KV cache that sequences hold: none while nothing runs."""
    cancelled: int = 0
    """Requests that were stopped since the load."""
    cancel_steps_p99: int = 0
    """Steps between the order to stop and free pages, 99th percentile of the last 1,024."""
    cache_pages: int = 0
    """Of 64 tokens each."""
    cache_pages_used: int = 0
    """By sequences, or for what may be asked next."""
    cache_bytes: int = 0
    """Of all pages. On a processor what was never used takes no memory."""
    cache_form: str | None = None
    spilled_pages: int = 0
    """That left a device and are kept in memory."""
    snapshot_pages: int = 0
    """On disk, of all models."""
    snapshot_bytes: int = 0
    snapshot_error: str | None = None
    """Why no more pages are written to disk."""
    bound_prefill_tokens_per_s: float = 0.0
    """What the processor's arithmetic allows for this model; 0: not known."""
    bound_decode_tokens_per_s: float = 0.0
    """What reading a token's weights from memory allows for this model; 0: not known."""
    memory_total_bytes: int = 0
    gpu_bytes: int = 0
    gpu_total_bytes: int = 0
    routed_tokens: int = 0
    """Tokens that went through the routers since the load."""
    tiers: tuple[TierUse, ...] = ()
    prediction_hit_rate: float | None = None
    """Of the mapped experts that were needed, the share that had been read ahead; 0 to 1."""


class EngineEvent(msgspec.Struct, frozen=True):
    """One item of ``GET /engine/events`` (SSE): on each change and about once a second."""

    kind: Literal["status"]
    status: EngineStatus
