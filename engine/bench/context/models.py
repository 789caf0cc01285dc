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
"""K2's latents and heads, few of them."""
_HEAVY_K2 = {
    **_SMALL_K2,
    "hidden_size": 4096,
    "intermediate_size": 8192,
    "moe_intermediate_size": 2048,
}
"""As in K2 a token reads about twice as much of everything else as of experts, and little of an 8 K
context; of 16 experts, eight tokens at once meet nearly all."""


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
        """``--model``, or a small random one with K2's latents."""
        return self._options.model or self._random("k2-small", 3, _SMALL_K2)

    @cached_property
    def heavy(self) -> Path:
        """``--model``, or a random one whose weights count as K2's do."""
        return self._options.model or self._random("k2-heavy", 2, _HEAVY_K2)

    def _random(self, name: str, layers: int, sizes: dict[str, int]) -> Path:
        raw = read_shape("k2-thinking", layers=layers, experts="int4") | sizes
        return write_model(raw, self._scratch / name, Choice())


def words() -> list[str]:
    """Words that are one token each, with the blank before them, in every vocabulary made here."""
    return [r.decode() for r in word_ranks() if r.startswith(b" ") and len(r) > 1]
