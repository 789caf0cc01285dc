"""How many tokens messages have."""

from __future__ import annotations

import msgspec

from app.agent.context import guess, words
from app.agent.history import Segment
from app.backends.base import Backend
from engine.protocol import ChatMessage, ToolSpec


class Counter:
    """Tokens of messages, each counted once: by the endpoint where it can, else guessed.

    What the endpoint reports of whole prompts corrects the sums.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, bool], tuple[ChatMessage, int]] = {}
        self._segments: list[Segment] = []
        self._counts: list[int] = []
        self._specs: tuple[ToolSpec, ...] = ()
        self._tools = 0
        self._sum = 0
        self._scale = 1.0

    async def count(
        self, backend: Backend, segments: list[Segment], specs: tuple[ToolSpec, ...]
    ) -> list[int]:
        """Tokens of each, before :attr:`scale`."""
        counts = self._counts
        if segments[: len(self._segments)] != self._segments:
            counts = []
        fresh = segments[len(counts) :]
        missing = [segment for segment in fresh if not self._knows(segment)]
        texts = [words(segment) for segment in missing]
        if self._specs != specs:
            texts.append(msgspec.json.encode(specs).decode())
        found = await backend.count(texts) if texts else ()
        if found is None or len(found) != len(texts):
            found = tuple(guess(text) for text in texts)
        if self._specs != specs:
            self._specs, self._tools = specs, found[-1]
        for segment, tokens in zip(missing, found, strict=False):
            self._known[segment.key, segment.hidden] = segment.message, tokens
        counts = [*counts, *(self._known[s.key, s.hidden][1] for s in fresh)]
        self._segments, self._counts = segments, counts
        self._sum = sum(counts) + self._tools
        return counts

    def _knows(self, segment: Segment) -> bool:
        known = self._known.get((segment.key, segment.hidden))
        return known is not None and known[0] == segment.message

    @property
    def scale(self) -> float:
        """What a token that was counted is worth in the endpoint's whole prompts."""
        return self._scale

    @property
    def sum(self) -> int:
        """Tokens of the prompt that was counted last."""
        return round(self._sum * self._scale)

    @property
    def beside(self) -> int:
        """Tokens of the tools' descriptions."""
        return round(self._tools * self._scale)

    def reported(self, prompt_tokens: int) -> None:
        """What the endpoint says of the prompt that was counted last."""
        if prompt_tokens and self._sum:
            self._scale = min(5.0, max(0.2, prompt_tokens / self._sum))
