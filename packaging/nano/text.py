"""Vocabulary and rendering: K2's split pattern, names of special tokens and chat template.

Differences from a K2 vocabulary are its size and that no merge holds a digit, so that every
number is read and written digit by digit.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tiktoken

from engine.making.vocabulary import CONTROL

LETTERS_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
LETTERS_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
SPLIT_PATTERN = "|".join(
    (
        r"[\p{Han}]+",
        rf"[^\r\n\p{{L}}\p{{N}}]?{LETTERS_UPPER}*{LETTERS_LOWER}+{SUFFIX}",
        rf"[^\r\n\p{{L}}\p{{N}}]?{LETTERS_UPPER}+{LETTERS_LOWER}*{SUFFIX}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
SPECIAL_TOKENS = CONTROL
"""K2's names in the order of K2's ids; ids follow the ranks."""
RANKS = 2048 - len(SPECIAL_TOKENS)
TEMPLATE = Path(__file__).parent / "chat_template.jinja"


def train_ranks(texts: Iterable[str], count: int = RANKS) -> list[bytes]:
    """Byte-pair ranks: the 256 bytes, then merges in order of use, none with a digit."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=count, initial_alphabet=alphabet, show_progress=False, special_tokens=[]
    )
    bpe.train_from_iterator(texts, trainer)
    letters = byte_letters()
    words = sorted(bpe.get_vocab(), key=lambda word: bpe.get_vocab()[word])
    merged = [bytes(letters[c] for c in word) for word in words if len(word) > 1]
    return [bytes([b]) for b in range(256)] + merged[: count - 256]


def byte_letters() -> dict[str, int]:
    """The byte that each letter of the byte-level alphabet stands for (GPT-2's table)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {chr(b): b for b in shown}
    hidden = (b for b in range(256) if b not in shown)
    return table | {chr(256 + i): b for i, b in enumerate(hidden)}


def write_ranks(ranks: Sequence[bytes], path: Path) -> None:
    """Writes tiktoken's file form: base64 of the bytes, a blank, the rank."""
    lines = (f"{base64.b64encode(r).decode()} {i}\n" for i, r in enumerate(ranks))
    path.write_text("".join(lines), encoding="ascii")


def read_ranks(path: Path) -> dict[bytes, int]:
    """Reads what `write_ranks` wrote."""
    rows = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return {base64.b64decode(word): int(rank) for word, rank in rows}


class Vocabulary:
    """The tokenizer, with special tokens by name."""

    def __init__(self, path: Path) -> None:
        ranks = read_ranks(path)
        self.special = {name: len(ranks) + i for i, name in enumerate(SPECIAL_TOKENS)}
        self.size = len(ranks) + len(SPECIAL_TOKENS)
        self.encoding = tiktoken.Encoding(
            "nano", pat_str=SPLIT_PATTERN, mergeable_ranks=ranks, special_tokens=self.special
        )
        self.end = self.special["<|im_end|>"]
        self.pad = self.special["[PAD]"]

    def encode(self, text: str) -> list[int]:
        """Ids of a rendered prompt; special tokens are recognised."""
        return self.encoding.encode(text, allowed_special="all")

    def decode(self, ids: Sequence[int]) -> str:
        """Text with special tokens by name."""
        return self.encoding.decode(list(ids))


TOOLS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("calculator", ("expression",), ()),
    ("python", ("code",), ()),
    ("list_files", (), ("path",)),
    ("read_file", ("path",), ("start", "lines")),
    ("search_files", ("query",), ("path",)),
)
TOOL_NAMES = tuple(name for name, _, _ in TOOLS)

IM_END = "<|im_end|>"
OPEN_REPLY = "<|im_assistant|>assistant<|im_middle|>"


def open_prompt(tools: Sequence[str]) -> str:
    """The tool declaration at the head of a prompt; empty without tools."""
    if not tools:
        return ""
    shown = (
        f"{name}({', '.join(required or optional)})"
        for name, required, optional in TOOLS
        if name in tools
    )
    return f"<|im_system|>tool_declare<|im_middle|>{' '.join(shown)}{IM_END}"


def user_text(content: str) -> str:
    """A user's message."""
    return f"<|im_user|>user<|im_middle|>{content}{IM_END}"


def tool_text(call_id: str, content: str) -> str:
    """A tool's result."""
    return f"<|im_system|>tool<|im_middle|>## Return of {call_id}\n{content}{IM_END}"


def reply_text(
    reasoning: str, content: str, calls: Sequence[tuple[str, dict[str, Any]]] = ()
) -> str:
    """An assistant's reply after `OPEN_REPLY`; `calls` are (id, arguments)."""
    parts = [f"<think>{reasoning}</think>{content}"]
    if calls:
        parts.append("<|tool_calls_section_begin|>")
        for call_id, arguments in calls:
            body = json.dumps(arguments, ensure_ascii=False)
            parts.append(
                f"<|tool_call_begin|>{call_id}<|tool_call_argument_begin|>{body}<|tool_call_end|>"
            )
        parts.append("<|tool_calls_section_end|>")
    return "".join(parts) + IM_END
