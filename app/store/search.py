"""Finding words in conversations: what was asked and what was answered, the newest first."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from app import events as ev
from app.errors import RequestError, StoreError

SECONDS = 5.0
MOST = 50
AROUND = 160
"""Characters shown on either side of the first word found."""

_CONVERSATIONS = "SELECT id, title FROM conversations WHERE NOT deleted ORDER BY updated DESC"
_TEXTS = (
    "SELECT at, body FROM events WHERE conversation = ?"
    """ AND (body LIKE '{"type":"turn.begin"%' OR body LIKE '{"type":"turn.end"%')"""
    " ORDER BY seq DESC"
)


@dataclass(frozen=True, slots=True)
class FoundText:
    """``who``: whose words they are. ``at``: Unix time in seconds."""

    conversation: str
    title: str
    at: float
    who: str
    excerpt: str


def search_conversations(
    database: Path, query: str, limit: int, seconds: float = SECONDS
) -> list[FoundText]:
    """Texts that contain all words of the query, whatever their case; those found in time.

    Blocking, on a read-only connection of its own, for any thread. Raises RequestError ``no_words``
    and StoreError.
    """
    words = query.casefold().split()
    if not words:
        raise RequestError("no_words", "there is no word to search for")
    late = time.monotonic() + seconds
    found: list[FoundText] = []
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > late, 10_000)
            for one in _texts(connection):
                excerpt = _excerpt(one.excerpt, words)
                if excerpt:
                    found.append(replace(one, excerpt=excerpt))
                if len(found) >= min(limit, MOST) or time.monotonic() > late:
                    break
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise StoreError("unreadable", f"cannot search {database}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise StoreError("damaged", f"{database}: {error}") from error
    return found


def _texts(connection: sqlite3.Connection) -> Iterator[FoundText]:
    """Everything said, in full, by the conversations changed last."""
    for conversation, title in connection.execute(_CONVERSATIONS):
        for at, body in connection.execute(_TEXTS, (conversation,)):
            who, text = _said(body)
            yield FoundText(conversation, title, at, who, text)


def _said(body: str) -> tuple[str, str]:
    match ev.decode_body(body):
        case ev.TurnBegin(text=text):
            return "user", text
        case ev.TurnEnd(answer=answer):
            return "assistant", answer
    return "", ""


def _excerpt(text: str, words: list[str]) -> str:
    """The text around its first word; empty if it has not all of them."""
    folded = text.casefold()
    places = [folded.find(word) for word in words]
    if min(places) < 0:
        return ""
    # Folding may lengthen a text; an excerpt that is a little beside the word does no harm.
    begin = max(0, min(places) - AROUND)
    end = min(places) + AROUND
    cut = " ".join(text[begin:end].split())
    return ("…" if begin else "") + cut + ("…" if end < len(text) else "")
