"""Priorities, deadlines and counts over HTTP, against a real engine process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from .engine_process import EngineProcess, data_of, error_of, write_reciting

MESSAGES = [{"role": "user", "content": "the number"}]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """Its reply never ends by itself."""
    folder = tmp_path_factory.mktemp("scheduling")
    reply = "<think> think what the question</think>answer is not from code"
    model = write_reciting(folder / "endless", reply, loop_from=6)
    with EngineProcess.started(folder / "log", model) as engine:
        yield engine


def body(**extra: Any) -> dict[str, Any]:
    return {"messages": MESSAGES, "x_engine": extra}


def test_a_deadline_ends_a_stream_and_what_was_written_stays(engine: EngineProcess) -> None:
    began = time.monotonic()
    request = body(deadline_s=0.4) | {"stream": True}
    with engine.http() as http, http.stream("POST", "/v1/chat/completions", json=request) as reply:
        chunks = list(data_of(reply))
    assert 0.3 < time.monotonic() - began < 20
    assert chunks[-1]["error"]["code"] == "deadline_exceeded"
    assert any(c["delta"].get("content") for chunk in chunks for c in chunk["choices"])


def test_a_deadline_ends_a_whole_reply(engine: EngineProcess) -> None:
    with engine.http() as http:
        reply = http.post("/v1/chat/completions", json=body(deadline_s=0.2))
    assert reply.status_code == 504
    assert error_of(reply).code == "deadline_exceeded"


@pytest.mark.parametrize("extra", [{"priority": "urgent"}, {"deadline_s": 0}, {"deadline_s": -1}])
def test_wrong_values_are_refused(engine: EngineProcess, extra: dict[str, Any]) -> None:
    with engine.http() as http:
        reply = http.post("/v1/chat/completions", json=body(**extra))
    assert reply.status_code == 400
    assert next(iter(extra)) in error_of(reply).message


def test_who_runs_shows_by_priority(engine: EngineProcess) -> None:
    request = body(priority="background") | {"stream": True}
    with engine.http() as http, http.stream("POST", "/v1/chat/completions", json=request) as reply:
        lines = reply.iter_lines()
        while "content" not in next(lines):
            pass
        status = engine.status()
        assert (status.running, status.running_background, status.prefilling) == (1, 1, 0)
    freed = engine.until(lambda s: s.running == 0)
    assert freed.counters.aborted == status.counters.aborted + 1
    assert freed.held_pages == 0, "whoever left holds no pages"


def test_counts_for_prometheus(engine: EngineProcess) -> None:
    with engine.http() as http:
        before = engine.status().counters
        reply = http.post("/v1/chat/completions", json=body() | {"max_tokens": 7})
        usage = reply.json()["usage"]
        after = engine.status().counters
        text = http.get("/metrics")
        with engine.http("wrong") as stranger:
            assert stranger.get("/metrics").status_code == 401
    assert after.done == before.done + 1
    assert after.written_tokens == before.written_tokens + 7
    computed = usage["total_tokens"] - 1 - usage["prompt_tokens_details"]["cached_tokens"]
    computed += usage["completion_tokens_details"]["rejected_prediction_tokens"]
    assert after.computed_tokens == before.computed_tokens + computed
    assert sum(after.steps) > sum(before.steps)
    assert text.headers["content-type"].startswith("text/plain")
    assert f'selenograph_requests_total{{outcome="done"}} {after.done}' in text.text.splitlines()
