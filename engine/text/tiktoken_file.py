"""Reading ``tiktoken.model`` and ``tokenizer_config.json`` of a checkpoint nobody vouches for.

Data only: base64, decimal numbers and JSON. Every size is bounded before memory is spent, and
every failure is a :class:`CheckpointError` that says which file is wrong and how.
"""

from __future__ import annotations

import binascii
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import CheckpointError

MAX_RANK_FILE_BYTES = 64 << 20
MAX_JSON_BYTES = 16 << 20
MAX_TOKEN_BYTES = 4096
MAX_RANKS = 2_000_000
MAX_CONTROL_TOKENS = 65_536
MAX_CONTROL_NAME = 256


@dataclass(frozen=True, slots=True)
class VocabularyFiles:
    """What the tokenizer's files say.

    ``ranks``: token bytes -> id, ids ``0..len-1``, all 256 single bytes among them.
    ``control``: control-token text -> id, ids from ``len(ranks)`` upward without a hole.
    """

    ranks: dict[bytes, int]
    control: dict[str, int]
    eos_ids: frozenset[int]


def read_vocabulary(folder: Path) -> VocabularyFiles:
    """Read a checkpoint's vocabulary. Raises CheckpointError."""
    ranks = read_ranks(folder / "tiktoken.model")
    config = read_json_object(folder / "tokenizer_config.json")
    control = _control_tokens(config, len(ranks))
    return VocabularyFiles(ranks, control, _eos_ids(folder, config, control, len(ranks)))


def read_ranks(path: Path) -> dict[bytes, int]:
    """Lines of ``BASE64 RANK``, as tiktoken writes them. Raises CheckpointError."""
    data = read_bounded(path, MAX_RANK_FILE_BYTES)
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        token, rank = _rank_line(line, number, path)
        if token in ranks or rank != len(ranks):
            raise _damaged(path, f"line {number}: a repeated token, or ranks out of order")
        ranks[token] = rank
        if len(ranks) > MAX_RANKS:
            raise _damaged(path, f"more than {MAX_RANKS} tokens")
    missing = sum(bytes([value]) not in ranks for value in range(256))
    if missing:
        raise _damaged(path, f"{missing} of the 256 single bytes have no token")
    return ranks


def _rank_line(line: bytes, number: int, path: Path) -> tuple[bytes, int]:
    fields = line.split()
    if len(fields) != 2 or len(fields[1]) > 9 or not fields[1].isdigit():
        raise _damaged(path, f"line {number} is not 'BASE64 RANK'")
    try:
        token = binascii.a2b_base64(fields[0], strict_mode=True)
    except binascii.Error as error:
        raise _damaged(path, f"line {number}: {error}") from None
    if not 0 < len(token) <= MAX_TOKEN_BYTES:
        raise _damaged(path, f"line {number}: a token of {len(token)} bytes")
    return token, int(fields[1])


def _control_tokens(config: dict[str, Any], first: int) -> dict[str, int]:
    """Names of the ids above the ranks; unnamed ids get the family's ``<|reserved_token_N|>``."""
    file = Path("tokenizer_config.json")
    declared = config.get("added_tokens_decoder", {})
    if not isinstance(declared, dict) or len(declared) > MAX_CONTROL_TOKENS:
        raise _damaged(file, "added_tokens_decoder is not a table of reasonable size")
    by_id: dict[int, str] = {}
    for key, entry in declared.items():
        name = entry.get("content") if isinstance(entry, dict) else None
        if not (key.isascii() and key.isdigit() and len(key) <= 9):
            raise _damaged(file, f"added_tokens_decoder: {key[:40]!r} is not a token id")
        if not isinstance(name, str) or not 0 < len(name) <= MAX_CONTROL_NAME:
            raise _damaged(file, f"added_tokens_decoder[{key}] has no usable content")
        if not first <= int(key) < first + MAX_CONTROL_TOKENS:
            raise _damaged(file, f"control token {key} does not follow the {first} ranks")
        by_id[int(key)] = name
    control: dict[str, int] = {}
    for token_id in range(first, max(by_id, default=first - 1) + 1):
        name = by_id.get(token_id, f"<|reserved_token_{token_id}|>")
        if control.setdefault(name, token_id) != token_id:
            raise _damaged(file, f"two ids are named {name!r}")
    return control


def _eos_ids(
    folder: Path, config: dict[str, Any], control: dict[str, int], first: int
) -> frozenset[int]:
    """Every id that ends a reply: the named eos token, ``<|im_end|>``, generation_config's."""
    named = config.get("eos_token")
    if isinstance(named, dict):
        named = named.get("content")
    ids = {control[name] for name in (named, "<|im_end|>") if name in control}
    path = folder / "generation_config.json"
    if path.is_file():
        extra = read_json_object(path).get("eos_token_id")
        for token_id in extra if isinstance(extra, list) else [extra] if extra is not None else []:
            if type(token_id) is not int or not 0 <= token_id < first + len(control):
                raise _damaged(path, f"eos_token_id {str(token_id)[:40]} is not in the vocabulary")
            ids.add(token_id)
    if not ids:
        raise _damaged(folder / "tokenizer_config.json", "no token that ends a reply is declared")
    return frozenset(ids)


def read_json_object(path: Path) -> dict[str, Any]:
    """A bounded JSON object from ``path``. Raises CheckpointError."""
    try:
        value = json.loads(read_bounded(path, MAX_JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise _damaged(path, "not a JSON object")
    return value


def read_bounded(path: Path, limit: int) -> bytes:
    """The file's bytes, at most ``limit``. Raises CheckpointError when missing or longer."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise CheckpointError(
            "tokenizer_missing",
            f"cannot read {path.name}: {error.strerror or error}",
            "download the checkpoint again, or choose a complete folder",
        ) from None
    if len(data) > limit:
        raise _damaged(path, f"larger than {limit >> 20} MiB")
    return data


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        "tokenizer_damaged", f"{path.name}: {what}", "download this file of the checkpoint again"
    )
