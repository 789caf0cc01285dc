"""What programs print: passed on while it comes, and cut for a result."""

from __future__ import annotations

from collections.abc import Callable

HEAD, TAIL = 40_000, 10_000
"""Characters of printed text that a result keeps, from its beginning and from its end."""


class Excerpt:
    """The beginning and the end are kept, everything is passed on."""

    def __init__(self, output: Callable[[str], None]) -> None:
        self._output = output
        self._head = ""
        self._tail = ""
        self._left_out = 0

    def write(self, text: str) -> None:
        """Add to it."""
        if not text:
            return
        self._output(text)
        room = HEAD - len(self._head)
        self._head += text[:room]
        self._tail += text[room:]
        if len(self._tail) > TAIL:
            self._left_out += len(self._tail) - TAIL
            self._tail = self._tail[-TAIL:]

    def text(self) -> str:
        """What is kept."""
        if not self._left_out:
            return self._head + self._tail
        return f"{self._head}\n({self._left_out} characters left out)\n{self._tail}"
