"""One request to a model: what is asked, and what it writes, as events."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import dataclass

from app import events as ev
from app.agent import history
from app.agent.prompts import system_prompt
from app.agent.run import Run
from app.backends import base
from app.errors import BackendError


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call as the model wrote it, under an id that is its own on this branch."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a model call."""

    text: str
    calls: tuple[Call, ...]
    finish_reason: str

    @property
    def empty(self) -> bool:
        return not self.text.strip() and not self.calls


async def ask_model(run: Run, backend: base.Backend, span: str) -> Reply:
    """Ask once and record everything. Raises what :meth:`Backend.stream` raises."""
    path = run.path()
    request = base.ModelRequest(
        messages=history.messages(path, system_prompt(run.settings)),
        tools=run.tools.specs(run.enabled),
        model=run.settings.model,
        sampling=base.Sampling(
            run.settings.temperature, run.settings.top_p, run.settings.seed, run.meter.max_tokens
        ),
        request_id=span,
    )
    sampling = request.sampling
    given = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "max_tokens": sampling.max_tokens,
    }
    run.emit(
        ev.ModelCallBegin(
            backend.name,
            request.model,
            request.messages,
            request.tools,
            {name: value for name, value in given.items() if value is not None},
        ),
        span,
    )
    writer = _Writer(run, span, history.call_ids(path))
    stream = backend.stream(request)
    async with _closing(stream):
        async for event in stream:
            writer.take(event)
    return writer.reply()


def _closing(
    stream: AsyncIterator[base.BackendEvent],
) -> AbstractAsyncContextManager[object]:
    """Closing the stream is what stops the work at the other end."""
    return aclosing(stream) if hasattr(stream, "aclose") else nullcontext()  # type: ignore[type-var]


class _Writer:
    """Turns backend events into journal events; at most one part is open."""

    def __init__(self, run: Run, span: str, used: list[str]) -> None:
        self._run = run
        self._span = span
        self._used = set(used)
        self._count = len(used)
        self._began = time.monotonic()
        self._first = 0.0
        self._parts = 0
        self._kind: ev.PartKind | None = None
        self._part_began = 0.0
        self._buffer: list[str] = []
        self._tokens = 0
        self._all_tokens = 0
        self._text: list[str] = []
        self._calls: list[Call] = []
        self._index = -1
        self._finished: base.Finished | None = None

    def take(self, event: base.BackendEvent) -> None:
        match event:
            case base.PromptRendered(text, tokens):
                self._run.emit(ev.ModelPrompt(text, tokens), self._span)
            case base.Prefill(done, total, left):
                self._show(ev.PrefillProgress(done, total, left))
            case base.ReasoningDelta(text, tokens):
                self._write("reasoning", text, tokens)
            case base.TextDelta(text, tokens):
                self._write("text", text, tokens)
            case base.CallBegin(index, id, name):
                self._begin_call(index, id, name)
            case base.CallDelta(index, text, tokens):
                self._write_call(index, text, tokens)
            case base.Problem(code, message):
                self._run.emit(ev.FormatProblemSeen(code, message), self._span)
            case base.Finished():
                self._finish(event)

    def reply(self) -> Reply:
        if self._finished is None:
            raise BackendError(
                "no_finish", "the reply broke off before its end", "try again", retryable=True
            )
        return Reply("".join(self._text), tuple(self._calls), self._finished.reason)

    def _show(self, body: ev.Body) -> None:
        self._run.journal.publish(self._run.conversation, body, self._run.turn, self._span)

    @property
    def _part(self) -> str:
        return f"{self._span}.{self._parts}"

    def _begin(self, kind: ev.PartKind, call: str = "", name: str = "") -> None:
        self._end()
        self._kind = kind
        self._part_began = time.monotonic()
        self._first = self._first or self._part_began
        self._run.emit(ev.PartBegin(self._part, kind, call, name), self._span)

    def _write(self, kind: ev.PartKind, text: str, tokens: int) -> None:
        if not text and not tokens:
            return
        if self._kind != kind:
            self._begin(kind)
        if kind == "text":
            self._text.append(text)
        self._buffer.append(text)
        self._tokens += tokens
        self._run.journal.delta(
            self._run.conversation,
            ev.PartDelta(self._part, text, tokens),
            self._run.turn,
            self._span,
        )

    def _begin_call(self, index: int, id: str, name: str) -> None:
        if not id or id in self._used:
            id = f"functions.{name}:{self._count}"
        while id in self._used:
            self._count += 1
            id = f"functions.{name}:{self._count}"
        self._used.add(id)
        self._count += 1
        self._index = index
        self._begin("tool_call", id, name)
        self._calls.append(Call(id, name, ""))

    def _write_call(self, index: int, text: str, tokens: int) -> None:
        if index != self._index or self._kind != "tool_call":
            raise BackendError("bad_stream", "arguments of a call that is not being written")
        self._write("tool_call", text, tokens)

    def _end(self) -> None:
        if self._kind is None:
            return
        text = "".join(self._buffer)
        seconds = time.monotonic() - self._part_began
        self._run.emit(ev.PartEnd(self._part, text, self._tokens, seconds), self._span)
        if self._kind == "tool_call":
            self._calls[-1] = Call(self._calls[-1].id, self._calls[-1].name, text)
        self._all_tokens += self._tokens
        self._kind, self._buffer, self._tokens = None, [], 0
        self._parts += 1

    def _finish(self, event: base.Finished) -> None:
        self._end()
        self._finished = event
        now = time.monotonic()
        self._run.meter.add_tokens(event.usage.completion_tokens or self._all_tokens)
        self._run.emit(
            ev.ModelCallEnd(
                event.reason,
                event.usage,
                event.timings,
                first_token_ms=(self._first - self._began) * 1000 if self._first else 0.0,
                seconds=now - self._began,
            ),
            self._span,
        )
