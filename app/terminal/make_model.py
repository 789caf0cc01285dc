"""``selenograph make-model``: a random checkpoint of a real shape, written by the engine."""

from __future__ import annotations

from argparse import Namespace

from app.terminal.engine_module import run_module


def make_model(arguments: Namespace) -> int:
    """Exit code 0 when the folder is there, 1 when it could not be written, 130 when stopped."""
    words = [arguments.shape, str(arguments.out)]
    words += ["--experts", arguments.experts, "--seed", str(arguments.seed)]
    if arguments.layers is not None:
        words += ["--layers", str(arguments.layers)]
    if arguments.sparse:
        words += ["--sparse", "--fill-experts", str(arguments.fill_experts)]
    return run_module("engine.make_model", words)
