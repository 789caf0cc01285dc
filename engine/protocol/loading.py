"""How a model is to be loaded."""

from __future__ import annotations

from typing import Literal

import msgspec

from engine.protocol.chat import Natural


class SnapshotOptions(msgspec.Struct, frozen=True):
    """Where pages of the KV cache are kept for the next start."""

    folder: str
    max_bytes: Natural = 0
    """Of all models together; 0: 20 GiB, or a tenth of what is free on the disk."""


class LoadRequest(msgspec.Struct, frozen=True):
    """``POST /engine/load``."""

    path: str
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    experts: Literal["auto", "native", "reference"] = "auto"
    threads: int = 0
    """0: one per physical core."""
    max_context: int = 0
    """0: what the checkpoint allows."""
    device: Literal["auto", "cpu", "thread"] = "auto"
    """Who computes beside the expert pool: the accelerator if there is one, nobody, or a thread."""
    expert_memory_bytes: Natural | None = None
    """How much memory routed experts may take; 0: as the system sees fit, None: the same where all
    of them fit into free memory, else what is safe to take of it."""
    expert_policy: Literal["lfu", "lru"] = "lfu"
    """Which experts leave memory first when that is short."""
    read_ahead: Literal["auto", "on", "off"] = "auto"
    """Whether the next layer's likely experts are read early; auto: with 8 cores or more."""
    expert_reading: Literal["auto", "map", "direct"] = "auto"
    """How experts that are not in their memory come: through the mapped files, past the page cache
    into memory of our own, or by what a short measurement while loading finds faster."""
    hot_experts: Natural | None = None
    """Experts on the accelerator; None: as many as fit."""
    deferred_experts: Natural = 0
    """Of each token, the lightest that join one layer later: quicker, and a little different."""
    stream_from: Natural | None = None
    """Prompt tokens from which expert weights stream to the accelerator; 0: never, None: from where
    the planner finds it faster on this machine."""
    isa: str = "auto"
    """Instruction set of the native kernels; ``auto``: the best of this processor."""
    mode: Literal["auto", "exact", "fast"] = "auto"
    """Activations of INT4 experts in float32 or INT8; ``auto``: by the model's size."""
    dense: Literal["auto", "published", "int8", "int4"] = "auto"
    """Form of everything but routed experts where there is no accelerator."""
    speculation: Literal["auto", "mtp", "off"] = "auto"
    """Whether tokens are drafted and checked many at once, where that is measured to pay; ``mtp``
    also by the checkpoint's layer for multi-token prediction, where there is no accelerator."""
    cache_bytes: Natural = 0
    """Of the KV cache; 0: a full context, at least 1 GiB, at most half of what is free."""
    cache_form: Literal["auto", "float32", "bf16", "int8"] = "auto"
    """How the KV cache keeps latents; auto: as the model computes. int8: about half of bf16."""
    snapshots: SnapshotOptions | None = None
    """None: nothing of a conversation is written to disk."""
