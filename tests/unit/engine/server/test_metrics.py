"""Prometheus' text of a status, read back by its grammar; and how a full queue answers."""

from __future__ import annotations

import re

from engine.errors import DeadlineExceeded, QueueFull
from engine.protocol import STEP_SECONDS, Counters, EngineStatus
from engine.server.metrics import lines
from engine.server.replies import error_reply

_SAMPLE = re.compile(r'([a-z_]+)(?:\{([a-z]+)="([^"]+)"\})? (\S+)')
STATUS = EngineStatus(
    1,
    "0.1.0",
    4711,
    "ready",
    running=5,
    running_background=2,
    waiting=4,
    waiting_background=1,
    cached_tokens=1_234,
    held_pages=7,
    counters=Counters(
        done=30,
        aborted=4,
        failed=1,
        preemptions=3,
        computed_tokens=99_000,
        step_seconds=12.5,
        steps=(5, *[0] * (len(STEP_SECONDS) - 2), 2, 1),
    ),
)


def read(status: EngineStatus) -> dict[tuple[str, str], float]:
    """(name, label's value) to value. Every sample comes after the type of its family."""
    found: dict[tuple[str, str], float] = {}
    family = ""
    for line in lines(status):
        if line.startswith("# TYPE "):
            _, _, family, kind = line.split()
            assert kind in ("counter", "gauge", "histogram")
            assert (kind == "counter") == family.endswith("_total")
            continue
        match = _SAMPLE.fullmatch(line)
        assert match and match[1].startswith(family), line
        assert (match[1], match[3] or "") not in found
        found[match[1], match[3] or ""] = float(match[4])
    return found


def test_what_the_text_says() -> None:
    found = read(STATUS)
    assert found["selenograph_requests_total", "done"] == 30
    assert found["selenograph_requests_total", "aborted"] == 4
    assert found["selenograph_requests_running", "interactive"] == 3
    assert found["selenograph_requests_running", "background"] == 2
    assert found["selenograph_requests_waiting", "interactive"] == 3
    assert found["selenograph_preemptions_total", ""] == 3
    assert found["selenograph_computed_tokens_total", ""] == 99_000
    assert found["selenograph_cached_tokens", ""] == 1_234
    assert found["selenograph_cache_pages_held", ""] == 7


def test_steps_are_a_histogram() -> None:
    found = read(STATUS)
    buckets = [value for (name, _), value in found.items() if name.endswith("step_seconds_bucket")]
    assert len(buckets) == len(STEP_SECONDS) + 1
    assert buckets == sorted(buckets), "each counts those before it, too"
    assert buckets[0] == 5
    assert buckets[-1] == found["selenograph_step_seconds_count", ""] == 8
    assert found["selenograph_step_seconds_bucket", "+Inf"] == 8
    assert found["selenograph_step_seconds_sum", ""] == 12.5


def test_without_a_model_there_are_zeros() -> None:
    empty = read(EngineStatus(1, "0.1.0", 4711, "empty"))
    assert empty.keys() == read(STATUS).keys()
    assert not any(empty.values())


def test_a_full_queue_and_a_deadline_over_http() -> None:
    full = error_reply(QueueFull(64, 7))
    assert (full.status_code, full.headers["retry-after"]) == (429, "7")
    late = error_reply(DeadlineExceeded(1.5))
    assert late.status_code == 504
    assert "retry-after" not in late.headers
    assert b"deadline_exceeded" in late.body and b"1.5 s" in late.body
