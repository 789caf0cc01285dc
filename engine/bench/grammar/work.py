"""``selenograph bench grammar``: thousands of sampled calls, and what masks cost of a step."""

from __future__ import annotations

import itertools
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from engine.bench.figures import Figure, figure
from engine.bench.grammar.cases import KINDS, MESSAGES, Case, Schema, cases, enforced, schemas_in
from engine.bench.grammar.verifier import Outcome, other_faults, schema_faults
from engine.bench.options import Options
from engine.cache.latent_pool import page_count
from engine.cache.prefix_tree import PrefixTree
from engine.config import ModelConfig, read_json
from engine.errors import ResourceError
from engine.grammar.path import Path as Way
from engine.grammar.rules import Grammars
from engine.making.writer import Choice, write_model
from engine.model.loader import load_model
from engine.runtime.defaults import read_defaults
from engine.runtime.engine import Engine, TextEnds
from engine.runtime.runner import Runner
from engine.sampling.sampler import sample
from engine.scheduler.scheduler import Scheduler
from engine.speculation.mtp import new_drafters
from engine.text.chat_template import ChatTemplate
from engine.text.tokenizer import Tokenizer
from engine.text.tool_call import ToolSpec
from engine.tiny import TinyShape, write_tiny
from engine.types import Broke, Emission, Ended, Request, SamplingParams, Wrote

NANO = Path(__file__).parents[3] / "resources" / "models" / "nano"
_RANDOM = "random"
_CONTEXT = 2048
_ASIDE = 8
"""Requests at once."""
_MOST, _MOST_OTHERS, _MOST_UNREAD, _MOST_TEXT = 1200, 400, 1600, 60
"""Tokens of a reply that has to call, of one that does so under others' schemas beside a prompt
that tells of them or without, and of one that may go on talking."""
_THOUGHT = 24
_GAVE_UP = "grammar_too_complex"
_TIMED = 12
"""Requests whose steps and masks are timed."""
_MASK_LIMIT = 0.05
_WIDE = {
    "vocab_size": 163_840, "hidden_size": 1024, "num_hidden_layers": 6, "intermediate_size": 4096,
    "moe_intermediate_size": 1024, "n_routed_experts": 16, "num_experts_per_tok": 8,
}  # fmt: skip
"""Of a nano grown to K2's vocabulary and something like an eightieth of its work a token."""


@dataclass(slots=True)
class Bench:
    """A model with its text, on this thread."""

    name: str
    engine: Engine
    tokenizer: Tokenizer
    grammars: Grammars
    template: ChatTemplate
    most: int = _MOST
    """Tokens of a reply that has to call."""
    reads: bool = True
    """Whether prompts tell of the tools."""

    @classmethod
    def of(cls, name: str, folder: Path, threads: int, dtype: torch.dtype = torch.float32) -> Bench:
        """Load a folder."""
        model = load_model(folder, dtype, "native", threads=threads)
        tokenizer = Tokenizer.from_folder(folder)
        config = ModelConfig.from_folder(folder)
        _, ends = read_defaults(folder, config.vocab_size)
        ends |= tokenizer.eos_ids | frozenset(config.eos_ids)
        tree = PrefixTree(model.new_pool((_ASIDE + 1) * page_count(_CONTEXT)))
        text = TextEnds(tokenizer, ends)
        drafters = new_drafters(model.predictor)
        engine = Engine(Runner(model), text, _CONTEXT, Scheduler(tree), drafters)
        template = ChatTemplate.from_folder(folder, tokenizer)
        return cls(name, engine, tokenizer, Grammars(tokenizer, ends), template)

    def ask(
        self, case: Case, seed: int, sink: Callable[[Emission], None], drafts: bool = True
    ) -> None:
        """Queue a case at temperature 1; its reasoning is closed after a few tokens. Tools whose
        schemas leave no room are not told."""
        prompt = self.template.render(MESSAGES, case.specs if self.reads else ())
        if len(prompt.token_ids) > _CONTEXT - self.most:
            prompt = self.template.render(MESSAGES)
        prompt = replace(prompt, next_call_index=case.first_call)
        talks = case.choice in ("auto", "none")
        most = _MOST_TEXT if talks else self.most
        request = Request(
            f"case-{seed}",
            prompt,
            SamplingParams(1.0, seed=seed, max_tokens=most),
            tuple(ToolSpec(name, schema) for name, schema in case.tools.items()),
            sink,
            return_tokens=True,
            speculate=drafts,
            thinking_budget=_THOUGHT,
            rules=case.rules,
        )
        self.engine.enqueue(request)


