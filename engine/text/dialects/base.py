"""What the stream parser needs to know of a family's format."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Mark(enum.Enum):
    """What a marker means. END also covers every token that ends a reply."""

    REASONING_OPEN = enum.auto()
    REASONING_CLOSE = enum.auto()
    SECTION_OPEN = enum.auto()
    SECTION_CLOSE = enum.auto()
    CALL_OPEN = enum.auto()
    ARGUMENTS_OPEN = enum.auto()
    CALL_CLOSE = enum.auto()
    END = enum.auto()
    STRAY = enum.auto()
    """A control token that has no business in a reply."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Markers of one family.

    ``markers`` maps each spelling to its meaning. A spelling that is a control token of the
    vocabulary is recognised by its id alone, and the same characters in ordinary tokens are
    text. A spelling the vocabulary lacks is looked for in the text; only section markers may be
    such. ``id_prefix`` goes before a tool's name in call ids: ``functions.NAME:N``.
    """

    markers: dict[str, Mark]
    id_prefix: str
