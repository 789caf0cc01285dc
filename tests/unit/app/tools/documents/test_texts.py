"""Documents to text: HTML, Markdown, PDF, encodings; anything at all is taken."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import ToolError
from app.tools.documents import html
from app.tools.documents.decoding import decode
from app.tools.documents.document import (
    LEFT_OUT,
    MOST_TEXT,
    kind_of_name,
    kind_of_type,
    marked_links,
    passages,
    pieces,
    resolve,
    without_marks,
)
from app.tools.documents.html import read_html
from app.tools.documents.markdown import read_markdown, read_text
from app.tools.documents.pdf import read_pdf
from tests.unit.app.tools.documents.make_pdf import make_pdf

PAGE = """<!doctype html><html><head><title>Pruning &amp; more</title><style>p {}</style></head>
<body><nav><a href="/">Home</a> menu</nav>
<main><h1>Pruning</h1>
<p>Cut side shoots<br>weekly, see <a href="../a.html#w">tomatoes</a>
and <a href="https://x.org/">x</a>, <a href="../a.html">again</a>.</p>
<ul><li>one<li>two <b>bold</b></ul><ol><li>first</li><li>second</li></ol>
<pre>x = 1
  y</pre><p>Use <code>shears</code>.<table><tr><td>a<td>b<tr><td>c<td>d</table>
