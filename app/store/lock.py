"""One window at a time; the terminal may run beside it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from app.errors import ResourceError
from app.paths import folder_error


class WindowLock:
    """Held while the object is; the system frees it when the process dies, however it dies."""

    def __init__(self, path: Path) -> None:
        """Raises ResourceError ``second_instance`` and StoreError."""
        try:
            self._file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - held open on purpose
        except OSError as error:
            raise folder_error(path, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            owner = self._file.read(20).strip() or "unknown"
            self._file.close()
            raise ResourceError(
                "second_instance",
                f"a window is open already (process {owner})",
                "use that window, or close it first",
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Idempotent."""
        self._file.close()
