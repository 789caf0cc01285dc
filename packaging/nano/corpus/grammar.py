"""Phrasings composed from parts, with parts held out for evaluation.

A pattern is text with alternatives: ``{compute|work out|^crunch} <E>{ please|}``. Alternatives
nest. One that begins with ``^`` is held out: training never takes it; a held-out phrasing takes at
least one. ``<name>`` are slots, filled last so that noise never touches a number or a name.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

INNER = re.compile(r"\{([^{}]*)\}")
SLOT = re.compile(r"<(\w+)>")
HELD_SHARE = 0.6
"""How often a held-out phrasing takes a held-out alternative where there is one."""


class Speaker:
    """Draws phrasings; `held` says whether they are for evaluation."""

    def __init__(self, rng: random.Random, held: bool) -> None:
        self.rng = rng
        self.held = held
        self.unseen: list[str] = []
        """The held-out parts taken so far."""

    def expand(self, pattern: str) -> tuple[str, bool]:
        """(text with slots left in, whether a held-out alternative was taken)."""
        used = False

        def choose(match: re.Match[str]) -> str:
            nonlocal used
            known, unseen = split_held(match.group(1).split("|"))
            if self.held and unseen and (not known or self.rng.random() < HELD_SHARE):
                used = True
                self.unseen.append(self.rng.choice(unseen))
                return self.unseen[-1]
            return self.rng.choice(known) if known else ""

        while "{" in pattern:
            pattern = INNER.sub(choose, pattern)
        return pattern, used

    def pick(self, patterns: Sequence[str]) -> str:
        """A phrasing of one of `patterns` (those that begin with ^ are held out)."""
        known, unseen = split_held(patterns)
        for _ in range(200):
            whole = self.held and bool(unseen) and self.rng.random() < HELD_SHARE
            pattern = self.rng.choice(unseen if whole else known)
            text, used = self.expand(pattern)
            if whole:
                self.unseen.append(pattern)
            if not self.held or whole or used:
                return text
        return self.expand(self.rng.choice(known))[0]

    def any(self, pattern: str) -> str:
        """A phrasing from the training parts only, for replies and reasoning."""
        return Speaker(self.rng, held=False).expand(pattern)[0]


def split_held(options: Sequence[str]) -> tuple[list[str], list[str]]:
    """(options for training, options for evaluation)."""
    known = [o for o in options if not o.startswith("^")]
    return known, [o[1:] for o in options if o.startswith("^")]


def fill(text: str, slots: Mapping[str, object]) -> str:
    """Puts the values in place of ``<name>``."""
    return SLOT.sub(lambda m: str(slots[m.group(1)]), text)


def roughen(text: str, rng: random.Random) -> str:
    """Now and then a typing error, lower case or a missing end mark; slots stay whole."""
    if rng.random() < 0.12:
        text = typo(text, rng)
    roll = rng.random()
    if roll < 0.14:
        text = SLOT.sub(lambda m: m.group(0), lower(text))
    elif roll < 0.5 and text:
        text = text[0].upper() + text[1:]
    if rng.random() < 0.15 and text[-1:] in ".?!":
        text = text[:-1]
    return text


def lower(text: str) -> str:
    """Lower case outside the slots."""
    return re.sub(r"<\w+>|[^<]+", lambda m: m[0] if m[0][0] == "<" else m[0].lower(), text)


def typo(text: str, rng: random.Random) -> str:
    """Swaps, drops or doubles a letter inside one word of at least four letters."""
    words = list(re.finditer(r"(?<![<\w])[A-Za-z]{4,}(?![>\w])", text))
    if not words:
        return text
    word = rng.choice(words)
    at = word.start() + rng.randrange(1, len(word[0]) - 1)
    kind = rng.random()
    if kind < 0.4:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if kind < 0.7:
        return text[:at] + text[at + 1 :]
    return text[:at] + text[at] + text[at:]


OPENERS = (
    "",
    "{Hi|Hello|Hey|Good morning|Hi there|Good evening|Greetings}{!|,|.} ",
    "{Please|Kindly|Quick question:|Question:|Now|OK,|So,|Well,|Next:|Alright,|Say,|Listen,} ",
    "{I am|I'm} {doing|checking|going over|sorting out} {my homework|my accounts|the bills|some "
    "figures|a report|our budget|my taxes}. ",
    "{My|Our} {boss|teacher|son|daughter|friend|neighbour|colleague|landlord} {asked|wants to "
    "know|needs this|asked me this|would like to know}{:|.} ",
    "{I need {some|a little|your} help.|Can you help me?|Help me with this:|Here is a question:|I "
    "have a question.|One more thing:|Something for you:|Here goes:} ",
    "{The <w1> is <w2>.|We met <w1> at the <w2> today.|It was a long day.|I forgot my "
    "<w1>.|Yesterday we had <w1>.|The <w1> came late again.} ",
)
CLOSERS = (
    "",
    " {Thanks|Thank you|Thanks a lot|Cheers|Many thanks|Much obliged}{!|.|}",
    " {Be {brief|quick}.|Keep it short.|Just the {answer|result}{, please|}.|No hurry.|Short "
    "answer only.}",
    " {I need {it|this} for <w1>.|It is for {a friend|my report|school|work|the club}.}",
)


def dress(core: str, speaker: Speaker, slots: Mapping[str, object], closer: str = "") -> str:
    """A core phrasing with opener, closer and noise, its slots filled."""
    from .names import noun

    rng = speaker.rng
    aside = Speaker(rng, speaker.held)
    opener = aside.expand(rng.choice(OPENERS))[0] if rng.random() < 0.4 else ""
    if not closer and rng.random() < 0.25:
        closer = aside.expand(rng.choice(CLOSERS))[0]
    if opener.endswith((": ", ", ")) and core and rng.random() < 0.7:
        core = core[0].lower() + core[1:] if not core.startswith(("<", "I ")) else core
    text = roughen(opener + core + closer, rng)
    return fill(text, {"w1": noun(rng), "w2": noun(rng), **slots})
