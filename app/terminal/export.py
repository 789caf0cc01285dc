"""``selenograph export``: one conversation on standard output."""

from __future__ import annotations

import argparse
import sys

from app.bus import Bus
from app.cli import ANSWERED
from app.errors import RequestError
from app.events import Event
from app.export import as_json, as_markdown
from app.paths import Paths
from app.store.db import Database
from app.store.journal import Journal


def export(arguments: argparse.Namespace) -> int:
    """The exit code. Raises SelenographError."""
    paths = Paths.under(arguments.data) if arguments.data else Paths.default()
    if not paths.database.exists():
        raise RequestError("no_conversation", "there are no conversations here")
    database, _ = Database.open(paths.database)
    try:
        journal = Journal(database, Bus[Event]())
        redact = not arguments.with_secrets
        if arguments.format == "json":
            text = as_json(journal.events(arguments.conversation), redact=redact)
        else:
            text = as_markdown(journal.state(arguments.conversation), redact=redact)
    finally:
        database.close()
    sys.stdout.write(text)
    return ANSWERED
