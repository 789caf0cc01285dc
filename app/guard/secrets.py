"""Keys and tokens in texts, by the shapes that their issuers give them.

A shape alone is enough where it is long and has a prefix of its own; words like ``password =`` need
a value that looks random beside them. Examples and placeholders of documentation are let through.

Every shape has hints: words of which one stands at a known place in each such secret. They are
found a hundred times faster than what follows them, which is looked at only there.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LONGEST = 2_000_000
"""Characters of a text that are looked at."""


@dataclass(frozen=True, slots=True)
class Found:
    """``begin`` to ``end`` of a text is a secret of this kind."""

    begin: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class _Hint:
    """``before`` and ``after``: characters of which one stands there, if any are given."""

    word: str | re.Pattern[str]
    distances: tuple[int, ...] = (0,)
    """How far before it a match may begin; none: anywhere."""
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class _Shape:
    kind: str
    hints: tuple[_Hint, ...]
    pattern: str
    bits: float = 0.0
    """Of Shannon entropy a character that the value has at least."""
    folded: bool = False
    """Hints count whatever their case."""


_SPACE = "".join(sign for sign in map(chr, range(0x3001)) if sign.isspace())
_EQUALS = f"\"'=:{_SPACE}"
_I = "i\u0131"
"""Letters that count as the same where case does not."""

_SHAPES = (
    _Shape(
        "private key",
        (_Hint("PRIVATE KEY", ()),),
        r"-----BEGIN (?:[A-Z]{2,12} )*PRIVATE KEY(?: BLOCK)?-----[\s\S]{40,20000}?-----E"
        r"ND (?:[A-Z]{2,12} )*PRIVATE KEY(?: BLOCK)?-----",
    ),
    _Shape(
        "AWS access key",
        (_Hint(re.compile("A(?:KI|SI|BI|CC)A")),),
        r"(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Z0-9])",
        2.5,
    ),
    _Shape(
        "GitHub token",
        (_Hint(re.compile("g(?:h[pousr]|ithub_pat)_")),),
        r"(?<!\w)(?:gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]"
        r"{59})(?!\w)",
        3.0,
    ),
    _Shape(
        "GitLab token",
        (_Hint(re.compile("gl(?:pat|dt|ptt|rt|oas)-")),),
        r"(?<!\w)gl(?:pat|dt|ptt|rt|oas)-[\w-]{20,60}(?![\w-])",
        3.0,
    ),
    _Shape(
        "Anthropic key",
        (_Hint("sk-ant-"),),
        r"(?<!\w)sk-ant-(?:api|admin)\d{2}-[\w-]{40,120}(?![\w-])",
        3.0,
    ),
    _Shape(
        "OpenAI key",
        (_Hint("sk-"),),
        r"(?<!\w)sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,200}(?![\w-])",
        3.5,
    ),
    _Shape("Google key", (_Hint("AIza"),), r"(?<!\w)AIza[\w-]{35}(?![\w-])", 3.0),
    _Shape("Google client secret", (_Hint("GOCSPX-"),), r"(?<!\w)GOCSPX-[\w-]{28}(?![\w-])", 3.0),
    _Shape(
        "Slack token",
        (_Hint("xox"),),
        r"(?<!\w)xox[abeoprs]-(?:\d{8,14}-){1,3}[A-Za-z0-9-]{16,80}(?!\w)",
        2.5,
    ),
    _Shape(
        "Slack address",
        (_Hint("hooks.slack.com", (8,)),),
        r"https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9+/]{40,80}",
        3.0,
    ),
    _Shape(
        "Stripe key", (_Hint("k_live_", (1,)),), r"(?<!\w)[sr]k_live_[A-Za-z0-9]{20,120}(?!\w)", 3.0
    ),
    _Shape("npm token", (_Hint("npm_"),), r"(?<!\w)npm_[A-Za-z0-9]{36}(?!\w)", 3.0),
    _Shape(
        "PyPI token",
        (_Hint("pypi-AgEIcHlwaS5vcmc"),),
        r"(?<!\w)pypi-AgEIcHlwaS5vcmc[\w-]{50,200}(?![\w-])",
        3.0,
    ),
    _Shape("Hugging Face token", (_Hint("hf_"),), r"(?<!\w)hf_[A-Za-z0-9]{34,40}(?!\w)", 3.0),
    _Shape(
        "Telegram token",
        (_Hint(":AA", (10, 9, 8)),),
        r"(?<![\w-])\d{8,10}:AA[\w-]{33}(?![\w-])",
        3.5,
    ),
    _Shape("SendGrid key", (_Hint("SG."),), r"(?<!\w)SG\.[\w-]{22}\.[\w-]{43}(?![\w-])", 3.0),
    _Shape(
        "age key",
        (_Hint("AGE-SECRET-KEY-1"),),
        r"(?<!\w)AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}(?!\w)",
        3.0,
    ),
    _Shape(
        "signed token",
        (_Hint("eyJ"),),
        r"(?<![\w.-])eyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{20,2000}(?![\w.-])",
        3.5,
    ),
    _Shape(
        "password in an address",
        (_Hint("://", (-3,)),),
        r"(?<=://)[^\s:/@\"'<>]{1,64}:[^\s:/@\"'<>]{6,128}(?=@[\w.-]+)",
        2.3,
    ),
    _Shape(
        "Authorization header",
        (_Hint("author", (-21, -22), after=_I),),
        r"(?i:(?<=authorization: bearer )|(?<=authorization: basic )|(?<=authorization: "
        r"token ))[\w.~+/=-]{16,2000}",
        3.0,
        folded=True,
    ),
    _Shape(
        "password or key",
        (
            _Hint("key", (7, 6, 4, 3), f"{_I}t_-", _EQUALS),
            _Hint("secret", (7, 6, 0), after=_EQUALS),
            _Hint("token", (7, 6, 5, 4), "sh_-", _EQUALS),
            _Hint("passwd", after=_EQUALS),
            _Hint("password", after=_EQUALS),
        ),
        r"(?i:(?<![A-Za-z])(?:api[_-]?key|secret(?:[_-]?key)?|access[_-]?token|auth[_-]?"
        r"token|client[_-]?secret|passwd|password)[\"']?\s{0,4}(?:=|:|=>)\s{0,4}[\"']?)("
        r"?P<value>[^\s\"',;(){}\[\]<>]{10,200})",
        3.2,
        folded=True,
    ),
)

_PATTERNS = tuple((shape, re.compile(shape.pattern)) for shape in _SHAPES)
_PLACEHOLDER = re.compile(
    r"(?i)example|sample|dummy|placeholder|changeme|your[_-]?|redacted|\*{3}|x{6}|\.{3}|<|"
    r"\$\{|\{\{|%\(|0123456789|1234567890|abcdefgh|env\[|getenv|process\.env|os\.environ"
)
_NAMES = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
"""Of attributes in programs."""


def find_secrets(text: str) -> tuple[Found, ...]:
    """In the order of the text, none overlapping; of two at one place the first shape's."""
    text = text[:LONGEST]
    folded = text.lower().replace("ſ", "s")  # as long as the text, but for capitals of Turkish
    seekers = [_Seeker(shape, pattern, text, folded) for shape, pattern in _PATTERNS]
    seekers = [one for one in seekers if one.match is not None]
    found: list[Found] = []
    while True:
        there = [(one.shape, one.match) for one in seekers if one.match is not None]
        if not there:
            return tuple(found)
        shape, match = min(there, key=lambda one: one[1].start())
        value = "value" if "value" in match.re.groupindex else 0
        begin, end = match.span(value)
        if _looks_real(text[begin:end], shape):
            found.append(Found(begin, end, shape.kind))
        for one in seekers:
            one.go_on(match.end())


