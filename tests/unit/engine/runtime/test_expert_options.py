"""What a load may ask of routed experts, through the engine thread: replies stay the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import torch

from engine.config import ModelConfig
from engine.placement.footprint import footprint
from engine.placement.room import SHARE
from engine.protocol import LoadRequest
from engine.runtime import expert_options
from engine.runtime.expert_options import fitting_budget
from engine.tiny import TinyShape, write_tiny
from engine.types import Broke, Ended

from .test_loop import Bench, folder, prompt_of

__all__ = ["folder"]
OPTIONS = {
    "thread": {"device": "thread"},
    "streamed": {"device": "thread", "stream_from": 300},
    "budget": {"expert_memory_bytes": 50_000, "expert_policy": "lru", "read_ahead": "on"},
    "hot": {"device": "thread", "hot_experts": 2},
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.engine.close()


def _reply(bench: Bench, folder: Path, **options: object) -> list[int]:
    request = LoadRequest(str(folder), dtype="float32", threads=1)
    bench.engine.load(msgspec.structs.replace(request, **options))
    status = bench.until("ready", "failed")
    assert status.state == "ready", status.error
    asked = bench.ask("it", prompt_of(400), max_tokens=12)
    assert isinstance(asked.until_over(), Ended)
    return asked.tokens


def test_replies_are_the_same_however_experts_are_kept(bench: Bench, folder: Path) -> None:
    plain = _reply(bench, folder)
    assert len(set(plain)) > 3
    names = {}
    for name, options in OPTIONS.items():
        assert _reply(bench, folder, **options) == plain, name
        names[name] = bench.engine.status().experts
    assert all(n is not None and n.startswith("native") for n in names.values())
    assert len(set(names.values())) == len(OPTIONS), "the status tells them apart"


def test_experts_are_read_as_asked_and_it_is_said(bench: Bench, folder: Path) -> None:
    plain = _reply(bench, folder)
    budget = {"expert_memory_bytes": 50_000, "read_ahead": "on"}
    for way in ("map", "direct", "auto"):
        request = LoadRequest(str(folder), dtype="float32", threads=1, expert_reading=way)
        bench.engine.load(msgspec.structs.replace(request, **budget))
        status = bench.until("ready", "failed")
        if status.error is not None:
            assert (way, status.error.code) == ("direct", "unsupported")
            continue
        asked = bench.ask("it", prompt_of(400), max_tokens=12)
        assert isinstance(asked.until_over(), Ended)
        assert asked.tokens == plain
        why = "too little to measure" if way == "auto" else "as asked"
        how = "directly" if way == "direct" else "through the map"
        assert (status.experts or "").endswith(f"read {how} ({why})")


def test_a_budget_that_holds_no_expert_fails_the_request_and_not_the_engine(
    bench: Bench, folder: Path
) -> None:
    request = LoadRequest(str(folder), dtype="float32", threads=1, expert_memory_bytes=10)
    bench.engine.load(request)
    bench.until("ready")
    broke = bench.ask("it", prompt_of(4)).until_over()
    assert isinstance(broke, Broke)
    assert broke.error.code == "budget_too_small"
    assert _reply(bench, folder)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = TinyShape(layers=4, experts=16, context=512)
    return write_tiny(tmp_path_factory.mktemp("tiny") / "wide", seed=1, shape=shape)


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch, wide: Path) -> None:
    """Memory for half of the experts, beside all else."""
    experts = footprint(ModelConfig.from_folder(wide)).experts_bytes
    request = LoadRequest(str(wide), dtype="float32")
    monkeypatch.setattr(expert_options, "ROOM", 0)
    monkeypatch.setattr(expert_options, "_PAGES", 0)
    monkeypatch.setattr(expert_options, "host_cache_bytes", lambda *_: 0)
    monkeypatch.setattr(expert_options, "_dense_bytes", lambda *_: 0)
    monkeypatch.setattr(expert_options, "free_memory", lambda: 1 << 40)
    assert fitting_budget(request, wide) == 0
    monkeypatch.setattr(expert_options, "free_memory", lambda: experts // 2)
    assert fitting_budget(request, wide) == int(SHARE * (experts // 2))


def test_without_a_word_experts_that_do_not_fit_get_a_budget(
    bench: Bench, wide: Path, little: None
) -> None:
    plain = _reply(bench, wide, expert_memory_bytes=0)
    assert "at a time" not in (bench.engine.status().experts or "")
    assert _reply(bench, wide) == plain
    assert "at a time, read " in (bench.engine.status().experts or "")
    own = _reply(bench, wide, device="thread", hot_experts=2)
    assert own == plain


def test_drafts_that_were_asked_for_leave_it_to_the_system(wide: Path, little: None) -> None:
    request = LoadRequest(str(wide), dtype="float32")
    assert fitting_budget(request, wide) > 0
    asked = msgspec.structs.replace(request, speculation="mtp")
    assert fitting_budget(asked, wide) == 0
    assert expert_options.expert_options(request, wide).ram_bytes > 0
    system = msgspec.structs.replace(request, expert_memory_bytes=0)
    assert expert_options.expert_options(system, wide).ram_bytes == 0


def test_nothing_said_is_not_nothing_given() -> None:
    decode = msgspec.json.decode
    assert decode('{"path": "x"}', type=LoadRequest).expert_memory_bytes is None
    assert decode('{"path": "x", "expert_memory_bytes": 0}', type=LoadRequest) == LoadRequest(
        "x", expert_memory_bytes=0
    )


@pytest.mark.parametrize("field", ["expert_memory_bytes", "deferred_experts", "stream_from"])
def test_negative_numbers_are_refused(field: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(f'{{"path": "x", "{field}": -1}}', type=LoadRequest)
