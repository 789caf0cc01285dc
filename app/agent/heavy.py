"""Heavy mode: several trajectories towards one task side by side, then one answer from theirs.

Every lane is a run of its own: its events carry its id, its seed is its own, its tools work in a
place of its own. They share the prefix, the desk, the rules of the run and, of the budget, tokens,
thinking and cost. A lane that fails is left out, with its reason.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
from pathlib import Path

import msgspec

from app import events as ev
from app.agent.aggregate import aggregate
from app.agent.budget import Meter, used_by_lanes
from app.agent.ending import Ending, ending_of
from app.agent.loop import prepare, take_steps
from app.agent.run import Run
from app.agent.steering import if_asked
from app.state import Turn

_log = logging.getLogger(__name__)

MOST_LANES = 32
LEFT_OUT = "left_out"
"""The code of a lane that a person stopped alone."""
_STOPPED = "you stopped it"
_SEEDS = 2**31
_MOST_COPIED = 64 << 20
"""Bytes of scratch files that each lane gets a copy of."""


def is_heavy(settings: ev.RunSettings) -> bool:
    """Whether a turn is run in lanes."""
    return settings.effort == "heavy" and settings.lanes > 1


async def take_lanes(run: Run) -> Ending:
    """Drive all lanes to their ends, then make one answer of theirs.

    Lanes that ended with an answer before the turn was cut off are not run again. Raises what the
    last model call raises.
    """
    backend = await prepare(run)
    await if_asked(run)
    _begin(run)
    turn = _turn(run)
    run.meter.used = used_by_lanes(turn, backend.traits.prices)
    waiting = [lane for lane in turn.lanes if lane.status == "running"]
    async with asyncio.TaskGroup() as tasks:
        runs = [_lane_run(run, lane) for lane in waiting]
        run.gate.stepping = False
        run.meter.sharers = len(runs) or 1
        for one in runs:
            run.lanes[one.turn] = one
            one.task = tasks.create_task(_drive(run, one), name=f"lane {one.turn}")
    for lane in _turn(run).lanes:
        if lane.status == "running":  # stopped before its first line ran
            stopped = ev.LaneEnd(lane.id, "stopped", code=LEFT_OUT, message=_STOPPED)
            run.journal.end_turn(run.conversation, lane.id, (stopped,))
    if run.stop_after_step:
        return Ending("stopped", trouble=(ev.Interrupted("user"),))
    lanes = [lane for lane in _turn(run).lanes if lane.answer.strip()]
    if not lanes:
        return _no_answer(_turn(run).lanes)
    answer = await aggregate(run, backend, lanes)
    return Ending("answered", answer)


def _turn(run: Run) -> Turn:
    found = run.state.turn(run.turn)
    assert found is not None
    return found


def _begin(run: Run) -> None:
    """Record the lanes that are missing, and that those that were cut off go on."""
    turn = _turn(run)
    for lane in turn.lanes:
        again = lane.status in ("stopped", "failed")
        if again and not (lane.lane_end and lane.lane_end.code == LEFT_OUT):
            run.journal.append(run.conversation, ev.LaneResumed(lane.id), lane.id)
    first = run.settings.seed if run.settings.seed is not None else secrets.randbelow(_SEEDS)
    if turn.lanes and turn.lanes[0].settings.seed is not None:
        first = turn.lanes[0].settings.seed
    for number in range(len(turn.lanes) + 1, min(run.settings.lanes, MOST_LANES) + 1):
        seed = (first + number - 1) % _SEEDS
        run.emit(ev.LaneBegin(secrets.token_hex(8), number, seed))


def _lane_run(run: Run, lane: Turn) -> Run:
    meter = Meter(run.meter.budget, lambda seconds: made.slept(seconds), run.meter)
    made = Run(
        conversation=run.conversation,
        turn=lane.id,
        settings=lane.settings,
        journal=run.journal,
        find_backend=run.find_backend,
        tools=run.tools,
        desk=run.desk,
        rules=run.rules,
        meter=meter,
        scratch=run.scratch / "lanes" / lane.id,
        patience=run.patience,
        blobs=run.blobs,
        guards=run.guards,
        number=lane.number,
        stop_after_step=run.stop_after_step,
    )
    made.gate.stepping = run.gate.stepping
    return made


async def _drive(run: Run, lane: Run) -> None:
    """One lane to its LaneEnd. Raises nothing."""

    async def work() -> Ending:
        await asyncio.to_thread(_copy, run.scratch, lane.scratch)
        return await take_steps(lane)

    ending = await ending_of(lane, work())
    end = ending.of_lane(lane.turn)
    if lane.left_out:
        end = msgspec.structs.replace(end, code=LEFT_OUT, message=_STOPPED)
    run.journal.end_turn(run.conversation, lane.turn, (end,))
    run.lanes.pop(lane.turn, None)
    run.meter.sharers = max(len(run.lanes), 1)
    try:
        await run.tools.forget(lane.place)
    except Exception:
        # The lane has its end; what its tools left behind is no other lane's business.
        _log.exception("what the tools of lane %s kept is not tidied up", lane.turn)


def _copy(source: Path, target: Path) -> None:
    """Give a lane the files that code made before, unless they are many."""
    if target.exists() or not source.is_dir():
        return
    beside = [path for path in source.iterdir() if path.name != "lanes" and not path.is_symlink()]
    files = [path for one in beside for path in ([one] if one.is_file() else one.rglob("*"))]
    if sum(path.lstat().st_size for path in files) > _MOST_COPIED:
        return
    target.mkdir(parents=True)
    for one in beside:
        if one.is_dir():
            shutil.copytree(one, target / one.name, symlinks=True)
        elif one.is_file():
            shutil.copy2(one, target / one.name)


def _no_answer(lanes: tuple[Turn, ...]) -> Ending:
    """The end of a turn none of whose lanes came to an answer."""
    ends = [lane.lane_end for lane in lanes if lane.lane_end is not None]
    if all(end.status == "stopped" for end in ends):
        return Ending("stopped", trouble=(ev.Interrupted("user", "all lanes were stopped"),))
    failed = next(end for end in ends if end.status == "failed")
    trouble: tuple[ev.Body, ...] = ()
    if failed.code == "engine_lost":
        trouble = (ev.Interrupted("engine_lost", failed.message),)
    message = f"no lane came to an answer; the first says: {failed.message}"
    return Ending("failed", trouble=(*trouble, ev.Failed(failed.code, message, "", True)))
