"""The vocabulary, and the fast renderer against the shipped chat template."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from nano import text as t
from nano.corpus.dialogue import make, render
from nano.corpus.task import Dialogue
from nano.text import Vocabulary

from engine.text.chat_template import ChatTemplate
from engine.text.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def vocabulary(model_folder: Path) -> Vocabulary:
    return Vocabulary(model_folder / "tiktoken.model")


def declare(tools: Sequence[str]) -> list[dict[str, Any]]:
    """OpenAI tool definitions, as far as the template reads them, in the fixed order."""
    return [
        {
            "type": "function",
            "function": {
                "name": name,
                "parameters": {
                    "type": "object",
                    "properties": {p: {} for p in (*required, *optional)},
                    "required": list(required),
                },
            },
        }
        for name, required, optional in t.TOOLS
        if name in tools
    ]


def messages(dialogue: Dialogue) -> list[dict[str, Any]]:
    """The conversation in the form the engine receives."""
    found: list[dict[str, Any]] = []
    count = 0
    for turn in dialogue.turns:
        found.append({"role": "user", "content": turn.user})
        for step in turn.steps:
            call = f"functions.{step.tool}:{count}"
            count += 1
            function = {
                "name": step.tool,
                "arguments": json.dumps(step.arguments, ensure_ascii=False),
            }
            found.append(
                {
                    "role": "assistant",
                    "content": "",
                    "reasoning_content": step.reasoning,
                    "tool_calls": [{"id": call, "type": "function", "function": function}],
                }
            )
            found.append({"role": "tool", "tool_call_id": call, "content": step.result})
        found.append(
            {
                "role": "assistant",
                "content": turn.answer,
                "reasoning_content": turn.reasoning,
            }
        )
    return found


def prompts(dialogue: Dialogue) -> list[tuple[list[dict[str, Any]], str]]:
    """(messages before each reply of the last turn, the text the corpus has there)."""
    parts = [text for text, _ in render(dialogue)]
    sent = messages(dialogue)
    replies = [i for i, m in enumerate(sent) if m["role"] == "assistant"]
    places = [i for i, text in enumerate(parts) if text == t.OPEN_REPLY]
    last = len(dialogue.turns[-1].steps) + 1
    return [
        (sent[:at], "".join(parts[: place + 1]))
        for at, place in list(zip(replies, places, strict=True))[-last:]
    ]


def test_corpus_prompts_are_what_the_template_renders(model_folder: Path) -> None:
    template = ImmutableSandboxedEnvironment().from_string(t.TEMPLATE.read_text("utf-8"))
    engine = ChatTemplate.from_folder(model_folder, Tokenizer.from_folder(model_folder))
    rng = random.Random(3)
    for number in range(60):
        dialogue = make(rng)
        tools = declare(dialogue.world.tools)
        for sent, expected in prompts(dialogue):
            given = {"messages": sent, "tools": tools, "add_generation_prompt": True}
            assert template.render(**given) == expected
            if number < 20:
                assert engine.render(sent, tools).text == expected


def test_engine_and_corpus_tokenise_alike(model_folder: Path, vocabulary: Vocabulary) -> None:
    tokenizer = Tokenizer.from_folder(model_folder)
    engine = ChatTemplate.from_folder(model_folder, tokenizer)
    rng = random.Random(4)
    for _ in range(40):
        dialogue = make(rng)
        for sent, expected in prompts(dialogue):
            rendered = engine.render(sent, declare(dialogue.world.tools))
            assert list(rendered.token_ids) == vocabulary.encode(expected)


def test_every_byte_is_there_and_no_merge_holds_a_digit(model_folder: Path) -> None:
    ranks = t.read_ranks(model_folder / "tiktoken.model")
    assert sorted(ranks.values()) == list(range(len(ranks)))
    assert all(bytes([b]) in ranks for b in range(256))
    assert not [r for r in ranks if len(r) > 1 and any(48 <= b < 58 for b in r)]


def test_special_tokens_follow_the_ranks(model_folder: Path, vocabulary: Vocabulary) -> None:
    config = json.loads((model_folder / "tokenizer_config.json").read_text())
    declared = {int(i): token["content"] for i, token in config["added_tokens_decoder"].items()}
    assert declared == {i: name for name, i in vocabulary.special.items()}
    assert min(declared) == len(t.read_ranks(model_folder / "tiktoken.model"))
    model = json.loads((model_folder / "config.json").read_text())
    assert model["vocab_size"] == vocabulary.size


@pytest.mark.parametrize("text", ["", "17*23 + 4", "Grüße, 你好 🌍", "a\n\n  b\t", "x" * 300])
def test_text_survives_the_vocabulary(vocabulary: Vocabulary, text: str) -> None:
    assert vocabulary.decode(vocabulary.encode(text)) == text
