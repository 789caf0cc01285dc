"""Rules that stay, scopes for runs that nobody watches, and what follows from them for a call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import msgspec

from app.errors import ConfigError
from app.tools.base import Target
from app.trust.call import Wanted
from app.trust.pattern import Pattern

Why = Literal["tool", "target", "doubt", "rule", "guard", "bare", "lane"]


Ruling = Literal["allow", "ask", "deny"]


class Rule(msgspec.Struct, frozen=True):
    """Of the settings. ``reason`` is what the model is told of a call that is denied."""

    pattern: str
    decision: Ruling = "allow"
    reason: str = ""
    made: float = 0.0
    """Unix time in seconds; 0: not known."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a call needs a yes. ``targets``: those it is about."""

    why: Why
    text: str
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class Denied:
    """By a rule of the person's."""

    pattern: str
    reason: str


def checked(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Those that can be read; a damaged line of the settings is none."""
    return tuple(rule for rule in rules if _readable(rule))


def denied(call: Wanted, rules: Iterable[Rule]) -> Denied | None:
    """The rule that forbids it; one is enough."""
    for rule in checked(rules):
        if rule.decision == "deny" and Pattern.parse(rule.pattern).touches(call):
            return Denied(rule.pattern, rule.reason)
    return None


def asked(call: Wanted, rules: Iterable[Rule]) -> Reason | None:
    """The rule by which it is asked about."""
    for rule in checked(rules):
        if rule.decision == "ask" and Pattern.parse(rule.pattern).touches(call):
            return Reason("rule", rule.reason or f"you want to be asked about {rule.pattern}")
    return None


def allowing(
    call: Wanted, reasons: Iterable[Reason], patterns: Iterable[str], *, waives: Iterable[Why] = ()
) -> str:
    """The first pattern that answers all the reasons; "": none does.

    A pattern that names a tool alone answers for the tool, not for targets that only texts of
    others name: those it has to name itself. Doubts, guards and rules that ask are answered only
    where ``waives`` says so.
    """
    reasons, waived = tuple(reasons), frozenset(waives)
    if any(reason.why not in ("tool", "target", *waived) for reason in reasons):
        return ""
    kinds = {t.kind for reason in reasons if reason.why == "target" for t in reason.targets}
    for text in patterns:
        try:
            pattern = Pattern.parse(text)
        except ConfigError:
            continue
        if kinds <= pattern.kinds and pattern.covers(call):
            return text
    return ""


def suggestions(call: Wanted, reasons: Iterable[Reason]) -> tuple[str, ...]:
    """Patterns that would let calls like it run unasked, the narrowest first."""
    strange = tuple(t for reason in reasons if reason.why == "target" for t in reason.targets)
    found: list[Pattern] = []
    commands = call.aimed_at("command")
    if len(commands) == 1 and "\n" not in commands[0]:
        found.append(Pattern(call.tool, (("command", commands[0]),)))
        words = commands[0].split()
        if len(words) > 1:
            found.append(Pattern(call.tool, (("command", f"{words[0]} *"),)))
    for kind in ("host", "address", "path"):
        values = {t.value for t in strange if t.kind == kind} or set(call.aimed_at(kind))
        if len(values) == 1 and not commands and call.risk != "execute":
            (value,) = values
            found.append(Pattern(call.tool, ((kind, value),)))
            wider = _wider(kind, value)
            if wider:
                found.append(Pattern(call.tool, ((kind, wider),)))
    if strange:
        kinds = dict.fromkeys(target.kind for target in strange)
        found.append(Pattern(call.tool, tuple((kind, "*") for kind in kinds)))
    else:
        found.append(Pattern(call.tool))
    return tuple(dict.fromkeys(str(p) for p in found if _answers(p, call, strange)))


def _answers(pattern: Pattern, call: Wanted, strange: tuple[Target, ...]) -> bool:
    return {t.kind for t in strange} <= pattern.kinds and pattern.covers(call)


def _wider(kind: str, value: str) -> str:
    if kind == "path":
        folder = value.rpartition("/")[0]
        return f"{folder}/*" if folder else ""
    if kind == "address":
        return f"*@{value.partition('@')[2]}"
    labels = value.split(".")
    if len(labels) < 2 or labels[-1].isdigit() or ":" in value:
        return ""
    # Below two labels lie whole countries; three keep what belongs together.
    return f"*.{'.'.join(labels[-2:])}" if len(labels) == 3 and labels[0] == "www" else ""


def _readable(rule: Rule) -> bool:
    try:
        Pattern.parse(rule.pattern)
    except ConfigError:
        return False
    return True
