"""Markdown and plain text: nearly as they are."""

from __future__ import annotations

import re

from app.tools.documents.document import (
    LEFT_OUT,
    MOST_LINKS,
    MOST_TEXT,
    Document,
    mark,
    numbered_anew,
    plain,
    resolve,
)

_FRONT = re.compile(r"\A---\n(.{0,5000}?)\n---\n", re.S)
_TITLE = re.compile(r"^title:[ \t]*(.{1,300})$", re.M)
_HEADING = re.compile(r"^#{1,6}[ \t]+(.{1,300}?)[ \t#]*$", re.M)
_LINK = re.compile(
    r"(?<!!)\[([^\[\]\n]{1,500})\]"
    r"\(<?([^()<>\s]{1,2000})>?(?:\s+[\"'][^\"'\n]{0,200}[\"'])?\)"
)


def read_markdown(source: str, address: str = "") -> Document:
    """Front matter becomes the title, links become numbers. Never fails."""
    source = _bounded(source)
    front = _FRONT.match(source)
    title = _TITLE.search(front[1]) if front else None
    text = source[front.end() :] if front else source
    links: list[str] = []

    def number(match: re.Match[str]) -> str:
        target = resolve(address, match[2])
        if not target or len(links) >= MOST_LINKS:
            return match[1]
        links.append(target)
        return match[1] + mark(len(links))

    text, kept = numbered_anew(_LINK.sub(number, text), links)
    title = title or _HEADING.search(text)
    return Document(title[1].strip("\"' ") if title else "", text.strip("\n"), kept)


def read_text(source: str) -> Document:
    """Its first line is no title: it may be anything. Never fails."""
    return Document("", _bounded(source))


def _bounded(source: str) -> str:
    text = plain(source[:MOST_TEXT].replace("\r\n", "\n").replace("\r", "\n"))
    return f"{text}\n\n{LEFT_OUT}" if len(source) > MOST_TEXT else text