class _Seeker:
    """Goes through a text from one place to the next that is of a shape."""

    def __init__(self, shape: _Shape, pattern: re.Pattern[str], text: str, folded: str) -> None:
        self.shape = shape
        self._pattern = pattern
        self._text = text
        self._places: Iterator[int] | None = None
        self.match: re.Match[str] | None = None
        looked = folded if shape.folded else text
        if len(looked) != len(text) or not all(hint.distances for hint in shape.hints):
            if any(True for hint in shape.hints for _ in _found(hint.word, looked)):
                self.match = pattern.search(text)
            return
        places = {place for hint in shape.hints for place in _begins(hint, looked)}
        self._places = iter(sorted(places))
        self.match = self._next(0)

    def go_on(self, at: int) -> None:
        """To the first that does not begin before a place."""
        if self.match is not None and self.match.start() < at:
            self.match = self._next(at)

    def _next(self, at: int) -> re.Match[str] | None:
        if self._places is None:
            return self._pattern.search(self._text, at)
        for place in self._places:
            match = self._pattern.match(self._text, place) if place >= at else None
            if match is not None:
                return match
        return None


def _begins(hint: _Hint, text: str) -> Iterator[int]:
    """Where a match may begin."""
    for begin, end in _found(hint.word, text):
        before, after = text[begin - 1 : begin], text[end : end + 1]
        if (not hint.before or before in hint.before) and (not hint.after or after in hint.after):
            yield from (begin - distance for distance in hint.distances if begin >= distance)


def _found(word: str | re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    if isinstance(word, re.Pattern):
        yield from (match.span() for match in word.finditer(text))
        return
    at = text.find(word)
    while at >= 0:
        yield at, at + len(word)
        at = text.find(word, at + 1)


def _looks_real(value: str, shape: _Shape) -> bool:
    if shape.kind == "private key":
        body = "".join(line for line in value.splitlines() if not line.startswith("-----"))
        return len(body) > 60 and _bits(body) > 3.5
    if _PLACEHOLDER.search(value) or _bits(value) < shape.bits:
        return False
    if shape.kind == "password or key":
        # A word, a path, a type or a call is no password; most real ones mix kinds of characters.
        kinds = sum(bool(re.search(kind, value)) for kind in (r"[a-z]", r"[A-Z]", r"\d", r"[^\w]"))
        named = re.match(r"[./~]|\w+[:/]{1,2}\w+\.", value) or _NAMES.fullmatch(value)
        return kinds >= 2 and bool(re.search(r"\d", value)) and not named
    if shape.kind == "password in an address":
        return value.partition(":")[2].lower() not in ("password", "secret", "postgres")
    return shape.kind != "OpenAI key" or bool(re.search(r"\d", value))


def _bits(text: str) -> float:
    """Shannon entropy a character."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values()) if size else 0.0


def redact_secrets(text: str) -> str:
    """The text with its secrets blacked out."""
    return black_out(text, ((one.begin, one.end, one.kind) for one in find_secrets(text)))


def black_out(text: str, spans: Iterable[tuple[int, int, str]]) -> str:
    """Replace spans (begin, end, what it was), in order and not overlapping."""
    pieces: list[str] = []
    at = 0
    for begin, end, what in spans:
        pieces += [text[at:begin], f"[redacted: {what}]"]
        at = end
    return "".join((*pieces, text[at:]))
