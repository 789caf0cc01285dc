"""What is in a folder, and what is wrong with it, before anything is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from engine.checkpoint.deep import check_content
from engine.checkpoint.headers import AGAIN, INDEX, Shard, TensorEntry, read_shard, shard_names
from engine.checkpoint.names import expected_tensors
from engine.config import ModelConfig
from engine.errors import CheckpointError
from engine.protocol import FolderProblem, FolderReport

_NAMED = 5
"""Problems of one kind that are named; the rest are counted."""


class _Findings:
    """Problems by kind, bounded."""

    def __init__(self) -> None:
        self._found: dict[str, list[FolderProblem]] = {}
        self._counts: Counter[str] = Counter()

    def add(self, code: str, message: str, hint: str = "") -> None:
        self._counts[code] += 1
        named = self._found.setdefault(code, [])
        if len(named) < _NAMED:
            named.append(FolderProblem(code, message, hint))

    def error(self, error: CheckpointError) -> None:
        self.add(error.code, error.message, error.hint)

    def problems(self) -> tuple[FolderProblem, ...]:
        result: list[FolderProblem] = []
        for code, named in self._found.items():
            last = named[-1]
            more = self._counts[code] - len(named)
            result += [*named[:-1], FolderProblem(code, last.message, last.hint, more)]
        return tuple(result)


def inspect_folder(
    folder: Path, deep: bool = False, progress: Callable[[float], None] = lambda share: None
) -> FolderReport:
    """Read config, index and shard headers only. Never raises for what a folder contains.

    With `deep` the scales, norms and shape records are read too, as far as the headers are sound:
    a ninth of an INT4 checkpoint, and minutes for a large one.
    """
    findings = _Findings()
    config: ModelConfig | None = None
    try:
        config = ModelConfig.from_folder(folder)
    except CheckpointError as error:
        findings.error(error)
    shards, entries = _read_shards(folder, findings)
    parameters, active, by_part = 0, 0.0, Counter[str]()
    if config is not None and entries:
        for item in expected_tensors(config):
            entry = entries.get(item.name)
            if entry is None:
                findings.add("tensor_missing", f"{item.name} is missing", AGAIN)
                continue
            parameters += item.weights
            active += item.weights * item.active
            by_part[item.part] += entry.nbytes
            _check_entry(entry, item.shape, item.dtypes, findings)
    _check_text_files(folder, findings)
    if deep and config is not None and not findings.problems():
        _check_deep(folder, config, entries, progress, findings)
    quantisation = config.quantisation if config else None
    problems = findings.problems()
    return FolderReport(
        path=str(folder),
        complete=not problems,
        family=config.family if config else None,
        layers=config.num_hidden_layers if config else 0,
        routed_experts=config.n_routed_experts if config else 0,
        experts_per_token=config.num_experts_per_tok if config else 0,
        context_length=config.max_position_embeddings if config else 0,
        parameters=parameters,
        active_parameters=active,
        bytes_by_part=dict(by_part),
        shards=len(shards),
        total_bytes=sum(s.size for s in shards),
        expert_format=str(quantisation or "plain"),
        tokenizer=(folder / "tiktoken.model").is_file(),
        chat_template=(folder / "chat_template.jinja").is_file(),
        problems=problems,
    )


def _read_shards(folder: Path, findings: _Findings) -> tuple[list[Shard], dict[str, TensorEntry]]:
    try:
        names = shard_names(folder)
    except CheckpointError as error:
        findings.error(error)
        return [], {}
    shards: list[Shard] = []
    by_file: dict[str, dict[str, TensorEntry]] = {}
    for file in sorted(set(names.values())):
        try:
            shard = read_shard(folder / file, allow_truncated=True)
        except CheckpointError as error:
            findings.error(error)
            continue
        if shard.truncated:
            findings.add("shard_truncated", f"{file} is cut off at {shard.size:,} bytes", AGAIN)
        shards.append(shard)
        by_file[file] = shard.entries
    entries: dict[str, TensorEntry] = {}
    if not (folder / INDEX).exists():
        for found in by_file.values():
            entries |= found
    else:
        # Loading believes the index, so what it does not name is not there.
        for name, file in names.items():
            entry = by_file.get(file, {}).get(name)
            if entry is not None:
                entries[name] = entry
            elif file in by_file:
                findings.add(
                    "index_wrong",
                    f"the index says {name} is in {file}, but it is not",
                    "download index and shards of the same revision",
                )
    return shards, entries


def _check_deep(
    folder: Path,
    config: ModelConfig,
    entries: dict[str, TensorEntry],
    progress: Callable[[float], None],
    findings: _Findings,
) -> None:
    try:
        for wrong in check_content(folder, config, entries, progress):
            findings.add(wrong.code, wrong.message, AGAIN)
    except CheckpointError as error:
        findings.error(error)


def _check_text_files(folder: Path, findings: _Findings) -> None:
    names = ["tiktoken.model", "tokenizer_config.json"]
    if not (folder / names[0]).is_file() and (folder / "tokenizer.json").is_file():
        findings.add(
            "tokenizer_unsupported",
            "the vocabulary is a tokenizer.json (of the tokenizers library), not tiktoken.model",
            "the weights can be read, but text cannot be turned into tokens yet",
        )
        names.remove("tiktoken.model")
    for name in names:
        if not (folder / name).is_file():
            findings.add("file_missing", f"{name} is missing", AGAIN)


def _check_entry(
    entry: TensorEntry, shape: tuple[int, ...], dtypes: tuple[str, ...], findings: _Findings
) -> None:
    if entry.shape != shape:
        findings.add(
            "wrong_shape",
            f"{entry.name} is {list(entry.shape)}, config.json wants {list(shape)}",
            "config.json and weights are not of the same model",
        )
    elif entry.dtype not in dtypes:
        findings.add(
            "wrong_dtype",
            f"{entry.name} is {entry.dtype}, expected {' or '.join(dtypes)}",
            "this storage format is not supported yet",
        )
