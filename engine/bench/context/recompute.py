"""A scripted agent's run of many steps, and whether any token of it was computed twice.

Turns of tool calls on one growing conversation; a plain answer ends a turn, and the template then
drops its reasoning, so that the next prompt differs from there on. One turn is edited and asked
again, and one run is forked from the middle with another tool result. What has to be computed is
the tree of all tokens that ever stood in a context: a token counts once for all that stood before.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from engine.bench.context.chat import ask, user
from engine.bench.context.models import words
from engine.bench.context.process import served
from engine.bench.figures import Figure, figure
from engine.errors import ResourceError
from engine.making.reciting import write_reciting
from engine.protocol import ChatMessage, ChatReply, FunctionSpec, ToolSpec
from engine.text.chat_template import ChatTemplate
from engine.text.tokenizer import Tokenizer

LIMIT = 1.02
_REASONING = " the of and in is that for it with as this are was by from have"
_ANSWER = " you what which read write list"
_CALL = (
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.search:0"
    "<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>"
)
_REPLY = f"<think>{_REASONING}</think>{_ANSWER}{_CALL}"
_PLAIN_TOKENS = 2 + len(_REASONING.split()) + len(_ANSWER.split())
"""As far as here the reply calls no tool."""
_TOOLS = (ToolSpec(FunctionSpec("search", "Find notes.", {"type": "object", "properties": {}})),)
_RESULT_WORDS = 24
_TURNS = 8


@dataclass(slots=True)
class TokenTree:
    """All sequences that were computed, as a tree: what they share is one path."""

    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, tokens: Sequence[int]) -> None:
        """One more context."""
        at = 0
        for token in tokens:
            at = self._children.setdefault((at, token), len(self._children) + 1)

    def __len__(self) -> int:
        return len(self._children)


@dataclass(slots=True)
class _Run:
    """The agent, and the count of what it made the engine compute."""

    http: httpx2.Client
    template: ChatTemplate
    steps: int = 0
    computed: int = 0
    tree: TokenTree = field(default_factory=TokenTree)
    draw: random.Random = field(default_factory=lambda: random.Random(7))

    def step(self, history: list[ChatMessage]) -> None:
        """The model calls a tool and hears its result."""
        message = self._ask(history).choices[0].message
        if not message.tool_calls:
            raise ResourceError("bench_failed", f"a step without a tool call: {message}")
        history.append(message)
        result = "".join(self.draw.choices(words(), k=_RESULT_WORDS))
        history.append(ChatMessage("tool", result, tool_call_id=message.tool_calls[0].id))

    def answer(self, history: list[ChatMessage]) -> None:
        """The model ends its turn."""
        history.append(self._ask(history, max_tokens=_PLAIN_TOKENS).choices[0].message)

    def _ask(self, history: list[ChatMessage], **fields: object) -> ChatReply:
        reply = ask(self.http, history, tools=_TOOLS, **fields)
        usage, extra = reply.usage, reply.x_engine
        assert extra is not None
        # The last token that was sampled is computed with the next prompt, if it is in it.
        made = [token.id for token in extra.tokens][: usage.completion_tokens - 1]
        self.tree.add([*self.template.render(history, _TOOLS).token_ids, *made])
        self.computed += usage.prompt_tokens - usage.prompt_tokens_details.cached_tokens + len(made)
        self.steps += 1
        return reply


def recompute_figure(
    scratch: Path, steps: int, threads: int = 0, turns: int = _TURNS
) -> Iterator[Figure]:
    """Tokens computed over tokens that had to be. Raises ResourceError ``bench_failed``."""
    folder = write_reciting(scratch / "reciting", _REPLY)
    template = ChatTemplate.from_folder(folder, Tokenizer.from_folder(folder))
    with served(folder, threads) as engine, engine.client() as http:
        run = _Run(http, template)
        _play(run, steps, turns)
        routed = engine.status().routed_tokens
    yield figure(
        "recompute",
        run.computed / len(run.tree),
        "x",
        "limit",
        LIMIT,
        note=f"{run.computed:,} tokens computed, {len(run.tree):,} distinct, in {run.steps} steps "
        f"of {turns} turns, one edited, one forked; {routed:,} went through the experts",
    )


def _play(run: _Run, steps: int, turns: int) -> None:
    """About `steps` requests in all."""
    each = max(2, steps // (turns + 2) - 1)
    history = [ChatMessage("system", "Use the tool." + "".join(words()))]
    starts: list[int] = []
    for turn in range(turns):
        starts.append(len(history))
        history.append(user(f"Question {turn}:" + "".join(run.draw.choices(words(), k=20))))
        for _ in range(each):
            run.step(history)
        run.answer(history)
    edited = [*history[: starts[turns // 2]], user("Another question:" + words()[3])]
    for _ in range(each):
        run.step(edited)
    run.answer(edited)
    # The fork keeps the last turn up to the half, where a tool says something else.
    cut = starts[-1] + 1 + 2 * (each // 2)
    call = history[cut - 1].tool_call_id
    forked = [*history[: cut - 1], ChatMessage("tool", "nothing", tool_call_id=call)]
    while run.steps < steps - 1:
        run.step(forked)
    run.answer(forked)
