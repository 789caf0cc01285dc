"""Measure this machine: kernels, a layer, a whole model, the planner, long contexts, grammars."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import psutil

from engine.bench.attention import attention_figures
from engine.bench.context.work import context_figures
from engine.bench.figures import Figure, as_text, write_json
from engine.bench.grammar.work import grammar_figures
from engine.bench.kernels import kernel_figures
from engine.bench.layer import layer_figures
from engine.bench.machine import RESULTS, record
from engine.bench.model import model_figures
from engine.bench.options import Contexts, Options, Peers
from engine.bench.plan import plan_figures
from engine.bench.shapes import K2_LAYER, LayerShape
from engine.bench.sparse import sparse_figures
from engine.bench.table import write_tables
from engine.errors import RequestError, SelenographError
from engine.native import _kernels

DONE, FAILED, INTERRUPTED = 0, 1, 130
_WORK: dict[str, Callable[[Options], Iterator[Figure]]] = {
    "kernels": kernel_figures,
    "attention": lambda options: chain.from_iterable(
        attention_figures(
            isa,
            threads,
            options.seconds / 2,
            options.turn,
            ceiling_mebibytes=options.ceiling_mebibytes,
        )
        for isa in options.isas
        for threads in options.threads
    ),
    "layer": layer_figures,
    "engine": model_figures,
    "plan": lambda options: chain(plan_figures(options), sparse_figures(options)),
    "sparse": sparse_figures,
    "context": context_figures,
    "grammar": grammar_figures,
}
_TRACE = "experts-trace"  # has options of its own
_TABLE = "table"  # writes the tables of docs/performance.md instead of measuring
_SHAPES = {
    "k2": K2_LAYER,
    "deepseek-v3": LayerShape(7168, 2048, 8),
    "moonlight": LayerShape(2048, 1408, 6),
    "glm-4.7-flash": LayerShape(2048, 1536, 4),
}


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when measured to the end; what was measured before a stop is still written."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == [_TRACE]:
        from engine.bench.experts_trace import main as trace_command

        return trace_command(words[1:])
    args = _parser().parse_args(words)
    if args.what == _TABLE:
        write_tables()
        return DONE
    figures: list[Figure] = []
    code = DONE
    try:
        for figure in _WORK[args.what](_options(args)):
            figures.append(figure)
            print(as_text([figure]).splitlines()[-1], file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("stopped; the figures so far:", file=sys.stderr)
        code = INTERRUPTED
    except SelenographError as error:
        print(f"error: {error}", file=sys.stderr)
        code = FAILED
    if figures:
        print(as_text(figures))
        if args.json:
            write_json(figures, args.json)
        if args.record:
            record(args.what, tuple(figures))
            print(f"appended to {RESULTS}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="selenograph bench", description=__doc__)
    parser.add_argument("what", choices=(*_WORK, _TRACE, _TABLE))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--record", action="store_true", help="append to docs/benchmarks.jsonl")
    parser.add_argument("--threads", metavar="A,B", help="thread counts (default: 1 and all cores)")
    parser.add_argument("--isa", help="one instruction set, or all (default: all but scalar)")
    parser.add_argument("--mode", choices=("fast", "exact"), default="fast")
    parser.add_argument("--shape", default="k2", help=f"{', '.join(_SHAPES)} or HxIxK")
    parser.add_argument("--experts", type=int, default=88, help="at most; fewer if memory is short")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of a prefill")
    parser.add_argument("--seconds", type=float, default=8.0, help="for each comparison")
    parser.add_argument("--turn", type=float, default=0.25, help=argparse.SUPPRESS)
    parser.add_argument("--ceiling-mebibytes", type=int, default=1024, help=argparse.SUPPRESS)
    parser.add_argument(
        "--only",
        metavar="A,B",
        help="of context: only these figures; of grammar: only these models",
    )
    parser.add_argument("--schemas", type=Path, metavar="FOLDER", help="of grammar: JSON Schemas")
    parser.add_argument("--calls", type=int, default=2000, help="of grammar: from each model")
    parser.add_argument("--minutes", type=float, default=1.0, help="of context's soak")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="a model of the shape")
    parser.add_argument(
        "--dense", choices=("auto", "published", "int8", "int4"), default="auto",
        help="of a model: all but routed experts; int4 for the same bits as llama.cpp's Q4_0",
    )  # fmt: skip
    parser.add_argument("--sparse", type=Path, metavar="FOLDER", help="the K2 shape, sparse")
    parser.add_argument("--sparse-shape", default="k2-thinking", help=argparse.SUPPRESS)
    parser.add_argument(
        "--peer", action="append", choices=("kt-kernel", "llama.cpp"), default=[],
        help="measure another engine beside ours",
    )  # fmt: skip
    parser.add_argument("--peer-python", type=Path, help="the Python that has kt-kernel")
    parser.add_argument("--llama-bench", type=Path, help="llama.cpp's own benchmark program")
    parser.add_argument("--gguf", type=Path, help="a GGUF of the model's shape")
    return parser


def _options(args: argparse.Namespace) -> Options:
    llama = "llama.cpp" in args.peer
    return Options(
        threads=_threads(args.threads),
        isas=_isas(args.isa),
        mode=args.mode,
        shape=_shape(args.shape),
        experts=args.experts,
        seconds=args.seconds,
        turn=args.turn,
        ceiling_mebibytes=args.ceiling_mebibytes,
        prompt=args.prompt,
        model=args.model,
        dense=args.dense,
        sparse=args.sparse,
        sparse_shape=args.sparse_shape,
        schemas=args.schemas,
        calls=args.calls,
        only=tuple(args.only.split(",")) if args.only else (),
        contexts=Contexts(minutes=args.minutes),
        peers=Peers(
            kt_kernel=(args.peer_python or Path(sys.executable))
            if "kt-kernel" in args.peer
            else None,
            llama_bench=(args.llama_bench or Path("llama-bench")) if llama else None,
            gguf=args.gguf if llama else None,
        ),
        tell=lambda text: print(f"... {text}", file=sys.stderr, flush=True),
    )


def _threads(text: str | None) -> tuple[int, ...]:
    if text is None:
        return tuple(sorted({1, psutil.cpu_count(logical=False) or 1}))
    try:
        counts = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        counts = ()
    if not counts or counts[0] < 1:
        raise RequestError("bad_threads", f"{text} is no list of thread counts", "say e.g. 1,2,4")
    return counts


def _isas(name: str | None) -> tuple[str, ...]:
    there = tuple(_kernels.available_isas())
    if name == "all":
        return there
    if name is None:
        return tuple(isa for isa in there if isa != "scalar") or there
    if name not in there:
        raise RequestError("no_isa", f"{name} is not available here", f"one of {', '.join(there)}")
    return (name,)


def _shape(text: str) -> LayerShape:
    if text in _SHAPES:
        return _SHAPES[text]
    try:
        hidden, inner, top_k = (int(part) for part in text.split("x"))
    except ValueError:
        hidden = inner = top_k = 0
    if min(hidden, inner, top_k) < 1 or hidden % 32 or inner % 32:
        raise RequestError(
            "bad_shape", f"{text} is no shape", "hidden and inner are multiples of 32: 7168x2048x8"
        )
    return LayerShape(hidden, inner, top_k)
