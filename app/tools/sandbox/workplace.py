"""The sandbox of a conversation: its folders and limits, from the settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.errors import ToolError
from app.settings import SandboxSettings
from app.tools.base import Level, ToolContext
from app.tools.sandbox import probe
from app.tools.sandbox.config import Limits, Place, environment
from app.tools.sandbox.process import Confined


@dataclass(frozen=True, slots=True)
class Workplace:
    """Begins processes for tools. ``ours``: folders of the app, out of their reach."""

    settings: Callable[[], SandboxSettings] = SandboxSettings
    ours: tuple[Path, ...] = ()
    strongest: Level | None = None
    """The strongest level that may be used; None: any."""
    limits: Limits | None = None
    """Instead of the settings'."""

    async def level(self) -> Level:
        return await probe(self.strongest)

    async def start(
        self, command: Sequence[str], context: ToolContext, *, edits: bool, input: bool = False
    ) -> Confined:
        """Begin a command in the conversation's folder, or in its scratch folder if it has none.

        ``edits``: whether it may write to the folder. Raises ToolError.
        """
        level, settings = await self.level(), self.settings()
        scratch = context.scratch.resolve()
        folder = context.folder.resolve() if context.folder else None
        folders = (folder,) if folder else ()
        place = Place.of(
            folder or scratch,
            writable=(scratch, *folders) if edits else (scratch,),
            readable=() if edits else folders,
            network=settings.network,
            ours=tuple(path.resolve() for path in self.ours),
        )
        tmp = "/tmp"
        if level != "bubblewrap":
            if place.hidden:
                raise ToolError(
                    "secrets",
                    f"the folder contains {place.hidden[0]}, which cannot be hidden without "
                    "bubblewrap: choose a narrower folder",
                )
            (scratch / "tmp").mkdir(exist_ok=True)
            tmp = str(scratch / "tmp")
        try:
            return await Confined.start(
                command, place, self._limits(settings), level, environment(scratch, tmp),
                input=input,
            )  # fmt: skip
        except OSError as error:
            raise ToolError("sandbox", f"{command[0]} cannot be started: {error}") from error

    def _limits(self, settings: SandboxSettings) -> Limits:
        return self.limits or Limits(
            memory=settings.memory_mib << 20,
            disk=settings.disk_mib << 20,
            processes=settings.processes,
        )
