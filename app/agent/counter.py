"""How many tokens messages have."""

from __future__ import annotations

import msgspec

from app.agent.context import words
from app.agent.history import Segment
from app.backends.base import Backend
from engine.protocol import ToolSpec


class Counter:
    """Tokens of messages, each counted once: by the endpoint where it can, else guessed.

    What the endpoint reports of whole prompts corrects the sums.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, bool], tuple[object, int]] = {}
        self._tools: tuple[object, int] = ((), 0)
        self._sum = 0
        self._scale = 1.0

    async def count(
        self, backend: Backend, segments: list[Segment], specs: tuple[ToolSpec, ...]
    ) -> list[int]:
        """Tokens of each; what the template adds is spread over them."""
        missing = [
            segment
            for segment in segments
            if self._known.get((segment.key, segment.hidden), (None, 0))[0] is not segment.message
        ]
        texts = [words(segment) for segment in missing]
        if self._tools[0] != specs:
            texts.append(msgspec.json.encode(specs).decode())
        counts = await backend.count(texts) if texts else ()
        if counts is None or len(counts) != len(texts):
            counts = tuple(len(text.encode()) // 4 + 8 for text in texts)
        if self._tools[0] != specs:
            self._tools = specs, counts[-1]
        for segment, tokens in zip(missing, counts, strict=False):
            self._known[segment.key, segment.hidden] = segment.message, tokens
        found = [self._known[segment.key, segment.hidden][1] for segment in segments]
        self._sum = sum(found) + self._tools[1]
        return [round(tokens * self._scale) for tokens in found]

    @property
    def sum(self) -> int:
        """Tokens of the prompt that was counted last."""
        return round(self._sum * self._scale)

    @property
    def beside(self) -> int:
        """Tokens of the tools' descriptions."""
        return round(self._tools[1] * self._scale)

    def reported(self, prompt_tokens: int) -> None:
        """What the endpoint says of the prompt that was counted last."""
        if prompt_tokens and self._sum:
            self._scale = min(5.0, max(0.2, prompt_tokens / self._sum))
