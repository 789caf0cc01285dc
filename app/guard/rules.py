"""Guard rules of the settings, and what one finds in a text or a call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import msgspec

from app.errors import ConfigError
from app.guard.secrets import find_secrets
from app.trust.call import Wanted
from app.trust.pattern import Pattern
from app.trust.targets import in_text

Place = Literal["input", "output", "call", "result"]
Action = Literal["block", "ask", "redact", "note"]

WORST: tuple[Action, ...] = ("block", "ask", "redact", "note")
FUNCTION = re.compile(r"([A-Za-z_]\w*\.py):([A-Za-z_]\w*)")
"""How a function of the trusted folder is named."""
_MOST = 200
_LONGEST_NAME = 60
_OF = {"regex": "expressions", "hosts": "hosts", "paths": "paths", "python": "function"}


class GuardRule(msgspec.Struct, frozen=True):
    """``values``: regular expressions, patterns of hosts or paths (``*.a.org``, ``~/.ssh/*``),
    or for ``python`` one ``FILE.py:FUNCTION`` of the guards' folder. ``calls``: for calls and
    results, the calls it holds for.
    """

    name: str
    find: Literal["secrets", "regex", "hosts", "paths", "python"]
    on: tuple[Place, ...]
    action: Action = "note"
    values: tuple[str, ...] = ()
    calls: tuple[str, ...] = ("*",)
    message: str = ""
    off: bool = False
    """Kept, and not looked at."""


DEFAULT = (
    GuardRule(
        "secrets leaving",
        "secrets",
        ("call",),
        "ask",
        calls=("@network", "@foreign", "@execute"),
    ),
    GuardRule("secrets read", "secrets", ("input", "result")),
)


@dataclass(frozen=True, slots=True)
class Hit:
    """``spans``: (begin, end, what it is) in the text; empty: the whole."""

    rule: GuardRule
    message: str
    spans: tuple[tuple[int, int, str], ...] = ()


def look(rule: GuardRule, text: str, call: Wanted | None) -> Hit | None:
    """What a rule without code finds. ``call``: whose arguments or result the text is."""
    match rule.find:
        case "secrets":
            spans = tuple((one.begin, one.end, one.kind) for one in find_secrets(text)[:_MOST])
        case "regex":
            spans = tuple(_matches(rule, text))[:_MOST]
        case "hosts" | "paths":
            spans = ()
            found = sorted(set(_targets(rule, text, call)))
            return Hit(rule, rule.message or _words(found)) if found else None
        case _:
            return None
    if not spans:
        return None
    return Hit(rule, rule.message or _words(sorted({kind for _, _, kind in spans})), spans)


def check_rule(rule: GuardRule, others: Iterable[GuardRule] = ()) -> None:
    """Raises ConfigError ``bad_guard`` or ``bad_pattern`` where it could not work."""
    if not rule.name.strip() or len(rule.name) > _LONGEST_NAME or not rule.name.isprintable():
        raise _bad(f"a guard has a name of at most {_LONGEST_NAME} letters, on one line")
    if any(one.name == rule.name for one in others):
        raise _bad(f"there is a guard called “{rule.name}” already")
    if not rule.on:
        raise _bad("say where it looks: messages, replies, calls or results")
    for text in rule.calls:
        Pattern.parse(text)
    if not rule.calls and ("call" in rule.on or "result" in rule.on):
        raise _bad("say which calls it is about; * means all")
    if rule.find == "secrets":
        return
    if not rule.values:
        raise _bad(f"say which {_OF[rule.find]} it looks for")
    for value in rule.values:
        if rule.find == "regex":
            compiled(value)
        elif rule.find == "python" and not FUNCTION.fullmatch(value):
            raise _bad(f"{value[:100]!r} is not FILE.py:FUNCTION")


def _bad(message: str) -> ConfigError:
    return ConfigError("bad_guard", message)


def holds_for(rule: GuardRule, place: Place, call: Wanted | None) -> bool:
    """Whether a rule is about this place and this call."""
    if rule.off or place not in rule.on:
        return False
    return call is None or any(_covers(text, call) for text in rule.calls)


def _covers(text: str, call: Wanted) -> bool:
    try:
        return Pattern.parse(text).touches(call)
    except ConfigError:
        return True  # a guard that cannot be read guards everything


def _matches(rule: GuardRule, text: str) -> Iterator[tuple[int, int, str]]:
    spans: list[tuple[int, int]] = []
    for value in rule.values:
        spans += (match.span() for match in compiled(value).finditer(text) if match[0])
    at = 0
    for begin, end in sorted(spans):
        if begin >= at:
            yield begin, end, rule.name
            at = end


@lru_cache(maxsize=256)
def compiled(value: str) -> re.Pattern[str]:
    """Raises ConfigError ``bad_guard``."""
    try:
        return re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(
            "bad_guard", f"{value[:100]!r} is no regular expression: {error}"
        ) from None


def _targets(rule: GuardRule, text: str, call: Wanted | None) -> Iterator[str]:
    kind = rule.find[:-1]
    aimed = call.targets if call is not None else tuple(in_text(text))
    folder = call.folder if call is not None else ""
    for target in aimed:
        one = Wanted("any", "none", {}, (target,), folder)
        for value in rule.values:
            if target.kind == kind and Pattern("any", ((kind, value),)).covers(one):
                yield f"{kind} {target.value}"


def _words(found: list[str]) -> str:
    shown = ", ".join(found[:5])
    return f"{shown} and {len(found) - 5} more" if len(found) > 5 else shown
