"""Whole tasks run by the model in torch with the simulated tools, greedy, many at a time.

All rows take one token a step (given or generated), so every row is at the same position and the
cache needs no mask. The weights are those of the export: INT4 experts, everything else bf16.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from app.eval_tasks import is_right

from . import text as t
from .corpus.dialogue import make, render
from .corpus.task import Dialogue
from .corpus.tools import World
from .model import Mlp, Moe, Nano, rope_table, rotate
from .quant import dequantised
from .text import Vocabulary

Record = dict[str, Any]
CALL = re.compile(
    r"<\|tool_call_begin\|>\s*functions\.(\w+):(\d+)\s*<\|tool_call_argument_begin\|>"
    r"(.*?)<\|tool_call_end\|>",
    re.DOTALL,
)


@torch.no_grad()
def as_exported(model: Nano) -> Nano:
    """A copy whose weights are what the exported files stand for."""
    twin = copy.deepcopy(model).eval()
    for name, p in twin.named_parameters():
        p.copy_(dequantised(p) if ".experts." in name else p.bfloat16().float())
    return twin


class Decoder:
    """One token a row and step, keys and values cached."""

    def __init__(self, model: Nano, rows: int, longest: int) -> None:
        cfg = model.cfg
        shape = (cfg.num_hidden_layers, rows, cfg.num_attention_heads, longest)
        self.model, self.at = model, 0
        self.k = torch.zeros(*shape, cfg.qk_head_dim)
        self.v = torch.zeros(*shape, cfg.v_head_dim)

    def step(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits after one more token in each row. [S] -> [S, V]"""
        m, cfg = self.model, self.model.cfg
        rope = rope_table(cfg, torch.tensor([self.at]))
        x = m.embed_tokens(ids)  # [S] -> [S, H]
        for i, layer in enumerate(m.layers):
            a = layer.self_attn
            h = layer.input_layernorm(x)
            n = cfg.num_attention_heads
            q = a.q_b_proj(a.q_a_layernorm(a.q_a_proj(h))).unflatten(-1, (n, -1))
            q_nope, q_rope = q.split((cfg.qk_nope_head_dim, cfg.qk_rope_head_dim), -1)
            latent, k_rope = a.kv_a_proj_with_mqa(h).split(
                (cfg.kv_lora_rank, cfg.qk_rope_head_dim), -1
            )
            kv = a.kv_b_proj(a.kv_a_layernorm(latent)).unflatten(-1, (n, -1))
            k_nope, v = kv.split((cfg.qk_nope_head_dim, cfg.v_head_dim), -1)
            k_rope = rotate(k_rope.unsqueeze(-2), rope).expand(-1, n, -1)
            self.k[i, :, :, self.at] = torch.cat((k_nope, k_rope), -1)
            self.v[i, :, :, self.at] = v
            q = torch.cat((q_nope, rotate(q_rope, rope)), -1).unsqueeze(2)  # [S, N, 1, D+P]
            seen = slice(0, self.at + 1)
            out = F.scaled_dot_product_attention(q, self.k[i, :, :, seen], self.v[i, :, :, seen])
            x = x + a.o_proj(out.flatten(1))
            x = x + feed_forward(layer.mlp, layer.post_attention_layernorm(x))
        self.at += 1
        return m.lm_head(m.norm(x))


def feed_forward(mlp: Mlp | Moe, x: torch.Tensor) -> torch.Tensor:
    """The feed-forward part without fake-quant. [S, H] -> [S, H]"""
    if isinstance(mlp, Mlp):
        return mlp(x)
    ids, weights = mlp.route(x)
    out = mlp.shared_experts(x)
    for e, expert in enumerate(mlp.experts):
        row, slot = (ids == e).nonzero(as_tuple=True)
        if len(row):
            out.index_add_(0, row, expert(x[row]) * weights[row, slot, None])
    return out


@dataclass(slots=True)
class Row:
    """One task under way."""

    dialogue: Dialogue
    world: World
    given: list[int]
    family: str
    count: int
    tokens: list[int] = field(default_factory=list)
    reply: list[int] = field(default_factory=list)
    answer: str | None = None
    calls: int = 0
    done: bool = False


