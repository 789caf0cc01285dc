"""The journal: an event is in the database before anybody sees it.

Parts are stored merged: while one is open its text so far is kept in ``open_parts``, at most
every ``SNAPSHOT_EVERY`` seconds; its deltas are only published.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psutil  # type: ignore[import-untyped,unused-ignore]

from app import events as ev
from app.bus import Bus
from app.closing import missing_ends
from app.errors import RequestError, StoreError
from app.events import Event
from app.state import ConversationState, fold, fold_all
from app.store.db import Database

SNAPSHOT_EVERY = 0.4
"""Seconds. With the time of one write this stays below the half second that may be lost."""
_STATES_KEPT = 32

_log = logging.getLogger(__name__)

Item = tuple[ev.Body, str]
"""An event's body and its span."""


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """A line of the list. ``interrupted``: its last run was cut off or failed."""

    id: str
    title: str
    updated: float
    folder: str
    running: bool
    interrupted: bool


@dataclass(slots=True)
class _OpenPart:
    """Text that was published and is not yet in an event."""

    part: str
    run: str
    span: str
    text: list[str] = field(default_factory=list)
    tokens: int = 0
    timer: asyncio.TimerHandle | None = None

    def snapshot(self) -> ev.PartSnapshot:
        self.text = ["".join(self.text)]
        return ev.PartSnapshot(self.part, self.text[0], self.tokens)


