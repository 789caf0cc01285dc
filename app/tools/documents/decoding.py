"""Bytes of unknown encoding made into text. Never fails: what cannot be read is replaced."""

from __future__ import annotations

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_META = re.compile(
    rb"""<(?:meta|\?xml)\b[^>]{0,200}?(?:charset|encoding)\s*=\s*["']?([\w.:-]{1,40})""", re.I
)
_META_BYTES = 4096
_REFUSED = frozenset(
    ("utf_7", "punycode", "idna", "unicode_escape", "raw_unicode_escape", "undefined")
)
"""Text encodings in name only: slow, or able to smuggle in what the bytes do not show."""


def decode(data: bytes, charset: str = "", *, html: bool = False) -> str:
    """By byte order mark, then ``charset``, then (HTML) its declaration, UTF-8, Windows-1252."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    named = [charset]
    declared = _META.search(data[:_META_BYTES]) if html else None
    if declared:
        named.append(declared[1].decode("ascii", "replace"))
    for name in named:
        text = _decoded(data, name)
        if text is not None:
            return text
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        # A text cut off within a letter is UTF-8 all the same.
        if error.reason == "unexpected end of data" and len(data) - error.start < 4:
            return data[: error.start].decode("utf-8")
    return data.decode("windows-1252", "replace")


def _decoded(data: bytes, name: str) -> str | None:
    try:
        known = codecs.lookup(name).name if name else ""
        if not known or known.replace("-", "_") in _REFUSED:
            return None
        # Browsers read what is called Latin-1 as Windows-1252, and so do its writers.
        return data.decode("windows-1252" if known == "iso8859-1" else known, "replace")
    except (LookupError, ValueError, UnicodeError):
        return None
