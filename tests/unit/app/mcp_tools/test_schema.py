"""What hostile servers may say of their tools; the forms of their configuration."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import ConfigError
from app.mcp.config import McpServer, load_servers
from app.mcp.schema import LONGEST_NAME, MOST_TOOLS, offered

ANYTHING = {"type": "object"}


def schema_of(schema: dict[str, Any]) -> dict[str, Any]:
    (found,) = offered("s", [("t", "d", schema)]).values()
    return found.spec.function.parameters


def test_a_good_schema_stays() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/a"}, "pattern": {"type": "string", "pattern": "^x"}},
        "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}},
        "required": ["a"],
    }
    (found,) = offered("s", [("t", "d", schema)]).values()
    del schema["$schema"]
    assert found.spec.function.parameters == schema
    jsonschema.validate({"a": [[]], "pattern": "y"}, found.checked)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"a": [1], "pattern": "y"}, found.checked)


def doubling(depth: int) -> dict[str, Any]:
    """Small, but doubled at each level."""
    names = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(depth)}
    return {"type": "object", "$defs": {**names, f"d{depth}": {}}, "$ref": "#/$defs/d0"}


def deep(depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(depth):
        made = {"properties": {"x": made}}
    return made


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "https://evil.org/x"}}},
        {"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}},
        {"type": "object", "properties": {"a": {"$dynamicRef": "#x"}}},
        {"type": "object", "properties": {"a": {"$id": "https://evil.org", "$ref": "#"}}},
        {"type": "object", "properties": {"a": {"type": "nonsense"}}},
        {"type": "object", "properties": []},
        {"type": "object", "description": "x" * 40_000},
        {"type": "object", "maximum": float("nan")},
        doubling(20),
        deep(200),
    ],
)
def test_a_bad_schema_becomes_any_object(schema: dict[str, Any]) -> None:
    assert schema_of(schema) == ANYTHING


def test_a_root_of_another_type_becomes_an_object() -> None:
    assert schema_of({"type": "string"}) == ANYTHING
    assert schema_of({}) == ANYTHING


def test_arguments_are_checked_without_regular_expressions() -> None:
    endless = {"type": "object", "properties": {"a": {"pattern": "^(a+)+$"}}}
    (found,) = offered("s", [("t", "d", endless)]).values()
    jsonschema.validate({"a": "a" * 60 + "b"}, found.checked)
    assert found.spec.function.parameters == endless


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=90), st.text(max_size=3000)), max_size=150))
def test_names_are_ours(tools: list[tuple[str, str]]) -> None:
    found = offered("srv", [(name, text, {}) for name, text in tools])
    assert len(found) == min(len(tools), MOST_TOOLS)
    assert [one.theirs for one in found.values()] == [name for name, _ in tools[:MOST_TOOLS]]
    for name, one in found.items():
        assert name == one.spec.function.name
        assert re.fullmatch(r"srv__[A-Za-z0-9_-]+", name) and len(name) <= LONGEST_NAME
        assert len(one.spec.function.description) < 1_600


# -- configuration -----------------------------------------------------------------------------


def test_the_common_form(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    servers = {
        "fs": {"command": "npx", "args": ["-y", "x"], "env": {"A": "b"}, "type": "stdio"},
        "web": {"url": "https://x.org/mcp", "headers": {"Authorization": "Bearer x"}},
        "off": {"command": "x", "disabled": True},
        "own": {"command": "theirs"},
    }
    file.write_text(json.dumps({"mcpServers": servers, "inputs": []}))
    found = load_servers({"own": McpServer(command="mine")}, str(file))
    assert set(found) == {"fs", "web", "own"}
    assert found["fs"].args == ("-y", "x")
    assert found["own"].command == "mine"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"mcpServers": []}', '{"mcpServers": {"a": 1}}', '{"mcpServers": {"a": {}}}',
     '{"mcpServers": {"a b": {"command": "x"}}}', '{"mcpServers": {"a__b": {"command": "x"}}}',
     '{"mcpServers": {"a": {"command": "x", "url": "http://y"}}}', "\xff",
     '{"mcpServers": {"a": {"url": "ftp://x"}}}', '{"mcpServers": {"a": {"command": 1}}}',
     '{"mcpServers": {"a": {"command": "x", "seconds": -1}}}'],
)  # fmt: skip
def test_wrong_files(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mcp.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError):
        load_servers({}, str(file))
    with pytest.raises(ConfigError):
        load_servers({}, str(tmp_path / "none.json"))
