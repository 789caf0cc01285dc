"""What fills the model's window, measured by the model's tokenizer where there is one at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from app import events as ev
from app.agent.context import guess
from app.agent.history import History, Segment
from app.agent.prompts import system_prompt
from app.backends.base import Backend
from app.state import ConversationState, ModelCall, Turn

SliceKind = Literal[
    "system", "tools", "notes", "turns", "task", "reasoning", "replies", "results", "hidden",
    "program", "markers",
]  # fmt: skip
_MOST_KNOWN = 20_000
_MOST_MARKERS = 64
"""Tokens around a message that are taken for its markers."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A stretch of the window. ``key``: a step's span, a call (a lane's as ``LANE/CALL``), a turn,
    a lane, or a name of its own.

    ``cached``: the last call found it computed; ``next``: the first to be hidden.
    """

    key: str
    kind: SliceKind
    tokens: int
    name: str = ""
    cached: bool = False
    next: bool = False


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision of the context policy. ``span`` is the step's after which it was made."""

    at: float
    span: str
    step: int
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class ContextMap:
    """The prompt of the next call, in order. ``window`` 0: its size is not known.

    ``measured``: every text was counted by the tokenizer, else some by their lengths.
    """

    slices: tuple[Slice, ...] = ()
    window: int = 0
    cached: int = 0
    measured: bool = False
    decisions: tuple[Decided, ...] = ()

    @property
    def used(self) -> int:
        return sum(one.tokens for one in self.slices)

    @property
    def free(self) -> int:
        return max(self.window - self.used, 0)


