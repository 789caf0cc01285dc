"""What the drafts of a checkpoint's own prediction layer gain where they are right, and what they
cost where they never are.

Measured on a model whose replies and drafts are known, loaded with the layer and without. As in K2
a token reads about twice as much of everything else as of experts.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import truediv
from pathlib import Path

from engine.bench.figures import Figure, figure
from engine.bench.session import Reply, Session, session
from engine.bench.turns import alternate
from engine.errors import ResourceError
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
            with_layer, without = (_Writing(model, ids, tokens) for model in (drafting, plain))
            drafted, single = alternate([with_layer.turn, without.turn], seconds, rounds)
            if len({reply.ids for reply in with_layer.replies + without.replies}) != 1:
                raise ResourceError("bench_failed", f"{name}: a reply with drafts is another one")
            yield figure(
                name,
                statistics.median(map(truediv, drafted.samples, single.samples)),
                "x",
                "limit",
                LEAST,
                threads=plain.status.threads,
                best=drafted.best / single.best,
                note=f"at least; {drafted.median:.0f} tokens/s with, {single.median:.0f} without; "
                f"{with_layer.described}",
            )


@dataclass(frozen=True, slots=True)
class _Writing:
    """The same reply of one of the two models, again and again."""

    model: Session
    ids: list[int]
    tokens: int
    replies: list[Reply] = field(default_factory=list)

    def turn(self) -> float:
        """Tokens a second."""
        self.replies.append(self.model.send(self.ids, self.tokens))
        return self.replies[-1].tokens_per_second

    @property
    def described(self) -> str:
        accepted = sum(reply.accepted for reply in self.replies)
        drafted = accepted + sum(reply.rejected for reply in self.replies)
        written = sum(len(reply.tokens) for reply in self.replies)
        return f"{accepted} of {drafted} drafts accepted in {written} tokens"
