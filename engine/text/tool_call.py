"""One tool call as a model writes it: whose it is, and whether its arguments are usable."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from engine.errors import RequestError

LONGEST_NAME = 256
"""Characters."""
_COUNTER = re.compile(r"(?:tool_call_|call_)?\d*", re.ASCII)
_NUMBERED = re.compile(r"(?P<name>.*?)(?::(?P<number>\d*))?", re.ASCII | re.DOTALL)

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool the model may call; ``parameters_schema`` is a JSON Schema of type object."""

    name: str
    parameters_schema: Mapping[str, Any]


def tool_name(header: str, tools: Sequence[ToolSpec], prefix: str) -> str | None:
    """The tool a call's header names; None when it is only a counter (``0``, ``tool_call_1``).

    ``functions.NAME:N``, ``NAME:N``, ``functions.NAME`` and ``NAME`` are all accepted, with
    blanks around. A name that no tool has is returned as it stands.
    """
    header = header.strip()
    names = {tool.name for tool in tools}
    numbered = _NUMBERED.fullmatch(header)
    without_number = (numbered["name"] if numbered else header).strip()
    spellings = (header, without_number, without_number.removeprefix(prefix).strip())
    for name in spellings:
        if name in names:
            return name
    return None if _COUNTER.fullmatch(spellings[-1]) else spellings[-1]


def check_names(names: Sequence[str], prefix: str) -> None:
    """Whether calls of these tools can be told apart. Raises RequestError ``bad_tools``."""
    known = set[str]()
    for name in names:
        if not 0 < len(name) <= LONGEST_NAME or " " in name or not name.isprintable():
            message = f"{name[:80]!r} is no name of a tool"
            hint = f"1 to {LONGEST_NAME} characters without blanks"
            raise RequestError("bad_tools", message, hint)
        if name.removeprefix(prefix) in known:
            raise RequestError("bad_tools", f"two tools are called {name[:80]}", "rename one")
        known.add(name.removeprefix(prefix))


def infer_tool(arguments: str, tools: Sequence[ToolSpec]) -> str | None:
    """The only tool whose schema the arguments fit, None when none or several do.

    A fit: every required parameter is there, no unknown one, top-level types agree.
    """
    value = _parse(arguments)
    if not isinstance(value, dict):
        return None
    fitting = [tool.name for tool in tools if _fits(value, tool.parameters_schema)]
    return fitting[0] if len(fitting) == 1 else None


def is_json_object(text: str) -> bool:
    return isinstance(_parse(text), dict)


def repaired_arguments(raw: str) -> str | None:
    """The JSON object meant by ``raw`` (stripped, not itself an object); None when there is none.

    Nothing and ``null`` mean ``{}``; a JSON string holding an object means that object.
    """
    if raw in ("", "null"):
        return "{}"
    value = _parse(raw)
    if not isinstance(value, str):
        return None
    inner = escaped_controls(value.strip())
    if inner in ("", "null"):
        return "{}"
    return inner if is_json_object(inner) else None


def escaped_controls(text: str) -> str:
    """``text`` with raw control characters inside JSON strings written as escapes."""
    return StringEscaper().push(text)


class StringEscaper:
    """Makes raw line ends and other control characters inside JSON strings legal, as they pass.

    Models write ``{"code": "a`` newline ``b"}``; JSON wants ``\\n`` there. Whitespace outside
    strings is left alone.
    """

    __slots__ = ("_escaped", "_inside")

    def __init__(self) -> None:
        self._inside = False
        self._escaped = False

    def push(self, text: str) -> str:
        out: list[str] = []
        for char in text:
            if self._inside and char < " ":
                # A backslash before a raw line end is itself, as in continued code lines.
                out.append("\\" * self._escaped + json.dumps(char)[1:-1])
                self._escaped = False
                continue
            out.append(char)
            if self._escaped:
                self._escaped = False
            elif char == '"':
                self._inside = not self._inside
            elif char == "\\":
                self._escaped = True
        return "".join(out)


def _fits(value: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    required = schema.get("required")
    required = required if isinstance(required, list | tuple) else ()
    return (
        all(name in value for name in required)
        and all(name in properties for name in value)
        and all(_has_type(item, properties[name]) for name, item in value.items())
    )


def _has_type(value: object, schema: object) -> bool:
    declared = schema.get("type") if isinstance(schema, Mapping) else None
    names = declared if isinstance(declared, list | tuple) else [declared]
    kinds = [_TYPES[name] for name in names if isinstance(name, str) and name in _TYPES]
    if not kinds:
        return True
    if isinstance(value, bool):
        return (bool,) in kinds
    return any(isinstance(value, kind) for kind in kinds)


def _parse(text: str) -> object:
    """The JSON value of ``text``, or ``NotImplemented`` when it is not strict JSON."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return NotImplemented


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