class Surveyor:
    """Draws maps; keeps the counts of texts that it has seen. On the core's loop."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._of = ""
        self._conversation = ""
        self._history = History()

    async def survey(
        self, state: ConversationState, backend: Backend | None, lane: str = ""
    ) -> ContextMap:
        """Of the shown branch, or of one lane. Raises nothing."""
        path = _path(state, lane)
        if not path:
            return ContextMap()
        settings = path[-1].settings
        if state.id != self._conversation:
            self._conversation, self._history = state.id, History()
        segments = self._history.segments(path, system_prompt(settings), "system")
        last, acted = _last_call(path), _last_call(path, acting=True)
        call = acted or last
        tools = msgspec.json.encode(call.tools).decode() if call and call.tools else ""
        parts = [part for segment in segments for part in _parts(segment, path[-1])]
        texts = [text for *_, text in parts]
        measured = await self._count(backend, [tools, *texts])
        slices = [
            Slice(key, kind, self._tokens(text), name)
            for key, kind, name, text in parts
            if text or kind == "hidden"
        ]
        at = 1 if slices and slices[0].kind == "system" else 0
        if tools:
            slices.insert(at, Slice("tools", "tools", self._tokens(tools), "descriptions"))
        markers = self._markers(acted, segments, tools)
        if markers:
            slices.append(Slice("markers", "markers", markers, "around messages"))
        limits = (settings.context, backend.traits.context if backend else 0)
        window = min((size for size in limits if size), default=0)
        cached = last.usage.prompt_tokens_details.cached_tokens if last else 0
        return ContextMap(
            tuple(_marked(slices, cached)), window, cached, measured, _decisions(path)
        )

    async def _count(self, backend: Backend | None, texts: Sequence[str]) -> bool:
        name = backend.name if backend else ""
        if backend is not None and name != self._of:
            self._known.clear()
            self._of = name
        missing = list(dict.fromkeys(t for t in texts if t and t not in self._known))
        if not missing:
            return True
        counts = await backend.count(missing) if backend else None
        if counts is None or len(counts) != len(missing):
            return False
        if len(self._known) + len(missing) > _MOST_KNOWN:
            self._known.clear()
        self._known.update(zip(missing, counts, strict=True))
        return True

    def _tokens(self, text: str) -> int:
        if not text:
            return 0
        known = self._known.get(text)
        return guess(text) if known is None else known

    def _markers(self, call: ModelCall | None, segments: Sequence[Segment], tools: str) -> int:
        """What the endpoint reported beyond the texts of its last prompt, for all messages."""
        if call is None or not call.usage.prompt_tokens or not call.messages:
            return 0
        told = len(call.messages)
        texts = [text for s in segments[:told] for *_, text in _parts(s)]
        beyond = call.usage.prompt_tokens - self._tokens(tools) - sum(map(self._tokens, texts))
        each = min(max(beyond, 0) / told, _MOST_MARKERS)
        return round(each * len(segments))


def _path(state: ConversationState, lane: str) -> tuple[Turn, ...]:
    found = state.turn(lane) if lane else None
    if found is None:
        return state.path()
    above: list[Turn] = [found]
    while above[-1].parent and (parent := state.turn(above[-1].parent)) is not None:
        above.append(parent)
    return tuple(reversed(above))


def _last_call(path: Sequence[Turn], *, acting: bool = False) -> ModelCall | None:
    """``acting``: the last that was told nothing beside the history, as a last pass is."""
    return next(
        (
            step.call
            for turn in reversed(path)
            for step in reversed(turn.steps)
            if step.call is not None and step.call.ended and step.call.usage.prompt_tokens
            if step.purpose == "act" or not acting
        ),
        None,
    )


def _parts(segment: Segment, asked: Turn | None = None) -> list[tuple[str, SliceKind, str, str]]:
    """(key, kind, name, text) of what a message holds. ``asked``: the turn or lane whose message
    is the task.
    """
    own = asked is not None and asked.id == segment.turn
    place = f"{segment.turn}/" if own and asked and asked.number else ""
    message = segment.message
    text = message.content or ""
    match segment.kind:
        case "system":
            return [(segment.key, "system", "", text)]
        case "notes":
            return [(segment.key, "notes", "of what came before", text)]
        case "user":
            kind: SliceKind = "task" if own else "turns"
            return [(segment.key, kind, _gist(text), text)]
        case "note":
            return [(segment.span, "program", _gist(text), text)]
        case "result":
            shown: SliceKind = "hidden" if segment.hidden else "results"
            return [(f"{place}{segment.key}", shown, segment.tool, text)]
        case "assistant":
            calls = "".join(
                f"{c.id}{c.function.name}{c.function.arguments}" for c in message.tool_calls
            )
            names = ", ".join(c.function.name for c in message.tool_calls) or _gist(text)
            thought = message.reasoning_content or ""
            key = segment.span or segment.turn
            return [
                (key, "reasoning", _gist(thought), thought),
                (key, "replies", names, text + calls),
            ]


def _gist(text: str) -> str:
    line = " ".join(text[:200].split())
    return line if len(line) <= 60 else line[:60] + "…"


def _marked(slices: Sequence[Slice], cached: int) -> list[Slice]:
    """With what the last call found cached, and the result that would be hidden first."""
    made: list[Slice] = []
    at, first = 0, True
    for one in slices:
        at += one.tokens
        oldest = first and one.kind == "results"
        first = first and not oldest
        made.append(Slice(one.key, one.kind, one.tokens, one.name, 0 < at <= cached, oldest))
    return made


def _decisions(path: Sequence[Turn]) -> tuple[Decided, ...]:
    found: list[Decided] = []
    for turn in path:
        numbers = {step.span: step.index + 1 for step in turn.steps}
        for change in turn.context:
            step = numbers.get(change.span, 0)
            what, reason = _words(change.body)
            found.append(Decided(change.at, change.span, step, what, reason))
    return tuple(found)


def _words(body: ev.ContextHidden | ev.ContextSummarised) -> tuple[str, str]:
    after = f" → {body.tokens_after:,}" if body.tokens_after else ""
    sizes = f"{body.tokens_before:,}{after} of {body.window:,} tokens"
    if isinstance(body, ev.ContextHidden):
        count = len(body.calls)
        what = f"hid {count} result{'s' * (count != 1)}"
    else:
        what = f"{body.steps} step{'s' * (body.steps != 1)} became notes"
    return f"{what}: {sizes}", body.reason