def begin(vocabulary: Vocabulary, dialogue: Dialogue) -> Row:
    """A row that stands before the reply to the last turn."""
    turn = dialogue.turns[-1]
    earlier = Dialogue(dialogue.world, [*dialogue.turns[:-1]])
    parts = [s for s, _ in render(Dialogue(dialogue.world, dialogue.turns))]
    steps = sum(len(d.steps) for d in earlier.turns)
    keep = 1 + sum(1 + 3 * len(d.steps) + 2 for d in earlier.turns) + 2
    text = "".join(parts[:keep])
    world = World(
        dict(dialogue.world.files),
        dialogue.world.tools,
        dialogue.world.denied,
        dialogue.world.deny_text,
    )
    return Row(dialogue, world, vocabulary.encode(text), turn.family, steps)


def react(vocabulary: Vocabulary, row: Row) -> None:
    """Deals with a finished reply: runs its calls or takes its answer."""
    reply = vocabulary.decode(row.reply)
    row.reply = []
    calls = CALL.findall(reply)
    if not calls:
        row.answer = reply.split("</think>")[-1].replace(t.IM_END, "")
        row.done = True
        return
    text = ""
    for tool, number, body in calls:
        try:
            arguments = json.loads(body)
            result = row.world.call(tool, arguments if isinstance(arguments, dict) else {})
        except json.JSONDecodeError:
            result = "error: arguments are not JSON"
        text += t.tool_text(f"functions.{tool}:{number}", result)
        row.calls += 1
    row.given = vocabulary.encode(text + t.OPEN_REPLY)
    row.done = row.calls > 8


@torch.inference_mode()
def run(
    model: Nano, vocabulary: Vocabulary, tasks: list[Dialogue], longest: int = 896
) -> list[Row]:
    """Plays all tasks to their end; `model` must come from `as_exported`."""
    rows = [begin(vocabulary, d) for d in tasks]
    decoder = Decoder(model, len(rows), longest)
    chosen = [0] * len(rows)
    while decoder.at < longest and not all(r.done for r in rows):
        feed = []
        for i, row in enumerate(rows):
            if row.done:
                token = vocabulary.pad
            elif row.given:
                token = row.given.pop(0)
            else:
                token = chosen[i]
                row.reply.append(token)
                if token == vocabulary.end:
                    react(vocabulary, row)
            row.tokens.append(token)
            feed.append(token)
        chosen = decoder.step(torch.tensor(feed)).argmax(-1).tolist()
    return rows


def graded(row: Row) -> bool:
    """Whether the run ended right, without calls where none belong."""
    turn = row.dialogue.turns[-1]
    needless = not turn.steps and row.calls > 0
    return row.answer is not None and is_right(row.answer, turn.expect) and not needless


def tasks(seed: int, count: int, held: bool) -> list[Dialogue]:
    """Conversations to be tried."""
    rng = random.Random(f"rollout:{seed}:{held}")
    return [make(rng, held) for _ in range(count)]


def summary(rows: list[Row]) -> dict[str, tuple[int, int]]:
    """family -> (right, tried)."""
    table: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        table[row.family][0] += graded(row)
        table[row.family][1] += 1
    return {name: (a, b) for name, (a, b) in sorted(table.items())}


def report(model: Nano, vocabulary: Vocabulary, seed: int, count: int, wrong: Path) -> Record:
    """Tries `count` tasks of each kind; prints the tables, writes wrong runs to `wrong`."""
    twin = as_exported(model)
    record: Record = {}
    lines = []
    for label, held in (("known", False), ("unseen", True)):
        rows = run(twin, vocabulary, tasks(seed, count, held))
        table = summary(rows)
        record[label] = round(sum(a for a, _ in table.values()) / len(rows), 4)
        record[f"{label}_families"] = table
        print(label, record[label], table, flush=True)
        for row in rows:
            if not graded(row):
                text = vocabulary.decode([i for i in row.tokens if i != vocabulary.pad])
                lines.append(f"--- {label} {row.family} {row.dialogue.turns[-1].expect}\n{text}\n")
    wrong.write_text("\n".join(lines), encoding="utf-8")
    return record
