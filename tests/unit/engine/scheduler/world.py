"""An engine whose model is arithmetic: what comes next is a function of the tokens before.

The function's state after each token is what the cache holds of it, so a page that was lost, mixed
up or overwritten shows in the rows, and a reply tells whether it was computed from the right ones.
Time is simulated: a step takes what :class:`Machine` says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.cache.archive import PageArchive
from engine.cache.latent_pool import LatentPool, PagedCache
from engine.cache.prefix_tree import PrefixTree
from engine.cache.snapshot import SnapshotFolder
from engine.config import ModelConfig
from engine.errors import Aborted
from engine.experts.stats import ExpertStats
from engine.runtime.engine import Engine, TextEnds
from engine.sampling.sampler import sample
from engine.scheduler.cost import FEW, Load
from engine.scheduler.scheduler import Scheduler, SchedulerLimits, Work
from engine.speculation.base import NewDrafter
from engine.text.chat_template import Prompt
from engine.text.tokenizer import Tokenizer
from engine.types import Broke, Emission, Ended, Prefilling, Request, SamplingParams, Started, Wrote

VOCABULARY = 48
_SPREAD = torch.arange(1, VOCABULARY + 1)
CONFIG = ModelConfig.from_dict(
    {
        "model_type": "kimi_k2",
        "hidden_size": 8,
        "intermediate_size": 8,
        "moe_intermediate_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 1,
        "kv_lora_rank": 2,
        "qk_nope_head_dim": 2,
        "qk_rope_head_dim": 2,
        "v_head_dim": 2,
        "n_routed_experts": 2,
        "num_experts_per_tok": 1,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 1024,
    }
)


def states(tokens: Sequence[int], state: int = 1) -> list[int]:
    """After each token. Below 2**24, so that float32 holds them."""
    found = []
    for token in tokens:
        state = (state * 48271 + token + 1) % 16_777_213
        found.append(state)
    return found


def logits(state: int) -> Tensor:
    """Of what follows, [V]."""
    return ((_SPREAD * state) % 8191).float() / 1024


def alone(request: Request, limit: int = 1024, ends: frozenset[int] = frozenset()) -> list[int]:
    """The reply of a request that has the machine to itself."""
    params = request.sampling
    rng = torch.Generator()
    if params.seed is not None:
        rng.manual_seed(params.seed)
    state, reply = states(request.prompt.token_ids)[-1], list[int]()
    while len(reply) < min(params.max_tokens, limit - len(request.prompt.token_ids)):
        reply.append(sample(logits(state), params, rng).id)
        if reply[-1] in ends:
            break
        state = states(reply[-1:], state)[0]
    return reply


@dataclass
class Machine:
    """Seconds of a step; of few tokens and of many they differ, as in the engine."""

    step: float = 0.003
    token: float = 0.0004
    position: float = 1e-8
    many: float = 0.004
    now: float = 0.0

    def seconds(self, load: Load) -> float:
        fixed = self.step + (self.many if load.tokens > FEW else 0.0)
        return fixed + self.token * load.tokens + self.position * load.reach


class ArithmeticRunner:
    """Implements :class:`engine.runtime.runner.StepRunner`."""

    stats: ExpertStats | None = None

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.computed: list[int] = []
        """Tokens of each step."""
        self.steps: list[list[tuple[str, int]]] = []
        """(request, tokens) of each step."""

    def run(self, work: Sequence[Work], told: Callable[[float], None]) -> list[Tensor]:
        if any(item.sequence.stopped for item in work if item.prompt):
            raise Aborted()
        load, found = Load(), []
        for item in work:
            count = len(item.computes)
            found.append(self._compute(item))
            grow = load.prefilling if item.prompt else load.decoding
            load = grow(count, item.begin)
        self.machine.now += self.machine.seconds(load)
        self.computed.append(load.tokens)
        self.steps.append([(item.sequence.request.id, len(item.computes)) for item in work])
        return found

    def _compute(self, item: Work) -> Tensor:
        cache, begin = item.sequence.cache, item.sequence.computed
        assert begin == item.begin
        assert item.tokens == tuple(item.sequence.tokens[begin : begin + len(item.tokens)])
        known = states(item.sequence.tokens[:begin])
        for layer in range(2):
            rows = cache.read(layer, 0, begin, torch.float32)
            assert rows[:, 0].tolist() == known, "the pages hold other tokens"
            assert rows[:, 1].tolist() == [layer] * begin
        fresh = states(item.computes, known[-1] if known else 1)
        write(cache, begin, fresh)
        return torch.stack([logits(s) for s in fresh])[len(fresh) - item.rows :]

    def abort(self) -> None:
        pass

    def close(self) -> None:
        pass


def write(cache: PagedCache, begin: int, fresh: list[int]) -> None:
    """Rows [state, layer, 0, 0] in both layers."""
    cache.reserve(begin + len(fresh))
    for layer in range(2):
        rows = torch.zeros(len(fresh), 4)
        rows[:, 0] = torch.tensor(fresh, dtype=torch.float32)
        rows[:, 1] = layer
        cache.write(layer, begin, rows)
    cache.length = begin + len(fresh)


@dataclass
class Asked:
    """A request and what was heard of it."""

    request: Request
    heard: list[Emission] = field(default_factory=list)

    @property
    def end(self) -> Ended | Broke | None:
        last = self.heard[-1] if self.heard else None
        return last if isinstance(last, Ended | Broke) else None

    @property
    def code(self) -> str:
        """Of the error that ended it."""
        assert isinstance(self.end, Broke)
        return self.end.error.code

    @property
    def tokens(self) -> list[int]:
        return [t.id for e in self.heard if isinstance(e, Wrote) for t in e.tokens]

    def check(self) -> None:
        """Assert that what was heard came in the promised order."""
        kinds = [type(e) for e in self.heard]
        assert sum(k in (Ended, Broke) for k in kinds) <= 1
        assert not any(k in (Ended, Broke) for k in kinds[:-1])
        assert kinds.count(Started) <= 1
        if kinds and kinds[0] is not Broke:
            assert kinds[0] is Started
        assert Prefilling not in kinds[kinds.index(Wrote) :] if Wrote in kinds else True


class World:
    """An engine over a pool of ``pages``, and everybody who asked it."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        pages: int = 64,
        limits: SchedulerLimits | None = None,
        new_drafter: NewDrafter | None = None,
        machine: Machine | None = None,
        ends: frozenset[int] = frozenset(),
        disk: SnapshotFolder | None = None,
    ) -> None:
        self.machine = machine or Machine()
        pool = LatentPool(CONFIG, pages, "float32")
        archive = PageArchive(pool, disk.root, disk=disk) if disk is not None else None
        self.tree = PrefixTree(pool, archive)
        self.runner = ArithmeticRunner(self.machine)
        self.scheduler = Scheduler(self.tree, limits)
        self.context = CONFIG.max_position_embeddings
        self.engine = Engine(
            self.runner,
            TextEnds(tokenizer, ends),
            self.context,
            self.scheduler,
            new_drafter,
            clock=lambda: self.machine.now,
        )
        self.asked: dict[str, Asked] = {}

    def ask(
        self,
        tokens: Sequence[int],
        max_tokens: int = 8,
        *,
        seed: int | None = None,
        **options: object,
    ) -> Asked:
        """Raises QueueFull."""
        heard: list[Emission] = []
        params = SamplingParams(0.0 if seed is None else 1.0, seed=seed, max_tokens=max_tokens)
        request = Request(
            f"r{len(self.asked)}",
            Prompt("", tuple(tokens), False, 0),
            params,
            (),
            heard.append,
            return_tokens=True,
            **options,  # type: ignore[arg-type]
        )
        self.engine.enqueue(request)
        self.asked[request.id] = Asked(request, heard)
        return self.asked[request.id]

    def step(self) -> None:
        """One step, and everything that must hold after it."""
        self.engine.step()
        self.check()

    def run(self, most: int = 5000) -> None:
        """Until nobody is left."""
        for _ in range(most):
            if not self.engine.busy:
                return
            self.step()
        raise AssertionError("somebody never ends")

    def check(self) -> None:
        self.tree.check_integrity()
        scheduler = self.scheduler
        assert len(scheduler.running) <= scheduler.limits.running
        for some in (scheduler.running, scheduler.waiting):
            ranked = [s.seniority for s in some]
            assert ranked == sorted(set(ranked))
        for sequence in (*scheduler.running, *scheduler.waiting):
            sequence.check()
            assert sequence.pending >= 1, "who has nothing to compute would never sample again"
            assert self.asked[sequence.request.id].end is None
        for asked in self.asked.values():
            asked.check()
        busy = {s.request.id for s in (*scheduler.running, *scheduler.waiting)}
        assert busy == {name for name, asked in self.asked.items() if asked.end is None}
