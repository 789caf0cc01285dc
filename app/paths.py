"""Where everything of a person lies: conversations, settings, logs, scratch."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from app.errors import StoreError

_NAME = "selenograph"


@dataclass(frozen=True, slots=True)
class Paths:
    """Folders are made by :meth:`make`, not before."""

    data: Path
    config: Path
    logs: Path

    @classmethod
    def default(cls) -> Paths:
        """The platform's usual places."""
        return cls(
            data=platformdirs.user_data_path(_NAME, appauthor=False),
            config=platformdirs.user_config_path(_NAME, appauthor=False),
            logs=platformdirs.user_log_path(_NAME, appauthor=False),
        )

    @classmethod
    def under(cls, folder: Path) -> Paths:
        """Everything below one folder, as ``--data`` and tests want it."""
        folder = folder.expanduser().absolute()
        return cls(data=folder, config=folder, logs=folder / "logs")

    @property
    def database(self) -> Path:
        return self.data / "conversations.db"

    @property
    def index(self) -> Path:
        """The offline index over the settings' collections; it can be made again."""
        return self.data / "index.db"

    @property
    def snapshots(self) -> Path:
        """What the engine has computed of conversations; it can be computed again."""
        return self.data / "snapshots"

    @property
    def settings(self) -> Path:
        return self.config / "settings.json"

    @property
    def guards(self) -> Path:
        """Functions that the person wrote: guards and checkers."""
        return self.config / "guards"

    @property
    def window_lock(self) -> Path:
        return self.data / "window.lock"

    @property
    def scratch(self) -> Path:
        """Working folders of tools, one a conversation."""
        return self.data / "scratch"

    @property
    def blobs(self) -> Path:
        """What tools made and what they overwrote, by its hash."""
        return self.data / "blobs"

    def make(self) -> None:
        """Create the folders. Raises StoreError ``read_only``, ``disk_full`` or ``no_folder``."""
        for folder in (self.data, self.config, self.logs, self.scratch):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise folder_error(folder, error) from error


def folder_error(path: Path, error: OSError) -> StoreError:
    """The typed form of a file system's refusal."""
    if error.errno == errno.ENOSPC:
        return StoreError(
            "disk_full", f"no space left for {path}", "free some space", retryable=True
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(
            "read_only", f"cannot write to {path}", "make it writable or choose another folder"
        )
    return StoreError("no_folder", f"cannot use {path}: {error.strerror}", "choose another folder")
