"""What one turn is run with, and how it writes to the journal."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from app import events as ev
from app.agent.approval import Desk, Rules
from app.agent.breaker import Breaker
from app.agent.budget import Meter
from app.agent.counter import Counter
from app.agent.forms import ask_form
from app.agent.history import History
from app.agent.own_tools import OWN, parse
from app.agent.patience import Patience
from app.agent.repeats import Key, Repeats
from app.agent.steering import Gate
from app.backends.base import Backend
from app.closing import missing_ends
from app.guard.guards import Guards
from app.state import ConversationState, ToolRun, Turn, hidden_on, summary_on
from app.store.blobs import Blobs
from app.store.journal import Journal
from app.tools.base import Tool, ToolContext
from app.tools.names import covers
from app.trust.origins import Origins
from engine.protocol import ChatMessage, Role, ToolSpec

_NEEDS_FOLDER = frozenset({"list_files", "read_file", "search_files", "write_file", "edit_file"})

_WAKING = 20.0
"""Seconds after a sleep in which a stream has to show that it is alive."""
RESULT_LIMIT = 100_000
"""Characters of a result; tools have stricter limits of their own."""
_SHORT = 50
"""Steps up to which a run needs no written plan."""


class Tools(Protocol):
    """The part of the toolbox that a run uses."""

    def specs(self, names: tuple[str, ...]) -> tuple[ToolSpec, ...]: ...

    def get(self, name: str) -> Tool | None: ...

    async def prepare(self, names: tuple[str, ...]) -> list[tuple[str, str]]: ...

    async def forget(self, conversation: str) -> None: ...

    def parse(self, name: str, arguments_text: str) -> dict[str, object]: ...


@dataclass(frozen=True, slots=True)
class Sent:
    """What a request was, to store the next as what differs from it."""

    span: str
    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolSpec, ...]
    prompt: str = ""


@dataclass(slots=True)
class Run:
    """One turn on its way. Lives on the core's loop, in the turn's task."""

    conversation: str
    turn: str
    settings: ev.RunSettings
    journal: Journal
    find_backend: Callable[[ev.RunSettings], Awaitable[Backend]]
    tools: Tools
    desk: Desk
    rules: Rules
    meter: Meter
    scratch: Path
    blobs: Blobs | None = None
    guards: Guards | None = None
    cause: ev.Cause = "shutdown"
    """Why the task is cancelled, set by whoever cancels it."""
    stop_after_step: bool = False
    quiet: asyncio.Timeout | None = None
    """Ends a stream from elsewhere on which nothing comes after the machine has slept."""
    span: str = ""
    """The present step."""
    index: int = 0
    gate: Gate = field(default_factory=Gate)
    redirected: str | None = None
    """Reasoning from which the reply that is being written is to begin anew."""
    repeats: Repeats = field(default_factory=Repeats)
    breaker: Breaker = field(default_factory=Breaker)
    patience: Patience = field(default_factory=Patience)
    history: History = field(default_factory=History)
    counter: Counter = field(default_factory=Counter)
    origins: Origins = field(init=False)
    sent: Sent | None = None
    """The last request of this run, that the next is stored as what differs from it."""
    marks: bool = True
    """Whether results of tools are marked as data where they hold text of others."""
    window: int = 0
    """Tokens of the model's window; 0: not known."""
    note_role: Role = "system"
    repairs: int = 0
    """How often the model was asked to write calls again."""
    forbids_calls: bool = False
    """The endpoint keeps the model from writing calls that would be refused."""
    doubtful: dict[Key, str] = field(default_factory=dict)
    """Calls of unknown outcome by what they were to do."""
    number: int = 0
    """Of a lane, from 1; 0: this is a turn."""
    left_out: bool = False
    """A person stops this lane and lets the others run."""
    task: asyncio.Task[None] | None = None
    """A lane's."""
    lanes: dict[str, Run] = field(default_factory=dict)
    """Those that are at work, by their ids."""

    def __post_init__(self) -> None:
        self.origins = Origins(self.outside)

    @property
    def place(self) -> str:
        """Whose tools' state this is: each lane has its own."""
        return f"{self.conversation}/{self.turn}" if self.number else self.conversation

    def address(self, call: str) -> str:
        """A call's id among those of all lanes, whose models number them alike."""
        return f"{self.turn}/{call}" if self.number else call

    def working(self) -> tuple[Run, ...]:
        """The trajectories that can be steered: the lanes at work, else the turn itself."""
        return tuple(self.lanes.values()) or (self,)

    def begin_step(self, index: int, purpose: ev.Purpose = "act") -> str:
        """The new step's span."""
        self.span, self.index = secrets.token_hex(6), index
        self.emit(ev.StepBegin(index, purpose), self.span)
        return self.span

    def slept(self, seconds: float) -> None:
        """Nothing ran for a while: connections may be gone without anybody having said so."""
        self.emit(ev.ClockJumped(seconds), self.span)
        if self.quiet is not None:
            self.quiet.reschedule(asyncio.get_running_loop().time() + _WAKING)

    def close_step(self) -> None:
        """End the step that is open, with everything in it."""
        turn = self.state.turn(self.turn)
        if turn is None or not turn.steps or turn.steps[-1].ended:
            return
        last = turn.steps[-1]
        items = [*missing_ends(turn, time.time()), (ev.StepEnd(last.index), last.span)]
        self.journal.append_all(self.conversation, items, self.turn)

    def emit(self, body: ev.Body, span: str = "") -> float:
        """Store and publish; the event's time."""
        return self.journal.append(self.conversation, body, self.turn, span).at

    @property
    def state(self) -> ConversationState:
        return self.journal.state(self.conversation)

    def own_scope(self) -> ev.Unattended | None:
        """What was said of this run alone."""
        turn = self.state.turn(self.turn)
        return turn.unattended if turn else None

    def unattended(self) -> ev.Unattended | None:
        """What may run with nobody there, as it was said of this run, or of the conversation."""
        return self.own_scope() or self.state.unattended

    def path(self) -> tuple[Turn, ...]:
        """The turns from the first to this one, whatever branch is shown meanwhile."""
        state = self.state
        found: list[Turn] = []
        current = state.turn(self.turn)
        while current is not None:
            found.append(current)
            current = state.turn(current.parent) if current.parent else None
        return tuple(reversed(found))

    @property
    def enabled(self) -> tuple[str, ...]:
        """The tools the model is offered: file tools only where a folder was chosen."""
        folder = self.state.folder
        return tuple(t for t in self.settings.tools if folder or t not in _NEEDS_FOLDER)

    def offered(self) -> tuple[str, ...]:
        """Our own tools: a plan for long runs, and recall once there is something to recall."""
        asked = self.settings.tools
        names = []
        if "plan" in asked or self.meter.budget.steps > _SHORT:
            names.append("plan")
        if "recall" in asked or hidden_on(self.path()) or summary_on(self.path()):
            names.append("recall")
        return tuple(names)

    def specs(self) -> tuple[ToolSpec, ...]:
        """Of every tool the model is told of."""
        own = tuple(OWN[name].spec for name in self.offered())
        return (*self.tools.specs(self.enabled), *own)

    def tool(self, name: str) -> Tool | None:
        """A tool that may be used in this run."""
        if name in self.offered():
            return OWN[name](self)
        enabled = any(covers(entry, name) for entry in self.enabled)
        return self.tools.get(name) if enabled else None

    def outside(self, name: str) -> bool:
        """Whether results of a tool of that name may hold text of others."""
        if name in OWN:
            return False
        tool = self.tools.get(name)
        return tool is None or tool.outside != "never"

    def parse(self, name: str, arguments: str) -> dict[str, Any]:
        """The arguments of a call. Raises ToolError."""
        return parse(arguments) if name in OWN else self.tools.parse(name, arguments)

    @property
    def result_limit(self) -> int:
        """Characters of a result: one must not fill the window."""
        return min(RESULT_LIMIT, self.window * 3 // 4) if self.window else RESULT_LIMIT

    def context(self, call: str = "", span: str = "") -> ToolContext:
        """Where this run's tools work."""
        folder = self.state.folder
        self.scratch.mkdir(parents=True, exist_ok=True)
        return ToolContext(
            self.place,
            Path(folder) if folder else None,
            self.scratch,
            call,
            lambda body: self.emit(body, span),
            self.blobs,
            partial(ask_form, self, span, call),
        )


def waiting_call(state: ConversationState, address: str) -> ToolRun | None:
    """A call that a person is asked about, by its id, in lanes by its address."""
    for turn in reversed(state.turns):
        for one in (turn, *turn.lanes):
            before = "" if one is turn else f"{one.id}/"
            for tool in (tool for step in reversed(one.steps) for tool in step.tools):
                if tool.waiting and before + tool.call == address:
                    return tool
    return None
