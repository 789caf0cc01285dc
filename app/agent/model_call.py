"""One request to a model: what is asked, and what it writes, as events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace

from app import events as ev
from app.agent import history
from app.agent.guarding import guarded
from app.agent.prompts import system_prompt
from app.agent.run import Run, Sent
from app.backends import base
from app.errors import BackendError, SelenographError, StoreError
from app.state import Step
from engine.protocol import ChatMessage, CompletionTokensDetails, Usage

_CHARS_PER_TOKEN = 3.5
"""Where an endpoint does not say how many tokens a text has."""


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
    thought: str = ""
    cut: bool = False
    """The program left the stream because the reasoning had reached its limit."""

    @property
    def empty(self) -> bool:
        return not self.text.strip() and not self.calls


@dataclass(frozen=True, slots=True)
class Ask:
    """What is special about one request. Tokens None: no limit."""

    tools: bool = True
    may_call: bool = True
    max_tokens: int | None = None
    thinking: int | None = None
    temperature: float | None = None
    """None: the run's own."""
    last: str = ""
    """Told at the end, and not kept."""
    of_budget: bool = False
    """Its limits are what the run's budget has left, at every attempt."""


async def ask_model(run: Run, backend: base.Backend, span: str, ask: Ask) -> Reply:
    """Ask once and record everything. Raises what :meth:`Backend.stream` raises."""
    path = run.path()
    traits = backend.traits
    settings = run.settings
    segments = run.history.segments(path, system_prompt(settings), run.note_role)
    messages = tuple(segment.message for segment in segments)
    if ask.last:
        messages = (*messages, ChatMessage(run.note_role, ask.last))
    request = base.ModelRequest(
        messages=messages,
        tools=run.specs() if ask.tools else (),
        model=settings.model or traits.model,
        sampling=base.Sampling(
            settings.temperature if ask.temperature is None else ask.temperature,
            settings.top_p,
            settings.seed,
            ask.max_tokens,
        ),
        request_id=_request_id(path[-1].steps[-1]),
        may_call=ask.may_call,
        thinking=ask.thinking,
        forbidden=run.repeats.forbidden() if traits.forbids_calls and ask.may_call else (),
    )
    sampling = request.sampling
    given = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "max_tokens": sampling.max_tokens,
        "thinking": request.thinking,
        "tool_choice": None if ask.may_call else "none",
        "forbidden": [list(call) for call in request.forbidden] or None,
    }
    before = run.sent
    kept = _same(before.messages, messages) if before else 0
    same_tools = before is not None and before.tools == request.tools
    run.emit(
        ev.ModelCallBegin(
            backend.name,
            request.model,
            messages[kept:],
            () if same_tools else request.tools,
            {name: value for name, value in given.items() if value is not None},
            before.span if before else "",
            kept,
            same_tools,
        ),
        span,
    )
    prompt_before = before.prompt if before else ""
    run.sent = Sent(span, messages, request.tools, prompt_before)
    used = history.call_ids(path)
    writer = _Writer(run, span, used, len(path[-1].steps[-1].parts), before.span if before else "")
    stream = backend.stream(request)
    limit = None if traits.closes_reasoning else ask.thinking
    try:
        async with _lively(run, traits), _closing(stream):
            async for event in stream:
                if run.quiet is not None and run.quiet.when() is not None:
                    run.quiet.reschedule(None)
                if run.redirected is not None:
                    writer.abandon()
                    break
                writer.take(event)
                if limit is not None and writer.thinks_past(limit):
                    writer.cut()
                    break
        writer.check()
    except StoreError:
        raise
    except SelenographError:
        writer.abandon()
        raise
    reply = writer.reply()
    if ask.thinking is not None and not reply.cut and writer.thought >= ask.thinking > 0:
        run.emit(ev.ThinkingCut(writer.thought, "engine"), span)
    return reply


def _request_id(step: Step) -> str:
    """Another for each attempt: an engine may be at work on the one that was left until its present
    computing step is over, and takes no second request of its name before.
    """
    return f"{step.span}.{len(step.calls)}" if step.calls else step.span


@asynccontextmanager
async def _lively(run: Run, traits: base.Traits) -> AsyncIterator[None]:
    """Raises BackendError ``stalled`` where a sleep has cut a connection off; ours is on loopback,
    where that shows by itself.
    """
    if traits.closes_reasoning:
        yield
        return
    try:
        async with asyncio.timeout(None) as run.quiet:
            yield
    except TimeoutError:
        if run.quiet is None or not run.quiet.expired():
            raise
        message = "nothing came any more after the machine had slept"
        raise BackendError("stalled", message, "try again", retryable=True) from None
    finally:
        run.quiet = None


def _closing(
    stream: AsyncIterator[base.BackendEvent],
) -> AbstractAsyncContextManager[object]:
    """Closing the stream is what stops the work at the other end."""
    return aclosing(stream) if hasattr(stream, "aclose") else nullcontext()  # type: ignore[type-var]


def _same(before: tuple[ChatMessage, ...], now: tuple[ChatMessage, ...]) -> int:
    """How many messages two requests have in common at their beginnings."""
    if now[: len(before)] == before:
        return len(before)
    for i, (one, other) in enumerate(zip(before, now, strict=False)):
        if one is not other and one != other:
            return i
    return min(len(before), len(now))


