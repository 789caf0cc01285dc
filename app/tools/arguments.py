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
    try:
        arguments = json.loads(text or "{}")
    except (ValueError, RecursionError):
        raise ToolError("arguments", "the arguments are not JSON") from None
    try:
        validate(arguments, schema)
    except RecursionError:
        raise ToolError("arguments", "the arguments are nested too deeply") from None
    except jsonschema.ValidationError as error:
        where = f"{error.json_path[2:]}: " if error.path else ""
        raise ToolError("arguments", f"wrong arguments: {where}{error.message[:300]}") from None
    if not isinstance(arguments, dict):
        raise ToolError("arguments", "wrong arguments: an object is expected")
    return arguments
