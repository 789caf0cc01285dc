"""A model's tokens as the grammar library wants them. Built once a model."""

from __future__ import annotations

import numpy as np
from llguidance import LLTokenizer, TokenizerWrapper
from numpy.typing import NDArray

from engine.text.tokenizer import Tokenizer

Mask = NDArray[np.bool_]
"""[vocabulary] Which tokens may come next."""


class Vocabulary:
    """Immutable; safe from any thread."""

    def __init__(self, tokenizer: Tokenizer, ends: frozenset[int] = frozenset()) -> None:
        """``ends`` end a reply, whatever they spell. About two seconds for 160,000 tokens."""
        self.size = tokenizer.vocab_size
        control = sorted({*tokenizer.special.values(), *(end for end in ends if end < self.size)})
        self.bytes = [tokenizer.token_bytes(token_id) for token_id in range(self.size)]
        self.ordinary: Mask = np.ones(self.size, np.bool_)
        """Everything but control tokens and ends."""
        self.ordinary[control] = False
        self.ordinary.flags.writeable = False
        self.ids = {self.bytes[i]: int(i) for i in np.flatnonzero(self.ordinary) if self.bytes[i]}
        """Ordinary tokens by what they spell."""
        self.digits = self.only(*(i for spelled, i in self.ids.items() if spelled[:1].isdigit()))
        """Those that begin with one."""
        self.library = LLTokenizer(TokenizerWrapper(_Described(tokenizer, self.bytes, control)))

    def only(self, *ids: int | None) -> Mask:
        """None of them but these."""
        mask = np.zeros(self.size, np.bool_)
        mask[[i for i in ids if i is not None]] = True
        return mask

    def unpacked(self, bits: bytes) -> Mask:
        """A mask of the library's: one bit a token, the lowest first. Ordinary tokens only."""
        found = np.unpackbits(np.frombuffer(bits, np.uint8), count=self.size, bitorder="little")
        return found.view(np.bool_) & self.ordinary


class _Described:
    """A tokenizer by the attributes that the library reads."""

    def __init__(self, tokenizer: Tokenizer, tokens: list[bytes], control: list[int]) -> None:
        self._tokenizer = tokenizer
        self.tokens = tokens
        self.special_token_ids = control
        # It marks the end of a grammar; here masks of ordinary tokens alone are read.
        self.eos_token_id = min(tokenizer.eos_ids, default=control[-1] if control else 0)
        self.bos_token_id = None

    def __call__(self, text: str) -> list[int]:
        return self._tokenizer.encode(text)
