"""A document as a reader turns its pages: bounded pieces, links by number, find."""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import ToolError
from app.tools.documents.document import Document, mark, marked_links, pieces, without_marks
from app.tools.web.untrusted import one_line, untrusted

PAGE = 10_000
"""Characters of a page."""
MOST_LINKS_SHOWN, LONGEST_LINK_SHOWN = 80, 300
MOST_FOUND, AROUND = 10, 160


@dataclass(slots=True)
class OpenDocument:
    """What a conversation has open. ``at``: the page shown last, from 0."""

    address: str
    title: str
    pages: list[str]
    links: tuple[str, ...]
    at: int = 0

    @classmethod
    def of(cls, document: Document, address: str, cut: bool = False) -> OpenDocument:
        text = document.text + ("\n\n(the rest of the page was too long to fetch)" if cut else "")
        found = [page for page in pieces(text, PAGE) if page.strip()]
        return cls(address, document.title, found or ["(an empty page)"], document.links)

    def show(self, number: int) -> str:
        """Page ``number``, from 1, and where its links lead. Raises ToolError ``no_page``."""
        if not 1 <= number <= len(self.pages):
            raise ToolError("no_page", f"this document has {_count(len(self.pages), 'page')}")
        self.at = number - 1
        text = self.pages[self.at]
        head = f"{one_line(self.title, 200) or '(no title)'}\n{one_line(self.address, 500)}"
        more = "" if number == len(self.pages) else ", next_page goes on"
        foot = f"(page {number} of {len(self.pages)}{more})"
        return untrusted(f"{head}\n\n{text}{self._links(text)}") + f"\n{foot}"

    def next(self) -> str:
        """The page after the one shown last. Raises ToolError ``no_page``."""
        if self.at + 1 >= len(self.pages):
            raise ToolError("no_page", "this was the last page")
        return self.show(self.at + 2)

    def find(self, query: str) -> str:
        """Where a text occurs, whatever its case, with what stands around it."""
        wanted = " ".join(query.split()).lower()
        hits: list[str] = []
        count = 0
        for number, page in enumerate(self.pages, 1):
            line = " ".join(without_marks(page).split())
            lower = line.lower()
            at = lower.find(wanted) if len(lower) == len(line) else -1
            while at >= 0:
                count += 1
                if len(hits) < MOST_FOUND:
                    begin, end = max(0, at - AROUND), at + len(wanted) + AROUND
                    hits.append(f"page {number}: …{line[begin:end]}…")
                at = lower.find(wanted, at + len(wanted))
        if not count:
            return "not found on this document's pages"
        more = f"\n({count - len(hits)} more left out)" if count > len(hits) else ""
        return untrusted("\n\n".join(hits)) + f"\n{_count(count, 'place')}{more}"

    def link(self, number: int) -> str:
        """Where a numbered link leads. Raises ToolError ``no_link``."""
        if not 1 <= number <= len(self.links):
            raise ToolError("no_link", f"the open document has no link {number}")
        return self.links[number - 1]

    def _links(self, page: str) -> str:
        numbers = [n for n in marked_links(page) if n <= len(self.links)]
        lines = [
            f"{mark(n)} {self.links[n - 1]}"
            for n in numbers[:MOST_LINKS_SHOWN]
            if len(self.links[n - 1]) <= LONGEST_LINK_SHOWN
        ]
        return "\n\nLinks:\n" + "\n".join(lines) if lines else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
