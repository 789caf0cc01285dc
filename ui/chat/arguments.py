"""A call's arguments as people read and change them.

What is no JSON, or is nested deeper than can be read, stays as it was written.
"""

from __future__ import annotations

import json

NO_JSON = (ValueError, RecursionError)
"""What reading and writing JSON raises."""


def indented(arguments: str) -> str:
    """As JSON that is read with ease."""
    try:
        return json.dumps(json.loads(arguments), indent=2, ensure_ascii=False)
    except NO_JSON:
        return arguments


def as_text(arguments: str) -> str:
    """A single text bare, everything else as indented JSON."""
    only = _single(arguments)
    return indented(arguments) if only is None else only[1]


def as_arguments(text: str, before: str) -> str:
    """The inverse of :func:`as_text`, for arguments that were ``before``."""
    only = _single(before)
    return text if only is None else json.dumps({only[0]: text}, ensure_ascii=False)


def same(one: str, other: str) -> bool:
    """Whether both say the same."""
    try:
        return bool(json.loads(one) == json.loads(other))
    except NO_JSON:
        return one == other


def _single(arguments: str) -> tuple[str, str] | None:
    """Name and value, where the only argument is a text."""
    try:
        value = json.loads(arguments)
    except NO_JSON:
        return None
    if isinstance(value, dict) and len(value) == 1:
        ((name, text),) = value.items()
        if isinstance(text, str):
            return name, text
    return None
