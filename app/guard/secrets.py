"""Keys and tokens in texts, by the shapes that their issuers give them.

A shape alone is enough where it is long and has a prefix of its own; words like ``password =`` need
a value that looks random beside them. Examples and placeholders of documentation are let through.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
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
class _Shape:
    kind: str
    hints: tuple[str, ...]
    """One of them is in every text that has such a secret, whatever its case."""
    pattern: str
    bits: float = 0.0
    """Of Shannon entropy a character that the value has at least."""


_SHAPES = (
    _Shape(
        "private key",
        ("private key",),
        r"-----BEGIN (?:[A-Z]{2,12} )*PRIVATE KEY(?: BLOCK)?-----[\s\S]{40,20000}?-----E"
        r"ND (?:[A-Z]{2,12} )*PRIVATE KEY(?: BLOCK)?-----",
    ),
    _Shape(
        "AWS access key",
        ("akia", "asia", "abia", "acca"),
        r"(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Z0-9])",
        2.5,
    ),
    _Shape(
        "GitHub token",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        r"(?<!\w)(?:gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]"
        r"{59})(?!\w)",
        3.0,
    ),
    _Shape(
        "GitLab token",
        ("glpat-", "gldt-", "glptt-", "glrt-", "gloas-"),
        r"(?<!\w)gl(?:pat|dt|ptt|rt|oas)-[\w-]{20,60}(?![\w-])",
        3.0,
    ),
    _Shape(
        "Anthropic key",
        ("sk-ant-",),
        r"(?<!\w)sk-ant-(?:api|admin)\d{2}-[\w-]{40,120}(?![\w-])",
        3.0,
    ),
    _Shape(
        "OpenAI key",
        ("sk-",),
        r"(?<!\w)sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,200}(?![\w-])",
        3.5,
    ),
    _Shape("Google key", ("aiza",), r"(?<!\w)AIza[\w-]{35}(?![\w-])", 3.0),
    _Shape("Google client secret", ("gocspx-",), r"(?<!\w)GOCSPX-[\w-]{28}(?![\w-])", 3.0),
    _Shape(
        "Slack token",
        ("xox",),
        r"(?<!\w)xox[abeoprs]-(?:\d{8,14}-){1,3}[A-Za-z0-9-]{16,80}(?!\w)",
        2.5,
    ),
    _Shape(
        "Slack address",
        ("hooks.slack.com",),
        r"https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9+/]{40,80}",
        3.0,
    ),
    _Shape("Stripe key", ("k_live_",), r"(?<!\w)[sr]k_live_[A-Za-z0-9]{20,120}(?!\w)", 3.0),
    _Shape("npm token", ("npm_",), r"(?<!\w)npm_[A-Za-z0-9]{36}(?!\w)", 3.0),
    _Shape("PyPI token", ("pypi-",), r"(?<!\w)pypi-AgEIcHlwaS5vcmc[\w-]{50,200}(?![\w-])", 3.0),
    _Shape("Hugging Face token", ("hf_",), r"(?<!\w)hf_[A-Za-z0-9]{34,40}(?!\w)", 3.0),
    _Shape("Telegram token", (":aa",), r"(?<![\w-])\d{8,10}:AA[\w-]{33}(?![\w-])", 3.5),
    _Shape("SendGrid key", ("sg.",), r"(?<!\w)SG\.[\w-]{22}\.[\w-]{43}(?![\w-])", 3.0),
    _Shape(
        "age key", ("age-secret-key-",), r"(?<!\w)AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}(?!\w)", 3.0
    ),
    _Shape(
        "signed token",
        ("eyj",),
        r"(?<![\w.-])eyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{20,2000}(?![\w.-])",
        3.5,
    ),
    _Shape(
        "password in an address",
        ("://",),
        r"(?<=://)[^\s:/@\"'<>]{1,64}:[^\s:/@\"'<>]{6,128}(?=@[\w.-]+)",
        2.3,
    ),
    _Shape(
        "Authorization header",
        ("author",),
        r"(?i:(?<=authorization: bearer )|(?<=authorization: basic )|(?<=authorization: "
        r"token ))[\w.~+/=-]{16,2000}",
        3.0,
    ),
    _Shape(
        "password or key",
        ("key", "secret", "token", "passw"),
        r"(?i:(?<![A-Za-z])(?:api[_-]?key|secret(?:[_-]?key)?|access[_-]?token|auth[_-]?"
        r"token|client[_-]?secret|passwd|password)[\"']?\s{0,4}(?:=|:|=>)\s{0,4}[\"']?)("
        r"?P<value>[^\s\"',;(){}\[\]<>]{10,200})",
        3.2,
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
    folded = text.casefold()
    # Most texts have no hint, and a pattern takes milliseconds for a hundred thousand characters.
    hinted = [one for one in _PATTERNS if any(hint in folded for hint in one[0].hints)]
    ahead = [(shape, pattern, pattern.search(text)) for shape, pattern in hinted]
    found: list[Found] = []
    while True:
        there = [(shape, match) for shape, _, match in ahead if match is not None]
        if not there:
            return tuple(found)
        shape, match = min(there, key=lambda one: one[1].start())
        value = "value" if "value" in match.re.groupindex else 0
        begin, end = match.span(value)
        if _looks_real(text[begin:end], shape):
            found.append(Found(begin, end, shape.kind))
        at = match.end()
        ahead = [
            (shape, pattern, pattern.search(text, at) if one and one.start() < at else one)
            for shape, pattern, one in ahead
        ]


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
