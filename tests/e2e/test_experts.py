"""The routing of a real engine process, as its clients and the window see it."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.engines.client import EngineClient
from app.engines.experts import TIERS, ExpertMap
from app.engines.models import default_model
from app.errors import RequestError
from engine.config import ModelConfig
from engine.placement.footprint import footprint
from engine.protocol import ExpertReport
from engine.tiny import TinyShape, write_tiny
from tests.e2e.conftest import Desk

from .engine_process import EngineProcess, error_of

PROMPT: Any = [{"role": "user", "content": "What is 17*23 + 4?"}]
LAYERS, EXPERTS, TOP_K = (1, 2, 3, 4), 8, 2
"""Of the embedded model."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    log = tmp_path_factory.mktemp("experts") / "log"
    with EngineProcess.started(log, default_model()) as engine:
        yield engine


async def test_the_counts_of_a_request_reach_the_client(engine: EngineProcess) -> None:
    client = EngineClient(engine.url, engine.token)
    before = await client.experts()
    assert before.heat is not None and before.placement is not None
    assert (before.heat.layers, before.heat.experts) == (LAYERS, EXPERTS)
    assert before.heat.tokens == 0
    with engine.sdk() as sdk:
        reply = sdk.chat.completions.create(
            model="nano",
            messages=PROMPT,
            max_tokens=40,
            extra_body={"x_engine": {"request_id": "asked"}},
        )
    assert reply.usage is not None
    # The last token that was sampled is never computed, drafts that were wrong are.
    details = reply.usage.completion_tokens_details
    assert details is not None and details.rejected_prediction_tokens is not None
    tokens = reply.usage.total_tokens - 1 + details.rejected_prediction_tokens
    for window in ("start", "minute"):
        heat = (await client.experts(window)).heat
        assert heat is not None
        assert heat.tokens == tokens
        assert sum(array("I", heat.counts)) == tokens * TOP_K * len(LAYERS)
    trace = await client.trace("asked")
    assert trace.heat.counts == heat.counts, "nobody else asked anything"
    with pytest.raises(RequestError, match="nothing is known"):
        await client.trace("never")
    status = await client.status()
    assert status.routed_tokens == tokens
    assert [(t.tier, t.experts) for t in status.tiers if t.experts] == [("ram", 32)]
    assert sum(t.hits for t in status.tiers) == tokens * TOP_K * len(LAYERS)
    await client.close()


def test_a_window_that_there_is_not(engine: EngineProcess) -> None:
    with engine.http() as http:
        reply = http.get("/engine/experts?window=week")
        nowhere = http.get("/engine/trace/never")
    assert (reply.status_code, error_of(reply).code) == (400, "bad_window")
    assert (nowhere.status_code, error_of(nowhere).code) == (404, "no_trace")


async def test_no_model_and_one_that_does_not_fit(tmp_path: Path) -> None:
    """With memory for half of its experts, the other half is on disk, and it is told apart."""
    shape = TinyShape(layers=4, experts=16, hidden=256, inner=128)
    model = write_tiny(tmp_path / "tiny", seed=1, shape=shape)
    half = footprint(ModelConfig.from_folder(model)).experts_bytes * 6 // 10
    with EngineProcess.started(tmp_path / "log") as engine:
        client = EngineClient(engine.url, engine.token)
        assert await client.experts() == ExpertReport()
        status = engine.load(model, expert_memory_bytes=half)
        assert status.state == "ready", status.error
        with engine.sdk() as sdk:
            sdk.chat.completions.create(model="tiny", messages=PROMPT, max_tokens=20)
        report, status = await client.experts(), await client.status()
        await client.close()
    assert report.heat is not None and report.placement is not None
    shown = ExpertMap()
    shown.take(report)
    cells = [shown.cell(row, e) for row in range(shown.rows) for e in range(shown.experts)]
    held = {t.tier: t.experts for t in status.tiers}
    assert held["gpu"] == 0 < held["ram"] < 48
    assert held["mapped"] == 48 - held["ram"] > 0
    assert held == {tier: sum(c.tier == tier for c in cells) for tier in TIERS}
    served = {t.tier: t.hits for t in status.tiers}
    assert served["mapped"] > 0
    assert sum(served.values()) == sum(shown.counts) == report.heat.tokens * TOP_K * 3


def test_the_window_shows_what_the_model_chose(
    open_window: Callable[[], Desk], qtbot: QtBot
) -> None:
    desk = open_window()
    panel = desk.window.engine
    shown: ExpertMap = panel.experts._map
    qtbot.waitUntil(lambda: desk.bridge.engine.phase == "ready", timeout=60_000)
    desk.window.activateWindow()
    qtbot.waitUntil(desk.window.isActiveWindow)
    qtbot.keyClick(desk.window, Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(panel.experts.placement.isVisible)
    assert shown.tokens == 0
    desk.window.send("What is 6*7?")
    qtbot.waitUntil(
        lambda: len(desk.bridge.state.path()) == 1 and not desk.bridge.state.running,
        timeout=60_000,
    )
    usage = [s.call.usage for s in desk.bridge.state.path()[0].steps if s.call]
    computed = sum(
        u.total_tokens
        - 1
        - u.prompt_tokens_details.cached_tokens
        + u.completion_tokens_details.rejected_prediction_tokens
        for u in usage
    )
    qtbot.waitUntil(lambda: shown.tokens == computed)
    assert sum(shown.counts) == computed * TOP_K * len(LAYERS)
    assert panel.experts.heat.isVisible()
