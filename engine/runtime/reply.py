"""One reply being written: sampled tokens to pieces, stop strings, counts and times."""

from __future__ import annotations

import time
from dataclasses import replace

from torch import Tensor

from engine.grammar.path import Path
from engine.protocol import (
    CompletionTokensDetails,
    FinishReason,
    PromptTokensDetails,
    Timings,
    TokenInfo,
    Usage,
)
from engine.sampling.constrained import sample_on
from engine.sampling.sampler import Sampled, sample
from engine.scheduler.sequence import Sequence
from engine.text.dialects.base import Mark
from engine.text.dialects.kimi_k2 import KIMI_K2
from engine.text.pieces import Piece, Problem, TextDelta
from engine.text.stop import StopMatcher
from engine.text.stream_parser import StreamParser
from engine.text.tokenizer import Tokenizer
from engine.types import Ended, Wrote


class Reply:
    """Feeds the stream parser and tells when the reply is over. Engine thread only."""

    def __init__(self, sequence: Sequence, tokenizer: Tokenizer, end_ids: frozenset[int]) -> None:
        request = sequence.request
        self._sequence = sequence
        self._tokenizer = tokenizer
        self._end_ids = end_ids
        self._parser = StreamParser(
            tokenizer,
            KIMI_K2,
            request.prompt.starts_in_reasoning,
            request.tools,
            request.prompt.next_call_index,
        )
        prompt = request.prompt
        self._path = (
            Path(request.rules, prompt.starts_in_reasoning, prompt.next_call_index)
            if request.rules is not None
            else None
        )
        self._stop = StopMatcher(request.sampling.stop)
        self._reasoning_tokens = 0
        self._close = _closing_id(tokenizer)

    def draw(self, row: Tensor) -> Sampled:
        """A token from its row of logits [V], which `add` was not told of yet. Raises BadLogits,
        ResourceError ``grammar_too_complex``.
        """
        params, rng = self._sequence.request.sampling, self._sequence.rng
        if self._path is None:
            return self._within_budget(sample(row, params, rng))
        return self._within_budget(sample_on(self._path, row, params, rng))

    def _within_budget(self, sampled: Sampled) -> Sampled:
        """The token, or the end of the reasoning where its budget is spent.

        The budget counts tokens of reasoning, its opening marker included.
        """
        budget = self._sequence.request.thinking_budget
        spent = budget is not None and self._reasoning_tokens >= budget
        if not spent or not self._parser.in_reasoning or self._close is None:
            return sampled
        # Nothing else could follow, so its probability is 1.
        return Sampled(self._close, None if sampled.logprob is None else 0.0)

    def add(self, sampled: Sampled) -> tuple[Wrote | None, FinishReason | None]:
        """Append a token: what it wrote, and the reason if the reply is over."""
        sequence = self._sequence
        if not sequence.first_token:
            sequence.first_token = time.monotonic()
        sequence.tokens.append(sampled.id)
        if sampled.id in self._end_ids:
            return self._wrote(self._finish("stop"), sampled), self._reason("stop")
        pieces = [*self._on_path(sampled), *self._visible(self._parser.feed(sampled.id))]
        self._reasoning_tokens += self._parser.in_reasoning
        if self._stop.matched is not None:
            return self._wrote(pieces, sampled), "stop"
        full = len(sequence.tokens) >= sequence.limit
        if full or sequence.completion_tokens >= sequence.request.sampling.max_tokens:
            return self._wrote([*pieces, *self._finish("length")], sampled), "length"
        return self._wrote(pieces, sampled), None

    def _on_path(self, sampled: Sampled) -> list[Piece]:
        if self._path is None:
            return []
        self._path.accept(sampled.id)
        return [Problem(code, message) for code, message in self._path.take_remarks()]

    def ended(self, reason: FinishReason) -> Ended:
        """Usage and times of the whole request."""
        s, now = self._sequence, time.monotonic()
        made = s.completion_tokens
        first = s.first_token or now
        prefill, decode = first - s.scheduled, now - first
        usage = Usage(
            prompt_tokens=s.prompt_tokens,
            completion_tokens=made,
            total_tokens=s.prompt_tokens + made,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=s.cached),
            completion_tokens_details=CompletionTokensDetails(
                reasoning_tokens=self._reasoning_tokens,
                accepted_prediction_tokens=s.accepted,
                rejected_prediction_tokens=s.rejected,
            ),
        )
        timings = Timings(
            queue_ms=(s.scheduled - s.request.created) * 1e3,
            prefill_ms=prefill * 1e3,
            decode_ms=decode * 1e3,
            prefill_tokens_per_s=(s.prompt_tokens - s.cached) / max(prefill, 1e-9),
            decode_tokens_per_s=(made - 1) / max(decode, 1e-9) if made > 1 else 0.0,
        )
        return Ended(reason, usage, timings)

    def _finish(self, cause: FinishReason) -> list[Piece]:
        assert cause in ("stop", "length")
        pieces = self._visible(self._parser.finish("length" if cause == "length" else "stop"))
        rest = self._stop.flush()
        return [*pieces, TextDelta(rest)] if rest else pieces

    def _reason(self, reason: FinishReason) -> FinishReason:
        return "tool_calls" if self._parser.calls else reason

    def _visible(self, pieces: list[Piece]) -> list[Piece]:
        """Answer text passes through the stop matcher; everything else as it is."""
        if not self._sequence.request.sampling.stop:
            return pieces
        shown: list[Piece] = []
        for piece in pieces:
            if isinstance(piece, TextDelta):
                text = self._stop.feed(piece.text)
                if text:
                    shown.append(replace(piece, text=text))
            elif self._stop.matched is None:
                shown.append(piece)
        return shown

    def _wrote(self, pieces: list[Piece], sampled: Sampled) -> Wrote | None:
        request = self._sequence.request
        if not (request.return_tokens or request.sampling.logprobs):
            return Wrote(tuple(pieces)) if pieces else None
        name = self._tokenizer.name
        info = TokenInfo(
            id=sampled.id,
            text=name(sampled.id),
            logprob=sampled.logprob,
            top=tuple((i, name(i), p) for i, p in sampled.top),
        )
        return Wrote(tuple(pieces), (info,))


def _closing_id(tokenizer: Tokenizer) -> int | None:
    closing = (name for name, mark in KIMI_K2.markers.items() if mark is Mark.REASONING_CLOSE)
    return next((tokenizer.special[name] for name in closing if name in tokenizer.special), None)
