"""Text to token ids and back, with control tokens kept apart from anything a user can type."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import tiktoken

from engine.errors import CheckpointError
from engine.text.tiktoken_file import read_vocabulary

# Kimi K2's split of text into words before merging (published with the checkpoint's tokenizer).
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
_ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
KIMI_K2_PATTERN = "|".join(
    (
        r"[\p{Han}]+",
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENDING}",
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENDING}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)

# The published tokenizer cuts text at these lengths before splitting it into words. The cuts can
# show in the ids, so they are part of the vocabulary's definition as well as a bound on time.
MAX_CHUNK_CHARS = 400_000
MAX_RUN_CHARS = 25_000
_RUN = re.compile(r"\s+|\S+")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Tokenizer:
    """A byte-level BPE vocabulary and its control tokens. Immutable; safe from any thread.

    Two ways in, never mixed: :meth:`encode` is for text and can only give ordinary tokens,
    whatever the text spells; :meth:`encode_template` is for the output of a chat template and is
    the only source of control tokens.
    """

    def __init__(
        self, ranks: Mapping[bytes, int], control: Mapping[str, int], eos_ids: Iterable[int]
    ) -> None:
        """``ranks``: bytes -> id, 0 upward; ``control``: name -> id, from ``len(ranks)`` upward."""
        self._encoding = tiktoken.Encoding(
            "checkpoint",
            pat_str=KIMI_K2_PATTERN,
            mergeable_ranks=dict(ranks),
            special_tokens=dict(control),
        )
        self.special: Mapping[str, int] = MappingProxyType(dict(control))
        self.eos_ids = frozenset(eos_ids)
        self.vocab_size = len(ranks) + len(control)
        self._names = {token_id: name for name, token_id in control.items()}
        self._bytes: list[bytes] = [b""] * self.vocab_size
        for token, token_id in ranks.items():
            self._bytes[token_id] = token
        for name, token_id in control.items():
            self._bytes[token_id] = name.encode()
        self._control_pattern = _any_of(name for name in control if is_guardable(name))

    @classmethod
    def from_folder(cls, path: Path) -> Tokenizer:
        """The tokenizer of a checkpoint folder: ``tiktoken.model`` + ``tokenizer_config.json``.

        Raises CheckpointError: ``tokenizer_missing``, ``tokenizer_damaged``,
        ``tokenizer_unsupported``. Nothing of the folder is executed.
        """
        if not (path / "tiktoken.model").exists() and (path / "tokenizer.json").exists():
            # The place for vocabularies of the `tokenizers` library (GLM, DeepSeek).
            raise CheckpointError(
                "tokenizer_unsupported",
                "this checkpoint has a tokenizer.json vocabulary, which cannot be read yet",
                "use a checkpoint that ships tiktoken.model",
            )
        files = read_vocabulary(path)
        return cls(files.ranks, files.control, files.eos_ids)

    def encode(self, text: str) -> list[int]:
        """Ordinary tokens of ``text``. ``<|im_end|>`` in it is nine harmless characters.

        A lone surrogate, which UTF-8 cannot carry, becomes U+FFFD.
        """
        ids: list[int] = []
        for piece in _bounded_pieces(_SURROGATE.sub("\ufffd", text)):
            ids += self._encoding.encode_ordinary(piece)
        return ids

    def encode_template(
        self, text: str, reveal: Callable[[str], str] = lambda segment: segment
    ) -> list[int]:
        """Tokens of a rendered template, its control names becoming control tokens.

        Every control name in ``text`` counts, so ``text`` must not hold one that came out of a
        message. :class:`engine.text.guard.Guard` sees to that before rendering: in all data it
        puts stand-ins for the characters with which control names begin and end. ``reveal``
        undoes this in the stretches between control tokens, which are then encoded as ordinary
        text. Names that begin or end like a word are never recognised (``is_guardable``).
        """
        ids: list[int] = []
        start = 0
        for match in self._control_pattern.finditer(text):
            ids += self.encode(reveal(text[start : match.start()]))
            ids.append(self.special[match.group()])
            start = match.end()
        return ids + self.encode(reveal(text[start:]))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``, control tokens by name; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes ``token_id`` stands for: a control token's name, b"" past the vocabulary.

        Models pad their output layer, so an id past the vocabulary can be sampled.
        """
        if token_id < 0:
            raise ValueError(f"token id {token_id}")
        return self._bytes[token_id] if token_id < self.vocab_size else b""

    def control_name(self, token_id: int) -> str | None:
        """The name of a control token, None for an ordinary one."""
        return self._names.get(token_id)

    def name(self, token_id: int) -> str:
        """How to show one token: its name or text, stray bytes as ``\\xNN``."""
        if token_id >= self.vocab_size:
            return f"<|unused_token_{token_id}|>"
        return self.token_bytes(token_id).decode("utf-8", "backslashreplace")


def is_guardable(name: str) -> bool:
    """Whether a control name begins and ends with a mark (``<``, ``]``), not a word or a space.

    Only such names are looked for in template output: for them data can be told from template
    by two characters that no template needs to see in data.
    """
    return not any(char.isalnum() or char.isspace() or char == "_" for char in (name[0], name[-1]))


def _any_of(names: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _bounded_pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), MAX_CHUNK_CHARS):
        chunk = text[start : start + MAX_CHUNK_CHARS]
        begin = 0
        for run in _RUN.finditer(chunk):
            for cut in range(run.start() + MAX_RUN_CHARS, run.end(), MAX_RUN_CHARS):
                yield chunk[begin:cut]
                begin = cut
        yield chunk[begin:]
