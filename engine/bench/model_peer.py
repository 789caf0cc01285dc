"""A whole model beside llama.cpp, turn by turn, with one of the two models in memory at a time.

Two models need not fit into memory together, and one whose weights come from disk again measures
the disk. So a turn is long: read the model in, load it, warm it up, take a few samples of writing
and of reading tokens, end, and give its pages back before the other's turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from engine.bench.figures import Figure
from engine.bench.model_bench import TOKENS, ModelBench
from engine.bench.options import Options
from engine.bench.page_cache import drop, read_in
from engine.bench.peers.llama_bench import tokens_per_second
from engine.bench.session import session
from engine.bench.turns import Speed
from engine.errors import ResourceError
from engine.model.loader import KernelOptions

_ROUNDS = 2
_SAMPLES = 3
"""Of a turn, for each of the two figures."""

_Turn = dict[str, list[float]]


def against_llama_cpp(
    options: Options, folder: Path, name: str, threads: int, program: Path
) -> Iterator[Figure]:
    """Decode and prefill. Where the peer cannot be had the figures say why."""
    kernels = KernelOptions(options.isas[-1], options.mode, options.dense)
    files, gguf = sorted(folder.glob("*.safetensors")), options.peers.gguf
    bench: ModelBench | None = None

    def ours() -> _Turn:
        nonlocal bench
        read_in(files)
        with session(folder, threads, kernels) as model:
            bench = ModelBench(options, name, threads, model)
            speeds = {"decode": bench.writing(), "prefill": bench.reading()}
            for speed in speeds.values():
                speed()
            return {what: [speed() for _ in range(_SAMPLES)] for what, speed in speeds.items()}

    def theirs() -> _Turn:
        if gguf is None:
            raise ResourceError("peer_failed", "no --gguf was given")
        if gguf.exists():  # else the program says what is wrong with it
            read_in([gguf])
        asked = {"decode": {"tokens": TOKENS}, "prefill": {"prompt": options.prompt}}
        return {
            what: tokens_per_second(program, gguf, threads, _SAMPLES, **work)
            for what, work in asked.items()
        }

    def one_at_a_time(who: str, turn: Callable[[], _Turn], pages: list[Path]) -> _Turn:
        options.tell(f"{name}, {threads} threads: {who}")
        try:
            return turn()
        finally:
            drop(path for path in pages if path.exists())

    mine: list[_Turn] = []
    peer: list[_Turn] = []
    note = f"one model in memory at a time, {_ROUNDS} turns of {_SAMPLES} samples each"
    try:
        drop(files)  # a session of before may have left them
        for _ in range(_ROUNDS):
            peer.append(one_at_a_time("llama.cpp", theirs, [gguf] if gguf else []))
            mine.append(one_at_a_time("ours", ours, files))
    except ResourceError as error:
        if error.code != "peer_failed":
            raise
        note, peer = f"llama.cpp absent: {error.message}", []
        mine = mine or [one_at_a_time("ours", ours, files)]
    assert bench is not None
    for what in mine[0]:
        beside = _all(peer, what) if peer else None
        yield bench.speed(what, _all(mine, what), "llama.cpp", beside, note=note)


def _all(turns: list[_Turn], what: str) -> Speed:
    return Speed(tuple(sample for turn in turns for sample in turn[what]))
