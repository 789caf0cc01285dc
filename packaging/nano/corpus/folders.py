"""Folders of invented notes."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .facts import FACTS
from .grammar import Speaker, fill
from .names import date, name, noun, person, word

FILLERS = (
    "Buy <n1> and <n2>.",
    "Remember the <n1>.",
    "<N> called about the <n1>.",
    "The <n1> is broken.",
    "Clean the <n1> on <D>.",
    "No news from <N>.",
    "Ask <N> for the <n1>.",
    "# <T>",
    "- <n1>",
    "",
    "Nothing new about the <n1>.",
    "It rained all day.",
    "Check the <n1> again.",
)
EXT = ("txt", "txt", "txt", "md")


def file_name(rng: random.Random) -> str:
    """A file name: common, invented, or of two parts."""
    roll = rng.random()
    stem = noun(rng) if roll < 0.45 else word(rng)
    if roll > 0.75:
        stem += rng.choice(("_notes", "-list", "2", f"_{rng.randint(2019, 2026)}", f"-{noun(rng)}"))
    return f"{stem}.{rng.choice(EXT)}"


def filler(speaker: Speaker) -> str:
    """A line that answers nothing."""
    rng = speaker.rng
    slots = {"n1": noun(rng), "n2": noun(rng), "N": person(rng), "D": date(rng), "T": name(rng)}
    return fill(rng.choice(FILLERS), slots)


@dataclass(slots=True)
class Folder:
    """A folder being written: facts with where they went."""

    files: dict[str, list[str]]
    facts: list[tuple[str, str, str, str]]
    """(file, kind, subject, value)"""

    def texts(self) -> dict[str, str]:
        """Name -> text."""
        return {n: "\n".join(lines).strip("\n") for n, lines in self.files.items()}


def build(speaker: Speaker, files: int, facts: int, kinds: tuple[str, ...] = ()) -> Folder:
    """A folder of invented notes; every subject occurs once."""
    rng = speaker.rng
    folder = Folder({}, [])
    while len(folder.files) < files:
        folder.files.setdefault(file_name(rng), [])
    used: set[str] = set()
    names = list(folder.files)
    while len(folder.facts) < facts:
        kind = rng.choice(kinds or tuple(FACTS))
        fact = FACTS[kind]
        subject, value = fact.subject(rng), fact.value(rng)
        if folder.facts and rng.random() < 0.35:
            kind, subject = sibling(rng, folder, kinds) or (kind, subject)
            fact, value = FACTS[kind], FACTS[kind].value(rng)
        elif any(subject.lower() in u or u in subject.lower() for u in used):
            continue
        used.add(subject.lower())
        target = rng.choice(names)
        wording = Speaker(rng, speaker.held).pick(fact.lines)
        line = fill(wording, {"S": subject, "V": value})
        if rng.random() < 0.15:
            line = "- " + line
        folder.files[target].append(line[0].upper() + line[1:] if rng.random() < 0.8 else line)
        folder.facts.append((target, kind, subject, value))
    for lines in folder.files.values():
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            lines.insert(rng.randint(0, len(lines)), filler(speaker))
        if not any(lines):
            lines.append(filler(speaker) or "Nothing here.")
    return folder


SIBLINGS = (
    {"birthday", "home", "phone", "likes", "job"},
    {"price", "where"},
    {"date", "code", "leader"},
)
"""Kinds that can be noted of the same subject."""


def sibling(rng: random.Random, folder: Folder, kinds: tuple[str, ...]) -> tuple[str, str] | None:
    """Another kind for a subject that the folder has already; None if there is none."""
    _, kind, subject, _ = rng.choice(folder.facts)
    known = {k for _, k, s, _ in folder.facts if s == subject}
    family: set[str] = next((f for f in SIBLINGS if kind in f), set())
    open_kinds = sorted(k for k in family - known if not kinds or k in kinds)
    return (rng.choice(open_kinds), subject) if open_kinds else None
