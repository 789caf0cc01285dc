"""Arguments that the engine may write are those that the app takes."""

from __future__ import annotations

import pytest

from app.errors import ToolError
from app.tools.arguments import checked


def test_multiples_are_those_of_the_numbers_as_written() -> None:
    schema = {"type": "object", "properties": {"a": {"multipleOf": 0.01}}}
    for right in ("0.03", "653147852.03", "1e308", "-7", "0.0"):
        assert "a" in checked(f'{{"a": {right}}}', schema)
    for wrong in ("0.031", "1e-300", "Infinity"):
        with pytest.raises(ToolError, match="is not a multiple of"):
            checked(f'{{"a": {wrong}}}', schema)


def test_a_schema_that_lists_a_value_twice_is_as_good_as_another() -> None:
    draft = "http://json-schema.org/draft-04/schema#"
    schema = {"$schema": draft, "type": "object", "properties": {"a": {"enum": ["x", "x"]}}}
    assert checked('{"a": "x"}', schema) == {"a": "x"}
    with pytest.raises(ToolError, match="wrong arguments: a"):
        checked('{"a": "y"}', schema)


@pytest.mark.parametrize("text", [r'{"x": "a\ud800"}', r'{"\udfff": 1}', '{"x": ["\ud800"]}'])
def test_half_a_character_is_said(text: str) -> None:
    with pytest.raises(ToolError, match="half of a character"):
        checked(text, {"type": "object"})
    assert checked(r'{"x": "\ud83d\ude00"}', {"type": "object"}) == {"x": "\U0001f600"}
