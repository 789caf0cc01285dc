"""A turn from its beginning to its end, in one trajectory or in several."""

from __future__ import annotations

from app import events as ev
from app.agent.ending import ending_of
from app.agent.heavy import is_heavy, take_lanes
from app.agent.loop import take_steps
from app.agent.run import Run


async def run_turn(run: Run) -> None:
    """Drive a turn, new or resumed, to its TurnEnd. Raises nothing.

    Whatever happens, every part, model call and tool call that began is ended in the record.
    """
    way = take_lanes if is_heavy(run.settings) else take_steps
    ending = await ending_of(run, way(run))
    last = (*ending.trouble, ev.TurnEnd(run.turn, ending.status, ending.answer))
    run.journal.end_turn(run.conversation, run.turn, last)
