"""How kernels compute, and with what memory, can be said at the command line and when loading."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine.tiny import write_tiny

from .engine_process import EngineProcess


def test_instruction_set_and_precision_are_taken(tmp_path: Path) -> None:
    model = write_tiny(tmp_path / "model")
    said = ("--isa", "scalar", "--mode", "fast", "--dense", "int8")
    with EngineProcess(tmp_path / "log", "--threads", "1", "--model", str(model), *said) as engine:
        engine.port = engine.ready().port
        status = engine.until(lambda s: s.state not in ("empty", "loading"))
        assert status.state == "ready", status.error
        assert status.experts == "native scalar"


@pytest.mark.skipif(sys.platform != "linux", reason="a budget needs Linux")
@pytest.mark.parametrize(("size", "limited"), [("0", False), ("20000", True)])
def test_memory_for_experts_is_taken(tmp_path: Path, size: str, limited: bool) -> None:
    model = write_tiny(tmp_path / "model")
    given = ("--model", str(model), "--expert-memory-bytes", size)
    with EngineProcess(tmp_path / "log", "--threads", "1", *given) as engine:
        engine.port = engine.ready().port
        status = engine.until(lambda s: s.state not in ("empty", "loading"))
        assert status.state == "ready" and status.experts, status.error
        assert ("at a time" in status.experts) == limited


@pytest.mark.parametrize("isa", ["mmx", ""])
def test_what_the_processor_lacks_is_a_typed_error(tmp_path: Path, isa: str) -> None:
    """And the engine goes on."""
    model = write_tiny(tmp_path / "model")
    with EngineProcess.started(tmp_path / "log") as engine:
        status = engine.load(model, isa=isa)
        assert status.state == "failed"
        assert status.error is not None
        assert status.error.code == "unsupported_isa"
        assert "scalar" in status.error.hint
        assert engine.load(model).state == "ready"
