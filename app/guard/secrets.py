"""Keys and tokens in texts, by the shapes that their issuers give them.

A shape alone is enough where it is long and has a prefix of its own; words like ``password =`` need
a value that looks random beside them. Examples and placeholders of documentation are let through.
"""

from __future__ import annotations

import math
import re
from collections import Counter
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
    pattern: str
    bits: float = 0.0
    """Of Shannon entropy a character that the value has at least."""


_SHAPES = (
    _Shape(
        "private key",
        r"-----BEGIN (?:[A-Z]{2,12} )*PRIVATE KEY(?: BLOCK)?-----[\s\S]{40,20000}?-----E"
        r"ND (?:[A-Z]{2,12} )*PRIVATE KEY(?: BLOCK)?-----",
    ),
    _Shape(
        "AWS access key",
        r"(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Z0-9])",
        2.5,
    ),
    _Shape(
        "GitHub token",
        r"(?<!\w)(?:gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]"
        r"{59})(?!\w)",
        3.0,
    ),
    _Shape("GitLab token", r"(?<!\w)gl(?:pat|dt|ptt|rt|oas)-[\w-]{20,60}(?![\w-])", 3.0),
    _Shape("Anthropic key", r"(?<!\w)sk-ant-(?:api|admin)\d{2}-[\w-]{40,120}(?![\w-])", 3.0),
    _Shape(
        "OpenAI key",
        r"(?<!\w)sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,200}(?![\w-])",
        3.5,
    ),
    _Shape("Google key", r"(?<!\w)AIza[\w-]{35}(?![\w-])", 3.0),
    _Shape("Google client secret", r"(?<!\w)GOCSPX-[\w-]{28}(?![\w-])", 3.0),
    _Shape(
        "Slack token",
        r"(?<!\w)xox[abeoprs]-(?:\d{8,14}-){1,3}[A-Za-z0-9-]{16,80}(?!\w)",
        2.5,
    ),
    _Shape(
        "Slack address",
        r"https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9+/]{40,80}",
        3.0,
    ),
    _Shape("Stripe key", r"(?<!\w)[sr]k_live_[A-Za-z0-9]{20,120}(?!\w)", 3.0),
    _Shape("npm token", r"(?<!\w)npm_[A-Za-z0-9]{36}(?!\w)", 3.0),
    _Shape("PyPI token", r"(?<!\w)pypi-AgEIcHlwaS5vcmc[\w-]{50,200}(?![\w-])", 3.0),
    _Shape("Hugging Face token", r"(?<!\w)hf_[A-Za-z0-9]{34,40}(?!\w)", 3.0),
    _Shape("Telegram token", r"(?<![\w-])\d{8,10}:AA[\w-]{33}(?![\w-])", 3.5),
    _Shape("SendGrid key", r"(?<!\w)SG\.[\w-]{22}\.[\w-]{43}(?![\w-])", 3.0),
    _Shape("age key", r"(?<!\w)AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}(?!\w)", 3.0),
    _Shape(
        "signed token",
        r"(?<![\w.-])eyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{20,2000}(?![\w.-])",
        3.5,
    ),
    _Shape(
        "password in an address",
        r"(?<=://)[^\s:/@\"'<>]{1,64}:[^\s:/@\"'<>]{6,128}(?=@[\w.-]+)",
        2.3,
    ),
    _Shape(
        "Authorization header",
        r"(?i:(?<=authorization: bearer )|(?<=authorization: basic )|(?<=authorization: "
        r"token ))[\w.~+/=-]{16,2000}",
        3.0,
    ),
    _Shape(
        "password or key",
        r"(?i:(?<![A-Za-z])(?:api[_-]?key|secret(?:[_-]?key)?|access[_-]?token|auth[_-]?"
        r"token|client[_-]?secret|passwd|password)[\"']?\s{0,4}(?:=|:|=>)\s{0,4}[\"']?)("
        r"?P<value>[^\s\"',;(){}\[\]<>]{10,200})",
        3.2,
    ),
)

_ALL = re.compile("|".join(f"(?P<s{i}>{shape.pattern})" for i, shape in enumerate(_SHAPES)))
_HINTS = re.compile(
    r"PRIVATE KEY|A[KSBC][IC]A[A-Z2-7]|gh[pousr]_|github_pat_|gl[a-z]{2,3}-|sk-|AIza|GOCSPX|xox|"
    r"hooks\.slack|k_live_|npm_|pypi-|hf_|:AA|SG\.|AGE-SECRET|eyJ|://[^\s/]{1,64}:|(?i:authorization"
    r"|api[_-]?key|secret|token|passw)"
)
_PLACEHOLDER = re.compile(
    r"(?i)example|sample|dummy|placeholder|changeme|your[_-]?|redacted|\*{3}|x{6}|\.{3}|<|"
    r"\$\{|\{\{|%\(|0123456789|1234567890|abcdefgh|env\[|getenv|process\.env|os\.environ"
)
_NAMES = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
"""Of attributes in programs."""


def find_secrets(text: str) -> tuple[Found, ...]:
    """In the order of the text, none overlapping."""
    text = text[:LONGEST]
    if not _HINTS.search(text):
        return ()
    found: list[Found] = []
    for match in _ALL.finditer(text):
        group = match.lastgroup or ""
        name = next(n for n in match.groupdict() if n.startswith("s") and match[n] is not None)
        shape = _SHAPES[int(name[1:])]
        begin, end = match.span("value") if match["value"] is not None else match.span()
        if group and _looks_real(text[begin:end], shape):
            found.append(Found(begin, end, shape.kind))
    return tuple(found)


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


def black_out(text: str, spans: object) -> str:
    """Replace spans (begin, end, what it was), in order and not overlapping."""
    pieces: list[str] = []
    at = 0
    for begin, end, what in spans:  # type: ignore[attr-defined]
        pieces += [text[at:begin], f"[redacted: {what}]"]
        at = end
    return "".join((*pieces, text[at:]))
