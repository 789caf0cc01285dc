"""What drafts gain: the same reply is written with them and without, turn by turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from operator import truediv

from engine.bench.figures import Figure, figure
from engine.bench.session import Reply
from engine.bench.turns import alternate
from engine.errors import ResourceError

Write = Callable[[], Reply]


def gain(
    name: str,
    drafting: Write,
    plain: Write,
    least: float,
    *,
    threads: int,
    seconds: float,
    rounds: int,
    told: Callable[[list[Reply]], str],
) -> Figure:
    """Tokens a second of `drafting` over those of `plain`; `least` is what it should be at least.

    `told`: what to say of the replies with drafts. Raises ResourceError ``bench_failed`` where a
    reply with drafts is another one.
    """
    replies: tuple[list[Reply], list[Reply]] = ([], [])

    def turn(write: Write, kept: list[Reply]) -> float:
        kept.append(write())
        return kept[-1].tokens_per_second

    drafted, single = alternate(
        [lambda: turn(drafting, replies[0]), lambda: turn(plain, replies[1])], seconds, rounds
    )
    if len({reply.ids for kept in replies for reply in kept}) != 1:
        raise ResourceError("bench_failed", f"{name}: a reply with drafts is another one")
    return figure(
        name,
        statistics.median(map(truediv, drafted.samples, single.samples)),
        "x",
        "limit",
        least,
        threads=threads,
        best=drafted.best / single.best,
        note=f"at least; {drafted.median:.0f} tokens/s with, {single.median:.0f} without; "
        f"{told(replies[0])}",
    )
