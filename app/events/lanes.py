"""Several trajectories towards the same task, side by side."""

from __future__ import annotations

from typing import Literal

import msgspec

from app.events.turn import TurnStatus


class LaneBegin(msgspec.Struct, frozen=True, tag="lane.begin"):
    """One of several trajectories towards the same task. ``lane`` is the run id of its events;
    ``number`` counts from 1.
    """

    lane: str
    number: int
    seed: int


class LaneResumed(msgspec.Struct, frozen=True, tag="lane.resumed"):
    """A lane that was cut off goes on after its last finished step."""

    lane: str


class LaneEnd(msgspec.Struct, frozen=True, tag="lane.end"):
    """``code`` and ``message`` say why a lane without an answer has none; ``left_out``: a person
    stopped this one and let the others run.
    """

    lane: str
    status: TurnStatus
    answer: str = ""
    code: str = ""
    message: str = ""


class LaneGroup(msgspec.Struct, frozen=True):
    """Lanes, by their numbers, whose answers are the same."""

    answer: str
    lanes: tuple[int, ...]


class LanesCompared(msgspec.Struct, frozen=True, tag="lanes.compared"):
    """How far the lanes with an answer agree. ``agree``: those that say what the final answer says.

    ``by``: short answers were compared as such, else the model that read them all judged; nobody
    where it did not say.
    """

    agree: tuple[int, ...]
    of: int
    by: Literal["answers", "model", "nobody"]
    groups: tuple[LaneGroup, ...] = ()


LaneBody = LaneBegin | LaneResumed | LaneEnd | LanesCompared
