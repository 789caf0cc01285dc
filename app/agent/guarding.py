"""Guards at the places of a run: the person's words, the model's, calls and results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from app import events as ev
from app.guard.guards import changed
from app.guard.rules import Hit, Place
from app.trust.call import Wanted

if TYPE_CHECKING:
    from app.agent.run import Run

_AROUND = 40


def guarded(
    run: Run, span: str, place: Place, text: str, *, call: str = "", wanted: Wanted | None = None
) -> str:
    """The text as it may stand; hits are recorded. Where a guard asks, the run pauses at the next
    place where it can, or holds the text back where nobody is there.
    """
    if run.guards is None:
        return text
    hits = run.guards.hits(place, text, wanted)
    for hit in hits:
        run.emit(as_event(hit, place, text, call), span)
    asking = next((hit for hit in hits if hit.rule.action == "ask"), None)
    if asking is not None:
        if run.rules.present() is not None:
            return changed(text, [_blocking(asking)])
        run.gate.asked, run.gate.why = True, f"guard {asking.rule.name}: {asking.message}"
    return changed(text, hits)


def as_event(hit: Hit, place: Place, text: str, call: str = "") -> ev.GuardHit:
    """For the record: never the secret itself."""
    rule = hit.rule
    return ev.GuardHit(rule.name, place, rule.action, hit.message, call, _excerpt(text, hit))


def _blocking(hit: Hit) -> Hit:
    return Hit(msgspec.structs.replace(hit.rule, action="block"), hit.message, hit.spans)


def _excerpt(text: str, hit: Hit) -> str:
    """What stands around the first place, up to the next."""
    if not hit.spans:
        return ""
    begin, end, what = hit.spans[0]
    next_one = hit.spans[1][0] if len(hit.spans) > 1 else len(text)
    before, after = text[max(0, begin - _AROUND) : begin], text[end : min(end + _AROUND, next_one)]
    return " ".join(f"{before}[{what}]{after}".split())
