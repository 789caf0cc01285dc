"""What a window or a terminal can do with conversations and runs: commands and questions."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

from app import events as ev
from app.agent.context_map import ContextMap, Surveyor
from app.conversations import Conversations
from app.core_thread import CoreThread
from app.endpoints.serving import Endpoints
from app.events import Event
from app.paths import Paths
from app.state import ConversationState
from app.store.blobs import Blobs
from app.store.decisions import Decision, decisions
from app.store.journal import ConversationSummary, Journal
from app.undoing import undo_change


class RunCommands:
    """The part of :class:`app.core.Core` that hands things to the conversations. Any thread."""

    blobs: Blobs
    paths: Paths
    _thread: CoreThread
    _surveyor: Surveyor
    _conversations: Conversations
    _endpoints: Endpoints
    _journal: Journal

    # -- queries ------------------------------------------------------------------------------

    def conversations(self) -> Future[tuple[ConversationSummary, ...]]:
        """Those that are not deleted, the newest first."""
        return self._thread.do(lambda: self._journal.summaries())

    def open(self, conversation: str) -> Future[ConversationState]:
        """The state at a point; listeners hear everything after it.

        Events with ``0 < seq <= state.last_seq`` are contained in it. The future is resolved on
        the core thread, so a callback added before it resolves runs before the next event.
        """
        return self._thread.do(lambda: self._journal.state(conversation))

    def context_map(self, conversation: str, lane: str = "") -> Future[ContextMap]:
        """What fills the window of the shown branch, or of a lane."""
        return self._thread.wait_for(lambda: self._survey(conversation, lane))

    async def _survey(self, conversation: str, lane: str) -> ContextMap:
        state = self._journal.state(conversation)
        path = state.path()
        backend = await self._endpoints.at_hand(path[-1].settings) if path else None
        return await self._surveyor.survey(state, backend, lane)

    def events(self, conversation: str) -> Future[tuple[Event, ...]]:
        """Everything stored, in order."""
        return self._thread.do(lambda: self._journal.events(conversation))

    def decisions(self, limit: int = 300) -> Future[list[Decision]]:
        """Who allowed what, in all conversations, the newest first."""
        return self._thread.wait_for(
            lambda: asyncio.to_thread(decisions, self.paths.database, limit)
        )

    # -- commands -----------------------------------------------------------------------------

    def create_conversation(self, title: str = "", folder: str = "") -> Future[str]:
        return self._thread.do(lambda: self._conversations.create(title, folder))

    def rename(self, conversation: str, title: str) -> Future[None]:
        return self._thread.do(lambda: self._conversations.rename(conversation, title))

    def delete(self, conversation: str) -> Future[None]:
        """Hide it; a run in it is stopped first."""
        return self._thread.wait_for(lambda: self._conversations.delete(conversation))

    def restore(self, conversation: str) -> Future[None]:
        return self._thread.do(lambda: self._conversations.restore(conversation))

    def set_folder(self, conversation: str, folder: str) -> Future[None]:
        return self._thread.do(lambda: self._conversations.set_folder(conversation, folder))

    def send(
        self,
        conversation: str,
        text: str,
        settings: ev.RunSettings | None = None,
        *,
        unattended: ev.Unattended | None = None,
    ) -> Future[str]:
        """Begin a turn; its id. ``unattended``: nobody is there, and this is what may run."""
        return self._thread.do(
            lambda: self._conversations.send(conversation, text, settings, unattended)
        )

    def regenerate(
        self, conversation: str, turn: str, settings: ev.RunSettings | None = None
    ) -> Future[str]:
        return self._thread.do(lambda: self._conversations.regenerate(conversation, turn, settings))

    def fork(
        self,
        conversation: str,
        turn: str,
        steps: int,
        settings: ev.RunSettings | None = None,
        *,
        paused: bool = False,
    ) -> Future[str]:
        """Go on from a turn's first ``steps`` steps on a branch of its own; the new turn's id."""
        return self._thread.do(
            lambda: self._conversations.fork(conversation, turn, steps, settings, paused)
        )

    def pause(self, conversation: str) -> Future[None]:
        """Before the next step, before a reply's calls, or after their results."""
        return self._thread.do(lambda: self._conversations.pause(conversation))

    def proceed(self, conversation: str, mode: ev.GoMode = "go") -> Future[None]:
        """Let a paused run go on; ``step``: until its next step."""
        return self._thread.do(lambda: self._conversations.proceed(conversation, mode))

    def set_breakpoints(self, conversation: str, points: tuple[ev.Breakpoint, ...]) -> Future[None]:
        return self._thread.do(lambda: self._conversations.set_breakpoints(conversation, points))

    def queue_message(self, conversation: str, text: str) -> Future[None]:
        """Tell the model of a run something before its next step."""
        return self._thread.do(lambda: self._conversations.queue(conversation, text))

    def unqueue_message(self, conversation: str, message: str) -> Future[None]:
        """Take back what no step has taken yet."""
        return self._thread.do(lambda: self._conversations.unqueue(conversation, message))

    def stop_lane(self, conversation: str, lane: str) -> Future[None]:
        """Stop one lane of a run and let the others run."""
        return self._thread.do(lambda: self._conversations.stop_lane(conversation, lane))

    def edit_call(self, conversation: str, call: str, arguments: str) -> Future[None]:
        """Change a call that waits for approval, or before which the run is paused."""
        return self._thread.do(lambda: self._conversations.edit_call(conversation, call, arguments))

    def edit_result(self, conversation: str, call: str, result: str) -> Future[None]:
        """Change what the model will read of a call; the run has to be paused."""
        return self._thread.do(lambda: self._conversations.edit_result(conversation, call, result))

    def edit_reasoning(self, conversation: str, step: str, text: str) -> Future[None]:
        """Change the reasoning of a step: in a paused run, or while it is written."""
        return self._thread.do(lambda: self._conversations.edit_reasoning(conversation, step, text))

    def edit(self, conversation: str, turn: str, text: str) -> Future[str]:
        return self._thread.do(lambda: self._conversations.edit(conversation, turn, text))

    def select(self, conversation: str, turn: str) -> Future[None]:
        return self._thread.do(lambda: self._conversations.select(conversation, turn))

    def resume(
        self, conversation: str, turn: str, *, unattended: ev.Unattended | None = None
    ) -> Future[None]:
        """Go on with an interrupted, stopped or failed turn after its last finished step."""
        return self._thread.do(lambda: self._conversations.resume(conversation, turn, unattended))

    def stop(self, conversation: str, mode: ev.StopMode = "now") -> Future[None]:
        """``now``: resolved when the run has ended."""
        return self._thread.wait_for(lambda: self._conversations.stop(conversation, mode))

    def wait(self, conversation: str) -> Future[None]:
        """Resolved when no run of this conversation goes on."""
        return self._thread.wait_for(lambda: self._conversations.wait(conversation))

    def answer_form(
        self, conversation: str, form: str, action: ev.FormAction, content: dict[str, Any]
    ) -> Future[None]:
        """What a person made of a form that a tool's server asked for."""
        return self._thread.do(
            lambda: self._conversations.answer_form(conversation, form, action, content)
        )

    def decide(
        self,
        conversation: str,
        call: str,
        decision: ev.Decision,
        reason: str = "",
        *,
        rule: str = "",
        arguments: str | None = None,
    ) -> Future[None]:
        """Answer a call that asks. ``rule``: the pattern that ``run`` and ``always`` are kept as,
        "": the first that was suggested. ``arguments``: as the person changed them.
        """
        return self._thread.do(
            lambda: self._conversations.decide(
                conversation, call, decision, reason, rule, arguments
            )
        )

    def set_unattended(self, conversation: str, scope: ev.Unattended | None) -> Future[None]:
        """What may run with nobody there, until a time; None: the person is back."""
        return self._thread.do(lambda: self._conversations.set_unattended(conversation, scope))

    def undo_change(self, conversation: str, change: str) -> Future[None]:
        """Bring back what a file was before a call changed it; refused if it changed since."""
        return self._thread.wait_for(
            lambda: undo_change(self._journal, self.blobs, conversation, change)
        )
