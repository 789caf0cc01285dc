"""Requests with tools of many kinds, from our own schemas or from a folder of others'."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import RequestError
from engine.grammar.disjoint import types
from engine.grammar.pointers import Document
from engine.grammar.rules import Grammars, Rules
from engine.protocol import (
    ChatMessage,
    ChatRequest,
    FunctionSpec,
    NamedTool,
    ToolChoice,
    ToolName,
    ToolSpec,
)

Schema = dict[str, Any]
MESSAGES = (ChatMessage("user", "Call the tool that fits."),)
_WORD: Schema = {"type": "string", "maxLength": 12}
_LARGEST = 50_000
"""Bytes of a schema's file."""


def _object(**properties: Schema) -> Schema:
    names = list(properties)
    return {
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": False,
    }


KINDS: tuple[Schema, ...] = (
    _object(a=_object(b=_object(c={"type": "integer"}, d=_WORD))),
    _object(
        where={
            "anyOf": [
                _object(kind={"const": "file"}, path=_WORD),
                _object(kind={"const": "line"}, number={"type": "integer", "minimum": 1}),
                {"type": "null"},
            ]
        }
    ),
    _object(unit={"enum": ["°C", "°F", "K"]}, level={"enum": [1, 2.5, None, True, "high"]}),
    _object(
        day={"type": "string", "pattern": "^\\d{4}-(0[1-9]|1[0-2])$"},
        code={"type": "string", "pattern": "^[A-Z]{2,3}-?[0-9]{1,4}$"},
    ),
    {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"value": _WORD, "next": {"$ref": "#/$defs/node"}},
                "required": ["value"],
                "additionalProperties": False,
            }
        },
        **_object(head={"$ref": "#/$defs/node"}),
    },
    _object(
        items={"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 4},
        pairs={"type": "array", "maxItems": 2, "items": _object(key=_WORD, on={"type": "boolean"})},
    ),
    _object(**{"größe": _WORD, "名前": _WORD, "🌍": {"enum": ["да", "ні"]}}),
    _object(at={"type": "string", "format": "date-time"}, id={"type": "string", "format": "uuid"}),
    _object(),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One request: its tools by name, and what was asked of the reply."""

    tools: dict[str, Schema]
    specs: tuple[ToolSpec, ...]
    """The same as they are told."""
    choice: ToolChoice
    rules: Rules
    first_call: int
    """The N of the first call's id."""


def schemas_in(folder: Path | None) -> tuple[list[Schema], str]:
    """All schemas of objects in a folder's files, and where they are from; else our own.

    Raises RequestError ``no_schemas``.
    """
    if folder is None:
        return list(KINDS), "own schemas"
    found = []
    for path in sorted(folder.rglob("*.json")):
        if path.stat().st_size > _LARGEST:
            continue
        try:
            schema = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            continue
        if isinstance(schema, dict) and "object" in types(Document(schema), schema):
            found.append(schema)
    if not found:
        raise RequestError("no_schemas", f"there is no schema of an object in {folder}")
    return found, folder.name


def enforced(
    schemas: Sequence[Schema], grammars: Grammars, draw: random.Random
) -> tuple[list[Schema], Counter[str]]:
    """Those that are enforced in full, shuffled; and why the others are refused where ``strict``
    asks for that.
    """
    kept, refused = list[Schema](), Counter[str]()
    for schema in schemas:
        specs = (ToolSpec(FunctionSpec("do", "", schema, True)),)
        try:
            grammars.rules(ChatRequest(MESSAGES, tools=specs))
        except RequestError as error:
            refused[_kind(error.message)] += 1
        else:
            kept.append(schema)
    draw.shuffle(kept)
    return kept, refused


def shortened(schema: Schema) -> Schema:
    """A narrower schema whose texts and lists find an end by chance; the same one where something
    in it is negated.
    """
    return schema if _NEGATED & _keywords(schema) else _short(schema)


def _keywords(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_keywords, value.values()))
    return set().union(*map(_keywords, value)) if isinstance(value, list) else set()


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return [_short(one) for one in value]
    if not isinstance(value, dict):
        return value
    made = {name: one if name in _VALUES else _short(one) for name, one in value.items()}
    match made.get("type"):
        case "string" if not _FIXED & made.keys():
            made["maxLength"] = 12
        case "array" if not _COUNTED & made.keys():
            made["maxItems"] = 2
    return made


_VALUES = frozenset({"enum", "const", "default", "examples"})
_FIXED = frozenset({"enum", "const", "pattern", "format", "minLength", "maxLength"})
_COUNTED = frozenset({"minItems", "maxItems", "contains", "enum", "const"})
_NEGATED = frozenset({"not", "if", "oneOf", "dependencies", "dependentSchemas", "contains"})


def cases(schemas: Sequence[Schema], grammars: Grammars, draw: random.Random) -> Iterator[Case]:
    """Without end: one to three tools, most often one has to be called. The schemas, all of which
    are enforced in full, come up one after the other, shortened.
    """
    dealt = itertools.cycle(schemas)
    while True:
        words = draw.sample(["get", "set", "find", "läs"], draw.randint(1, 3))
        tools = {f"{word}_{i}": next(dealt) for i, word in enumerate(words)}
        named = draw.choice(list(tools))
        choices: tuple[ToolChoice, ...] = ("required", NamedTool(ToolName(named)), "auto", "none")
        choice = draw.choices(choices, _CHANCES)[0]
        specs = tuple(ToolSpec(FunctionSpec(n, "", shortened(s), True)) for n, s in tools.items())
        asked = ChatRequest(
            MESSAGES,
            tools=specs,
            tool_choice=choice,
            parallel_tool_calls=draw.random() < 0.2,
        )
        try:
            rules = grammars.rules(asked)
        except RequestError:
            continue  # where shortening left nothing
        assert rules is not None
        yield Case(tools, specs, choice, rules, draw.choice([0, 0, 7, 131]))


_CHANCES = (7, 2, 2, 1)


def _kind(message: str) -> str:
    """A refusal without what is of this schema alone."""
    said = message.split(": ", 1)[-1]
    return re.split(r"[:/'\"]|\d", said)[0].strip(" []") or said
