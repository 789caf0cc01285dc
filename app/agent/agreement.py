"""Whether answers say the same: by comparing short ones, or by what a model says of long ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation

from app import events as ev

SHORT = 60
"""Characters of a normalised answer up to which it is compared as such."""

_BOXED = re.compile(r"\\boxed\{([^{}]{1,200})\}")
_STATED = re.compile(
    r"^[\s>#*_-]*(?:the )?(?:final |short )?(?:answer|result)(?: is)?\b[\s*_]*[:=]?[\s*_]*(.+)$",
    re.IGNORECASE | re.MULTILINE,
)
_LABEL = re.compile(r"^[\s>*_#-]*agreeing trajectories?[\s*_]*:[\s*_]*(.*?)[\s*_.]*$", re.I | re.M)
_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")
_MARKS = re.compile(r"[*_`$]|\\[()\[\]]")


def core_of(answer: str) -> str:
    """The answer proper: boxed, stated ("Answer: …"), or the whole if that is one short line.

    Empty where an answer is a text that cannot be compared by its characters.
    """
    boxed = _BOXED.findall(answer)
    stated = _STATED.findall(answer)
    lines = [line for line in answer.strip().splitlines() if line.strip()]
    if boxed:
        found = str(boxed[-1])
    elif stated:
        found = str(stated[-1])
    else:
        found = lines[0] if len(lines) == 1 else ""
    plain = normal(found)
    return plain if len(plain) <= SHORT else ""


def normal(text: str) -> str:
    """Without marks of Markdown, case, spare space and a full stop; numbers in one form."""
    plain = " ".join(_MARKS.sub("", text).casefold().split()).strip(" .!")
    if "=" in plain:
        last = plain.rsplit("=", 1)[1].strip()
        plain = last if _number(last) is not None else plain
    number = _number(plain)
    return plain if number is None else number


def _number(text: str) -> str | None:
    bare = text.replace("\u2212", "-").replace("\u00a0", "").replace("\u202f", "")
    if re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?", bare):
        bare = bare.replace(",", "")
    if not re.fullmatch(r"[-+]?\d{1,40}(\.\d{1,40})?", bare):
        return None
    try:
        return f"{Decimal(bare).normalize():f}"
    except InvalidOperation:
        return None


def groups_of(answers: Mapping[int, str]) -> tuple[ev.LaneGroup, ...]:
    """Lanes by what they answer, the most first; empty unless all answers can be compared."""
    cores = {number: core_of(answer) for number, answer in answers.items()}
    if not all(cores.values()):
        return ()
    found: dict[str, list[int]] = {}
    for number, core in cores.items():
        found.setdefault(core, []).append(number)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[1]))
    return tuple(ev.LaneGroup(core, tuple(lanes)) for core, lanes in ordered)


def verdict_of(text: str, numbers: Sequence[int]) -> tuple[str, tuple[int, ...] | None]:
    """(the answer without it, the lanes that the model says agree); None: it did not say."""
    found = list(_LABEL.finditer(text))
    if not found:
        return text.strip(), None
    last = found[-1]
    said = {int(n) for n in re.findall(r"\d{1,4}", last[1])}
    rest = (text[: last.start()] + text[last.end() :]).strip()
    return rest, tuple(n for n in numbers if n in said)


def compare(answers: Mapping[int, str], final: str) -> ev.LanesCompared:
    """How far the lanes agree with the final answer, which may hold the model's verdict."""
    answer, said = verdict_of(final, list(answers))
    groups = groups_of(answers)
    of = len(answers)
    if groups:
        group = _chosen(answer, said or (), groups)
        if group is not None:
            return ev.LanesCompared(group.lanes, of, "answers", groups)
        if said is None:
            return ev.LanesCompared((), of, "answers", groups)
    if said is None:
        return ev.LanesCompared((), of, "nobody", groups)
    return ev.LanesCompared(said, of, "model", groups)


def _chosen(
    answer: str, said: Sequence[int], groups: Sequence[ev.LaneGroup]
) -> ev.LaneGroup | None:
    """The group that the final answer sides with: it gives that answer, names no other, makes only
    that one bold, or the model's verdict lies within it.
    """
    mine = core_of(answer) or normal(answer)
    bold = {normal(found) for found in _BOLD.findall(answer)}
    tests: list[Callable[[ev.LaneGroup], bool]] = [
        lambda group: group.answer == mine,
        lambda group: _named(group.answer, mine),
        lambda group: group.answer in bold,
        lambda group: bool(said) and set(said) <= set(group.lanes),
    ]
    for test in tests:
        found = [group for group in groups if test(group)]
        if len(found) == 1:
            return found[0]
    return None


def _named(answer: str, text: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(answer)}(?![\w]|\.\d)", text) is not None
