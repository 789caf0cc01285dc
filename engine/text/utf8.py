"""Bytes that arrive in arbitrary pieces, turned into whole characters."""

from __future__ import annotations

import codecs

_new_decoder = codecs.getincrementaldecoder("utf-8")


class TextStream:
    """Incremental UTF-8: never half a character, never a lost one.

    For any way of cutting ``data``, the concatenation of every :meth:`push` and the final
    :meth:`flush` equals ``data.decode("utf-8", "replace")``: bytes that can never become a
    character come out as U+FFFD as soon as that is certain.
    """

    __slots__ = ("_decoder",)

    def __init__(self) -> None:
        self._decoder = _new_decoder("replace")

    def push(self, data: bytes) -> str:
        """The characters completed by ``data``; an unfinished tail is kept for the next call."""
        return self._decoder.decode(data)

    def flush(self) -> str:
        """What is left, an unfinished character as U+FFFD. The stream is then like new."""
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return text
