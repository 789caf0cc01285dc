"""The toolbox: order, and the check of arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import ToolError
from app.events import RunSettings
from app.paths import Paths
from app.settings import Settings
from app.tools.names import NAMES
from app.tools.registry import Toolbox


def test_names_and_specs(tmp_path: Path) -> None:
    box = Toolbox(Settings, Paths.under(tmp_path))
    assert box.names() == NAMES
    assert set(RunSettings().tools) <= set(NAMES)
    specs = box.specs(("read_file", "nope", "calculator"))
    assert [spec.function.name for spec in specs] == ["calculator", "read_file"]
    assert box.get("nope") is None


def test_arguments(tmp_path: Path) -> None:
    box = Toolbox(Settings, Paths.under(tmp_path))
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
def test_wrong_arguments(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(ToolError) as caught:
        Toolbox(Settings, Paths.under(tmp_path)).parse(name, text)
    assert caught.value.message.startswith(message)
