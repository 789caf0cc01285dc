"""The models that long contexts are measured on, made when they are first asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from engine.bench.options import Options
from engine.making.induction import write_induction
from engine.making.shapes import read_shape
from engine.making.vocabulary import word_ranks
from engine.making.writer import Choice, write_model

_ROOT = Path(__file__).parents[3]
NANO = _ROOT / "resources" / "models" / "nano"
_SMALL_K2 = {
    "hidden_size": 1024,
    "intermediate_size": 2048,
    "moe_intermediate_size": 1024,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "q_lora_rank": 512,
    "n_routed_experts": 16,
    "num_experts_per_tok": 8,
    "vocab_size": 2048,
}
"""K2's latents and heads, few of them; of 16 experts, 8 tokens at once meet nearly all."""


class Models:
    """Folders under `scratch`; what the command line names comes before what is made."""

    def __init__(self, options: Options, scratch: Path) -> None:
        self._options = options
        self._scratch = scratch

    @cached_property
    def induction(self) -> Path:
        """Finds needles, repeats what stood before; three layers with K2's latents, one head."""
        return write_induction(self._scratch / "induction")

    @cached_property
    def agent(self) -> Path:
        """``--model``, or a random one with K2's latents and experts that weigh most."""
        if self._options.model is not None:
            return self._options.model
        raw = read_shape("k2-thinking", layers=3, experts="int4") | _SMALL_K2
        return write_model(raw, self._scratch / "k2-small", Choice())


def words() -> list[str]:
    """Words that are one token each, with the blank before them, in every vocabulary made here."""
    return [r.decode() for r in word_ranks() if r.startswith(b" ") and len(r) > 1]
