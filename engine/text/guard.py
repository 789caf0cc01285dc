"""Keeps text from messages apart from the control tokens a chat template writes.

A template is a program that mixes its own markers with strings from messages; in what it renders
nobody can tell ``<|im_end|>`` written by the template from ``<|im_end|>`` typed by a user. So,
before rendering, every character in the data with which some control name begins or ends (for
Kimi K2: ``<``, ``>``, ``[``, ``]``) is replaced, one for one, by a stand-in that occurs neither
in the data nor in the template. Whatever the template does with the strings (trim, join, split,
slice, JSON), a control name in its output then begins and ends with characters of the template's
own. After the output is cut at control names, the stand-ins are turned back.

What this does not stop is a template that builds the inside of a marker from a message's fields,
such as ``<|{{ name }}|>``. Roles, the one field used so in practice, come from a closed set.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.errors import RequestError
from engine.text.tokenizer import is_guardable

MAX_DEPTH = 64

# Supplementary private use area B: valid in UTF-8, given meaning by nobody.
_STAND_INS = range(0x100000, 0x10FFFE)


class Guard:
    """One rendering's stand-ins."""

    __slots__ = ("_hidden", "_revealed")

    def __init__(self, control_names: Iterable[str], data: object, template_source: str) -> None:
        """``data``: everything that will be hidden. Raises RequestError when nested too deep."""
        ends = {char for name in control_names if is_guardable(name) for char in name[0] + name[-1]}
        used = set(template_source)
        _collect(data, used, MAX_DEPTH)
        free = (chr(code) for code in _STAND_INS if chr(code) not in used)
        pairs = list(zip(sorted(ends), free, strict=False))
        if len(pairs) < len(ends):
            raise RequestError("bad_messages", "the text uses every private character there is")
        self._hidden = str.maketrans(dict(pairs))
        self._revealed = str.maketrans({stand_in: char for char, stand_in in pairs})

    def hide(self, text: str) -> str:
        return text.translate(self._hidden)

    def reveal(self, text: str) -> str:
        return text.translate(self._revealed)

    def hide_all(self, value: Any) -> Any:
        """A copy of JSON-like ``value`` with every string, keys included, hidden."""
        return _mapped(value, self._hidden)

    def reveal_all(self, value: Any) -> Any:
        return _mapped(value, self._revealed)


def _collect(value: object, used: set[str], depth: int) -> None:
    if depth == 0:
        raise RequestError("bad_messages", f"messages or tools are nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        used.update(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            _collect(key, used, depth - 1)
            _collect(item, used, depth - 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _collect(item, used, depth - 1)


def _mapped(value: Any, table: dict[int, str]) -> Any:
    if isinstance(value, str):
        return value.translate(table)
    if isinstance(value, dict):
        return {_mapped(key, table): _mapped(item, table) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(item, table) for item in value]
    return value
