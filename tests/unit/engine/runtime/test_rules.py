"""Rules hold in the engine: with drafts, beside others, preempted, within a thinking budget."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import validate

from engine.cache.latent_pool import PagedCache
from engine.cache.prefix_tree import PrefixTree
from engine.grammar.rules import Grammars, Rules
from engine.model.loader import load_model
from engine.protocol import ChatMessage, ChatRequest, FunctionSpec, ToolSpec
from engine.runtime.engine import Engine, TextEnds
from engine.scheduler.scheduler import SchedulerLimits
from engine.text import tool_call
from engine.text.chat_template import Prompt
from engine.text.pieces import ToolCallEnd
from engine.text.tokenizer import Tokenizer
from engine.tiny import TinyShape, write_tiny
from engine.types import Ended, Request, SamplingParams, Wrote

from .engines import engine_of

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "mode": {"enum": ["fast", "exact", None]},
        "counts": {"type": "array", "items": {"type": "integer"}, "maxItems": 4},
        "word": {"type": "string", "maxLength": 12},
    },
    "required": ["mode", "word"],
    "additionalProperties": False,
}
TOOLS = (tool_call.ToolSpec("do", SCHEMA), tool_call.ToolSpec("stop", {"type": "object"}))
PROMPT, CONTEXT = 60, 512


class Guessing:
    """Drafts what an earlier reply said, wrong at every fourth place."""

    def __init__(self, prompt: int, reply: Sequence[int]) -> None:
        self._prompt = prompt
        self._reply = [t ^ (i % 4 == 3) for i, t in enumerate(reply)]

    def draft(
        self, tokens: Sequence[int], most: int, beside: int = 0, cache: PagedCache | None = None
    ) -> list[int]:
        done = len(tokens) - self._prompt
        return self._reply[done : done + most]

    def observe(self, drafted: int, accepted: int, tokens: int, seconds: float) -> None:
        """It goes on guessing."""


class Bench:
    def __init__(self, folder: Path) -> None:
        self.model = load_model(folder, torch.float32, "native", threads=1)
        tokenizer = Tokenizer.from_folder(folder)
        ends = frozenset((tokenizer.special["<|im_end|>"],))
        self.tokenizer, self.text = tokenizer, TextEnds(tokenizer, ends)
        self.grammars = Grammars(tokenizer, ends)

    def rules(self) -> Rules:
        tools = (
            ToolSpec(FunctionSpec("do", "", SCHEMA)),
            ToolSpec(FunctionSpec("stop", "", {"type": "object", "maxProperties": 0})),
        )
        asked = ChatRequest((ChatMessage("user", ""),), tools=tools, tool_choice="required")
        rules = self.grammars.rules(asked)
        assert rules is not None
        return rules

    def ask(self, engine: Engine, seed: int, budget: int = 6) -> list[Any]:
        heard: list[Any] = []
        prompt = Prompt("", tuple((3 + seed + i * 7) % 250 for i in range(PROMPT)), True, seed)
        params = SamplingParams(1.0, seed=seed, max_tokens=200, min_p=0.3)
        engine.enqueue(
            Request(
                f"r{seed}",
                prompt,
                params,
                TOOLS,
                heard.append,
                True,
                thinking_budget=budget,
                rules=self.rules(),
            )
        )
        return heard


def ids_of(heard: list[Any]) -> list[int]:
    return [t.id for e in heard if isinstance(e, Wrote) for t in e.tokens]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    shape = TinyShape(layers=2, experts=4, context=CONTEXT)
    yield Bench(write_tiny(tmp_path_factory.mktemp("tiny") / "small", seed=1, shape=shape))
    torch.set_num_threads(before)


def finish(engine: Engine) -> None:
    while engine.busy:
        engine.step()


@pytest.fixture(scope="module")
def alone(bench: Bench) -> list[list[Any]]:
    """Each reply by itself."""
    replies = []
    for seed in range(6):
        engine = engine_of(bench.model, bench.text, CONTEXT)
        replies.append(bench.ask(engine, seed))
        finish(engine)
    return replies


def test_calls_are_valid_and_numbered(bench: Bench, alone: list[list[Any]]) -> None:
    ended = 0
    for seed, heard in enumerate(alone):
        assert isinstance(heard[-1], Ended)
        calls = [
            p for e in heard if isinstance(e, Wrote) for p in e.pieces if isinstance(p, ToolCallEnd)
        ]
        whole = [call for call in calls if call.problem is None]
        assert [c.id for c in whole] == [
            f"functions.{c.name}:{seed + i}" for i, c in enumerate(whole)
        ]
        for call in whole:
            if call.name == "do":
                validate(json.loads(call.arguments), SCHEMA)
        assert heard[-1].reason in ("tool_calls", "length")
        ended += heard[-1].reason == "tool_calls"
        # Its budget: the opening mark was the prompt's, so six tokens, then the end of thought.
        ids = ids_of(heard)
        close, section = (bench.tokenizer.special[m] for m in ("</think>", SECTION))
        assert min(ids.index(m) for m in (close, section) if m in ids) <= 6
    assert ended >= 3


SECTION = "<|tool_calls_section_begin|>"


def drafted_by(guess: Guessing) -> Callable[[], Guessing]:
    return lambda: guess


def test_drafts_change_nothing(bench: Bench, alone: list[list[Any]]) -> None:
    for seed, heard in enumerate(alone):
        guess = Guessing(PROMPT, ids_of(heard))
        engine = engine_of(bench.model, bench.text, CONTEXT, drafted_by(guess))
        again = bench.ask(engine, seed)
        finish(engine)
        assert ids_of(again) == ids_of(heard)
        assert again[-1].usage.completion_tokens_details.accepted_prediction_tokens > 0
        assert again[-1].usage.completion_tokens_details.rejected_prediction_tokens > 0


def test_neighbours_and_preemption_change_nothing(bench: Bench, alone: list[list[Any]]) -> None:
    tree = PrefixTree(bench.model.new_pool(5))
    engine = engine_of(
        bench.model, bench.text, CONTEXT, tree=tree, limits=SchedulerLimits(running=4)
    )
    together = [bench.ask(engine, seed) for seed in range(6)]
    finish(engine)
    assert engine.scheduler.preemptions > 0
    for heard, before in zip(together, alone, strict=True):
        assert ids_of(heard) == ids_of(before)
