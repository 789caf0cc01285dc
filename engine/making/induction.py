"""A model that is built, not trained, to do induction: what followed last time follows again.

Where the last `match` tokens stood before, it foretells the token that came after them, at any
distance up to its context (where only the very last one did, a token that came after that). So the
right answer to a needle in a haystack is known beforehand, and a cache that mixes up, drops or
blurs a single position shows. Induction heads: Olsson et al. 2022, arXiv:2209.11895.

A token's code is 64 numbers of ±1 (Gold 1967: m-sequences of length 63, and a 1), so that the
products of any two codes are 0 or ±16 and those of a code with itself 64. The residual stream is
`match` + 2 blocks of 64:

    block 0          the token's own code; its last number is 1 in every code
    block 1 … match  the codes of the tokens before it, one layer a block
    last block       the code of the answer

Layer 1 … `match` is a shift head: the query is turned by one position against the key, on the
rotary pairs that YaRN leaves alone, so that the score peaks at distance 1. The last layer is the
match head: the query holds the last codes (the very last twice as strong), the key at each position
the codes before it, the value its own code. All numbers of a block have one size, so norms scale
and bfloat16 rounds them alike, and INT8 keeps them as they are.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.checkpoint.names import Expected
from engine.config import ModelConfig
from engine.errors import RequestError
from engine.making.idle import Idle, Matrix
from engine.making.shapes import read_shape
from engine.making.writer import Choice, write_model
from engine.model.rope import inverse_frequencies

CODE = 64
MOST_TOKENS = 63 * 65
"""Codes that there are."""
ANSWER_MARGIN = 24.0
"""By how much the answer's logit is above every other where all of the last tokens match."""
_SHIFT_SCORE = 96.0
"""Score of the position before; all others together then weigh less than 1e-5."""
_MATCH_SCORE = 100.0
"""Score of one matching token of the lighter kind: the least gap is a quarter of it, ln(256 K) is
12.5."""
_FADING = 0.8
"""Each rotary pair counts this much of the faster one before it."""
_KEY = 4.0


def induction_shape(context: int = 262_144, match: int = 2, vocab: int = 2048) -> dict[str, Any]:
    """A config.json in K2's form: its latent attention with one head, one layer per token that
    has to match and one more, tiny experts. Raises RequestError ``bad_shape``."""
    if not (1 <= match <= 2 and 512 <= vocab <= MOST_TOKENS and context >= 256):
        raise RequestError(
            "bad_shape",
            f"match {match}, {vocab} tokens, context {context}: no induction model is so",
            f"match is 1 or 2, tokens 512 to {MOST_TOKENS}, the context 256 or more",
        )
    raw = read_shape("k2-thinking", layers=match + 1, experts="int4")
    return {
        **raw,
        "hidden_size": CODE * (match + 2),
        "intermediate_size": 64,
        "moe_intermediate_size": 32,
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "q_lora_rank": CODE * match,
        "max_position_embeddings": context,
        "vocab_size": vocab,
    }


def write_induction(
    out: Path, context: int = 262_144, match: int = 2, vocab: int = 2048, seed: int = 0
) -> Path:
    """Write such a checkpoint; the folder. Raises as `write_model` does."""
    raw = induction_shape(context, match, vocab)
    source = Induction(ModelConfig.from_dict(raw), seed)
    return write_model(raw, out, Choice(), source=source)


