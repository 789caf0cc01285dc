"""Text files for a model whose weights are random: K2's control tokens, words, and filling."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from engine.errors import RequestError

_TEMPLATE = Path(__file__).parents[1] / "text" / "templates" / "kimi_k2.jinja"
CONTROL = (
    "[BOS]",
    "[EOS]",
    "<|im_end|>",
    "<|im_user|>",
    "<|im_assistant|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "[EOT]",
    "<|im_system|>",
    "<|tool_calls_section_begin|>",
    "<|tool_calls_section_end|>",
    "<|tool_call_begin|>",
    "<|tool_call_argument_begin|>",
    "<|tool_call_end|>",
    "<|im_middle|>",
    "<|media_begin|>",
    "<|media_content|>",
    "<|media_end|>",
    "<|media_pad|>",
    "<think>",
    "</think>",
    "[UNK]",
    "[PAD]",
)
"""K2's control tokens in the order of their ids."""

_RESERVED = 256
"""Ids that the published vocabularies keep for control tokens, most of them unnamed."""
_PLACES = (0, 1, 2, 3, 4, 6, 7, 9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 20, 21, 22, 23, 254, 255)
"""Where in the reserved ids each of `CONTROL` stands."""

_WORDS = (
    "the of and to in is that for it with as on be this are was at by from have not you an or "
    "what which tool call name value number note file answer question reason step result model "
    "token expert think read write search list python calculator expression code path query"
)


def word_ranks() -> list[bytes]:
    """All bytes, then merges that build common words from the left, so every rank is reachable."""
    ranks = [bytes([b]) for b in range(256)]
    known = set(ranks)
    for word in _WORDS.split():
        for text in (word.encode(), b" " + word.encode()):
            for end in range(2, len(text) + 1):
                if text[:end] not in known:
                    known.add(text[:end])
                    ranks.append(text[:end])
    return ranks


def padded_vocabulary(size: int) -> tuple[list[bytes], dict[str, int]]:
    """Ranks and control ids that fill `size` ids exactly. Raises RequestError.

    Big vocabularies keep K2's places within 256 reserved ids, small ones have no gaps. Ranks
    beyond the words are numbered texts, which no merge reaches but every id decodes to.
    """
    words = word_ranks()
    wide = size >= len(words) + _RESERVED
    places = _PLACES if wide else range(len(CONTROL))
    first = size - (_RESERVED if wide else len(CONTROL))
    if first < 256:
        raise RequestError(
            "vocabulary_too_small",
            f"a vocabulary of {size:,} ids cannot hold 256 bytes and {len(CONTROL)} control tokens",
            "raise vocab_size in the shape's config.json",
        )
    filling = [f" <{i}>".encode() for i in range(first - len(words))]
    control = {name: first + place for name, place in zip(CONTROL, places, strict=True)}
    return (words + filling)[:first], control


def write_text_files(folder: Path, ranks: list[bytes], control: Mapping[str, int]) -> None:
    """Ranks, control tokens, the chat template, and which token ends a reply."""
    lines = (f"{base64.b64encode(r).decode()} {i}" for i, r in enumerate(ranks))
    (folder / "tiktoken.model").write_text("\n".join(lines) + "\n")
    write_json(
        folder / "tokenizer_config.json",
        {
            "added_tokens_decoder": {
                str(token_id): {"content": name, "special": name not in ("<think>", "</think>")}
                for name, token_id in control.items()
            },
            "bos_token": "[BOS]",
            "eos_token": "[EOS]",
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
        },
    )
    write_json(
        folder / "generation_config.json",
        {"eos_token_id": control["<|im_end|>"], "temperature": 1.0},
    )
    shutil.copyfile(_TEMPLATE, folder / "chat_template.jinja")


def write_json(path: Path, value: object) -> None:
    """Indented, with a newline at the end."""
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")