def grammar_figures(options: Options) -> Iterator[Figure]:
    """Of random weights and of nano: valid calls, replies without a fault; with our own schemas
    also shares of a step.

    Raises RequestError ``no_schemas``.
    """
    schemas, source = schemas_in(options.schemas)
    threads = options.threads[-1]
    with tempfile.TemporaryDirectory(prefix="selenograph-bench-") as scratch:
        shape = TinyShape(layers=2, experts=4, context=_CONTEXT)
        small = write_tiny(Path(scratch) / "random", seed=3, shape=shape)
        for name, folder in ((_RANDOM, small), ("nano", NANO)):
            if options.only and name not in options.only:
                continue
            bench = Bench.of(name, folder, 1)
            yield from sampled(bench, schemas, source, options)
            bench.engine.close()
        if options.schemas is not None:
            return
        wide = _write_wide(Path(scratch) / "wide")
        for name, folder, dtype in (
            ("nano", NANO, torch.float32),
            ("wide", wide, torch.bfloat16),
        ):
            bench = Bench.of(name, folder, threads, dtype)
            found = cases(KINDS, bench.grammars, random.Random(5))
            yield _masks(bench, [next(found) for _ in range(_TIMED)], threads)
            bench.engine.close()


def sampled(
    bench: Bench, schemas: Sequence[Schema], source: str, options: Options
) -> Iterator[Figure]:
    """So many calls under our own schemas, or those of others' that are enforced in full."""
    draw, name = random.Random(11), bench.name
    if options.schemas is not None:
        # Random weights understand nothing, and others' schemas would take most of their time.
        bench.reads = name != _RANDOM
        bench.most = _MOST_OTHERS if bench.reads else _MOST_UNREAD
        name = f"{name}.others"
        there, (schemas, refused) = len(schemas), enforced(schemas, bench.grammars, draw)
        kinds = ", ".join(f"{count} {kind}" for kind, count in refused.most_common())
        options.tell(f"refused where strict asks for it: {kinds}")
        source += f": {len(schemas):,} of {there:,} schemas of objects enforced in full"
    found = cases(schemas, bench.grammars, draw)
    yield from verified(name, bench, found, options.calls, source, options.tell)


def verified(
    name: str,
    bench: Bench,
    found: Iterator[Case],
    wanted: int,
    source: str,
    tell: Callable[[str], None],
) -> Iterator[Figure]:
    """Go on until so many calls were made, in as many replies."""
    engine, draw = bench.engine, random.Random(2)
    running: dict[int, tuple[Case, list[Emission]]] = {}
    calls = replies = wrong_calls = wrong_replies = 0
    reasons: Counter[str] = Counter()
    faults: list[str] = []
    called: set[int] = set()
    seed = 0
    told = time.monotonic()
    while min(calls, replies) < wanted:
        while len(running) < _ASIDE:
            heard: list[Emission] = []
            running[seed] = next(found), heard
            bench.ask(running[seed][0], seed, heard.append)
            seed += 1
        engine.step()
        for number in [n for n, (_, heard) in running.items() if _over(heard)]:
            case, heard = running.pop(number)
            if isinstance(last := heard[-1], Broke):
                if last.error.code != _GAVE_UP:
                    raise ResourceError("bench_failed", f"a reply broke off: {last.error}")
                replies += 1
                reasons[_GAVE_UP] += 1
                continue
            outcome = _outcome(heard)
            in_calls = list(schema_faults(case, outcome))
            beside = list(
                other_faults(case, outcome, bench.tokenizer, bench.grammars.vocabulary, draw)
            )
            faults += (*in_calls, *beside)
            calls += len(outcome.calls)
            called |= {
                id(case.tools[call.name]) for call in outcome.calls if call.name in case.tools
            }
            replies += 1
            wrong_calls += len(in_calls)
            wrong_replies += bool(in_calls or beside)
            reasons[outcome.reason] += 1
        if time.monotonic() - told > 20:
            told = time.monotonic()
            tell(f"{name}: {calls} of {wanted} calls")
    for number in running:
        engine.drop(f"case-{number}")
    ended = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    first = f"; first fault: {faults[0][:200]}" if faults else ""
    yield figure(
        f"grammar.{name}.calls",
        1 - wrong_calls / calls,
        "valid",
        "limit",
        1.0,
        note=f"{calls:,} calls of {len(called):,} schemas sampled at temperature 1, "
        f"{source}{first}",
    )
    yield figure(
        f"grammar.{name}.replies",
        1 - wrong_replies / replies,
        "right",
        "limit",
        1.0,
        note=f"{replies:,} replies ({ended}): schema, finish reason, trigger, ids, markers, cuts",
    )


