"""Untrusted Markdown and code to HTML that Qt can show and that can fetch nothing."""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape

import markdown
import nh3
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_by_name
from pygments.util import ClassNotFound

from ui.theme import Theme

_TAGS = {
    "p", "br", "em", "strong", "del", "code", "pre", "ul", "ol", "li", "blockquote", "h1", "h2",
    "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "hr", "a", "sup", "sub",
    "div",
}  # fmt: skip
_ATTRIBUTES = {"a": {"href"}, "th": {"align"}, "td": {"align"}, "ol": {"start"}}
_ITEM = re.compile(r"^([ \t]*)(?:[-*+]|\d{1,9}[.)])\s")
_MAX_MARKDOWN = 100_000
_MAX_HIGHLIGHT = 20_000
"""Characters; beyond, plain text keeps a frame short."""


@lru_cache(maxsize=1024)
def to_html(text: str) -> str:
    """Sanitised HTML of a Markdown block. No images, scripts, styles or remote anything."""
    if len(text) > _MAX_MARKDOWN:
        return f"<pre>{escape(text)}</pre>"
    html = markdown.markdown(
        _four_spaces(text),
        extensions=["tables", "sane_lists", "nl2br", "footnotes"],
        extension_configs={"tables": {"use_align_attribute": True}},
        output_format="html",
    )
    return nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https", "mailto"},
        link_rel=None,
    )


def _four_spaces(text: str) -> str:
    """Nested list items by fours: models indent by two or three, the library counts in fours."""
    depths: list[int] = []
    lines = []
    for line in text.split("\n"):
        item = _ITEM.match(line)
        if item is None:
            lines.append(line)
            continue
        indent = len(item[1].expandtabs(4))
        while depths and indent < depths[-1]:
            depths.pop()
        if not depths or indent > depths[-1] + 1:
            depths.append(indent)
        lines.append("    " * (len(depths) - 1) + line.lstrip())
    return "\n".join(lines)


@lru_cache(maxsize=512)
def code_html(code: str, language: str, dark: bool) -> str:
    """Highlighted code with inline colours, in a ``pre``."""
    if len(code) > _MAX_HIGHLIGHT:
        return f"<pre>{escape(code)}</pre>"
    try:
        lexer = get_lexer_by_name(language) if language else TextLexer()
    except ClassNotFound:
        lexer = TextLexer()
    style = "github-dark" if dark else "tango"
    formatter = HtmlFormatter(style=style, noclasses=True, nobackground=True, nowrap=True)
    return f"<pre>{highlight(code, lexer, formatter)}</pre>"


def document_css(theme: Theme) -> str:
    """The style sheet of a text document that shows a block."""
    return f"""
a {{ color: {theme.accent}; text-decoration: none; }}
code {{ background: {theme.code_bg}; font-family: "{theme.mono_font.family()}"; }}
pre {{ font-family: "{theme.mono_font.family()}"; }}
table {{ border-color: {theme.border}; border-style: solid; border-collapse: collapse; }}
th {{ border: 1px solid {theme.border}; padding: 4px 8px; background: {theme.raised}; }}
td {{ border: 1px solid {theme.border}; padding: 4px 8px; }}
blockquote {{ color: {theme.muted}; }}
"""
