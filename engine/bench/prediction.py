"""What the drafts of a checkpoint's own prediction layer gain where they are right, and what they
cost where they never are.

Measured on a model whose replies and drafts are known, loaded with the layer and without. As in K2
a token reads about twice as much of everything else as of experts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from engine.bench.figures import Figure
from engine.bench.gain import gain
from engine.bench.session import Reply, session
from engine.making.foretelling import foretelling_shape, write_foretelling

LEAST = 0.95
"""What drafts gain is the machine's to say; they may not cost much where they gain nothing."""
SKILL = 0.85
"""Share of right drafts that DeepSeek-V3's report tells of (arXiv:2412.19437, section 5.4.3)."""
_LAYERS = 8
_SIZES = {
    "hidden_size": 2048,
    "intermediate_size": 4096,
    "moe_intermediate_size": 512,
    "n_shared_experts": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "q_lora_rank": 512,
    "n_routed_experts": 32,
    "num_experts_per_tok": 8,
}
_TOKENS = 200
_ROUNDS = 7


def write_predicting(out: Path) -> Path:
    """The model that is measured on; the folder. Raises as `write_model` does."""
    return write_foretelling(out, foretelling_shape(_LAYERS, _SIZES), SKILL)


def prediction_figures(
    folder: Path,
    threads: int = 0,
    seconds: float = 8.0,
    rounds: int = _ROUNDS,
    tokens: int = _TOKENS,
) -> Iterator[Figure]:
    """``mtp.right`` and ``mtp.wrong``: tokens a second with the layer loaded over those without.

    `folder` is what `write_foretelling` wrote. Raises ResourceError ``bench_failed``, also where a
    reply with drafts is another one.
    """
    with (
        session(folder, threads, speculation="mtp") as drafting,
        session(folder, threads, speculation="off") as plain,
    ):
        half = plain.config.vocab_size // 2
        for name, first in (("mtp.right", 0), ("mtp.wrong", half)):
            draw = random.Random(7)
            ids = [draw.randrange(first, first + half // 2) for _ in range(64)]
            yield gain(
                name,
                partial(drafting.send, ids, tokens),
                partial(plain.send, ids, tokens),
                LEAST,
                threads=plain.status.threads,
                seconds=seconds,
                rounds=rounds,
                told=_accepted,
            )


def _accepted(replies: list[Reply]) -> str:
    accepted = sum(reply.accepted for reply in replies)
    drafted = accepted + sum(reply.rejected for reply in replies)
    written = sum(len(reply.tokens) for reply in replies)
    return f"{accepted} of {drafted} drafts accepted in {written} tokens"
