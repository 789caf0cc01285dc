"""All guards together: a text or a call goes in, hits come out."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from pathlib import Path

from app.errors import ConfigError
from app.guard.custom import TrustedFolder
from app.guard.rules import WORST, GuardRule, Hit, Place, holds_for, look
from app.guard.secrets import black_out
from app.trust.call import Wanted

SECONDS = 2.0
"""That a person's own function may take."""
HELD_BACK = "(held back by the guard “{name}”: {message})"


class Guards:
    """Reads the rules at each text, so that a change is in force at once. Any thread.

    A rule that cannot be read or fails counts as a hit: a guard that is broken must not let through
    what it was to hold.
    """

    def __init__(self, rules: Callable[[], tuple[GuardRule, ...]], folder: Path) -> None:
        self._rules = rules
        self._trusted = TrustedFolder(folder)
        self._pool: ThreadPoolExecutor | None = None

    def hits(self, place: Place, text: str, call: Wanted | None = None) -> list[Hit]:
        """What the rules find, the gravest first."""
        found = []
        for rule in self._rules():
            if not holds_for(rule, place, call):
                continue
            try:
                hit = self._own(rule, place, text, call) if rule.find == "python" else None
                hit = hit or look(rule, text, call)
            except ConfigError as error:
                hit = Hit(rule, f"the guard does not work: {error.message}")
            if hit is not None:
                found.append(hit)
        return sorted(found, key=lambda hit: WORST.index(hit.rule.action))

    def holds_output(self, place: Place) -> bool:
        """Whether a text of that place may have to change before anybody sees it."""
        holding = [r for r in self._rules() if r.action in ("block", "redact") and not r.off]
        return any(place in r.on for r in holding)

    def _own(self, rule: GuardRule, place: Place, text: str, call: Wanted | None) -> Hit | None:
        check = self._trusted.function(rule.values[0] if rule.values else "")
        info = {
            "place": place,
            "tool": call.tool if call else "",
            "arguments": call.arguments if call else {},
        }
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="guard")
        try:
            result = self._pool.submit(check, text, info).result(SECONDS)
        except Late:
            return Hit(rule, f"{rule.values[0]} took longer than {SECONDS:g} s")
        except Exception as error:
            return Hit(rule, f"{rule.values[0]} failed: {type(error).__name__}: {error}")
        if not result:
            return None
        if isinstance(result, list):
            spans = _spans(result, len(text), rule.name)
            return Hit(rule, rule.message or f"{len(spans)} places", spans) if spans else None
        return Hit(rule, rule.message or str(result)[:500])


def changed(text: str, hits: list[Hit]) -> str:
    """The text after the hits that block or redact; a redacting hit without places blocks."""
    for hit in hits:
        if hit.rule.action == "block" or (hit.rule.action == "redact" and not hit.spans):
            return HELD_BACK.format(name=hit.rule.name, message=hit.message)
    spans = sorted({s for hit in hits if hit.rule.action == "redact" for s in hit.spans})
    apart: list[tuple[int, int, str]] = []
    for span in spans:
        if not apart or span[0] >= apart[-1][1]:
            apart.append(span)
        elif span[1] > apart[-1][1]:
            apart[-1] = (apart[-1][0], span[1], apart[-1][2])
    return black_out(text, apart)


def _spans(result: list[object], size: int, name: str) -> tuple[tuple[int, int, str], ...]:
    made = []
    for one in result:
        if isinstance(one, tuple | list) and len(one) == 2:
            begin, end = one
            if isinstance(begin, int) and isinstance(end, int) and 0 <= begin < end <= size:
                made.append((begin, end, name))
    return tuple(sorted(made))
