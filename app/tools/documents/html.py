"""HTML to text: what a reader came for, without navigation, scripts and footers.

The standard library's parser takes anything, reports tags as they come and builds no tree, so
depth costs nothing. Where a page has a main part of some length, only that part is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Literal

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

Region = Literal["", "unseen", "beside", "main"]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VOID = _names("area base br col embed hr img input link meta param source track wbr")
_UNSEEN = _names(
    "script style noscript template svg math iframe object canvas audio video select button "
    "datalist dialog map"
)
_BESIDE = _names("nav footer aside header menu")
_MAIN = _names("main article")
_BESIDE_ROLES = _names("navigation banner contentinfo complementary search menu")
_BLOCK = _names(
    "address blockquote body caption center dd details div dl dt fieldset figcaption figure form "
    "hr legend li ol p section summary table tbody tfoot thead tr ul"
)
_LEVELS = {f"h{n}": "#" * n + " " for n in range(1, 7)}
_DEEPEST = 2_000
_SPACES = re.compile(r"[ \t\r\n\f\v]+")
_MAIN_LETTERS, _MAIN_SHARE = 400, 0.2
"""From where on a part that says it is the main one is believed."""


def read_html(source: str, address: str = "") -> Document:
    """The readable text. Never fails."""
    reader = _Reader(address)
    try:
        reader.feed(source)
        reader.close()
    except _Full:
        pass
    except (AssertionError, ValueError):  # the parser's own on broken declarations
        pass
    return reader.document()


class _Full(Exception):
    """The text is as long as it may become."""


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    region: Region


class _Reader(HTMLParser):
    def __init__(self, address: str) -> None:
        super().__init__(convert_charrefs=True)
        self._base = address
        self._open: list[tuple[str, Region]] = []
        self._counts: dict[Region, int] = {"unseen": 0, "beside": 0, "main": 0}
        self._lines: list[_Line] = []
        self._line: list[str] = []
        self._begin = ""
        self._lists: list[int] = []
        self._links: list[str] = []
        self._link = ""
        self._pre = 0
        self._title: list[str] = []
        self._in_title = False
        self._room = MOST_TEXT

    # -- the parser's calls -------------------------------------------------------------------

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "base" and "href" in given:
            self._base = resolve(self._base, given["href"]) or self._base
        if tag not in _VOID and len(self._open) < _DEEPEST:
            region = self._region(tag, given)
            if region != "main" and region:
                self._flush()
            self._open.append((tag, region))
            if region:
                self._counts[region] += 1
        if tag == "title":
            self._in_title = not self._title
        elif not self._counts["unseen"]:
            self._begin_element(tag, given)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        if not self._counts["unseen"]:
            self._end_element(tag)
        for at in range(len(self._open) - 1, max(-1, len(self._open) - 300), -1):
            if self._open[at][0] == tag:
                if any(region for _, region in self._open[at:]):
                    self._flush()
                for _, region in self._open[at:]:
                    if region:
                        self._counts[region] -= 1
                del self._open[at:]
                return

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self._title.append(data[:1000])
        elif not self._counts["unseen"]:
            self._add(plain(data))

    # -- elements -----------------------------------------------------------------------------

    def _region(self, tag: str, given: dict[str, str]) -> Region:
        if tag in _UNSEEN or "hidden" in given or given.get("aria-hidden") == "true":
            return "unseen"
        role = given.get("role", "")
        if role in _BESIDE_ROLES:
            return "beside"
        if tag in _MAIN or role == "main":
            return "main"
        # A header within an article is its title.
        beside = tag in _BESIDE and not (tag == "header" and self._counts["main"])
        return "beside" if beside else ""

    def _begin_element(self, tag: str, given: dict[str, str]) -> None:
        if tag in _LEVELS:
            self._flush()
            self._begin = _LEVELS[tag]
        elif tag == "br":
            self._line.append("\n")
        elif tag in ("td", "th"):
            self._line.append(" | " if self._line else "")
        elif tag == "pre":
            self._flush()
            self._pre += 1
        elif tag == "code" and not self._pre:
            self._line.append("`")
        elif tag == "a":
            self._link = resolve(self._base, given["href"]) if "href" in given else ""
        elif tag == "img" and given.get("alt", "").strip():
            self._add(f"[image: {plain(given['alt'])[:200]}]")
        elif tag in _BLOCK:
            self._begin_block(tag)

    def _begin_block(self, tag: str) -> None:
        self._flush()
        if tag in ("ul", "ol"):
            self._lists.append(0)
        elif tag == "li":
            depth = max(0, min(len(self._lists), 10) - 1)
            if self._lists:
                self._lists[-1] += 1
            ordered = any(name == "ol" for name, _ in self._open[-2:-1])
            self._begin = "  " * depth + (f"{self._lists[-1]}. " if ordered else "- ")
        elif tag == "blockquote":
            self._begin = "> "

    def _end_element(self, tag: str) -> None:
        if tag == "a":
            said = any(piece.strip() for piece in self._line)
            if self._link and said and len(self._links) < MOST_LINKS:
                self._links.append(self._link)
                self._line.append(mark(len(self._links)))
            self._link = ""
        elif tag == "code" and not self._pre:
            self._line.append("`")
        elif tag == "pre" and self._pre:
            self._flush()
            self._pre -= 1
        elif tag in _BLOCK or tag in _LEVELS:
            self._flush()
            if tag in ("ul", "ol") and self._lists:
                self._lists.pop()

    # -- text ---------------------------------------------------------------------------------

    def _add(self, text: str) -> None:
        if not self._pre:
            text = text.replace("\n", " ")  # so that a line feed is a <br>
        self._room -= len(text)
        if self._room < 0:
            self._line.append(text[: self._room])
            raise _Full
        self._line.append(text)

    def _flush(self) -> None:
        text = "".join(self._line)
        self._line.clear()
        if self._pre:
            text = f"```\n{text.strip(chr(10))}\n```" if text.strip() else ""
        else:
            parts = (_SPACES.sub(" ", part).strip() for part in text.split("\n"))
            text = self._joined([part for part in parts if part]) if text.strip() else ""
        if text:
            self._lines.append(_Line(self._begin + text, self._where()))
        self._begin = ""

    def _joined(self, parts: list[str]) -> str:
        return " ".join(parts) if self._begin.startswith("#") else "\n".join(parts)

    def _where(self) -> Region:
        if self._counts["beside"]:
            return "beside"
        return "main" if self._counts["main"] else ""

    def document(self) -> Document:
        self._flush()
        kept = self._kept()
        text, links = numbered_anew(_spaced(kept), self._links)
        if self._room < 0:
            text += f"\n\n{LEFT_OUT}"
        title = _SPACES.sub(" ", plain("".join(self._title))).strip()
        if not title:
            title = next((k.text.lstrip("# ") for k in kept if k.text.startswith("#")), "")
        return Document(title[:300], text, links)

    def _kept(self) -> list[_Line]:
        seen = [line for line in self._lines if line.region != "beside"]
        main = [line for line in seen if line.region == "main"]
        letters = sum(len(line.text) for line in main)
        if letters >= _MAIN_LETTERS or (
            main and letters >= _MAIN_SHARE * sum(len(line.text) for line in seen)
        ):
            return main
        return seen or self._lines


def _spaced(lines: list[_Line]) -> str:
    """A blank line between blocks, none between the items of a list or the rows of a table."""
    text: list[str] = []
    for line in lines:
        close = text and _tight(text[-1]) and _tight(line.text)
        text.append(("\n" if close else "\n\n") + line.text if text else line.text)
    return "".join(text)


def _tight(text: str) -> bool:
    text = text.lstrip("\n ")
    return text.startswith("- ") or text.split(". ", 1)[0].isdigit() or " | " in text
