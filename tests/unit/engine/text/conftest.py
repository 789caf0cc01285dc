"""A small real vocabulary, and Kimi K2's own, written as checkpoint folders."""

from __future__ import annotations

import base64
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import regex
import splintr

from engine.text.tokenizer import Tokenizer

CONTROL = {
    0: "[BOS]",
    1: "[EOS]",
    2: "<|im_end|>",
    3: "<|im_user|>",
    4: "<|im_assistant|>",
    6: "<|start_header_id|>",
    7: "<|end_header_id|>",
    9: "[EOT]",
    10: "<|im_system|>",
    11: "<|tool_calls_section_begin|>",
    12: "<|tool_calls_section_end|>",
    13: "<|tool_call_begin|>",
    14: "<|tool_call_argument_begin|>",
    15: "<|tool_call_end|>",
    17: "<|im_middle|>",
    22: "<think>",
    23: "</think>",
    24: "[UNK]",
    25: "[PAD]",
}
CORPUS = """
I should use the calculator tool. The answer is 395. functions.calculator:0 {"expression": "17*23"}
{"path": "notes.txt"} {"code": "print(1)\\nx = 2"} <|tool_call_section_begin|> <|tool_call_begin|>
null tool_call_1 functions.read_file:1 Let me think about this again, then call the tool. 你好 你好
"""


def write_folder(folder: Path, ranks: dict[bytes, int], control: dict[int, str]) -> Path:
    lines = [f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items()]
    (folder / "tiktoken.model").write_text("".join(lines))
    added = {
        str(token_id): {"content": name, "special": True} for token_id, name in control.items()
    }
    config = {"added_tokens_decoder": added, "bos_token": "[BOS]", "eos_token": "[EOS]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    end = next(token_id for token_id, name in control.items() if name == "<|im_end|>")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": end}))
    return folder


def learn_ranks(text: str, merges: int) -> dict[bytes, int]:
    """Byte-pair merges learned from ``text``: a vocabulary small, but real."""
    words = Counter(word.encode() for word in regex.findall(r" ?\w+| ?[^\w\s]+|\s", text))
    split = {word: [bytes([value]) for value in word] for word in words}
    ranks = {bytes([value]): value for value in range(256)}
    for _ in range(merges):
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for word, parts in split.items():
            for pair in pairwise(parts):
                pairs[pair] += words[word]
        if not pairs:
            break
        left, right = min(pairs, key=lambda pair: (-pairs[pair], pair))
        ranks[left + right] = len(ranks)
        for parts in split.values():
            for index in range(len(parts) - 1, 0, -1):
                if parts[index - 1 : index + 1] == [left, right]:
                    parts[index - 1 : index + 1] = [left + right]
    return ranks


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ranks = learn_ranks(CORPUS, 250)
    control = {len(ranks) + offset: name for offset, name in CONTROL.items()}
    return write_folder(tmp_path_factory.mktemp("small"), ranks, control)


@pytest.fixture(scope="session")
def tokenizer(small_folder: Path) -> Tokenizer:
    return Tokenizer.from_folder(small_folder)


@pytest.fixture(scope="session")
def k2_oracle() -> splintr.Tokenizer:
    return splintr.Tokenizer.from_pretrained("kimi_k2")


@pytest.fixture(scope="session")
def k2_tokenizer(
    k2_oracle: splintr.Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Tokenizer:
    """Kimi K2's vocabulary, rebuilt from what each id of the oracle decodes to."""
    ranks = {k2_oracle.decode_token_bytes(token_id): token_id for token_id in range(163584)}
    control = {token_id: name for name, token_id in k2_oracle.special_tokens().items()}
    named = {
        token_id: name
        for token_id, name in control.items()
        if token_id < 163840 and not name.startswith("<|reserved_token_")
    }
    return Tokenizer.from_folder(write_folder(tmp_path_factory.mktemp("k2"), ranks, named))
