# ruff: noqa: E501  (patterns are kept whole, whatever their length)
"""What notes can say: kinds of facts, how they are stated, asked for and told."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from .names import clock, code, date, integer, name, noun, person, plural, word


@dataclass(frozen=True, slots=True)
class Fact:
    """A relation: how notes state it, how users ask for it, how the answer says it.

    Slots: <S> the subject, <V> the value.
    """

    subject: Callable[[random.Random], str]
    value: Callable[[random.Random], str]
    lines: tuple[str, ...]
    asks: tuple[str, ...]
    says: str


def price(rng: random.Random) -> str:
    """An amount with its currency."""
    amount = (
        str(integer(rng, 4))
        if rng.random() < 0.7
        else f"{rng.randint(1, 99)}.{rng.randint(1, 99):02d}"
    )
    return rng.choice((f"{amount} euros", f"{amount} euros", f"{amount} dollars", f"€{amount}"))


def amount(rng: random.Random) -> str:
    """A plain number."""
    return str(integer(rng, 4))


def thing(rng: random.Random) -> str:
    """Something one can own or buy, invented adjective now and then."""
    return f"{word(rng)} {noun(rng)}" if rng.random() < 0.4 else noun(rng)


def project(rng: random.Random) -> str:
    """The name of a project, a boat, a hut."""
    return name(rng)


def place(rng: random.Random) -> str:
    """Where something is."""
    return rng.choice(
        (
            name(rng),
            f"the {noun(rng)}",
            f"{name(rng)} {rng.choice(('Street', 'Hall', 'Bay', 'Farm'))}",
        )
    )


def phone(rng: random.Random) -> str:
    """A telephone number."""
    return "".join(rng.choice("0123456789") for _ in range(rng.choice((4, 5, 6))))


FACTS: dict[str, Fact] = {
    "price": Fact(
        thing,
        price,
        (
            "The <S> costs <V>.",
            "<S>: <V>",
            "Price of the <S>: <V>",
            "Bought a <S> for <V>.",
            "We paid <V> for the <S>.",
            "For the <S> they want <V>.",
        ),
        (
            "{What|How much} {does|did} the <S> cost?",
            "{What is|What's|Find|Tell me|State} the price of the <S>{?|.}",
            "How {much|expensive} {is|was} the <S>?",
            "What {did|do} {we|I} pay for the <S>?",
            "^Can you tell me the price of the <S>?",
            "^I want to know what the <S> costs.",
            "How much money was spent on the <S>?",
            "What do they charge for the <S>?",
        ),
        "The <S> costs <V>.",
    ),
    "date": Fact(
        project,
        date,
        (
            "The meeting with <S> is on <V>.",
            "<S>: meeting on <V>",
            "Meet <S> on <V>.",
            "Appointment with <S>: <V>",
            "We see <S> on <V>.",
        ),
        (
            "When {is the {meeting|appointment} with|do I meet|do we meet|am I meeting|do I see} <S>?",
            "{What|On what|On which} {day|date} {is the meeting with|do I meet} <S>?",
            "{What is|Find|Tell me} the date of the {meeting|appointment} with <S>{?|.}",
            "^Can you tell me when I meet <S>?",
            "For what day did I put down <S>?",
        ),
        "The meeting with <S> is on <V>.",
    ),
    "birthday": Fact(
        person,
        date,
        (
            "<S>'s birthday is on <V>.",
            "Birthday of <S>: <V>",
            "<S> was born on <V>.",
            "<S> has a birthday on <V>.",
        ),
        (
            "When is <S>'s birthday?",
            "When {was <S> born|does <S> have a birthday}?",
            "{What is|Find|Tell me|Look up|Dig up} {the birthday of <S>|<S>'s birthday}{?|.}",
            "^Can you tell me the birthday of <S>?",
            "On which day should I congratulate <S>?",
        ),
        "<S>'s birthday is on <V>.",
    ),
    "home": Fact(
        person,
        place,
        (
            "<S> lives in <V>.",
            "<S>: lives in <V>",
            "<S> moved to <V>.",
            "Home of <S>: <V>",
            "<S> has a flat in <V>.",
        ),
        (
            "Where does <S> live?",
            "{What is|Tell me|Find|Check} {the home|the address} of <S>{?|.}",
            "{In which place|Where} {is the home of|can I find|can I visit} <S>?",
            "^Can you tell me where <S> lives?",
            "In what place is <S> at home?",
        ),
        "<S> lives in <V>.",
    ),
    "phone": Fact(
        person,
        phone,
        (
            "<S>'s phone number is <V>.",
            "Phone of <S>: <V>",
            "<S>: phone <V>",
            "Call <S> at <V>.",
            "<S> can be reached at <V>.",
        ),
        (
            "{What is|What's|Find|Tell me|Give me|Fetch} {<S>'s phone number|the phone number of <S>|"
            "<S>'s number|the number of <S>}{?|.}",
            "{How|Under what number} can I {call|reach} <S>?",
            "^Can you tell me the phone number of <S>?",
            "Which digits do I dial for <S>?",
        ),
        "<S>'s phone number is <V>.",
    ),
    "code": Fact(
        project,
        code,
        (
            "The code for <S> is <V>.",
            "<S> code: <V>",
            "Password of <S>: <V>",
            "Code <S>: <V>",
            "<S> opens with <V>.",
        ),
        (
            "{What is|What's|Find|Tell me|Give me|Look up|Fetch} the {code|password} {for|of} <S>{?|.}",
            "{Which|What} {code|password} {does <S> have|belongs to <S>|opens <S>}?",
            "^Can you tell me the code for <S>?",
            "I forgot the code of <S>, what was it?",
        ),
        "The code for <S> is <V>.",
    ),
    "where": Fact(
        thing,
        place,
        (
            "The <S> is in <V>.",
            "<S>: kept in <V>",
            "I put the <S> in <V>.",
            "The <S> is stored in <V>.",
            "You find the <S> in <V>.",
        ),
        (
            "Where {is|did I put|do I find|can I find|do we keep|have I left} the <S>?",
            "{In which place|Where} {is the <S> kept|is the <S> stored|is the <S>}?",
            "{Find out|Tell me|Look up} where the <S> is.",
            "^Can you tell me where the <S> is?",
            "What is the place of the <S>?",
        ),
        "The <S> is in <V>.",
    ),
    "leader": Fact(
        project,
        person,
        (
            "<V> leads the <S> project.",
            "<S> project: led by <V>",
            "The leader of <S> is <V>.",
            "Ask <V> about <S>.",
            "The <S> project is run by <V>.",
        ),
        (
            "Who {leads|runs|is in charge of|is responsible for|heads} {the <S> project|<S>|project <S>}?",
            "{What is|Who is|Find|Tell me} the {leader|head|boss} of {<S>|the <S> project}{?|.}",
            "^Can you tell me who leads the <S> project?",
            "Whom do I ask about <S>?",
        ),
        "<V> leads the <S> project.",
    ),
    "count": Fact(
        lambda rng: plural(thing(rng)),
        amount,
        (
            "We have <V> <S>.",
            "<S>: <V>",
            "There are <V> <S> in stock.",
            "Counted <V> <S>.",
            "<V> <S> are left.",
        ),
        (
            "How many <S> {do we have|are there|are in stock|did we count|do I have|remain}?",
            "{What is|Find|Tell me|State} the number of <S>{?|.}",
            "^Can you tell me how many <S> we have?",
            "Of the <S>, how many do we own?",
        ),
        "There are <V> <S>.",
    ),
    "time": Fact(
        lambda rng: f"{rng.choice(('train', 'bus', 'boat', 'ferry', 'flight'))} to {name(rng)}",
        clock,
        (
            "The <S> leaves at <V>.",
            "<S>: <V>",
            "Departure of the <S>: <V>",
            "Take the <S> at <V>.",
            "The <S> goes at <V>.",
        ),
        (
            "When does the <S> {leave|go|depart|start}?",
            "At what time {does the <S> leave|is the <S>}?",
            "{What is|Find|Tell me} the {time|departure} of the <S>{?|.}",
            "^Can you tell me when the <S> leaves?",
            "What hour is set for the <S>?",
        ),
        "The <S> leaves at <V>.",
    ),
    "likes": Fact(
        person,
        noun,
        (
            "<S> likes <V>.",
            "<S>'s favourite thing: <V>",
            "Gift for <S>: <V>",
            "<S> wants a <V>.",
            "<S> is fond of <V>.",
        ),
        (
            "What does <S> {like|want|enjoy}?",
            "What {is a good gift|could I give|should I buy} {for <S>|to <S>}?",
            "{Find|Tell me} {what <S> likes|the gift for <S>}.",
            "^Can you tell me what <S> likes?",
            "Which present would please <S>?",
        ),
        "<S> likes <V>.",
    ),
    "job": Fact(
        person,
        lambda rng: rng.choice(JOBS),
        (
            "<S> works as a <V>.",
            "<S> is a <V>.",
            "Job of <S>: <V>",
            "<S>: <V>",
            "<S> earns a living as a <V>.",
        ),
        (
            "What {is <S>'s job|does <S> do|does <S> work as|is the job of <S>|is <S>'s trade}?",
            "{Find|Tell me|Look up} {the job of <S>|<S>'s job|what <S> does}.",
            "^Can you tell me the job of <S>?",
            "What does <S> do for a living?",
        ),
        "<S> works as a <V>.",
    ),
}
JOBS = [
    "baker",
    "painter",
    "teacher",
    "doctor",
    "farmer",
    "pilot",
    "singer",
    "writer",
    "lawyer",
    "nurse",
    "cook",
    "driver",
    "gardener",
    "plumber",
    "tailor",
    "sailor",
    "judge",
    "clerk",
    "guide",
    "smith",
    "dentist",
    "actor",
    "miner",
    "carpenter",
]