def _same_text(before: str, now: str) -> int:
    """The length of the common beginning; by halves, for comparing is quick and Python is not."""
    low, high = 0, min(len(before), len(now))
    while low < high:
        middle = (low + high + 1) // 2
        if before[low:middle] == now[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class _Writer:
    """Turns backend events into journal events; at most one part is open."""

    def __init__(self, run: Run, span: str, used: list[str], parts: int, after: str) -> None:
        """``parts``: how many the step has already, from attempts that broke off. ``after``: the
        call before.
        """
        self._after = after
        self._run = run
        self._span = span
        self._used = set(used)
        self._count = len(used)
        self._began = time.monotonic()
        self._first = 0.0
        self._parts = parts
        self._kind: ev.PartKind | None = None
        self._part_began = 0.0
        self._seal = ""
        self._buffer: list[str] = []
        self._tokens = 0
        self._all_tokens = 0
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._thought_tokens = 0.0
        self._was_cut = False
        self._calls: list[Call] = []
        self._index = -1
        self._finished: base.Finished | None = None

    def take(self, event: base.BackendEvent) -> None:
        match event:
            case base.PromptRendered(text, tokens):
                self._prompt(text, tokens)
            case base.Prefill(done, total, left):
                self._show(ev.PrefillProgress(done, total, left))
            case base.ReasoningDelta(text, tokens):
                self._write("reasoning", text, tokens)
            case base.ReasoningSeal(text):
                self._seal = text if self._kind == "reasoning" else ""
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

    def _prompt(self, text: str, tokens: int) -> None:
        sent = self._run.sent
        assert sent is not None
        kept = _same_text(sent.prompt, text)
        body = ev.ModelPrompt(text[kept:], tokens, self._after, kept)
        self._run.emit(body if kept else ev.ModelPrompt(text, tokens), self._span)
        self._run.sent = replace(sent, prompt=text)

    def check(self) -> None:
        """Raises BackendError if the reply has no end."""
        if self._finished is None:
            raise BackendError(
                "no_finish", "the reply broke off before its end", "try again", retryable=True
            )

    def abandon(self) -> None:
        """End what is open; the reply broke off."""
        if self._finished is None:
            self._finish(base.Finished("error"))

    def reply(self) -> Reply:
        assert self._finished is not None
        return Reply(
            "".join(self._text),
            tuple(self._calls),
            self._finished.reason,
            "".join(self._thoughts),
            self._was_cut,
        )

    @property
    def thought(self) -> int:
        """Reasoning tokens, as the endpoint told, else as they were counted or guessed here."""
        if self._finished is not None:
            told = self._finished.usage.completion_tokens_details.reasoning_tokens
            if told:
                return told
        return round(self._thought_tokens)

    def thinks_past(self, limit: int) -> bool:
        """Whether it is in its reasoning, and that is as long as it may be."""
        return self._kind == "reasoning" and self._thought_tokens >= limit

    def cut(self) -> None:
        """End the reply here, in its reasoning."""
        thought = round(self._thought_tokens)
        self._was_cut = True
        usage = Usage(
            completion_tokens=thought, completion_tokens_details=CompletionTokensDetails(thought)
        )
        self._finish(base.Finished("thinking_limit", usage))
        self._run.emit(ev.ThinkingCut(thought, "program"), self._span)

    def _show(self, body: ev.Body) -> None:
        self._run.journal.publish(self._run.conversation, body, self._run.turn, self._span)

    @property
    def _part(self) -> str:
        return f"{self._span}.{self._parts}"

    def _begin(self, kind: ev.PartKind, call: str = "", name: str = "") -> None:
        self._end()
        self._kind = kind
        self._part_began = time.monotonic()
        self._text_from = len(self._text)
        self._first = self._first or self._part_began
        self._run.emit(ev.PartBegin(self._part, kind, call, name), self._span)

    def _write(self, kind: ev.PartKind, text: str, tokens: int) -> None:
        if not text and not tokens:
            return
        if self._kind != kind:
            self._begin(kind)
        if kind == "text":
            self._text.append(text)
        elif kind == "reasoning":
            self._thoughts.append(text)
            self._thought_tokens += tokens or len(text) / _CHARS_PER_TOKEN
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
        if self._kind == "text":
            text = guarded(self._run, self._span, "output", text)
            self._text[self._text_from :] = [text]
        seconds = time.monotonic() - self._part_began
        end = ev.PartEnd(self._part, text, self._tokens, seconds, self._seal)
        self._run.emit(end, self._span)
        if self._kind == "tool_call":
            self._calls[-1] = Call(self._calls[-1].id, self._calls[-1].name, text)
        self._all_tokens += self._tokens
        self._kind, self._seal, self._buffer, self._tokens = None, "", [], 0
        self._parts += 1

    def _finish(self, event: base.Finished) -> None:
        self._end()
        self._finished = event
        now = time.monotonic()
        usage = event.usage
        if not usage.completion_tokens and self._all_tokens:
            details = CompletionTokensDetails(round(self._thought_tokens))
            usage = Usage(completion_tokens=self._all_tokens, completion_tokens_details=details)
        self._run.meter.add(usage)
        self._run.counter.reported(usage.prompt_tokens)
        self._run.emit(
            ev.ModelCallEnd(
                event.reason,
                usage,
                event.timings,
                first_token_ms=(self._first - self._began) * 1000 if self._first else 0.0,
                seconds=now - self._began,
            ),
            self._span,
        )
