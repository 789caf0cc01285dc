"""A whole model, end to end: writing and reading tokens, memory, and the wait for the first one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engine.bench.figures import Figure, figure
from engine.bench.first_token import first_token
from engine.bench.model_bench import ModelBench
from engine.bench.model_peer import against_llama_cpp
from engine.bench.options import Options
from engine.bench.overhead import watched
from engine.bench.session import ENGINE_THREAD, session
from engine.config import ModelConfig
from engine.errors import RequestError
from engine.model.loader import KernelOptions

_GIB = 1 << 30
_LOAD_LIMIT_S = 3.0
_RSS_LIMIT = 1.1
"""Of the checkpoint's size."""


def model_figures(options: Options) -> Iterator[Figure]:
    """Every figure of ``--model``, as it is ready. Raises RequestError ``no_model``."""
    folder = chosen_model(options)
    name = short_name(ModelConfig.from_folder(folder))
    kernels = KernelOptions(options.isas[-1], options.mode, options.dense)
    yield from _starting(options, folder, name)
    for threads in options.threads:
        options.tell(f"loading {folder.name} for {threads} threads")
        with session(folder, threads, kernels) as model:
            bench = ModelBench(options, name, threads, model)
            yield bench.decode()
            yield bench.prefill()
            if threads == options.threads[-1]:
                yield from bench.contexts()
    # Loaded once more: watching costs a little, which no other figure should pay for.
    with watched(ENGINE_THREAD) as clock, session(folder, options.threads[-1], kernels) as model:
        yield ModelBench(options, name, options.threads[-1], model).overhead(clock)
    if options.peers.llama_bench is not None:
        for threads in options.threads:
            yield from against_llama_cpp(options, folder, name, threads, options.peers.llama_bench)


def chosen_model(options: Options) -> Path:
    """The folder to measure."""
    if options.model is None:
        raise RequestError(
            "no_model",
            "no model folder was given",
            "--model FOLDER; `selenograph make-model moonlight-16b-a3b FOLDER --experts int4` "
            "makes one to measure on",
        )
    return options.model


def short_name(config: ModelConfig) -> str:
    """What figures of a model begin with."""
    sizes = config.hidden_size, config.num_hidden_layers, config.n_routed_experts
    return {(2048, 27, 64): "moonlight", (7168, 61, 384): "k2"}.get(sizes, config.family)


def _starting(options: Options, folder: Path, name: str) -> Iterator[Figure]:
    """Time and memory of a fresh process; the first of two warms the page cache."""
    threads = options.threads[-1]
    for attempt in ("to warm the page cache", "measured"):
        options.tell(f"{name}.load, a fresh process {attempt}")
        costs = first_token(folder, threads, options.prompt, dense=options.dense)
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    yield figure(
        f"{name}.load",
        costs.first_token_s,
        "s",
        "limit",
        _LOAD_LIMIT_S,
        threads=threads,
        note=f"load to first token; {costs.process_s:.1f} s from the start of the process",
    )
    yield figure(
        f"{name}.rss",
        costs.peak_bytes / _GIB,
        "GiB",
        "limit",
        _RSS_LIMIT * size / _GIB,
        threads=threads,
        note=f"peak; {_RSS_LIMIT} x the checkpoint's {size / _GIB:.2f} GiB",
    )
