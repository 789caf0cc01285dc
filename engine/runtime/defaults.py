"""What a checkpoint's ``generation_config.json`` recommends."""

from __future__ import annotations

from pathlib import Path

from engine.config import read_json
from engine.types import SamplingParams


def read_defaults(folder: Path, vocab_size: int) -> tuple[SamplingParams, frozenset[int]]:
    """Sampling defaults and the ids that end a reply; values out of range are left out."""
    path = folder / "generation_config.json"
    raw = read_json(path) if path.exists() else {}

    def number(name: str, default: float, low: float, high: float) -> float:
        value = raw.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return default
        return float(value) if low <= value <= high else default

    eos = raw.get("eos_token_id")
    ids = eos if isinstance(eos, list) else [eos]
    params = SamplingParams(
        temperature=0.0 if raw.get("do_sample") is False else number("temperature", 1.0, 0.0, 10.0),
        top_p=number("top_p", 1.0, 1e-6, 1.0),
        top_k=int(number("top_k", 0, 0, 1 << 22)),
        min_p=number("min_p", 0.0, 0.0, 1.0),
    )
    return params, frozenset(i for i in ids if type(i) is int and 0 <= i < vocab_size)
