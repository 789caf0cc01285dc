"""What a model would do on this machine, asked of the engine's planner in a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil

from app.engines.options import EngineOptions, plan_request
from app.errors import RequestError, ResourceError, SelenographError
from engine.errors import CheckpointError
from engine.protocol import PlanAnswer, PlanQuestion, PlanReport

_ROOT = Path(__file__).parents[2]
_SECONDS = 60.0
"""The probe takes two to four, on a slow disk some more."""
_GIB = 1 << 30


class Forecaster:
    """Measures the machine once for each disk, and whenever that is wanted. On the core's loop."""

    def __init__(self) -> None:
        self._machines: dict[int, dict[str, Any]] = {}

    async def foretell(
        self,
        model: Path,
        options: EngineOptions,
        engine: int | None = None,
        *,
        afresh: bool = False,
    ) -> PlanReport:
        """``engine``: the process that a load of the model would take the place of. ``afresh``:
        measure the machine now.

        Raises CheckpointError, RequestError, ResourceError ``no_forecast``. Cancelling it ends
        what it began.
        """
        if not (model / "config.json").is_file():
            raise CheckpointError(
                "config_missing",
                f"{model} holds no model: there is no config.json",
                "choose the folder that has config.json and the .safetensors files",
            )
        disk = _disk(model)
        machine = None if afresh else self._machines.get(disk)
        answer = await _ask(
            PlanQuestion(
                plan_request(model, options),
                machine and machine | {"available_gib": _available(machine, engine)},
            )
        )
        if answer.error is not None:
            error = answer.error
            kinds = (CheckpointError, RequestError)
            kind = next((k for k in kinds if k.kind == error.type), ResourceError)
            raise kind(error.code, error.message, error.hint, retryable=error.retryable)
        if answer.report is None or answer.machine is None:
            raise _no_forecast("it answered nothing")
        if machine is None:
            self._machines[disk] = answer.machine
            if engine is not None:
                # It was measured with the engine's model in memory, which would leave it.
                return await self.foretell(model, options, engine)
        return answer.report


async def _ask(question: PlanQuestion) -> PlanAnswer:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "engine.placement", "--stdin",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=_ROOT,
        limit=1 << 24,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_SECONDS):
            output, trouble = await process.communicate(msgspec.json.encode(question))
    except TimeoutError:
        raise _no_forecast(f"it took more than {_SECONDS:.0f} s") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    try:
        return msgspec.json.decode(output, type=PlanAnswer)
    except msgspec.DecodeError:
        said = trouble.decode("utf-8", "replace").strip().splitlines()
        raise _no_forecast(said[-1] if said else f"it ended with {process.returncode}") from None


def _no_forecast(why: str) -> SelenographError:
    return ResourceError(
        "no_forecast",
        f"the planner gave no forecast: {why}",
        "the model can be loaded all the same",
        retryable=True,
    )


def _disk(model: Path) -> int:
    try:
        return os.stat(model).st_dev
    except OSError:
        return 0


def _available(machine: dict[str, Any], engine: int | None) -> float:
    """GiB that are free now, or would be without the engine's process."""
    free: float = psutil.virtual_memory().available
    if engine is not None:
        with suppress(psutil.Error):
            memory = psutil.Process(engine).memory_info()
            # What is shared is files', and counts as free already.
            free += memory.rss - getattr(memory, "shared", 0)
    return max(min(free / _GIB, float(machine["memory_gib"])), 0.01)
