"""A model that always says the same: its head knows for each token which one comes next.

Attention and experts do all their work and add nothing that the head reads. So an agent's run can
be played through the real engine with replies that are known beforehand, their token ids included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from engine.checkpoint.names import Expected
from engine.config import ModelConfig
from engine.errors import RequestError
from engine.making.filling import bf16
from engine.making.induction import ANSWER_MARGIN, CODE, Induction, gold_codes, induction_shape
from engine.making.vocabulary import CONTROL, padded_vocabulary, word_ranks
from engine.making.writer import Choice, write_model
from engine.text.tokenizer import Tokenizer


class Reciting:
    """Bytes of such a model's tensors: an induction model's but for the head."""

    def __init__(self, config: ModelConfig, following: Mapping[int, int]) -> None:
        self._config = config
        self._following = following
        self._rest = Induction(config)

    def chunks(self, item: Expected, size: int) -> Iterator[memoryview]:
        """`size` bytes for a tensor, in pieces."""
        if "lm_head" not in item.name:
            yield from self._rest.chunks(item, size)
            return
        codes = gold_codes()
        head = np.zeros(item.shape, np.float32)  # [V, H]
        for token, after in self._following.items():
            head[after, :CODE] += codes[token] * np.float32(ANSWER_MARGIN / (CODE - 16))
        yield memoryview(bf16(head).tobytes())


def write_reciting(out: Path, reply: str, context: int = 262_144) -> Path:
    """A folder whose model answers every prompt with `reply`, control names included, and ends.

    Raises RequestError ``token_twice``: what follows a token has to be clear.
    """
    vocab = len(word_ranks()) + len(CONTROL)
    raw = induction_shape(context, vocab=vocab)
    ranks, control = padded_vocabulary(vocab)
    tokenizer = Tokenizer({r: i for i, r in enumerate(ranks)}, control, ())
    ids = tokenizer.encode_template(reply)
    if len(set(ids)) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise RequestError("token_twice", f"{tokenizer.name(twice)!r} stands twice in the reply")
    before = [control["<|im_middle|>"], *ids]
    following = dict(zip(before, [*ids, control["<|im_end|>"]], strict=True))
    source = Reciting(ModelConfig.from_dict(raw), following)
    return write_model(raw, out, Choice(), source=source)
