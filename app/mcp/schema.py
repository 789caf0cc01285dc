"""What a server says of its tools, made harmless: names, descriptions and schemas are bounded."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jsonschema

from app.tools.documents.document import plain
from engine.protocol import FunctionSpec, ToolSpec

MOST_TOOLS = 128
"""Of one server; more would crowd out the conversation."""
LONGEST_NAME = 64
LONGEST_DESCRIPTION = 1_500
LARGEST_SCHEMA = 32_000
"""Characters as JSON."""
_DEEPEST = 24
_MOST_NODES = 5_000
"""Of a schema with its references followed, so that no reference doubles another without end."""

_ANYTHING: dict[str, Any] = {"type": "object"}
_OURS = re.compile(r"[^A-Za-z0-9_-]+")
_PATTERNS = ("pattern", "patternProperties", "propertyNames")


@dataclass(frozen=True, slots=True)
class Offered:
    """A tool as a server offers it. ``theirs``: its name there; ``checked``: the schema that
    arguments are checked against, without regular expressions, which could be made to never end.
    """

    spec: ToolSpec
    theirs: str
    checked: dict[str, Any]


def offered(server: str, tools: Iterable[tuple[str, str, dict[str, Any]]]) -> dict[str, Offered]:
    """Tools (name, description, schema) by the names under which a model is told of them."""
    found: dict[str, Offered] = {}
    for name, description, schema in list(tools)[:MOST_TOOLS]:
        ours = _name(server, name, found)
        sound = _sound(schema)
        spec = ToolSpec(FunctionSpec(ours, _description(server, description), sound))
        found[ours] = Offered(spec, name, _without_patterns(sound))
    return found


def _name(server: str, name: str, taken: dict[str, Offered]) -> str:
    """``server__tool`` in letters that every model's format allows, and not used yet."""
    base = f"{server}__{_OURS.sub('_', name) or '_'}"
    if len(base) <= LONGEST_NAME and base not in taken:
        return base
    mark = hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=3).hexdigest()
    base = f"{base[: LONGEST_NAME - 9]}_{mark}"
    number = 0
    while (made := f"{base}{number or ''}") in taken:
        number += 1
    return made


def _description(server: str, text: str) -> str:
    text = plain(text).strip()
    if len(text) > LONGEST_DESCRIPTION:
        text = text[: LONGEST_DESCRIPTION - 1] + "…"
    return f"(From the server {server}.) {text}".strip()


def _sound(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema if it can be trusted to end, else one that allows any object."""
    try:
        if len(json.dumps(schema, allow_nan=False)) > LARGEST_SCHEMA:
            return _ANYTHING
        made = {key: value for key, value in schema.items() if key not in ("$schema", "$id")}
        made["type"] = "object"
        if not _Walk(made).ends():
            return _ANYTHING
        jsonschema.Draft202012Validator.check_schema(made)
    except (ValueError, TypeError, RecursionError, jsonschema.SchemaError, AttributeError):
        return _ANYTHING
    return made


class _Walk:
    """A walk over a schema that follows references within it, and counts."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._nodes = 0

    def ends(self) -> bool:
        """Whether it is small, shallow, and refers to nothing outside itself."""
        return self._small(self._root, (), 0)

    def _small(self, node: Any, followed: tuple[str, ...], depth: int) -> bool:
        self._nodes += 1
        if self._nodes > _MOST_NODES or depth > _DEEPEST:
            return False
        if isinstance(node, list):
            return all(self._small(one, followed, depth + 1) for one in node)
        if not isinstance(node, dict):
            return True
        for key, value in node.items():
            if key in ("$dynamicRef", "$recursiveRef", "$id", "$anchor", "$dynamicAnchor"):
                return False
            if key != "$ref":
                if not self._small(value, followed, depth + 1):
                    return False
            elif not self._reference(value, followed, depth):
                return False
        return True

    def _reference(self, value: Any, followed: tuple[str, ...], depth: int) -> bool:
        if not isinstance(value, str) or not value.startswith("#"):
            return False
        if value in followed:  # a tree of its own kind: as deep as the arguments are
            return True
        target: Any = self._root
        for step in value.removeprefix("#").strip("/").split("/"):
            if step:
                step = step.replace("~1", "/").replace("~0", "~")
                if not isinstance(target, dict) or step not in target:
                    return False
                target = target[step]
        return self._small(target, (*followed, value), depth + 1)


def _without_patterns(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_patterns(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {
        key: value if key in ("enum", "const", "default") else _without_patterns(value)
        for key, value in node.items()
        if key not in _PATTERNS or not isinstance(value, str | dict) or key == "properties"
    }


LARGEST_FORM = 64 << 10


def plain_form(schema: dict[str, Any]) -> dict[str, Any]:
    """A form's schema as it may be kept and shown: of bounded size, else without fields."""
    if len(json.dumps(schema)) > LARGEST_FORM or not isinstance(schema.get("properties"), dict):
        return {"type": "object", "properties": {}}
    return schema