def _over(heard: list[Emission]) -> bool:
    return bool(heard) and isinstance(heard[-1], Ended | Broke)


def _outcome(heard: list[Emission]) -> Outcome:
    wrote = [e for e in heard if isinstance(e, Wrote)]
    last = heard[-1]
    assert isinstance(last, Ended)
    return Outcome(
        tuple(token.id for one in wrote for token in one.tokens),
        tuple(piece for one in wrote for piece in one.pieces),
        last.reason,
        in_reasoning=False,
    )


@dataclass(slots=True)
class _Heard:
    """What an engine said, and when."""

    at: list[tuple[float, Emission]] = field(default_factory=list)

    def take(self, said: Emission) -> None:
        self.at.append((time.perf_counter(), said))


def _masks(bench: Bench, timed: list[Case], threads: int) -> Figure:
    """Time for a token's mask over the time of the step that computes it."""
    steps, spent, more = list[float](), list[float](), list[float]()
    for seed, case in enumerate(timed):
        heard = _Heard()
        bench.ask(case, seed, heard.take, drafts=False)
        while bench.engine.busy:
            bench.engine.step()
        written = [(at, t.id) for at, e in heard.at if isinstance(e, Wrote) for t in e.tokens]
        steps += [b - a for (a, _), (b, _) in itertools.pairwise(written)]
        masks, longer = _spent(case, [token for _, token in written])
        spent += masks
        more += longer
    step = statistics.median(steps)
    return figure(
        f"grammar.{bench.name}.mask",
        statistics.median(spent) / step,
        "of a step",
        "limit",
        _MASK_LIMIT,
        threads=threads,
        note=f"{bench.tokenizer.vocab_size:,} tokens in the vocabulary; median "
        f"{1e6 * statistics.median(spent):.0f} us of {1e3 * step:.2f} ms, mean "
        f"{1e6 * statistics.fmean(spent):.0f} us, at most {1e6 * max(spent):.0f} us; drawing as a "
        f"whole takes {1e6 * statistics.fmean(more):+.0f} us against drawing without rules",
    )


def _spent(case: Case, ids: list[int]) -> tuple[list[float], list[float]]:
    """Seconds for each token of a reply: for its mask and its place in the grammar; and what all of
    drawing takes longer under rules than without, which is less than nothing where few tokens are
    left to draw from.
    """
    row, rng, params = torch.randn(case.rules.vocabulary.size), torch.Generator(), SamplingParams()
    way, masks, more = Way(case.rules, False, case.first_call), list[float](), list[float]()
    for token_id in ids[:-1]:
        began = time.perf_counter()
        sample(row, params, rng)
        plain = time.perf_counter() - began
        began = time.perf_counter()
        allowed = torch.from_numpy(np.flatnonzero(way.allowed()))
        mask = time.perf_counter() - began
        sample(row, params, rng, allowed)
        drawn = time.perf_counter() - began
        began = time.perf_counter()
        way.accept(token_id)
        accept = time.perf_counter() - began
        masks.append(mask + accept)
        more.append(drawn + accept - plain)
    return masks, more


def _write_wide(out: Path) -> Path:
    return write_model(read_json(NANO / "config.json") | _WIDE, out, Choice())
