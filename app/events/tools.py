"""Tool calls: whether they may run, and what they bring, make and change."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from app.events.run import Unattended

Decision = Literal["once", "run", "always", "deny"]
ToolStatus = Literal["ok", "error", "denied", "cancelled", "unknown"]
"""``unknown``: the program ended while it ran; it may or may not have had its effect."""
Media = Literal["image/png", "image/jpeg", "text/csv", "text/html"]
"""What an artefact is."""
FormAction = Literal["accept", "decline", "cancel"]


class ToolProposed(msgspec.Struct, frozen=True, tag="tool.proposed"):
    call: str
    name: str
    arguments: str
    problem: str = ""
    """Why it cannot run as written (unknown tool, invalid arguments), if so."""
    repeats: str = ""
    """A call of unknown outcome that did, or was to do, the same."""


class ApprovalAsked(msgspec.Struct, frozen=True, tag="tool.approval_asked"):
    call: str
    reason: str
    """In words; several reasons a line each."""
    risk: str = ""
    """What kind of harm the tool could do (``app.tools.base.Risk``)."""
    preview: str = ""
    """What the call would change in a file, as a unified diff."""
    sandbox: str = ""
    """What its processes are confined by (``app.tools.base.Level``); empty: it starts none."""
    targets: tuple[str, ...] = ()
    """What the call is aimed at, as ``host example.org``."""
    strange: tuple[str, ...] = ()
    """Those of them that the person never named."""
    suggestions: tuple[str, ...] = ()
    """Patterns that the answer may be kept as."""


class ApprovalAnswered(msgspec.Struct, frozen=True, tag="tool.approval_answered"):
    """Without an ``ApprovalAsked`` before it: a rule answered, nobody was asked."""

    call: str
    decision: Decision
    reason: str = ""
    by: Literal["person", "rule", "unattended", "guard"] = "person"
    rule: str = ""
    """The pattern that decided, or that the person wants to be kept."""


class UnattendedSet(msgspec.Struct, frozen=True, tag="unattended"):
    """A person said what may run with nobody there; in a turn: for that turn. None: the end."""

    scope: Unattended | None


class GuardHit(msgspec.Struct, frozen=True, tag="guard.hit"):
    """A guard found something. ``excerpt`` shows where, never what."""

    guard: str
    where: Literal["input", "output", "call", "result"]
    action: Literal["block", "ask", "redact", "note"]
    message: str
    call: str = ""
    excerpt: str = ""


class FormAsked(msgspec.Struct, frozen=True, tag="tool.form_asked"):
    """The server of a running tool asks a person something; ``schema``: a flat JSON Schema."""

    call: str
    form: str
    server: str
    message: str
    schema: dict[str, Any] = {}


class FormAnswered(msgspec.Struct, frozen=True, tag="tool.form_answered"):
    """What was entered is not kept."""

    call: str
    form: str
    server: str
    action: FormAction


class ToolStarted(msgspec.Struct, frozen=True, tag="tool.started"):
    call: str


class ToolOutput(msgspec.Struct, frozen=True, tag="tool.output"):
    """Output while a tool runs; bounded by the tool's own limit."""

    call: str
    text: str


class ToolEnded(msgspec.Struct, frozen=True, tag="tool.ended"):
    """``result`` is exactly the text the model will read."""

    call: str
    status: ToolStatus
    result: str
    seconds: float = 0.0


class ArtefactMade(msgspec.Struct, frozen=True, tag="tool.artefact"):
    """A picture or table that a call made; its bytes are kept under ``blob`` (``app.store.blobs``).

    Untrusted, as all that tools return: nothing in it is ever run or fetched.
    """

    call: str
    blob: str
    media: Media
    title: str = ""
    size: int = 0


class FileChanged(msgspec.Struct, frozen=True, tag="file.changed"):
    """A call wrote a file of the conversation's folder. It can be undone while the earlier content
    is kept and the file is as the call left it.
    """

    call: str
    change: str
    """Names this change."""
    path: str
    """Relative to the folder."""
    before: str | None
    """The earlier content's blob; empty: too large to be kept; None: there was no file."""
    after: str
    """SHA-256 of what was written."""
    diff: str = ""
    """Unified, cut where it is long."""
    folder: str = ""


class FileRestored(msgspec.Struct, frozen=True, tag="file.restored"):
    """A person undid a change."""

    change: str
    path: str


ToolBody = (
    ToolProposed
    | ApprovalAsked
    | ApprovalAnswered
    | UnattendedSet
    | GuardHit
    | FormAsked
    | FormAnswered
    | ToolStarted
    | ToolOutput
    | ToolEnded
    | ArtefactMade
    | FileChanged
    | FileRestored
)
