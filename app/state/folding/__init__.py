"""How each event changes a conversation: a pure fold. A module for each of :mod:`app.events`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from app.events import Event
from app.remarks import remark

# Each says, by :func:`apply.register`, what its events do.
from app.state.folding import (  # noqa: F401
    conversation,
    decisions,
    lanes,
    model,
    steering,
    tools,
    turn,
)
from app.state.folding.within import apply, with_remark
from app.state.values import ConversationState, Remark

__all__ = ["fold", "fold_all"]


def fold(state: ConversationState, event: Event) -> ConversationState:
    """The next state. Never raises on an event that arrives out of place: it is ignored."""
    after = apply(event.body, state, event)
    words = remark(event.body)
    if words:
        after = with_remark(after, event, Remark(event.at, *words))
    return replace(
        after,
        id=after.id or event.conversation,
        updated=max(after.updated, event.at),
        last_seq=max(after.last_seq, event.seq),
    )


def fold_all(events: Iterable[Event], state: ConversationState | None = None) -> ConversationState:
    """Fold many events, from an empty state unless one is given."""
    state = state or ConversationState()
    for event in events:
        state = fold(state, event)
    return state
