"""A document as text: headings begin with ``#``, a link is a number in ``【】`` after its words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import urljoin, urlsplit

import msgspec

Kind = Literal["html", "markdown", "text", "pdf"]

MOST_TEXT = 2_000_000
"""Characters of one document; the rest is left out, and the text says so."""
MOST_LINKS = 5_000
LEFT_OUT = "(the rest of this document is left out)"
LOCAL = "local:"
"""What the address of an indexed document begins with: ``local:COLLECTION/PATH``."""

_LOCAL_BASE = "http://local.invalid/"
_KINDS: dict[str, Kind] = {
    ".htm": "html",
    ".html": "html",
    ".xhtml": "html",
    ".md": "markdown",
    ".markdown": "markdown",
    ".mdx": "markdown",
    ".adoc": "text",
    ".org": "text",
    ".rst": "text",
    ".text": "text",
    ".txt": "text",
    ".pdf": "pdf",
}
_TYPES: dict[str, Kind] = {
    "text/html": "html",
    "application/xhtml+xml": "html",
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "application/pdf": "pdf",
    "application/json": "text",
    "application/xml": "text",
    "application/javascript": "text",
}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\ud800-\udfff]")
_MARK = re.compile(r"【(\d+)】")
_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*$")


class Document(msgspec.Struct, frozen=True):
    """``links[n - 1]`` is where ``【n】`` leads. ``title`` may be empty."""

    title: str
    text: str
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document that is found as a whole. ``heading``: ``Chapter › Section``."""

    heading: str
    text: str


def kind_of_name(name: str) -> Kind | None:
    """By the ending of a file's name; None: not a document."""
    return _KINDS.get(PurePosixPath(name).suffix.lower())


def kind_of_type(content_type: str) -> Kind | None:
    """By the media type, whatever its parameters; None: nothing that can be read as text."""
    media = content_type.partition(";")[0].strip().lower()
    found = _TYPES.get(media)
    if found is None and (media.startswith("text/") or media.endswith(("+json", "+xml"))):
        return "text"
    return found


def mark(number: int) -> str:
    """What stands for a link in the text."""
    return f"【{number}】"


def without_marks(text: str) -> str:
    """The text without its links' numbers."""
    return _MARK.sub("", text)


def numbered_anew(text: str, links: list[str]) -> tuple[str, tuple[str, ...]]:
    """Only the links that the text names, each address once, numbered in order."""
    numbers: dict[str, int] = {}

    def renumber(match: re.Match[str]) -> str:
        at = int(match[1])
        if not 0 < at <= len(links):
            return ""
        return mark(numbers.setdefault(links[at - 1], len(numbers) + 1))

    return _MARK.sub(renumber, text), tuple(numbers)


def marked_links(text: str) -> tuple[int, ...]:
    """The numbers of the links in a piece of text, each once, in order."""
    return tuple(dict.fromkeys(int(number) for number in _MARK.findall(text)))


def plain(text: str) -> str:
    """Text of others without what would look like our own marks, and without control characters."""
    return _CONTROL.sub("", text.replace("【", "[").replace("】", "]"))


def resolve(base: str, target: str) -> str:
    """The address that a link in a document at ``base`` leads to; empty: nowhere we can go."""
    target = target.strip()
    if not target or target.startswith("#"):
        return ""
    local = base.startswith(LOCAL)
    try:
        joined = urljoin(_LOCAL_BASE + base[len(LOCAL) :] if local else base, target)
        scheme = urlsplit(joined).scheme
    except ValueError:
        return ""
    if local and joined.startswith(_LOCAL_BASE):
        return LOCAL + joined[len(_LOCAL_BASE) :].partition("#")[0]
    return joined if scheme in ("http", "https") else ""


def passages(text: str, longest: int) -> Iterator[Passage]:
    """Cut at headings, and what is longer than ``longest`` at paragraphs, lines or anywhere."""
    path: list[tuple[int, str]] = []
    held: list[str] = []
    fence = ""

    def cut() -> Iterator[Passage]:
        heading = " › ".join(title for _, title in path)
        for piece in pieces("\n".join(held).strip("\n"), longest):
            if piece.strip():
                yield Passage(heading, piece)
        held.clear()

    for line in text.split("\n"):
        marker = _FENCE.match(line)
        if marker and (not fence or marker[1].startswith(fence)):
            fence = "" if fence else marker[1]
        heading = None if fence else _HEADING.match(line)
        if heading is None:
            held.append(line)
            continue
        yield from cut()
        level = len(heading[1])
        path = [step for step in path if step[0] < level]
        path.append((level, without_marks(heading[2])))
    yield from cut()


def pieces(text: str, longest: int) -> Iterator[str]:
    """Parts of at most ``longest`` characters, cut at the best place in their second half."""
    begin = 0
    while len(text) - begin > longest:
        window = text[begin : begin + longest]
        at = next(
            (found for sign in ("\n\n", "\n", " ") if (found := window.rfind(sign)) > longest // 2),
            longest,
        )
        yield text[begin : begin + at]
        begin += at
        while begin < len(text) and text[begin] in " \n":
            begin += 1
    yield text[begin:]