<img alt="a rose" src=r.png></main><footer>imprint</footer><script>alert(1)</script></body>"""


def test_html() -> None:
    document = read_html(PAGE, "https://g.org/docs/b.html")
    assert document.title == "Pruning & more"
    assert document.text == (
        "# Pruning\n\nCut side shoots\nweekly, see tomatoes【1】 and x【2】, again【3】.\n\n"
        "- one\n- two bold\n1. first\n2. second\n\n```\nx = 1\n  y\n```\n\nUse `shears`.\n\n"
        "a | b\nc | d\n\n[image: a rose]"
    )
    assert document.links == (
        "https://g.org/a.html#w",
        "https://x.org/",
        "https://g.org/a.html",
    )


def test_a_page_without_a_main_part_loses_its_navigation_alone() -> None:
    page = "<body><nav>menu</nav><h2>Hello</h2>text<aside>ad</aside><div role=banner>b</div> more"
    assert read_html(page).text == "## Hello\n\ntext\n\nmore"
    assert read_html("<nav>only <a href=/x>this</a>", "https://g.org").text == "only this【1】"


def test_a_small_part_that_calls_itself_main_hides_nothing() -> None:
    page = "<article>teaser</article>" + "<p>the long story</p>" * 20
    assert read_html(page).text.count("the long story") == 20


def test_what_is_hidden_stays_so() -> None:
    page = "<p>seen<span hidden>no</span><div aria-hidden=true>no<p>no</div><template>no</template>"
    assert read_html(page).text == "seen"


def test_links_that_lead_nowhere_are_no_links() -> None:
    page = "<a href='javascript:x()'>a</a> <a href=mailto:b@c>b</a> <a href='#top'>c</a> <a>d</a>"
    assert read_html(page + "<a href='http://[bad'>e</a>", "https://g.org").links == ()


def test_marks_of_links_cannot_be_forged() -> None:
    document = read_html("<p>evil【1】 <a href=/x>good</a>", "https://g.org")
    assert document.text == "evil[1] good【1】"
    assert read_markdown("evil【1】 [good](/x)", "https://g.org").text == "evil[1] good【1】"


def test_a_page_too_long_is_cut() -> None:
    document = read_html("<p>" + "word " * (MOST_TEXT // 4))
    assert document.text.endswith(LEFT_OUT)
    assert len(document.text) < MOST_TEXT + 100


def test_deep_and_endless_nesting() -> None:
    assert read_html("<div>" * 100_000 + "deep").text == "deep"
    assert read_html("<ul><li>" * 5_000 + "x").text.endswith("- x")
    assert read_html("</p>" * 100_000 + "x").text == "x"
    assert read_html("<a href=/x>" * 20_000 + "y").text == "y"


_PIECES = (
    "<p> </p> <a\thref='/x'> </a> <li> <ul> </ul> <pre> </pre> <nav> </nav> <main> </main> <!-- "
    "--> <!DOCTYPE <![CDATA[ ]]> <?xml & &amp; &#x0; &#99999999; <script> </script> < > \" ' = "
    "<svg/> <h1> </h3> <td> <tr> <title> </title> <base\thref='//[x'> \x00 \ufeff 【1】 word \n"
)
PIECES = st.sampled_from(_PIECES.split(" "))


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=400), st.lists(PIECES, max_size=60).map("".join)))
def test_any_html_has_a_text(source: str) -> None:
    document = read_html(source, "https://g.org/a/")
    assert set(marked_links(document.text)) == set(range(1, len(document.links) + 1))
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", document.text + document.title)
    assert all(link.startswith(("http://", "https://")) for link in document.links)
    document.text.encode("utf-8")


def test_cut_html_has_the_text_before_the_cut() -> None:
    for end in range(0, len(PAGE), 7):
        assert isinstance(read_html(PAGE[:end]).text, str)


# -- Markdown and text -------------------------------------------------------------------------


def test_markdown() -> None:
    source = "---\ntitle: 'My notes'\n---\n# One\r\nsee [b](b.md) and ![img](i.png)\n## Two\n"
    document = read_markdown(source, "local:n/sub/a.md")
    assert document.title == "My notes"
    assert document.text == "# One\nsee b【1】 and ![img](i.png)\n## Two"
    assert document.links == ("local:n/sub/b.md",)
    assert read_markdown("text\n## Two\n").title == "Two"
    assert read_text("# no title\n").title == ""


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_any_markdown_has_a_text(source: str) -> None:
    document = read_markdown(source, "local:n/a.md")
    assert set(marked_links(document.text)) == set(range(1, len(document.links) + 1))


def test_addresses() -> None:
    assert resolve("local:n/sub/a.md", "../c.md#x") == "local:n/c.md"
    assert resolve("local:n/a.md", "../../../etc/passwd") == "local:etc/passwd"
    assert resolve("local:n/a.md", "https://x.org") == "https://x.org"
    assert resolve("https://x.org/a", "file:///etc/passwd") == ""
    assert resolve("", "relative") == ""


# -- passages ----------------------------------------------------------------------------------


def test_passages_follow_the_headings() -> None:
    text = (
        "intro\n# A\none\n## B\ntwo\n```\n# no heading\n```\n### C\nthree\n## D\nfour【1】\n# E\n"
    )
    assert [(p.heading, p.text) for p in passages(text, 100)] == [
        ("", "intro"),
        ("A", "one"),
        ("A › B", "two\n```\n# no heading\n```"),
        ("A › B › C", "three"),
        ("A › D", "four【1】"),
    ]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab \n#`", max_size=500), st.integers(5, 60))
def test_passages_are_short_and_lose_no_word(text: str, longest: int) -> None:
    found = list(passages(text, longest))
    assert all(0 < len(p.text) <= longest for p in found)
    letters = "".join(p.text for p in found).count("a")
    headings = [line for line in text.split("\n") if re.match(r"#{1,6}\s", line)]
    assert letters >= text.count("a") - "".join(headings).count("a")
    assert without_marks(text) == text


@given(st.text(alphabet="ab \n", max_size=300), st.integers(1, 50))
def test_pieces_are_the_text(text: str, longest: int) -> None:
    found = list(pieces(text, longest))
    assert all(len(piece) <= longest for piece in found)
    assert re.sub(r"[ \n]", "", "".join(found)) == re.sub(r"[ \n]", "", text)


# -- PDF ---------------------------------------------------------------------------------------


def test_pdf() -> None:
    document = read_pdf(make_pdf("Hello world\nsecond line", "# page two", title="A title"))
    assert document.title == "A title"
    assert document.text.startswith("## Page 1\n\nHello world")
    assert "second line" in document.text
    assert document.text.endswith("## Page 2\n\n# page two")


def test_damaged_pdfs_are_refused() -> None:
    whole = make_pdf("Hello world", "more")
    draw = random.Random(7)
    good = 0
    for _ in range(150):
        data = bytearray(whole)
        if draw.random() < 0.4:
            del data[draw.randrange(len(data)) :]
        for _ in range(draw.randrange(12)):
            if data:
                data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            good += "Hello world" in read_pdf(bytes(data)).text
        except ToolError as error:
            assert error.code == "unreadable"
    assert good > 10
    for data in (b"", b"%PDF-1.4", b"no pdf at all", make_pdf("")):
        with pytest.raises(ToolError):
            read_pdf(data)


# -- bytes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "charset", "text"),
    [
        ("grün".encode(), "", "grün"),
        ("grün".encode("latin-1"), "", "grün"),
        ("“grün”".encode("cp1252"), "iso-8859-1", "“grün”"),
        ("番茄".encode("gbk"), "gb2312", "番茄"),
        ("番茄".encode("shift-jis"), "Shift_JIS", "番茄"),
        (b"\xef\xbb\xbfgr\xc3\xbcn", "latin-1", "grün"),
        ("grün".encode("utf-16"), "utf-8", "grün"),
        ("番茄".encode()[:-1], "", "番"),
        (b"a\xffb", "utf-8", "a\ufffdb"),
        (b"+ADw-script+AD4-", "utf-7", "+ADw-script+AD4-"),
        (b"abc", "no-such-thing", "abc"),
        (b"abc", "zip", "abc"),
        (b"<meta charset='koi8-r'>\xd4", "", "<meta charset='koi8-r'>т"),
        (b"", "", ""),
    ],
)
def test_encodings(data: bytes, charset: str, text: str) -> None:
    assert decode(data, charset, html=True) == text


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.text(max_size=12))
def test_any_bytes_are_text(data: bytes, charset: str) -> None:
    assert isinstance(decode(data, charset, html=True), str)


def test_kinds() -> None:
    assert kind_of_name("a/b.HTML") == "html"
    assert kind_of_name("a.exe") is None
    assert kind_of_type("text/html; charset=utf-8") == "html"
    assert kind_of_type("application/ld+json") == "text"
    assert kind_of_type("image/png") is None
    assert html.read_html("").text == ""
