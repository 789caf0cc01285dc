"""A conversation as a whole."""

from __future__ import annotations

import msgspec


class ConversationCreated(msgspec.Struct, frozen=True, tag="conversation.created"):
    title: str
    folder: str = ""
    """The folder that file tools may read; empty: none chosen."""


class ConversationRenamed(msgspec.Struct, frozen=True, tag="conversation.renamed"):
    title: str


class ConversationFolderChanged(msgspec.Struct, frozen=True, tag="conversation.folder"):
    folder: str


class ConversationDeleted(msgspec.Struct, frozen=True, tag="conversation.deleted"):
    """Hidden from the list; ``ConversationRestored`` undoes it."""


class ConversationRestored(msgspec.Struct, frozen=True, tag="conversation.restored"):
    pass


ConversationBody = (
    ConversationCreated
    | ConversationRenamed
    | ConversationFolderChanged
    | ConversationDeleted
    | ConversationRestored
)
