"""Which cache policy keeps the right experts? Routing of a running model, and made-up skews,
replayed through every policy at several sizes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.bench.figures import Figure, as_text, figure, write_json
from engine.errors import RequestError, SelenographError
from engine.experts.assembly import ExpertOptions
from engine.experts.deferral import Drift, drift
from engine.experts.observed import ObservedExperts
from engine.experts.trace import RoutingTrace
from engine.model.deepseek import Batch, Model
from engine.model.loader import load_model
from engine.text.chat_template import ChatTemplate
from engine.text.tokenizer import Tokenizer
from engine.tiers.replay import POLICIES, gather, replay_calls, skewed

_RESOURCES = Path(__file__).parents[2] / "resources"
NANO = _RESOURCES / "models" / "nano"
PROMPTS = _RESOURCES / "eval" / "nano.json"
SHARES = (0.25, 0.5, 0.75)
"""Of all experts, how many there is room for."""
SKEWS = (0.0, 0.6, 1.2)
_ROWS = 1 << 20
_REPLY = 48
_ARGUMENTS = {
    "calculator": "expression",
    "python": "code",
    "list_files": "path",
    "read_file": "path",
    "search_files": "query",
}


def main(argv: list[str] | None = None) -> int:
    """Print the table. Exit code 0, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(prog="selenograph bench experts-trace", description=__doc__)
    parser.add_argument("--model", type=Path, default=NANO, metavar="FOLDER")
    parser.add_argument("--prompts", type=int, default=40, help="how many of the evaluation's")
    parser.add_argument("--trace", type=Path, action="append", default=[], help="recorded before")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the recorded trace")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args(argv)
    try:
        figures = run(args.model, args.prompts, args.trace, args.save)
    except SelenographError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(as_text(figures))
    if args.json:
        write_json(figures, args.json)
    return 0


def run(
    folder: Path = NANO,
    prompts: int = 40,
    traces: Sequence[Path] = (),
    save: Path | None = None,
    skews: Sequence[float] = SKEWS,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Figure]:
    """Hit rates of every policy beside what a cache that knows the future would reach.

    `traces` are replayed instead of recording one from `folder`. Raises SelenographError.
    """
    named: list[tuple[str, RoutingTrace]] = [
        (path.stem, RoutingTrace.load(path)) for path in traces
    ]
    if not named:
        tell(f"recording {prompts} prompts of {folder.name}")
        trace = record(folder, questions(prompts))
        if save is not None:
            trace.save(save)
        named = [(folder.name, trace), (f"{folder.name} replies", replies_only(trace))]
    named += [(f"zipf {skew}", skewed(skew)) for skew in skews]
    figures: list[Figure] = []
    for name, trace in named:
        tell(f"replaying {name}")
        figures += trace_figures(name, trace)
    return figures


def trace_figures(name: str, trace: RoutingTrace) -> Iterator[Figure]:
    """One figure per policy and size."""
    total, calls = len(np.unique(trace.layer)) * trace.experts, gather(trace)
    for share in SHARES:
        capacity = max(1, round(total * share))
        best = replay_calls(calls, "limit", capacity).hit_rate
        for policy in POLICIES[:-1]:
            rate = replay_calls(calls, policy, capacity).hit_rate
            yield figure(
                f"experts.{name}.{share:.0%}.{policy}", rate, "hits", "limit", best,
                note=f"{capacity} of {total} experts",
            )  # fmt: skip


def record(folder: Path, asked: Sequence[dict[str, Any]], reply: int = _REPLY) -> RoutingTrace:
    """The routing of greedy replies of at most `reply` tokens to chat requests."""
    model = load_model(folder, options=ExpertOptions(device="cpu", trace_rows=_ROWS))
    try:
        for ids in _prompts(folder, asked):
            _answer(model, ids, reply)
        experts = model.experts
        assert isinstance(experts, ObservedExperts) and experts.recorder is not None
        return experts.recorder.trace()
    finally:
        model.close()


def replies_only(trace: RoutingTrace) -> RoutingTrace:
    """Without the prompts: the steps that computed one token."""
    _, place, count = np.unique(trace.step, return_inverse=True, return_counts=True)
    single = count[place] == len(np.unique(trace.layer))
    return RoutingTrace(trace.experts, trace.step[single], trace.layer[single], trace.ids[single])


def deferral_drift(folder: Path = NANO, prompts: int = 10, most: int = 1) -> list[Drift]:
    """How far logits move when 1..`most` experts of a token join one layer later."""
    asked = questions(prompts)
    right = _all_logits(folder, asked, 0)
    return [
        drift(n, right, _all_logits(folder, asked, n))
        for n in range(1, most + 1)
    ]  # fmt: skip


def questions(count: int) -> list[dict[str, Any]]:
    """Requests from the evaluation of the embedded model, as messages and tools."""
    tasks = json.loads(PROMPTS.read_text("utf-8"))["tasks"]
    if not 1 <= count <= len(tasks):
        raise RequestError("bad_prompts", f"{count} prompts were asked for of {len(tasks)}")
    return [
        {
            "messages": [{"role": "user", "content": task["prompt"]}],
            "tools": [_tool(name) for name in task["tools"]],
        }
        for task in tasks[:: len(tasks) // count][:count]
    ]


def _all_logits(folder: Path, asked: Sequence[dict[str, Any]], deferred: int) -> Tensor:
    options = ExpertOptions(device="cpu", deferred=deferred)
    model = load_model(folder, options=options)
    try:
        rows = [
            model.forward(Batch([(model.new_cache(), ids)]), all_logits=True)
            for ids in _prompts(folder, asked)
        ]
    finally:
        model.close()
    return torch.cat(rows)  # [T, V]


def _prompts(folder: Path, asked: Sequence[dict[str, Any]]) -> Iterator[list[int]]:
    tokenizer = Tokenizer.from_folder(folder)
    template = ChatTemplate.from_folder(folder, tokenizer)
    for request in asked:
        yield list(template.render(request["messages"], request["tools"]).token_ids)


def _answer(model: Model, prompt: list[int], most: int) -> None:
    cache, fresh = model.new_cache(), prompt
    for _ in range(most):
        fresh = [int(model.forward(Batch([(cache, fresh)]))[0].argmax())]
        if fresh[0] in model.config.eos_ids:
            return


def _tool(name: str) -> dict[str, Any]:
    argument = _ARGUMENTS[name]
    parameters = {
        "type": "object",
        "properties": {argument: {"type": "string"}},
        "required": [argument],
    }
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


if __name__ == "__main__":
    sys.exit(main())
