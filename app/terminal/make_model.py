"""``selenograph make-model``: a random checkpoint of a real shape, written by the engine."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from contextlib import suppress
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def make_model(arguments: Namespace) -> int:
    """Exit code 0 when the folder is there, 1 when it could not be written."""
    shape = Path(arguments.shape).expanduser()
    command = [
        *(sys.executable, "-m", "engine.make_model"),
        # The engine runs elsewhere: paths must not depend on where.
        str(shape.absolute()) if shape.exists() else arguments.shape,
        str(arguments.out.expanduser().absolute()),
        *("--experts", arguments.experts, "--seed", str(arguments.seed)),
    ]
    if arguments.layers is not None:
        command += ["--layers", str(arguments.layers)]
    if arguments.sparse:
        command += ["--sparse", "--fill-experts", str(arguments.fill_experts)]
    # A process of its own: the app does not load the engine's libraries.
    process = subprocess.Popen(command, cwd=_ROOT)
    while True:
        # An interrupt reaches the writer too, which must not be killed while it tidies up.
        with suppress(KeyboardInterrupt):
            return process.wait()
