"""Benchmarks of whole models on a tiny one: form and consistency, never speed."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.bench.figures import Figure
from engine.bench.memory import peak_bytes, watch
from engine.bench.model import model_figures, short_name
from engine.bench.model_peer import against_llama_cpp
from engine.bench.options import Options, Peers
from engine.bench.plan import as_planned, plan_figures
from engine.bench.session import session
from engine.bench.sparse import sparse_figures
from engine.config import ModelConfig
from engine.errors import CheckpointError, RequestError, ResourceError
from engine.making.shapes import read_shape
from engine.protocol import Placement, WeightForm
from engine.tiny import TinyShape, write_tiny

FAKE_BENCH = """\
#!/bin/sh
# Stands for llama-bench where its output is read, not for its work.
case "$*" in
    *"-m there"*) echo '[{"samples_ts": [12.5, 40.0, 11.5]}]' ;;
    *) echo "no model" >&2; exit 3 ;;
esac
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("bench") / "tiny", shape=TinyShape(context=640))


def options(folder: Path | None, peers: Peers | None = None) -> Options:
    return Options(
        threads=(1,),
        isas=("auto",),
        seconds=0.0,
        turn=0.0,
        ceiling_mebibytes=4,
        prompt=16,
        model=folder,
        sparse_shape="nano",
        peers=peers or Peers(),
    )


def named(figures: list[Figure], name: str, against: str | None = None) -> Figure:
    (found,) = (f for f in figures if f.name == name and against in (None, f.against))
    return found


def check(figures: list[Figure]) -> None:
    for f in figures:
        assert math.isfinite(f.value) and f.value >= 0
        if f.against_value is not None:
            assert f.ratio == pytest.approx(f.value / f.against_value)


def test_a_model_from_end_to_end(folder: Path) -> None:
    figures = list(model_figures(options(folder)))
    check(figures)
    size = sum(p.stat().st_size for p in folder.glob("*.safetensors"))
    assert named(figures, "kimi_k2.rss").against_value == pytest.approx(1.1 * size / 2**30)
    assert named(figures, "kimi_k2.load").against == "limit"
    assert named(figures, "kimi_k2.decode", "read ceiling").ratio
    assert named(figures, "kimi_k2.context512").value > 0
    assert 0 < named(figures, "kimi_k2.overhead").value < 1


def test_llama_cpp_stands_beside_or_is_told_to_be_absent(folder: Path, tmp_path: Path) -> None:
    program = tmp_path / "llama-bench"
    program.write_text(FAKE_BENCH)
    program.chmod(0o755)

    def beside(program: Path, gguf: Path | None) -> list[Figure]:
        asked = options(folder, Peers(None, program, gguf))
        return list(against_llama_cpp(asked, folder, "tiny", 1, program))

    found = beside(program, Path("there"))
    absent = [
        beside(program, None),
        beside(program, Path("gone")),
        beside(tmp_path / "nothing", Path("there")),
    ]
    assert [(f.name, f.against_value) for f in found] == [
        ("tiny.decode", 12.5),
        ("tiny.prefill", 12.5),
    ]
    for figures, why in zip(absent, ("no --gguf", "no model", "cannot be run"), strict=True):
        check(figures)
        assert all(f.ratio is None and "llama.cpp absent" in f.note for f in figures)
        assert all(why in f.note for f in figures)


def test_without_a_model_it_says_how_to_make_one() -> None:
    with pytest.raises(RequestError, match="no model folder") as raised:
        next(model_figures(options(None)))
    assert "make-model" in raised.value.hint


def test_moonlight_is_known_by_its_sizes() -> None:
    assert short_name(ModelConfig.from_dict(read_shape("moonlight-16b-a3b"))) == "moonlight"
    assert short_name(ModelConfig.from_dict(read_shape("k2-thinking"))) == "k2"
    assert short_name(ModelConfig.from_dict(read_shape("nano"))) == "kimi_k2"


def test_a_session_writes_as_many_tokens_as_asked_and_notes_each(folder: Path) -> None:
    with session(folder, 1) as model:
        reply = model.reply(5, 4)
        assert len(reply.tokens) == 4
        assert reply.sent < reply.tokens[0]
        assert list(reply.tokens) == sorted(reply.tokens)
        assert model.status.state == "ready"


def test_a_folder_that_cannot_be_loaded_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError), session(tmp_path):
        pass
    broken = write_tiny(tmp_path / "broken")
    next(broken.glob("*.safetensors")).unlink()
    with pytest.raises(ResourceError) as raised, session(broken):
        pass
    assert raised.value.code == "shard_missing"


def test_the_planner_is_held_to_its_word(folder: Path) -> None:
    figures = list(plan_figures(options(folder)))
    check(figures)
    assert named(figures, "plan.error").against_value == 0.25
    assert {"plan.decode", "plan.prefill", "plan.first_token"} < {f.name for f in figures}
    assert "foretold" in named(figures, "plan.decode").note


def test_dense_parts_are_loaded_as_planned() -> None:
    def form(planned: WeightForm) -> str:
        return as_planned(Placement("runs well", "int4", (), dense_form=planned)).dense

    assert [form("bf16"), form("fp8"), form("int8"), form("int4")] == [
        "published",
        "published",
        "int8",
        "int4",
    ]


def test_a_sparse_folder_is_made_measured_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    figures = list(sparse_figures(options(None)))
    check(figures)
    wanted = {"sparse.inspect", "sparse.inspect.rss", "sparse.load", "sparse.token"}
    assert wanted < {f.name for f in figures}
    assert os.listdir(tmp_path) == []


def test_the_peak_of_a_process_is_its_own() -> None:
    mine = peak_bytes()
    assert mine > 50e6  # torch is loaded here
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.2)"])
    assert 1e6 < watch(child) < mine / 2
    assert peak_bytes(child.pid) == 0
