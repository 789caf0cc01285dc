"""A call's arguments as people read and change them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.state import ToolRun
from ui.chat.arguments import as_arguments, as_text, same
from ui.chat.tool_row import readable
from ui.trace import pages

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ('{"code": "a = 1\\nb"}', "a = 1\nb"),
        ('{"x": 1}', '{\n  "x": 1\n}'),
        ("{}", "{}"),
        ("null", "{}"),
        ('{"x": 1', '{"x": 1'),
        ("", ""),
    ],
)
def test_what_is_shown(arguments: str, shown: str) -> None:
    assert readable(arguments) == shown


@pytest.mark.parametrize("depth", [400, 800, 1600, 100_000])
def test_what_is_nested_too_deeply_is_shown_as_it_was_written(depth: int) -> None:
    arguments = f'{{"a": {"[" * depth}{"]" * depth}}}'
    assert "".join(readable(arguments).split()) == "".join(arguments.split())
    assert "[" * depth in pages.tools([ToolRun("c", "f", arguments, 0.0)])
    assert same(arguments, arguments)


@given(st.dictionaries(st.text(), VALUES, max_size=3))
def test_what_is_left_as_it_was_stays_so(arguments: dict[str, object]) -> None:
    written = json.dumps(arguments)
    assert json.loads(as_arguments(as_text(written), written)) == arguments
