"""Speeds for the status line: exponentially smoothed, so that they neither jump nor lag."""

from __future__ import annotations

from collections.abc import Sequence

from engine.scheduler.scheduler import Work

_KEEP = 0.9


class Meter:
    """Tokens per second of prefill and of decode. Engine thread only."""

    def __init__(self) -> None:
        self.prefill_tokens_per_s = 0.0
        self.decode_tokens_per_s = 0.0

    def count(self, work: Sequence[Work], written: int, seconds: float) -> None:
        """Note a step that wrote ``written`` tokens.

        A mixed step counts as prefill, whose tokens outweigh.
        """
        seconds = max(seconds, 1e-9)
        if any(w.prompt for w in work):
            tokens = sum(len(w.tokens) for w in work)
            self.prefill_tokens_per_s = _smooth(self.prefill_tokens_per_s, tokens / seconds)
        else:
            self.decode_tokens_per_s = _smooth(self.decode_tokens_per_s, written / seconds)


def _smooth(old: float, new: float) -> float:
    return new if old == 0 else _KEEP * old + (1 - _KEEP) * new
