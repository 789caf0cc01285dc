"""A model that says what it was told to: for tests, pictures of the window and bug reports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from app.backends import base
from app.errors import SelenographError
from engine.protocol import CompletionTokensDetails, Usage


@dataclass(frozen=True, slots=True)
class Reply:
    """One model reply. ``calls`` are (name, arguments as JSON text).

    Text goes out ``chunk`` characters at a time, a token each; ``pause`` is awaited before every
    chunk. ``error`` is raised where the reply would have finished; ``finish`` overrides the
    finish reason.
    """

    reasoning: str = ""
    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    chunk: int = 8
    pause: Callable[[], Awaitable[None]] | None = None
    error: SelenographError | None = None
    finish: str = ""


class ScriptedBackend:
    """Gives the replies in order, the last one again and again; keeps the requests it got."""

    def __init__(
        self,
        replies: Sequence[Reply] | Callable[[base.ModelRequest], Reply],
        name: str = "scripted",
        traits: base.Traits | None = None,
    ) -> None:
        """``replies`` may be a function of the request instead."""
        if not callable(replies) and not replies:
            raise ValueError("a script needs at least one reply")
        self._replies = replies
        self.traits = traits or base.Traits()
        self._name = name
        self.requests: list[base.ModelRequest] = []
        self.closed = False
        self.away: SelenographError | None = None
        """Raised by a probe."""
        self.probes = 0
        self.cut = 0
        """How many streams were closed, or failed, before they finished."""

    @property
    def name(self) -> str:
        return self._name

    async def stream(self, request: base.ModelRequest) -> AsyncIterator[base.BackendEvent]:
        if callable(self._replies):
            reply = self._replies(request)
        else:
            reply = self._replies[min(len(self.requests), len(self._replies) - 1)]
        self.requests.append(request)
        prompt = "\n".join(f"{m.role}: {m.content}" for m in request.messages)
        length = len(prompt.split())
        yield base.PromptRendered(prompt, length)
        completed = False
        reasoning = tokens = 0
        try:
            for event in _events(reply, _calls_before(request)):
                if reply.pause is not None:
                    await reply.pause()
                tokens += 1
                reasoning += isinstance(event, base.ReasoningDelta)
                yield event
            if reply.error is not None:
                raise reply.error
            completed = True
        finally:
            self.cut += not completed
        yield base.Finished(
            reply.finish or ("tool_calls" if reply.calls else "stop"),
            Usage(
                prompt_tokens=length,
                completion_tokens=tokens,
                total_tokens=length + tokens,
                completion_tokens_details=CompletionTokensDetails(reasoning),
            ),
        )

    async def count(self, texts: Sequence[str]) -> tuple[int, ...] | None:
        return tuple(len(text.split()) for text in texts)

    async def probe(self) -> None:
        self.probes += 1
        if self.away is not None:
            raise self.away

    async def close(self) -> None:
        self.closed = True


def _calls_before(request: base.ModelRequest) -> int:
    return sum(len(message.tool_calls) for message in request.messages)


def _events(reply: Reply, first: int) -> Iterator[base.BackendEvent]:
    for piece in _pieces(reply.reasoning, reply.chunk):
        yield base.ReasoningDelta(piece, 1)
    for piece in _pieces(reply.text, reply.chunk):
        yield base.TextDelta(piece, 1)
    for index, (name, arguments) in enumerate(reply.calls):
        yield base.CallBegin(index, f"functions.{name}:{first + index}", name)
        for piece in _pieces(arguments, reply.chunk):
            yield base.CallDelta(index, piece, 1)


def _pieces(text: str, size: int) -> Iterator[str]:
    return (text[i : i + size] for i in range(0, len(text), size))
