"""``python -m engine.make_model SHAPE OUT``: write a random checkpoint of a real shape.

The shape ``induction`` is a model of its own that is built to be right, not random.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from engine.errors import RequestError, SelenographError
from engine.making.induction import write_induction
from engine.making.shapes import read_shape, shape_names
from engine.making.writer import Choice, write_model

_INTERRUPTED = 130
_REDRAW_SECONDS = 0.2
_INDUCTION = "induction"


def main() -> int:
    """Exit code 0 when the folder is there, 1 on an expected failure, 130 when interrupted."""
    arguments = _parser().parse_args()
    line = _ProgressLine()
    try:
        out = _write(arguments, line)
    except SelenographError as error:
        line.end()
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        line.end()
        return _INTERRUPTED
    line.end()
    print(out)
    return 0


def _write(arguments: argparse.Namespace, line: _ProgressLine) -> Path:
    out = arguments.out.expanduser().absolute()
    if arguments.shape == _INDUCTION:
        if arguments.sparse or arguments.layers:
            raise RequestError("bad_shape", f"{_INDUCTION} has its own layers and no holes")
        return write_induction(out, seed=arguments.seed)
    raw = read_shape(arguments.shape, arguments.layers, arguments.experts)
    choice = Choice(arguments.sparse, arguments.fill_experts, arguments.seed)
    return write_model(raw, out, choice, line.show)


def _parser() -> argparse.ArgumentParser:
    names = ", ".join([*shape_names(), _INDUCTION])
    parser = argparse.ArgumentParser(
        prog="python -m engine.make_model",
        description="Write a checkpoint of random weights in the published layout.",
    )
    parser.add_argument("shape", help=f"{names}, or the path of a config.json")
    parser.add_argument("out", type=Path, help="a folder that does not exist yet")
    parser.add_argument("--sparse", action="store_true", help="leave holes that read as zero")
    parser.add_argument("--fill-experts", type=int, default=0, metavar="N", help="with --sparse")
    parser.add_argument("--layers", type=int, metavar="N")
    parser.add_argument("--experts", choices=("published", "int4"), default="published")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    return parser


class _ProgressLine:
    """One line on stderr that is written over; silent where nobody watches."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._drawn = 0.0
        self._watched = sys.stderr.isatty()

    def show(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._watched or now - self._drawn < _REDRAW_SECONDS:
            return
        speed = done / max(now - self._began, 1e-3)
        text = f"{done / total:4.0%}  {done / 1e9:,.1f} of {total / 1e9:,.1f} GB"
        print(f"\r{text}, {speed / 1e9:.2f} GB/s ", end="", file=sys.stderr, flush=True)
        self._drawn = now

    def end(self) -> None:
        if self._drawn:
            print(file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
