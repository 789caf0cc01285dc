"""What a load may ask of routed experts, through the engine thread: replies stay the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import torch

from engine.protocol import LoadRequest
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


@pytest.mark.parametrize("field", ["expert_memory_bytes", "deferred_experts", "stream_from"])
def test_negative_numbers_are_refused(field: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(f'{{"path": "x", "{field}": -1}}', type=LoadRequest)
