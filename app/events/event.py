"""The one union of all that can happen, the record around it, and its form on disk."""

from __future__ import annotations

from typing import Any

import msgspec

from app.events.conversation import ConversationBody
from app.events.decisions import DecisionBody
from app.events.lanes import LaneBody
from app.events.model import ModelBody
from app.events.steering import SteeringBody
from app.events.tools import ToolBody
from app.events.turn import TurnBody

SCHEMA = 1


class Unknown(msgspec.Struct, frozen=True, tag="unknown"):
    """An event of a newer version: kept and shown raw, never dropped."""

    kind: str
    data: dict[str, Any]


Body = (
    ConversationBody
    | TurnBody
    | LaneBody
    | SteeringBody
    | DecisionBody
    | ModelBody
    | ToolBody
    | Unknown
)


class Event(msgspec.Struct, frozen=True):
    """``seq`` orders events within a conversation; 0 for events that are published only.

    ``at`` is Unix time in seconds. ``run`` is the turn id ("" outside a turn), or a lane's id.
    ``span`` names the step the event belongs to ("" outside a step).
    """

    seq: int
    at: float
    conversation: str
    body: Body
    run: str = ""
    span: str = ""


_encoder = msgspec.json.Encoder()
_bodies: msgspec.json.Decoder[Body] = msgspec.json.Decoder(Body)


def encode_body(body: Body) -> bytes:
    """JSON with the kind under ``type``."""
    return _encoder.encode(body)


def storable(body: Body) -> Body:
    """The same, where UTF-8 can carry all of its text; half a surrogate pair becomes U+FFFD."""
    try:
        _encoder.encode(body)
    except UnicodeEncodeError:
        whole: Body = msgspec.convert(_whole(msgspec.to_builtins(body)), Body)
        return whole
    return body


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_whole(key): _whole(one) for key, one in value.items()}
    return [_whole(one) for one in value] if isinstance(value, list | tuple) else value


def decode_body(data: bytes | str) -> Body:
    """The inverse of :func:`encode_body`; a kind this version does not know becomes `Unknown`."""
    try:
        return _bodies.decode(data)
    except msgspec.ValidationError:
        raw = msgspec.json.decode(data)
        kind = str(raw.pop("type", "")) if isinstance(raw, dict) else ""
        return Unknown(kind=kind, data=raw if isinstance(raw, dict) else {"value": raw})
