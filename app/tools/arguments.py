"""Arguments of calls, checked against a tool's schema."""

from __future__ import annotations

import json
from typing import Any

import jsonschema

from app.errors import ToolError
from engine.validity import validate

LONGEST = 1_000_000
"""Characters."""


def checked(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Raises ToolError ``arguments``; its message says what is wrong and where."""
    if len(text) > LONGEST:
        raise ToolError("arguments", "the arguments are too long")
    arguments = parsed(text)
    try:
        validate(arguments, schema)
    except RecursionError:
        raise ToolError("arguments", "the arguments are nested too deeply") from None
    except jsonschema.ValidationError as error:
        where = f"{error.json_path[2:]}: " if error.path else ""
        raise ToolError("arguments", f"wrong arguments: {where}{error.message[:300]}") from None
    return as_object(arguments)


def parsed(text: str) -> object:
    """Raises ToolError ``arguments`` where it is no JSON, or its texts cannot be written."""
    try:
        value: object = json.loads(text or "{}")
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])[1:-1]
        message = f"the arguments hold half of a character, {half}: write the character itself"
        raise ToolError("arguments", message) from None
    except (ValueError, RecursionError):
        raise ToolError("arguments", "the arguments are not JSON") from None
    return value


def as_object(arguments: object) -> dict[str, Any]:
    """Raises ToolError ``arguments`` where it is none."""
    if not isinstance(arguments, dict):
        raise ToolError("arguments", "wrong arguments: an object is expected")
    return arguments
