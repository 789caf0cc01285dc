"""What drafts gain where a reply copies, and what they cost where it does not.

Measured on an induction model, which copies by construction, with experts that weigh about as much
beside the dense part as those of K2 do on a processor: a step of more tokens reads more of them.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import truediv
from pathlib import Path

from engine.bench.figures import Figure, figure
from engine.bench.session import Session, session
from engine.bench.turns import alternate
from engine.config import ModelConfig
from engine.errors import ResourceError
from engine.making.induction import Induction, induction_shape
from engine.making.writer import Choice, write_model
from engine.placement.footprint import footprint
from engine.protocol import WeightForm
from engine.types import SamplingParams

COPY_LEAST, FREE_LEAST = 1.6, 0.97
_EXPERTS = {"n_routed_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 1024}
_TOKENS = 200
"""Of a reply: turns so short that both of a pair meet the same moods of the machine."""
_ROUNDS = 9
_LOOSE = SamplingParams(temperature=60.0, top_k=6, seed=11)
"""Nearly even among six: the same two tokens come again and again, and then go on otherwise."""


def write_copying(out: Path) -> Path:
    """The model that is measured on; the folder. Raises as `write_model` does."""
    raw = induction_shape(context=8192) | _EXPERTS
    return write_model(raw, out, Choice(), source=Induction(ModelConfig.from_dict(raw)))


def speculation_figures(
    folder: Path,
    threads: int = 0,
    seconds: float = 8.0,
    rounds: int = _ROUNDS,
    tokens: int = _TOKENS,
) -> Iterator[Figure]:
    """``ngram.copy`` and ``ngram.free``: tokens a second with drafts over those without.

    `folder` is what `write_copying` wrote. The same reply is written with and without, turn by
    turn. Raises ResourceError ``bench_failed``, also where the two replies differ.
    """
    with session(folder, threads) as model:
        draw = random.Random(7)
        ordinary = range(model.config.vocab_size // 2)
        # As an agent does it: a result is read, other things follow, then it is an argument.
        argument = [draw.choice(ordinary) for _ in range(tokens + 3)]
        asked = [draw.choice(ordinary) for _ in range(200)]
        timing = _Timing(model, tokens, seconds, rounds)
        copying = [*argument, *asked, *argument[:3]]
        yield timing.compare("ngram.copy", copying, SamplingParams(temperature=0.0), COPY_LEAST)
        yield timing.compare("ngram.free", asked, _LOOSE, FREE_LEAST)


@dataclass(frozen=True, slots=True)
class _Timing:
    """How long the same reply takes with drafts and without."""

    model: Session
    tokens: int
    seconds: float
    rounds: int

    def compare(self, name: str, ids: list[int], sampling: SamplingParams, least: float) -> Figure:
        """The ratio of the two speeds."""
        model = self.model
        written: set[tuple[int, ...]] = set()

        def turn(speculate: bool) -> Callable[[], float]:
            def write() -> float:
                reply = model.send(ids, self.tokens, sampling, speculate)
                written.add(reply.ids)
                return reply.tokens_per_second

            return write

        model.send(ids, 1)  # from now on the prompt comes from the cache, the same for all
        drafted, plain = alternate([turn(True), turn(False)], self.seconds, self.rounds)
        if len(written) != 1:
            raise ResourceError("bench_failed", f"{name}: a reply with drafts is another one")
        return figure(
            name,
            statistics.median(map(truediv, drafted.samples, plain.samples)),
            "x",
            "limit",
            least,
            threads=model.status.threads,
            best=drafted.best / plain.best,
            note=f"at least; {drafted.median:.0f} tokens/s with, {plain.median:.0f} without, "
            f"{len(written.pop())} tokens; experts are {self._share(len(ids)):.0%} of what one "
            "reads",
        )

    def _share(self, context: int) -> float:
        """Of routed experts in the bytes that one token reads."""
        weighs = footprint(self.model.config)
        plain = self.model.status.dtype == "float32"
        form: WeightForm = "float32" if plain else weighs.dense_form
        routed = weighs.moe_layers * weighs.top_k * weighs.expert_bytes
        return routed / weighs.decode_bytes(form, context)
