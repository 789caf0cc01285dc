"""Prove that this machine computes a checkpoint rightly.

Kernels are compared with float64 on the checkpoint's own experts, in every instruction set and
mode that this processor has; scales are read; a short greedy reply is made by both modes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.errors import SelenographError
from engine.experts.base import ExpertBackend
from engine.experts.native import Mode, NativeExperts
from engine.native import _kernels
from engine.verifying.greedy import Load, check_greedy
from engine.verifying.greedy import load as load_native
from engine.verifying.kernels import Make, check_kernels
from engine.verifying.report import Check, Verification, as_json, as_text
from engine.verifying.sample import Source
from engine.verifying.scales import check_scales

RIGHT, WRONG, INTERRUPTED = 0, 1, 130
SECONDS = 120.0
_SCALES, _KERNELS = 0.3, 0.7
"""When, as a share of the time, reading scales and trying kernels must come to an end."""


def native(isa: str, mode: Mode) -> ExpertBackend:
    """Our kernels, on every core."""
    return NativeExperts(isa=isa, mode=mode)


def verify(
    folder: Path,
    seconds: float = SECONDS,
    tell: Callable[[str], None] = lambda text: None,
    make: Make = native,
    load: Load = load_native,
) -> Verification:
    """Check a folder; takes about `seconds` at most. Raises CheckpointError on unusable folders."""
    began = time.monotonic()
    isas = tuple(_kernels.available_isas())
    checks = tuple(_checks(folder, isas, began, seconds, tell, make, load))
    return Verification(
        folder=str(folder), isas=isas, checks=checks, seconds=time.monotonic() - began
    )


def _checks(
    folder: Path,
    isas: tuple[str, ...],
    began: float,
    seconds: float,
    tell: Callable[[str], None],
    make: Make,
    load: Load,
) -> Iterator[Check]:
    source = Source.open(folder)
    scales = check_scales(source, began + _SCALES * seconds, tell)
    yield scales
    sound = scales.passed
    for check in check_kernels(source, isas, make, began + _KERNELS * seconds, tell):
        sound = sound and check.passed
        yield check
    if sound:  # else a reply would only repeat, slowly, that something is wrong
        yield from check_greedy(folder, isas[-1], began + seconds, tell, load)


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when everything is right, 1 when it is not or the folder is unusable."""
    parser = argparse.ArgumentParser(prog="selenograph verify", description=__doc__)
    parser.add_argument("folder", type=Path, help="a checkpoint folder")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="about how long, at most")
    args = parser.parse_args(argv)

    def tell(text: str) -> None:
        print(f"... {text}", file=sys.stderr, flush=True)

    try:
        found = verify(args.folder.expanduser(), args.seconds, tell)
    except SelenographError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("stopped; nothing is proven", file=sys.stderr)
        return INTERRUPTED
    print(as_json(found).decode() if args.json else as_text(found))
    return RIGHT if found.passed else WRONG
