"""Replies written at random under rules: no model, only numbers where its logits would be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from msgspec import structs

from engine.grammar.path import Path
from engine.grammar.rules import Grammars, Rules
from engine.protocol import (
    ChatMessage,
    ChatRequest,
    EngineOptions,
    FunctionCall,
    FunctionSpec,
    ToolSpec,
)
from engine.sampling.constrained import sample_on
from engine.text import tool_call
from engine.text.dialects.kimi_k2 import KIMI_K2
from engine.text.pieces import Piece, Problem, ReasoningDelta, TextDelta, ToolCallEnd
from engine.text.stream_parser import StreamParser
from engine.text.tokenizer import Tokenizer
from engine.types import SamplingParams

MOST = 600
"""Tokens of a reply."""


@dataclass(frozen=True)
class Written:
    """A reply: its tokens, what the parser made of them, and whether it came to its end."""

    ids: tuple[int, ...]
    pieces: tuple[Piece, ...]
    ended: bool
    remarks: tuple[tuple[str, str], ...]

    @property
    def calls(self) -> list[ToolCallEnd]:
        return [p for p in self.pieces if isinstance(p, ToolCallEnd) and p.problem != "truncated"]

    @property
    def problems(self) -> list[str]:
        return [p.code for p in self.pieces if isinstance(p, Problem)]

    @property
    def text(self) -> str:
        return "".join(p.text for p in self.pieces if isinstance(p, TextDelta))

    @property
    def reasoning(self) -> str:
        return "".join(p.text for p in self.pieces if isinstance(p, ReasoningDelta))


@dataclass(frozen=True)
class Pen:
    """Writes with one vocabulary."""

    tokenizer: Tokenizer
    grammars: Grammars

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Pen:
        ends = frozenset((*tokenizer.eos_ids, tokenizer.special["<|im_end|>"]))
        return cls(tokenizer, Grammars(tokenizer, ends))

    def rules(
        self,
        schemas: dict[str, Any],
        *,
        strict: bool | None = None,
        forbidden: Sequence[tuple[str, str]] = (),
        **fields: Any,
    ) -> Rules:
        tools = tuple(
            ToolSpec(FunctionSpec(name, "", schema, strict)) for name, schema in schemas.items()
        )
        options = EngineOptions(forbidden=tuple(FunctionCall(*call) for call in forbidden))
        asked = ChatRequest((ChatMessage("user", "Well?"),), tools=tools, x_engine=options)
        rules = self.grammars.rules(structs.replace(asked, **fields))
        assert rules is not None
        return rules

    def write(
        self,
        rules: Rules,
        seed: int,
        *,
        in_reasoning: bool = False,
        next_call: int = 0,
        most: int = MOST,
        params: SamplingParams | None = None,
    ) -> Written:
        """Quotes, brackets and control tokens are likelier than the rest, so that it ends."""
        path = Path(rules, in_reasoning, next_call)
        tools = [tool_call.ToolSpec(name, {}) for name in rules.tools]
        parser = StreamParser(self.tokenizer, KIMI_K2, in_reasoning, tools, next_call)
        rng = torch.Generator().manual_seed(seed)
        size = self.tokenizer.vocab_size
        likely = torch.tensor([self._weight(i) for i in range(size)])  # [V]
        ids: list[int] = []
        pieces: list[Piece] = []
        remarks: list[tuple[str, str]] = []
        while len(ids) < most:
            row = torch.randn(size, generator=rng) + likely  # [V]
            token = sample_on(path, row, params or SamplingParams(), rng).id
            ids.append(token)
            if token in rules.marks.ends:
                pieces += parser.finish("stop")
                return Written(tuple(ids), tuple(pieces), True, tuple(remarks))
            path.accept(token)
            remarks += path.take_remarks()
            pieces += parser.feed(token)
        pieces += parser.finish("length")
        return Written(tuple(ids), tuple(pieces), False, tuple(remarks))

    def _weight(self, token_id: int) -> float:
        if self.tokenizer.control_name(token_id) is not None:
            return 7.5
        token = self.tokenizer.token_bytes(token_id)
        return 3.0 if any(mark in token for mark in (b'"', b"}", b"]")) else 0.0
