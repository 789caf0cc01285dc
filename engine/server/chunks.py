"""Emissions of the engine to chunks and replies in OpenAI's form."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from engine.protocol import (
    ChatChunk,
    ChatMessage,
    ChatReply,
    ChatRequest,
    Choice,
    ChunkChoice,
    ChunkExtra,
    Delta,
    FormatProblem,
    FunctionCall,
    FunctionDelta,
    Logprobs,
    TokenInfo,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
)
from engine.server.replies import error_body
from engine.text import pieces as p
from engine.types import Broke, Emission, Ended, Prefilling, Request, Started, Wrote

_CALL_PROBLEMS = {
    "truncated": "the call was cut off",
    "unknown_tool": "there is no tool of that name",
    "invalid_arguments": "the arguments are not a JSON object",
}


class ChunkWriter:
    """One stream's chunks, in the order that :mod:`engine.protocol` promises."""

    def __init__(self, request: Request, chat: ChatRequest, model: str) -> None:
        self._request = request
        self._chat = chat
        self._model = model
        self._created = int(time.time())

    def chunks(self, emission: Emission) -> Iterator[ChatChunk]:
        """What an emission adds to the stream."""
        match emission:
            case Started():
                yield self._first(emission)
            case Prefilling():
                yield self._chunk((), ChunkExtra(progress=emission.progress))
            case Wrote():
                yield from self._wrote(emission)
            case Ended():
                yield self._chunk((ChunkChoice(Delta(), finish_reason=emission.reason),))
                options = self._chat.stream_options
                if options is None or options.include_usage:
                    yield self._usage(emission)
            case Broke():
                yield ChatChunk(
                    self._request.id,
                    self._created,
                    self._model,
                    choices=(),
                    error=error_body(emission.error),
                )

    def _first(self, started: Started) -> ChatChunk:
        wanted = self._chat.x_engine.return_prompt
        extra = ChunkExtra(
            request_id=self._request.id,
            prompt=self._request.prompt.text if wanted else None,
            prompt_tokens=started.prompt_tokens,
        )
        return self._chunk((ChunkChoice(Delta(role="assistant")),), extra)

    def _wrote(self, wrote: Wrote) -> Iterator[ChatChunk]:
        tokens = wrote.tokens
        logprobs = _logprobs(tokens) if self._chat.logprobs else None
        shown = tokens if self._chat.x_engine.return_tokens else ()
        for piece in wrote.pieces:
            delta, problem = _delta(piece), _problem(piece)
            if delta is None and problem is None:
                continue
            spoken = delta is not None or logprobs is not None
            choices = (ChunkChoice(delta or Delta(), logprobs=logprobs),) if spoken else ()
            extra = ChunkExtra(tokens=shown, problem=problem) if shown or problem else None
            yield self._chunk(choices, extra)
            logprobs, shown = None, ()
        if shown or logprobs is not None:
            choices = (ChunkChoice(Delta(), logprobs=logprobs),) if logprobs else ()
            yield self._chunk(choices, ChunkExtra(tokens=shown) if shown else None)

    def _usage(self, ended: Ended) -> ChatChunk:
        return ChatChunk(
            self._request.id,
            self._created,
            self._model,
            choices=(),
            usage=ended.usage,
            x_engine=ChunkExtra(timings=ended.timings),
        )

    def _chunk(
        self, choices: tuple[ChunkChoice, ...], extra: ChunkExtra | None = None
    ) -> ChatChunk:
        return ChatChunk(self._request.id, self._created, self._model, choices, x_engine=extra)


def collect(
    request: Request, chat: ChatRequest, model: str, emissions: Iterable[Emission]
) -> ChatReply:
    """A whole reply from all emissions of a request that ended."""
    reasoning, text = "", ""
    calls: list[ToolCall] = []
    tokens: list[TokenInfo] = []
    problem: FormatProblem | None = None
    ended: Ended | None = None
    for emission in emissions:
        if isinstance(emission, Ended):
            ended = emission
        if not isinstance(emission, Wrote):
            continue
        tokens += emission.tokens
        for piece in emission.pieces:
            problem = _problem(piece) or problem
            match piece:
                case p.ReasoningDelta():
                    reasoning += piece.text
                case p.TextDelta():
                    text += piece.text
                case p.ToolCallEnd():
                    calls.append(ToolCall(piece.id, FunctionCall(piece.name, piece.arguments)))
    assert ended is not None
    message = ChatMessage(
        role="assistant",
        content=text or (None if calls else ""),
        reasoning_content=reasoning or None,
        tool_calls=tuple(calls),
    )
    logprobs = _logprobs(tuple(tokens)) if chat.logprobs else None
    extra = ChunkExtra(
        request_id=request.id,
        prompt=request.prompt.text if chat.x_engine.return_prompt else None,
        prompt_tokens=ended.usage.prompt_tokens,
        tokens=tuple(tokens) if chat.x_engine.return_tokens else (),
        problem=problem,
        timings=ended.timings,
    )
    choice = Choice(message, finish_reason=ended.reason, logprobs=logprobs)
    return ChatReply(request.id, int(time.time()), model, (choice,), ended.usage, x_engine=extra)


def _delta(piece: p.Piece) -> Delta | None:
    match piece:
        case p.ReasoningDelta():
            return Delta(reasoning_content=piece.text)
        case p.TextDelta():
            return Delta(content=piece.text)
        case p.ToolCallBegin():
            begin = ToolCallDelta(piece.index, piece.id, "function", FunctionDelta(piece.name, ""))
            return Delta(tool_calls=(begin,))
        case p.ToolCallDelta():
            more = ToolCallDelta(
                piece.index, function=FunctionDelta(arguments=piece.arguments_text)
            )
            return Delta(tool_calls=(more,))
        case _:
            return None


def _problem(piece: p.Piece) -> FormatProblem | None:
    match piece:
        case p.Problem():
            return FormatProblem(piece.code, piece.message)
        case p.ToolCallEnd() if piece.problem is not None:
            return FormatProblem(
                piece.problem, f"{piece.id}: {_CALL_PROBLEMS.get(piece.problem, piece.problem)}"
            )
        case _:
            return None


def _logprobs(tokens: tuple[TokenInfo, ...]) -> Logprobs:
    def one(text: str, logprob: float | None) -> TokenLogprob:
        return TokenLogprob(text, logprob or 0.0, tuple(text.encode("utf-8", "replace")))

    return Logprobs(
        tuple(
            TokenLogprob(
                t.text,
                t.logprob or 0.0,
                tuple(t.text.encode("utf-8", "replace")),
                tuple(one(text, value) for _, text, value in t.top),
            )
            for t in tokens
        )
    )
