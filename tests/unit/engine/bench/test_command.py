"""The command: what it accepts, what it writes, and the tables of the document."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from engine.bench.command import main
from engine.bench.figures import figure
from engine.bench.machine import Record, describe
from engine.bench.table import BEGIN, END, write_tables
from engine.errors import RequestError

TINY = ["layer", "--shape", "64x32x2", "--experts", "4", "--prompt", "4", "--seconds", "0"]
TINY += ["--threads", "1", "--turn", "0", "--ceiling-mebibytes", "4"]


def test_json_holds_what_the_table_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TINY, "--json", str(tmp_path / "out.json")]) == 0
    figures = json.loads((tmp_path / "out.json").read_text())
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1 + len(figures)
    assert "... layer.decode" in err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--threads", "0"], "bad_threads"),
        (["--threads", "many"], "bad_threads"),
        (["--shape", "k3"], "bad_shape"),
        (["--shape", "64x33x2"], "bad_shape"),
        (["--isa", "z80"], "no_isa"),
    ],
)
def test_bad_options_are_named(
    words: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["layer", *words]) == 1
    assert code in capsys.readouterr().err


def test_ctrl_c_keeps_the_figures_so_far(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    # Whoever runs the tests in the background may ignore Ctrl-C, and children inherit that.
    heeding = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    heeding += "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    command = [sys.executable, "-c", heeding, "-m", "engine.bench", *TINY, "--json", str(path)]
    command += ["--seconds", "600"]  # of each comparison: it will not end by itself
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if b"... layer.decode," in line:
                    break
            os.kill(process.pid, signal.SIGINT)
            _, rest = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, rest
    names = [f["name"] for f in json.loads(path.read_text())]
    assert names == ["layer.error.fast", "layer.error.exact"]


def test_the_tables_are_written_between_the_marks(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_tables(document, [])
    assert (
        document.read_text()
        == f"before\n{BEGIN}\n\nNo run has been recorded yet.\n\n{END}\nafter\n"
    )
    old = figure("layer.decode", 1.0, "GB/s", "read ceiling", 4.0, isa="avx2", threads=2)
    new = figure("layer.decode", 3.0, "GB/s", "read ceiling", 4.0, isa="avx2", threads=2, note="n")
    machine = describe()
    runs = [Record(at="", what="layer", machine=machine, figures=(f,)) for f in (old, new)]
    write_tables(document, runs)
    text = document.read_text()
    assert text.startswith("before\n") and text.endswith(f"{END}\nafter\n")
    assert "| 3 GB/s |" in text and "| 0.75 |" in text and "1 GB/s" not in text
    assert machine.processor in text and "- layer.decode: n" in text
    write_tables(document, runs)
    assert document.read_text() == text


def test_a_document_without_marks_is_left_alone(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text("nothing")
    with pytest.raises(RequestError, match="has no"):
        write_tables(document, [])
    assert document.read_text() == "nothing"


def test_a_processor_of_the_same_name_with_other_instructions_is_another_machine(
    tmp_path: Path,
) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"{BEGIN}\n{END}")
    old = msgspec.structs.replace(describe(), flags=("avx2",), isas=("scalar", "avx2"))
    new = msgspec.structs.replace(old, flags=("avx2", "avx512f"), isas=("scalar", "avx512"))
    runs = [
        Record(at="now", what="x", machine=machine, figures=(figure("x", value, "s"),))
        for machine, value in ((old, 1.0), (new, 2.0))
    ]
    write_tables(document, runs)
    titles = [line for line in document.read_text().splitlines() if line.startswith("### ")]
    assert [title.rsplit(", ", 1)[1] for title in titles] == ["avx2", "avx512"]
