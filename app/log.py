"""The program's own log: a file that turns over, and standard error when asked for."""

from __future__ import annotations

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from app.paths import folder_error

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def start_log(folder: Path, *, verbose: bool = False) -> logging.Handler:
    """Log to ``folder/selenograph.log`` (4 files of 1 MB). Returns the handler, to be removed.

    Raises StoreError when the file cannot be written.
    """
    path = folder / "selenograph.log"
    try:
        handler: logging.Handler = RotatingFileHandler(path, maxBytes=1_000_000, backupCount=3)
    except OSError as error:
        raise folder_error(path, error) from error
    handler.setFormatter(logging.Formatter(_FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    if verbose:
        root.addHandler(logging.StreamHandler(sys.stderr))
    return handler


def stop_log(handler: logging.Handler) -> None:
    """Undo :func:`start_log`."""
    logging.getLogger().removeHandler(handler)
    handler.close()
