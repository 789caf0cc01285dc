"""Quantities and kinds as people read them."""

from __future__ import annotations

from engine.protocol import Cause, WeightForm

FORMS: dict[WeightForm, str] = {
    "float32": "FP32",
    "bf16": "BF16",
    "fp8": "FP8",
    "int8": "INT8",
    "int4": "INT4",
}
CAUSES: dict[Cause, str] = {
    "memory": "reading memory",
    "processor": "the processor's arithmetic",
    "disk": "reading experts from disk",
    "accelerator": "the accelerator",
    "bus": "the bus to the accelerator",
    "overhead": "small operations between the big ones",
}


def amount(size: float) -> str:
    """Bytes, three figures at most."""
    value, unit = (size / (1 << 30), "GiB") if size >= 1 << 27 else (size / (1 << 20), "MiB")
    return f"{value:,.0f} {unit}" if value >= 99.5 else f"{value:.3g} {unit}"


def duration(seconds: float) -> str:
    """Two figures, in the unit that suits."""
    if seconds >= 7200:
        return f"{seconds / 3600:,.0f} h"
    if seconds >= 99.5:
        return f"{seconds / 60:.0f} min"
    if seconds >= 9.95:
        return f"{seconds:.0f} s"
    if seconds >= 0.995:
        return f"{seconds:.2g} s"
    return f"{1000 * seconds:.0f} ms" if seconds >= 0.00995 else f"{1000 * seconds:.2g} ms"


def rate(per_second: float) -> str:
    """Tokens a second without the unit: two figures below 10, whole ones above."""
    return f"{per_second:,.0f}" if per_second >= 9.95 else f"{per_second:.2g}"
