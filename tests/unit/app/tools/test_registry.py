"""The toolbox: order, and the check of arguments."""

from __future__ import annotations

import pytest

from app.errors import ToolError
from app.tools.registry import Toolbox

NAMES = ("calculator", "python", "list_files", "read_file", "search_files")


def test_names_and_specs() -> None:
    box = Toolbox()
    assert box.names() == NAMES
    specs = box.specs(("read_file", "nope", "calculator"))
    assert [spec.function.name for spec in specs] == ["calculator", "read_file"]
    assert box.get("nope") is None


def test_arguments() -> None:
    box = Toolbox()
    assert box.parse("read_file", '{"path": "a", "start": 2}') == {"path": "a", "start": 2}
    assert box.parse("list_files", "") == {}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("calculator", "{", "the arguments are not JSON"),
        ("calculator", "[" * 100_000, "the arguments are not JSON"),
        ("calculator", " " * 2_000_000, "the arguments are too long"),
        ("calculator", "[]", "wrong arguments: [] is not of type 'object'"),
        ("calculator", "{}", "wrong arguments: 'expression' is a required property"),
        ("calculator", '{"expression": 1}', "wrong arguments: expression: 1 is not of type"),
        ("read_file", '{"path": "a", "start": 0}', "wrong arguments: start: 0 is less than"),
        ("python", '{"code": "", "x": 1}', "wrong arguments: Additional properties"),
    ],
)
def test_wrong_arguments(name: str, text: str, message: str) -> None:
    with pytest.raises(ToolError) as caught:
        Toolbox().parse(name, text)
    assert caught.value.message.startswith(message)
