"""Who allowed what: the decisions in all conversations, the newest first."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from app import events as ev
from app.errors import StoreError

_KINDS = ("tool.approval_answered", "tool.arguments_edited", "unattended", "guard.hit")
_WANTED = " OR ".join(f"""body LIKE '{{"type":"{kind}"%'""" for kind in _KINDS)
_EVENTS = (
    "SELECT e.conversation, c.title, e.at, e.run, e.body FROM events e"
    " JOIN conversations c ON c.id = e.conversation"
    f" WHERE NOT c.deleted AND ({_WANTED}) ORDER BY e.at DESC LIMIT ?"
)
_PROPOSED = (
    "SELECT body FROM events WHERE conversation = ? AND run = ?"
    """ AND body LIKE '{"type":"tool.proposed"%'"""
)


@dataclass(frozen=True, slots=True)
class Decision:
    """``what``: allowed, denied, changed, unattended or guard. ``by``: person, rule, unattended,
    guard. ``at``: Unix time in seconds.
    """

    at: float
    conversation: str
    title: str
    what: str
    by: str
    tool: str = ""
    arguments: str = ""
    rule: str = ""
    reason: str = ""


def decisions(database: Path, limit: int) -> list[Decision]:
    """Blocking, on a read-only connection of its own, for any thread. Raises StoreError."""
    if not database.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            return list(_read(connection, limit))
    except sqlite3.DatabaseError as error:
        raise StoreError("unreadable", f"cannot read {database}: {error}") from error


def _read(connection: sqlite3.Connection, limit: int) -> Iterator[Decision]:
    calls: dict[tuple[str, str], dict[str, ev.ToolProposed]] = {}
    for conversation, title, at, run, text in connection.execute(_EVENTS, (limit,)).fetchall():
        if (conversation, run) not in calls:
            rows = connection.execute(_PROPOSED, (conversation, run)).fetchall()
            bodies = (ev.decode_body(row[0]) for row in rows)
            calls[conversation, run] = {
                body.call: body for body in bodies if isinstance(body, ev.ToolProposed)
            }
        known = calls[conversation, run]
        body = ev.decode_body(text)
        call = known.get(getattr(body, "call", ""))
        tool, arguments = (call.name, call.arguments) if call else ("", "")
        match body:
            case ev.ApprovalAnswered(decision=decision, reason=reason, by=by, rule=rule):
                what = "denied" if decision == "deny" else f"allowed ({decision})"
                yield Decision(at, conversation, title, what, by, tool, arguments, rule, reason)
            case ev.ArgumentsEdited(arguments=after):
                yield Decision(at, conversation, title, "changed", "person", tool, after)
            case ev.UnattendedSet(scope=scope):
                allow = ", ".join(scope.allow) if scope else ""
                what = "unattended" if scope else "attended"
                yield Decision(at, conversation, title, what, "person", rule=allow)
            case ev.GuardHit(guard=guard, action=action, message=message):
                yield Decision(
                    at, conversation, title, f"guard {action}", "guard", tool, "", guard, message
                )
