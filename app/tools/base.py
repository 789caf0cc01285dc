"""What a tool is: a schema the model sees and a coroutine that does the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from engine.protocol import ToolSpec


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