class Induction(Idle):
    """Bytes of such a model's tensors."""

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._config = config
        self._match = config.num_hidden_layers - 1
        self._codes = gold_codes()[: config.vocab_size]  # [V, 64]

    def _built(self, item: Expected) -> Matrix | None:
        name = item.name
        if "embed_tokens" in name:
            return self._at_block(0)
        if "lm_head" in name:
            return self._at_block(self._match + 1) * np.float32(ANSWER_MARGIN / (CODE - 16))
        if ".self_attn." not in name:
            return None
        layer = int(name.split(".layers.")[1].split(".")[0])
        matrix = name.rsplit(".", 2)[-2]
        built = self._matching(matrix) if layer == self._match else self._shifting(matrix, layer)
        assert built.shape == item.shape, (name, built.shape, item.shape)
        return built

    def _at_block(self, block: int) -> Matrix:
        """[V, H]: each token's code in one block."""
        out = np.zeros((len(self._codes), self._config.hidden_size), np.float32)
        out[:, block * CODE : (block + 1) * CODE] = self._codes
        return out

    def _shifting(self, matrix: str, layer: int) -> Matrix:
        """The value carries block `layer` of the position before into block `layer` + 1."""
        config = self._config
        one = CODE - 1  # where every code has its 1
        filled = math.sqrt(config.hidden_size / ((layer + 1) * CODE))  # every number, when normed
        if matrix == "q_a_proj":
            out = np.zeros((config.q_lora_rank or 0, config.hidden_size), np.float32)
            out[0, one] = 1
        elif matrix == "q_b_proj":
            out = np.zeros((config.qk_head_dim, config.q_lora_rank or 0), np.float32)
            out[config.qk_nope_head_dim :, 0] = self._turned_query() / math.sqrt(out.shape[1])
        elif matrix == "kv_a_proj_with_mqa":
            out = np.zeros((config.latent_dim, config.hidden_size), np.float32)
            _copy(out, 0, layer * CODE)
            out[config.kv_lora_rank :: 2, one] = _KEY / filled
        elif matrix == "kv_b_proj":
            out = self._up()
            _copy(out, config.qk_nope_head_dim, 0, math.sqrt(CODE / config.kv_lora_rank))
        else:
            out = np.zeros((config.hidden_size, config.v_head_dim), np.float32)
            _copy(out, (layer + 1) * CODE, 0)
        return out

    def _matching(self, matrix: str) -> Matrix:
        """Keys: the codes before a position; query: the last codes; value: the own code."""
        config, match = self._config, self._match
        if matrix == "q_a_proj":
            out = np.zeros((config.q_lora_rank or 0, config.hidden_size), np.float32)
            for block in range(match):
                _copy(out, block * CODE, block * CODE)
        elif matrix == "q_b_proj":  # the norm before it has made every number 1
            out = np.zeros((config.qk_head_dim, config.q_lora_rank or 0), np.float32)
            unit = _MATCH_SCORE / (config.softmax_scale * CODE)
            for block in range(match):
                _copy(out, block * CODE, block * CODE, unit * 2 ** (match - 1 - block))
        elif matrix == "kv_a_proj_with_mqa":
            out = np.zeros((config.latent_dim, config.hidden_size), np.float32)
            for block in range(match + 1):
                _copy(out, block * CODE, block * CODE)
        elif matrix == "kv_b_proj":
            out = self._up()
            unit = math.sqrt((match + 1) * CODE / config.kv_lora_rank)
            for block in range(match):
                _copy(out, block * CODE, (block + 1) * CODE, unit)
            _copy(out, config.qk_nope_head_dim, 0, unit)
        else:
            out = np.zeros((config.hidden_size, config.v_head_dim), np.float32)
            _copy(out, (match + 1) * CODE, 0)
        return out

    def _up(self) -> Matrix:
        config = self._config
        rows = config.qk_nope_head_dim + config.v_head_dim
        return np.zeros((rows, config.kv_lora_rank), np.float32)

    def _turned_query(self) -> Matrix:
        """[P]: against keys (4, 0) the score is that of the angle beyond one position."""
        weight = shift_weights(self._config)  # [P/2]
        size = _SHIFT_SCORE * weight / (self._config.softmax_scale * _KEY)
        angle = inverse_frequencies(self._config).numpy()  # [P/2]
        pairs = np.stack((size * np.cos(angle), -size * np.sin(angle)), -1)  # [P/2, 2]
        return pairs.reshape(-1).astype(np.float32)


def shift_weights(config: ModelConfig) -> Matrix:
    """How much each rotary pair counts in a shift head, [P/2], in all 1; none that is stretched."""
    width = config.qk_rope_head_dim
    trained = config.rope_theta ** -(np.arange(0, width, 2) / width)
    untouched = np.isclose(inverse_frequencies(config).numpy(), trained, rtol=1e-5)
    weight = np.where(untouched, _FADING ** np.arange(width // 2), 0)
    shares: Matrix = (weight / weight.sum()).astype(np.float32)
    return shares


def gold_codes() -> NDArray[np.int8]:
    """[4095, 64] of ±1, the last always 1; two different ones have a product of 0, 16 or -16."""
    a = _m_sequence((6, 1))
    b = _m_sequence((6, 5, 2, 1))
    family = [a, b, *(a ^ np.roll(b, k) for k in range(63))]
    bits = np.stack([np.roll(s, k) for s in family for k in range(63)])  # [4095, 63]
    return np.pad(1 - 2 * bits, ((0, 0), (0, 1)), constant_values=1).astype(np.int8)


def _m_sequence(taps: tuple[int, ...]) -> NDArray[np.int64]:
    """63 bits of a shift register whose polynomial has these powers and 1."""
    bits = [0, 0, 0, 0, 0, 1]
    while len(bits) < 63:
        # x^6 + … + 1: a bit is the sum of those that the lower powers name, six back and on.
        lower = [t for t in taps if t != 6]
        bits.append((bits[-6] + sum(bits[t - 6] for t in lower)) % 2)
    return np.array(bits)


def _copy(out: Matrix, row: int, column: int, factor: float = 1.0) -> None:
    """64 numbers from `column` on go to `row` on."""
    steps = np.arange(CODE)
    out[row + steps, column + steps] = factor
