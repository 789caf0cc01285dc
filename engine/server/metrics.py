"""``GET /metrics``: the engine's state and counts in Prometheus' text format.

https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from engine.protocol import STEP_SECONDS, EngineStatus
from engine.types import EngineHandle

_PREFIX = "selenograph_"


async def metrics(engine: EngineHandle, http: HttpRequest) -> Response:
    """``GET /metrics``"""
    text = "\n".join(lines(engine.status())) + "\n"
    return Response(text, media_type="text/plain; version=0.0.4")


def lines(status: EngineStatus) -> Iterator[str]:
    """Without a model everything is 0."""
    done = status.counters
    background, waiting = status.running_background, status.waiting_background
    running = {"interactive": status.running - background, "background": background}
    queued = {"interactive": status.waiting - waiting, "background": waiting}
    outcomes = {"done": done.done, "aborted": done.aborted, "failed": done.failed}
    yield from _labelled("requests_total", "counter", "outcome", outcomes)
    yield from _labelled("requests_running", "gauge", "priority", running)
    yield from _labelled("requests_waiting", "gauge", "priority", queued)
    for name, count in (
        ("preemptions_total", done.preemptions),
        ("prompt_tokens_total", done.prompt_tokens),
        ("cached_prompt_tokens_total", done.cached_tokens),
        ("computed_tokens_total", done.computed_tokens),
        ("written_tokens_total", done.written_tokens),
        ("accepted_draft_tokens_total", done.accepted_drafts),
        ("rejected_draft_tokens_total", done.rejected_drafts),
    ):
        yield from _single(name, "counter", count)
    for name, value in (
        ("requests_prefilling", status.prefilling),
        ("cached_tokens", status.cached_tokens),
        ("cache_pages", status.cache_pages),
        ("cache_pages_used", status.cache_pages_used),
        ("cache_pages_held", status.held_pages),
        ("resident_bytes", status.resident_bytes),
    ):
        yield from _single(name, "gauge", value)
    yield from _steps(status)


def _single(name: str, kind: str, value: float) -> Iterator[str]:
    yield f"# TYPE {_PREFIX}{name} {kind}"
    yield f"{_PREFIX}{name} {value}"


def _labelled(name: str, kind: str, label: str, values: dict[str, int]) -> Iterator[str]:
    yield f"# TYPE {_PREFIX}{name} {kind}"
    for key, value in values.items():
        yield f'{_PREFIX}{name}{{{label}="{key}"}} {value}'


def _steps(status: EngineStatus) -> Iterator[str]:
    name = f"{_PREFIX}step_seconds"
    counts = status.counters.steps or (0,) * (len(STEP_SECONDS) + 1)
    bounds = [*(f"{bound:g}" for bound in STEP_SECONDS), "+Inf"]
    yield f"# TYPE {name} histogram"
    for bound, count in zip(bounds, itertools.accumulate(counts), strict=True):
        yield f'{name}_bucket{{le="{bound}"}} {count}'
    yield f"{name}_sum {status.counters.step_seconds}"
    yield f"{name}_count {sum(counts)}"