class Journal:
    """One writer, on the core thread. Methods that write raise StoreError."""

    def __init__(
        self, database: Database, bus: Bus[Event], clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._bus = bus
        self._clock = clock
        self._states: dict[str, ConversationState] = {}
        self._open: dict[tuple[str, str], _OpenPart] = {}
        """By conversation and run: lanes write side by side."""
        self._unsaved: dict[str, list[Event]] = {}
        self._owner = (os.getpid(), psutil.Process().create_time())

    # -- writing ------------------------------------------------------------------------------

    def append(self, conversation: str, body: ev.Body, run: str = "", span: str = "") -> Event:
        """Store one event, then publish it. Nothing is published if it cannot be stored."""
        return self.append_all(conversation, [(body, span)], run)[0]

    def append_all(self, conversation: str, items: Sequence[Item], run: str = "") -> list[Event]:
        """Store several events in one transaction, then publish them in order."""
        at = self._clock()
        unsaved = self._unsaved.get(conversation, [])
        with self._database.transaction() as connection:
            self._write(connection, conversation, unsaved)
            events = self._write(
                connection,
                conversation,
                [Event(0, at, conversation, body, run, span) for body, span in items],
            )
        self._unsaved.pop(conversation, None)
        for event in events:
            self._settle(event)
            self._bus.publish(event)
        return events

    def end_turn(
        self,
        conversation: str,
        turn: str,
        last: Sequence[ev.Body],
        at: float = 0.0,
        died: bool = False,
    ) -> None:
        """End everything that is open in a turn or lane, then append ``last`` (it closes it).

        ``died``: the process that ran it is gone, so that nobody knows how its calls ended.

        Never raises StoreError: what cannot be stored now is published all the same, shown by
        :meth:`state` and stored with the next event that can be.
        """
        found = self.state(conversation).turn(turn)
        for lane in found.lanes if found else ():
            if lane.status == "running":
                end = ev.LaneEnd(lane.id, "stopped", code="cut_off")
                self.end_turn(conversation, lane.id, (end,), at, died)
        items = missing_ends(found, at or self._clock(), died) if found else []
        items += [(body, "") for body in last]
        try:
            self.append_all(conversation, items, turn)
        except StoreError as error:
            _log.error("the end of turn %s is not stored yet: %s", turn, error)
            now = self._clock()
            events = [Event(0, now, conversation, body, turn, span) for body, span in items]
            self._unsaved.setdefault(conversation, []).extend(events)
            for event in events:
                self._bus.publish(event)

    def delta(self, conversation: str, body: ev.PartDelta, run: str, span: str) -> None:
        """Publish more text of the open part; it is stored within ``SNAPSHOT_EVERY``."""
        part = self._open.get((conversation, run))
        if part is None or part.part != body.part:
            part = self._open[conversation, run] = _OpenPart(body.part, run, span)
        part.text.append(body.text)
        part.tokens += body.tokens
        if part.timer is None:
            loop = asyncio.get_running_loop()
            part.timer = loop.call_later(SNAPSHOT_EVERY, self._save_part, conversation, part)
        self.publish(conversation, body, run, span)

    def publish(self, conversation: str, body: ev.Body, run: str = "", span: str = "") -> None:
        """Show without storing (deltas, progress)."""
        self._bus.publish(Event(0, self._clock(), conversation, body, run, span))

    def _save_part(self, conversation: str, part: _OpenPart) -> None:
        part.timer = None
        try:
            with self._database.transaction() as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO open_parts VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        conversation,
                        part.part,
                        self._clock(),
                        part.run,
                        part.span,
                        ev.encode_body(ev.storable(part.snapshot())).decode(),
                    ),
                )
        except StoreError as error:
            # The next event of the run meets the same trouble and ends it properly.
            _log.warning("the open part is not stored: %s", error)

    def _write(
        self, connection: sqlite3.Connection, conversation: str, events: Sequence[Event]
    ) -> list[Event]:
        return [self._write_one(connection, conversation, event) for event in events]

    def _write_one(self, connection: sqlite3.Connection, conversation: str, event: Event) -> Event:
        if isinstance(event.body, ev.ConversationCreated):
            connection.execute(
                "INSERT INTO conversations (id, title, folder, created, updated)"
                " VALUES (?, '', '', ?, ?)",
                (conversation, event.at, event.at),
            )
        body = ev.storable(event.body)
        row = connection.execute(
            "UPDATE conversations SET last_seq = last_seq + 1, updated = max(updated, ?)"
            " WHERE id = ? RETURNING last_seq",
            (event.at, conversation),
        ).fetchone()
        if row is None:
            raise _no_conversation(conversation)
        connection.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)",
            (
                conversation,
                row[0],
                event.at,
                event.run,
                event.span,
                ev.encode_body(body).decode(),
            ),
        )
        self._project(connection, conversation, body)
        return Event(row[0], event.at, conversation, body, event.run, event.span)

    def _project(self, connection: sqlite3.Connection, conversation: str, body: ev.Body) -> None:
        """Keep the tables beside ``events`` true."""

        def update(column: str, value: object) -> None:
            connection.execute(
                f"UPDATE conversations SET {column} = ? WHERE id = ?", (value, conversation)
            )

        match body:
            case ev.ConversationCreated(title, folder):
                update("title", title)
                update("folder", folder)
            case ev.ConversationRenamed(title):
                update("title", title)
            case ev.ConversationFolderChanged(folder):
                update("folder", folder)
            case ev.ConversationDeleted():
                update("deleted", 1)
            case ev.ConversationRestored():
                update("deleted", 0)
            case ev.TurnBegin(turn=turn) | ev.TurnResumed(turn=turn):
                update("interrupted", 0)
                self._own(connection, conversation, turn)
            case ev.Interrupted() | ev.Failed():
                update("interrupted", 1)
            case ev.TurnEnd():
                connection.execute("DELETE FROM runs WHERE conversation = ?", (conversation,))
                connection.execute("DELETE FROM open_parts WHERE conversation = ?", (conversation,))
            case ev.PartEnd(part=part):
                connection.execute(
                    "DELETE FROM open_parts WHERE conversation = ? AND part = ?",
                    (conversation, part),
                )
            case _:
                pass

    def _own(self, connection: sqlite3.Connection, conversation: str, turn: str) -> None:
        row = connection.execute(
            "SELECT pid, process_began FROM runs WHERE conversation = ?", (conversation,)
        ).fetchone()
        if row and _alive(*row):
            raise RequestError(
                "busy", "this conversation is being worked on", "stop it or wait", retryable=True
            )
        connection.execute(
            "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", (conversation, turn, *self._owner)
        )

    def _settle(self, event: Event) -> None:
        """Bring what is kept in memory up to a stored event."""
        known = self._states.get(event.conversation)
        if known is not None and known.last_seq == event.seq - 1:
            self._states[event.conversation] = fold(known, event)
        part = self._open.get((event.conversation, event.run))
        if part is not None and (
            (isinstance(event.body, ev.PartEnd) and event.body.part == part.part)
            or isinstance(event.body, ev.TurnEnd | ev.LaneEnd)
        ):
            if part.timer is not None:
                part.timer.cancel()
            del self._open[event.conversation, event.run]

    # -- reading ------------------------------------------------------------------------------

    def state(self, conversation: str) -> ConversationState:
        """The present state, open part included. Raises RequestError ``no_conversation``."""
        known = self._states.pop(conversation, None) or ConversationState(id=conversation)
        known = fold_all(self._stored(conversation, known.last_seq), known)
        if not known.last_seq:
            raise _no_conversation(conversation)
        self._states[conversation] = known
        while len(self._states) > _STATES_KEPT:
            del self._states[next(iter(self._states))]
        return fold_all(
            [*self._snapshots(conversation), *self._unsaved.get(conversation, ())], known
        )

    def events(self, conversation: str) -> tuple[Event, ...]:
        """Everything stored, in order; open parts end it as ``PartSnapshot``s."""
        found = self._stored(conversation, 0)
        if not found:
            raise _no_conversation(conversation)
        return (*found, *self._snapshots(conversation))

    def summaries(self) -> tuple[ConversationSummary, ...]:
        """The conversations that are not deleted, the newest first."""
        rows = self._database.rows(
            "SELECT id, title, updated, folder, runs.turn IS NOT NULL, interrupted"
            " FROM conversations LEFT JOIN runs ON runs.conversation = id"
            " WHERE NOT deleted ORDER BY updated DESC, created DESC, id"
        )
        return tuple(
            ConversationSummary(id, title, updated, folder, bool(running), bool(interrupted))
            for id, title, updated, folder, running, interrupted in rows
        )

    def _stored(self, conversation: str, after: int) -> list[Event]:
        rows = self._database.rows(
            "SELECT seq, at, run, span, body FROM events"
            " WHERE conversation = ? AND seq > ? ORDER BY seq",
            (conversation, after),
        )
        return [
            Event(seq, at, conversation, ev.decode_body(body), run, span)
            for seq, at, run, span, body in rows
        ]

    def _snapshots(self, conversation: str) -> list[Event]:
        """The open parts: from memory if they are ours, else as another process stored them."""
        mine = [part for (owner, _), part in self._open.items() if owner == conversation]
        if mine:
            at = self._clock()
            return [Event(0, at, conversation, p.snapshot(), p.run, p.span) for p in mine]
        rows = self._database.rows(
            "SELECT at, run, span, body FROM open_parts WHERE conversation = ?", (conversation,)
        )
        return [
            Event(0, at, conversation, ev.decode_body(body), run, span)
            for at, run, span, body in rows
        ]

    # -- beginning and end --------------------------------------------------------------------

    def recover(self) -> tuple[str, ...]:
        """Mark the turns whose process is gone as interrupted; their conversations."""
        rows = self._database.rows("SELECT conversation, turn, pid, process_began FROM runs")
        found = [(conversation, turn) for conversation, turn, *owner in rows if not _alive(*owner)]
        message = "the program ended before the run did"
        for conversation, turn in found:
            last = (ev.Interrupted("shutdown", message), ev.TurnEnd(turn, "stopped"))
            at = self.state(conversation).updated
            self.end_turn(conversation, turn, last, at, died=True)
        return tuple(conversation for conversation, _ in found)

    def close(self) -> None:
        """Store the open parts and what could not be stored before, as far as it can be."""
        for (conversation, _), part in list(self._open.items()):
            if part.timer is not None:
                part.timer.cancel()
            self._save_part(conversation, part)
        for conversation in list(self._unsaved):
            try:
                self.append_all(conversation, [])
            except StoreError as error:
                _log.error("the end of a run in %s is lost: %s", conversation, error)


def _alive(pid: int, began: float) -> bool:
    try:
        return bool(abs(psutil.Process(pid).create_time() - began) < 1.0)
    except psutil.Error:
        return False


def _no_conversation(conversation: str) -> RequestError:
    return RequestError("no_conversation", f"there is no conversation {conversation!r}")
