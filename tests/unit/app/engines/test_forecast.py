"""Forecasts by the real planner, in the process of its own that it has in the program."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import psutil
import pytest

from app.core import Core
from app.engines.forecast import Forecaster
from app.engines.models import default_model
from app.engines.options import EngineOptions
from app.errors import RequestError
from app.paths import Paths
from app.settings import Settings
from engine.errors import CheckpointError
from engine.protocol import PlanReport


def planners() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if "engine.placement" in p.cmdline()]


def measured(report: PlanReport) -> list[str]:
    """The sentence on how fast this machine reads memory; to three digits no two turns agree."""
    return [why.split("memory at")[1] for why in report.placement.why if "GB/s" in why]


async def test_options_change_what_is_foretold_and_the_machine_is_measured_once() -> None:
    forecaster = Forecaster()
    plain = await forecaster.foretell(default_model(), EngineOptions(threads=1))
    other = await forecaster.foretell(
        default_model(), EngineOptions(threads=1, dense="int4", max_context=512)
    )
    assert plain.placement.dense_form == "bf16"
    assert (other.placement.dense_form, other.placement.kv_tokens) == ("int4", 512)
    assert measured(plain) and measured(plain) == measured(other)
    assert plain.placement.decode
    assert not planners()


async def test_it_is_measured_again_where_that_is_wanted() -> None:
    forecaster = Forecaster()
    found = set()
    for _ in range(5):
        report = await forecaster.foretell(default_model(), EngineOptions(threads=1), afresh=True)
        found.update(measured(report))
        if len(found) > 1:
            return
    raise AssertionError(f"five measurements agree: {found}")


async def test_memory_of_the_engine_that_would_leave_counts_as_free() -> None:
    forecaster = Forecaster()

    async def usable(engine: int | None) -> int:
        report = await forecaster.foretell(default_model(), EngineOptions(), engine)
        return next(t.usable for t in report.placement.tiers if t.tier == "ram")

    await usable(None)
    held = bytearray(600 << 20)
    held[::4096] = b"x" * len(held[::4096])
    alone, beside = await usable(psutil.Process().pid), await usable(None)
    assert alone - beside > 400 << 20, "what this process holds would be free"
    assert len(held)


@pytest.mark.parametrize(
    ("config", "code"),
    [(None, "config_missing"), ("{", "config_damaged"), ('{"model_type": "x"}', "")],
)
async def test_folders_without_a_model(tmp_path: Path, config: str | None, code: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(CheckpointError) as refused:
        await Forecaster().foretell(tmp_path, EngineOptions())
    assert not code or refused.value.code == code
    assert refused.value.hint


async def test_a_wrong_question_is_told() -> None:
    with pytest.raises(RequestError) as refused:
        await Forecaster().foretell(default_model(), EngineOptions(max_context=1 << 40))
    assert refused.value.code == "context_absurd"


async def test_cancelled_it_leaves_no_process() -> None:
    asked = asyncio.create_task(Forecaster().foretell(default_model(), EngineOptions()))
    async with asyncio.timeout(10):
        while not planners():
            await asyncio.sleep(0.01)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert not planners()


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.5])
def test_closed_in_its_midst_the_core_ends(tmp_path: Path, delay: float) -> None:
    core = Core(Paths.under(tmp_path), Settings())
    core.start()
    asked = core.foretell(default_model(), EngineOptions())
    time.sleep(delay)
    core.close()
    assert isinstance(asked.exception(), RequestError)
    assert not planners()
