"""Reasoning ends where its budget does, and the reply goes on from there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engine.model.loader import load_model
from engine.protocol import ChatMessage
from engine.runtime.engine import Engine, TextEnds
from engine.text.chat_template import ChatTemplate, Prompt
from engine.text.pieces import ReasoningDelta, TextDelta, ToolCallBegin
from engine.text.tokenizer import Tokenizer
from engine.tiny import TinyShape, write_tiny
from engine.types import Emission, Ended, Request, SamplingParams, Wrote

from .engines import engine_of

NANO = Path(__file__).parents[4] / "resources" / "models" / "nano"


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def nano() -> tuple[Engine, ChatTemplate]:
    model = load_model(NANO, torch.float32, "native", threads=1)
    tokenizer = Tokenizer.from_folder(NANO)
    ends = frozenset((*tokenizer.eos_ids, tokenizer.special["<|im_end|>"]))
    engine = engine_of(model, TextEnds(tokenizer, ends), 2048)
    return engine, ChatTemplate.from_folder(NANO, tokenizer)


def run(engine: Engine, prompt: Prompt, budget: int | None, most: int) -> list[Emission]:
    heard: list[Emission] = []
    params = SamplingParams(0.0, max_tokens=most)
    request = Request("one", prompt, params, (), heard.append, True, thinking_budget=budget)
    engine.enqueue(request)
    while engine.busy:
        engine.step()
    return heard


def tokens_of(heard: list[Emission]) -> list[str]:
    return [t.text for e in heard if isinstance(e, Wrote) for t in e.tokens]


def test_an_answer_follows_cut_reasoning(nano: tuple[Engine, ChatTemplate]) -> None:
    engine, template = nano
    question = (ChatMessage("user", "What is 17 + 25?"),)
    prompt = template.render(question, ())
    free = run(engine, prompt, None, 400)
    ended = free[-1]
    assert isinstance(ended, Ended)
    assert ended.usage.completion_tokens_details.reasoning_tokens > 5
    for budget in (5, 1, 0):
        heard = run(engine, prompt, budget, 400)
        end = heard[-1]
        assert isinstance(end, Ended)
        pieces = [p for e in heard if isinstance(e, Wrote) for p in e.pieces]
        assert end.usage.completion_tokens_details.reasoning_tokens <= max(budget, 1)
        assert any(isinstance(p, TextDelta | ToolCallBegin) for p in pieces)
        # Up to the cut it is the same reply.
        same = [a == b for a, b in zip(tokens_of(free), tokens_of(heard), strict=False)]
        assert all(itertools.islice(same, budget))
    wide = run(engine, prompt, 4096, 400)
    assert tokens_of(wide) == tokens_of(free)


def test_a_model_that_never_stops_thinking_is_cut_once(tmp_path: Path) -> None:
    """Random weights: it would go on reasoning up to its last token."""
    folder = write_tiny(tmp_path / "tiny", seed=3, shape=TinyShape(layers=2, experts=4))
    model = load_model(folder, torch.float32, "native", threads=1)
    tokenizer = Tokenizer.from_folder(folder)
    engine = engine_of(model, TextEnds(tokenizer, frozenset()), 128)
    prompt = Prompt("", tuple(range(3, 20)), True, 0)
    close = tokenizer.special["</think>"]
    heard = run(engine, prompt, 7, 24)
    ids = [t.id for e in heard if isinstance(e, Wrote) for t in e.tokens]
    assert ids.index(close) == 7
    pieces = [p for e in heard if isinstance(e, Wrote) for p in e.pieces]
    assert any(isinstance(p, ReasoningDelta) for p in pieces)
    assert any(isinstance(p, TextDelta) for p in pieces)
