"""What a tool is: a schema the model sees and a coroutine that does the work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from app import events as ev
from app.store.blobs import Blobs
from engine.protocol import ToolSpec

Risk = Literal["none", "read", "write", "network", "execute", "foreign"]
"""What a call can do at worst: compute alone, read the person's files, change them, reach other
machines, run programs; ``foreign``: whatever another program's tool does."""

Outside = Literal["never", "marked", "raw"]
"""Whether results hold text of others, which is data to a model and never a wish of the person.
``marked``: the tool marks it so itself; ``raw``: whoever calls the tool has to."""

Level = Literal["bubblewrap", "landlock", "none"]
"""What confines the processes of a tool, the strongest first. ``none``: a person has to allow each
call by itself."""


TargetKind = Literal["host", "path", "address", "command"]


@dataclass(frozen=True, slots=True)
class Target:
    """What a call is aimed at. ``host``: a name or an address, lower case; ``path``: absolute;
    ``address``: of a mail; ``command``: a line for a shell.
    """

    kind: TargetKind
    value: str


@dataclass(frozen=True, slots=True)
class FormReply:
    """What a person made of a form."""

    action: ev.FormAction
    content: dict[str, Any] = field(default_factory=dict)


AskForm = Callable[[str, str, dict[str, Any]], Awaitable[FormReply]]
"""(who asks, message, schema) to what a person made of it."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Where a call runs: its conversation, the folder the person opened, a scratch folder."""

    conversation: str
    folder: Path | None
    scratch: Path
    call: str = ""
    record: Callable[[ev.Body], object] = lambda body: None
    """Puts an event of this call (an artefact, a change of a file) into the journal."""
    blobs: Blobs | None = None
    """Keeps what such events refer to."""
    ask: AskForm | None = None
    """None: there is nobody to ask."""


class Tool(Protocol):
    """One tool. All methods run on the core's event loop."""

    @property
    def spec(self) -> ToolSpec:
        """Name, description and JSON Schema as the model sees them."""

    @property
    def read_only(self) -> bool:
        """Whether calls change nothing and may therefore run side by side."""

    @property
    def asks(self) -> bool:
        """Whether a person must approve a call unless a rule allows it."""

    @property
    def risk(self) -> Risk:
        """Shown with the question, and what rules may name instead of a tool (``@network``)."""

    @property
    def outside(self) -> Outside:
        """Whether results hold text of others."""

    async def run(
        self, arguments: dict[str, Any], context: ToolContext, output: Callable[[str], None]
    ) -> str:
        """The result text for the model. ``output`` publishes text while it runs.

        Raises ToolError when it cannot be done; its message becomes the result. Cancellation
        stops the work and everything it started.
        """

    async def forget(self, conversation: str) -> None:
        """Free what is kept for a conversation."""

    async def close(self) -> None:
        """Free everything."""


@runtime_checkable
class Asking(Protocol):
    """A tool that asks only for some of its calls, or says what a call will do."""

    def question(self, arguments: dict[str, Any], context: ToolContext) -> str | None:
        """What a person is asked, as a sentence; None: this call needs no approval. Quick."""


@runtime_checkable
class Aimed(Protocol):
    """A tool that knows what its calls are aimed at; of others it is read from the arguments."""

    def targets(self, arguments: dict[str, Any], context: ToolContext) -> tuple[Target, ...]:
        """Quick, and never raises."""


@runtime_checkable
class Previewing(Protocol):
    """A tool that can show what a call would change."""

    async def preview(self, arguments: dict[str, Any], context: ToolContext) -> str:
        """A unified diff, cut where it is long; empty: nothing, or it cannot be told."""


@runtime_checkable
class Confined(Protocol):
    """A tool whose work is done by processes in a sandbox."""

    async def level(self) -> Level:
        """What confines them on this machine; probed once."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a person, or a rule, should know of a call before it is allowed."""

    risk: Risk
    preview: str = ""
    level: Level | None = None
    """None: it starts no process of its own."""

    @property
    def each_time(self) -> bool:
        """Whether no rule may allow it: nothing confines what it starts."""
        return self.level == "none"


async def facts_of(tool: Tool, arguments: dict[str, Any], context: ToolContext) -> Facts:
    """Everything about a call that an approval shows."""
    return Facts(
        risk=tool.risk,
        preview=await tool.preview(arguments, context) if isinstance(tool, Previewing) else "",
        level=await tool.level() if isinstance(tool, Confined) else None,
    )
