"""What drafts gain where a reply copies, and what they cost where it does not.

Measured on an induction model, which copies by construction, with experts that weigh about as much
beside the dense part as those of K2 do on a processor: a step of more tokens reads more of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from engine.bench.figures import Figure
from engine.bench.gain import gain
from engine.bench.session import Reply, Session, session
from engine.config import ModelConfig
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
        copying = [*argument, *asked, *argument[:3]]
        greedy = SamplingParams(temperature=0.0)
        for name, ids, sampling, least in (
            ("ngram.copy", copying, greedy, COPY_LEAST),
            ("ngram.free", asked, _LOOSE, FREE_LEAST),
        ):
            model.send(ids, 1)  # from now on the prompt comes from the cache, the same for all
            share = _share(model, len(ids))
            yield gain(
                name,
                partial(model.send, ids, tokens, sampling, True),
                partial(model.send, ids, tokens, sampling, False),
                least,
                threads=model.status.threads,
                seconds=seconds,
                rounds=rounds,
                told=partial(_told, share),
            )


def _told(share: float, replies: list[Reply]) -> str:
    return f"{len(replies[0].ids)} tokens; experts are {share:.0%} of what one reads"


def _share(model: Session, context: int) -> float:
    """Of routed experts in the bytes that one token reads."""
    weighs = footprint(model.config)
    plain = model.status.dtype == "float32"
    form: WeightForm = "float32" if plain else weighs.dense_form
    routed = weighs.moe_layers * weighs.top_k * weighs.expert_bytes
    return routed / weighs.decode_bytes(form, context)
