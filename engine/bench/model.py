"""A whole model, end to end: writing and reading tokens, memory, and the wait for the first one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.bench.ceilings import dot_products, streaming_read
from engine.bench.figures import Against, Figure, figure
from engine.bench.first_token import first_token
from engine.bench.options import Options
from engine.bench.overhead import KernelClock, watched
from engine.bench.peers.llama_bench import tokens_per_second
from engine.bench.session import ENGINE_THREAD, Session, session
from engine.bench.turns import Speed, alternate
from engine.config import ModelConfig
from engine.errors import RequestError, ResourceError
from engine.model.loader import KernelOptions
from engine.native import _kernels
from engine.placement.footprint import Footprint, footprint
from engine.protocol import WeightForm

_GIB = 1 << 30
_LOAD_LIMIT_S = 3.0
_OVERHEAD_LIMIT = 0.05
_RSS_LIMIT = 1.1
"""Of the checkpoint's size."""
_SHORT, _TOKENS = 8, 24
"""A decode turn: a prompt to begin with, and tokens whose times count."""
_CONTEXTS = (512, 2048, 8192)
_PEER_ROUNDS = 2


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
                if options.peers.llama_bench is not None:
                    yield from bench.against_llama_cpp(options.peers.llama_bench)
    # Loaded once more: watching costs a little, which no other figure should pay for.
    with watched(ENGINE_THREAD) as clock, session(folder, options.threads[-1], kernels) as model:
        yield ModelBench(options, name, options.threads[-1], model).overhead(clock)


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


@dataclass(slots=True)
class ModelBench:
    """A loaded model and what is compared with it."""

    options: Options
    name: str
    threads: int
    model: Session
    isa: str = field(init=False)
    weighs: Footprint = field(init=False)

    def __post_init__(self) -> None:
        words = (self.model.status.experts or "").split()
        # Others, e.g. the reference in torch, have no instruction set of their own.
        self.isa = next((w for w in words if w in _kernels.available_isas()), "scalar")
        self.weighs = footprint(self.model.config)

    def decode(self) -> Figure:
        """Against the tokens a second at which memory could deliver what each must read."""
        form = self._dense_form
        size = self.weighs.decode_bytes(form, _SHORT + _TOKENS // 2)
        note = f"{size / 1e9:.2f} GB a token, all but experts in {form}"
        self._tell("decode")
        read = streaming_read(self.threads, self.options.turn, self.options.ceiling_mebibytes)
        ours, ceiling = alternate([self._writing(), read], self.options.seconds)
        return self._speed("decode", ours, "read ceiling", ceiling, 1 / size, note)

    @property
    def _dense_form(self) -> WeightForm:
        """Of what is not a routed expert, in memory."""
        match self.options.dense:
            case "int4" | "int8" as packed:
                return packed
            case _ if self.model.status.dtype == "float32":
                return "float32"
            case _:
                return self.weighs.dense_form

    def prefill(self) -> Figure:
        """Against the arithmetic peak over what each token must compute."""
        self._tell("prefill")
        peak = dot_products(self.isa, self.threads, self.options.turn)
        work = self._prompt_flops
        ours, ceiling = alternate([self._reading(), peak], self.options.seconds, 2)
        note = f"{self.options.prompt} tokens, {work / 1e9:.2f} GFLOP each"
        return self._speed("prefill", ours, "int8 peak", ceiling, 1 / work, note)

    @property
    def _prompt_flops(self) -> float:
        """Of one token of a prompt: all before it, half the prompt on average; no head."""
        weighs = self.weighs
        attended = weighs.layers * weighs.pair_flops * self.options.prompt / 2
        return weighs.dense_flops - weighs.head.flops + weighs.routed_flops + attended

    def overhead(self, clock: KernelClock) -> Figure:
        """Of a token's time, what passes outside the kernels."""
        self._tell("overhead")
        before = clock.seconds
        reply = self.model.reply(1, 2 * _TOKENS)
        whole = reply.tokens[-1] - reply.sent
        return figure(
            f"{self.name}.overhead",
            1 - (clock.seconds - before) / whole,
            "of a token",
            "limit",
            _OVERHEAD_LIMIT,
            isa=self.isa,
            threads=self.threads,
            note=f"{1e3 * whole / len(reply.tokens):.1f} ms a token",
        )

    def contexts(self) -> Iterator[Figure]:
        """Decode after ever longer prompts, as long as reading them takes no longer than asked."""
        for context in _CONTEXTS:
            self._tell(f"decode after {context} tokens")
            if context + _TOKENS > self.model.status.context_length:
                return
            reply = self.model.reply(context, _TOKENS)
            yield self._speed(f"context{context}", Speed((reply.tokens_per_second,)))
            if 4 * reply.first_seconds > 5 * self.options.seconds:
                return

    def against_llama_cpp(self, program: Path) -> Iterator[Figure]:
        """The same shape there, turn by turn; each of its turns loads anew."""
        gguf = self.options.peers.gguf
        turns: dict[str, tuple[Callable[[], float], dict[str, int]]] = {
            "decode": (self._writing(), {"tokens": _TOKENS}),
            "prefill": (self._reading(), {"prompt": self.options.prompt}),
        }
        for name, (ours, asked) in turns.items():
            self._tell(f"{name} beside llama.cpp")

            def theirs(asked: dict[str, int] = asked) -> float:
                if gguf is None:
                    raise ResourceError("peer_failed", "no --gguf was given")
                return tokens_per_second(program, gguf, self.threads, **asked)

            try:
                mine, peer = alternate([ours, theirs], 0.0, _PEER_ROUNDS)
            except ResourceError as error:
                (mine,) = alternate([ours], 0.0, 1)
                yield self._speed(
                    name, mine, "llama.cpp", note=f"llama.cpp absent: {error.message}"
                )
                continue
            yield self._speed(name, mine, "llama.cpp", peer)

    def _writing(self) -> Callable[[], float]:
        return lambda: self.model.reply(_SHORT, _TOKENS + 1).tokens_per_second

    def _reading(self) -> Callable[[], float]:
        prompt = self.options.prompt
        return lambda: prompt / self.model.reply(prompt, 1).first_seconds

    def _speed(
        self,
        what: str,
        ours: Speed,
        against: Against | None = None,
        theirs: Speed | None = None,
        factor: float = 1.0,
        note: str = "",
    ) -> Figure:
        return figure(
            f"{self.name}.{what}",
            ours.median,
            "tokens/s",
            against,
            theirs.median * factor if theirs else None,
            isa=self.isa,
            threads=self.threads,
            best=ours.best,
            against_best=theirs.best * factor if theirs else None,
            note=note,
        )

    def _tell(self, what: str) -> None:
        self.options.tell(f"{self.name}.{what}, {self.threads} threads")
