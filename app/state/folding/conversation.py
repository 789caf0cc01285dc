"""A conversation as a whole: title, folder, and whether it is there."""

from __future__ import annotations

from dataclasses import replace

from app import events as ev
from app.events import Event
from app.state.folding.within import apply
from app.state.values import ConversationState


@apply.register
def _(body: ev.ConversationCreated, state: ConversationState, event: Event) -> ConversationState:
    return replace(
        state, id=event.conversation, title=body.title, folder=body.folder, created=event.at
    )


@apply.register
def _(body: ev.ConversationRenamed, state: ConversationState, event: Event) -> ConversationState:
    return replace(state, title=body.title)


@apply.register
def _(
    body: ev.ConversationFolderChanged, state: ConversationState, event: Event
) -> ConversationState:
    return replace(state, folder=body.folder)


@apply.register
def _(body: ev.ConversationDeleted, state: ConversationState, event: Event) -> ConversationState:
    return replace(state, deleted=True)


@apply.register
def _(body: ev.ConversationRestored, state: ConversationState, event: Event) -> ConversationState:
    return replace(state, deleted=False)


@apply.register
def _(body: ev.Unknown, state: ConversationState, event: Event) -> ConversationState:
    return replace(state, unknown=(*state.unknown, body))
