"""How many prompt tokens a step takes, so that running replies go on at nearly their own pace."""

from __future__ import annotations

from dataclasses import dataclass

from engine.scheduler.cost import FEW, Load, StepCost

SLOWDOWN = 2.0
"""How much longer than without prompts a step may take while a reply is being written."""
LEAST = 8
"""Prompt tokens of a step where nothing is known, or where waiting has earned one."""
REST = 24
"""Steps between two chunks where not even one token fits: fewer than one in twenty is slow, and
prompts get about half of the time."""

CHECK = 12
"""Steps with a chunk after which one has none, to see how fast replies would be by themselves."""


@dataclass(frozen=True, slots=True)
class Chunks:
    """Sizes of chunks while nobody decodes.

    From ``stream_from`` tokens on (0: never) experts stream to the device, which takes as long for
    many tokens as for few: such chunks have up to ``streamed``.

    Each chunk unfolds the keys and values of all positions before it, which for K2's heads is as
    much work as 410 tokens are to attend to them. From ``deep_from`` positions on little else
    counts, and larger chunks, of ``deep``, save a third of a prompt's time.
    """

    most: int = 512
    stream_from: int = 0
    streamed: int = 8192
    deep_from: int = 16_384
    deep: int = 2048

    def of(self, pending: int, depth: int = 0) -> int:
        """How many of a prompt's pending tokens a step takes, after `depth` others."""
        most = self.most if depth < self.deep_from else max(self.most, self.deep)
        if self.stream_from and pending >= self.stream_from:
            most = max(most, self.streamed)
        return min(pending, most)


class Pace:
    """Sizes the chunk beside running replies by measured speed. Engine thread only."""

    def __init__(self, cost: StepCost) -> None:
        self.cost = cost
        self._rested = REST
        self._mixed = 0
        """Steps with chunks since the last without."""
        self._tried = 0
        """The largest chunk that was ever beside a reply: what is next is at most twice that."""

    def note(self, load: Load, seconds: float, prompt: int, decodes: bool) -> None:
        """A step was measured; ``prompt`` tokens of it were of prompts."""
        self.cost.note(load, seconds)
        self._rested = 0 if prompt else self._rested + 1
        self._mixed = self._mixed + 1 if prompt and decodes else 0
        if decodes:
            self._tried = max(self._tried, prompt)

    def chunk(self, decoding: Load, depth: int, most: int) -> int:
        """Prompt tokens at ``depth`` that may join a step that decodes; up to ``most``, perhaps 0.

        The most with which the step takes at most ``SLOWDOWN`` times as long. If there is none, now
        and then a larger one.
        """
        if self._mixed >= CHECK:
            return 0
        careful = min(LEAST, max(FEW - decoding.tokens, 1))
        most = min(most, max(2 * self._tried, careful))
        if not self.cost.known:
            return most
        alone = self.cost.seconds(decoding)
        steady = self.cost.most(decoding, depth, SLOWDOWN * alone, most)
        if steady or self._rested < REST:
            return steady
        return max(self.cost.most(decoding, depth, REST * alone, most), min(careful, most))
