"""What a tool is: a schema the model sees and a coroutine that does the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from engine.protocol import ToolSpec

Risk = Literal["none", "read", "write", "network", "execute", "foreign"]
"""What a call can do at worst: compute alone, read the person's files, change them, reach other
machines, run programs; ``foreign``: whatever another program's tool does."""

Outside = Literal["never", "marked", "raw"]
"""Whether results hold text of others, which is data to a model and never a wish of the person.
``marked``: the tool marks it so itself; ``raw``: whoever calls the tool has to."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a call is aimed at. ``host``: a name or an address, lower case; ``path``: absolute;
    ``address``: of a mail; ``command``: a line for a shell.
    """

    kind: Literal["host", "path", "address", "command"]
    value: str


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Where a call runs: its conversation, the folder the person opened, a scratch folder."""

    conversation: str
    folder: Path | None
    scratch: Path


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
