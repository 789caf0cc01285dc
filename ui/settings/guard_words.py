"""Guard rules in words for people. Qt-free."""

from __future__ import annotations

from app.guard.rules import Action, GuardRule, Place

KINDS = (
    ("Secrets, by their shapes", "secrets"),
    ("Text, by regular expressions", "regex"),
    ("Hosts", "hosts"),
    ("Paths", "paths"),
    ("What a function of yours says", "python"),
)
PLACES: tuple[tuple[str, Place], ...] = (
    ("Your messages", "input"),
    ("Replies", "output"),
    ("Calls of tools", "call"),
    ("Results of tools", "result"),
)
ACTIONS: tuple[tuple[str, Action], ...] = (
    ("Note it", "note"),
    ("Ask me", "ask"),
    ("Black it out", "redact"),
    ("Hold it back", "block"),
)
VALUES = {
    "regex": ("Expressions, one a line", r"(?i)project \w+"),
    "hosts": ("Hosts, one a line", "*.example.org"),
    "paths": ("Paths, one a line", "~/.ssh/*"),
    "python": ("Function", "mine.py:check"),
}
"""What a kind's values are called, and an example."""
_CALL = {
    "note": "a call runs, and what was found is shown",
    "ask": "you are asked before a call runs; no rule answers for you",
    "redact": "you are asked before a call runs; no rule answers for you",
    "block": "a call is denied",
}
_TEXT = {
    "note": "a text stands, and what was found is shown",
    "ask": "the run pauses; with nobody there the text is held back",
    "redact": "what was found is blacked out before it is stored and read",
    "block": "a text is held back; a message is not sent at all",
}
_WHOLE = "the whole text is held back, for hosts and paths have no place in it"


def effect(rule: GuardRule) -> str:
    """What the rule does where it finds something."""
    text = _TEXT[rule.action]
    if rule.action == "redact" and rule.find in ("hosts", "paths"):
        text = _WHOLE
    parts = [_CALL[rule.action]] if "call" in rule.on else []
    parts += [text] if set(rule.on) - {"call"} else []
    words = "; ".join(parts)
    return f"{words[:1].upper()}{words[1:]}." if words else ""


def facts_of(rule: GuardRule) -> list[tuple[str, str]]:
    """Names and values."""
    kinds = {value: text for text, value in KINDS}
    actions = {value: text for text, value in ACTIONS}
    places = ", ".join(text.lower() for text, place in PLACES if place in rule.on)
    found = [("Finds", kinds[rule.find])]
    if rule.values and rule.find != "secrets":
        name = VALUES[rule.find][0].partition(",")[0]
        found.append((name, "\n".join(rule.values[:8]) + ("\n…" if len(rule.values) > 8 else "")))
    found += [("Looks at", places or "nothing"), ("Then", actions[rule.action])]
    if rule.calls != ("*",) and {"call", "result"} & set(rule.on):
        found.append(("Calls", ", ".join(rule.calls)))
    if rule.message:
        found.append(("Says", rule.message))
    return found
