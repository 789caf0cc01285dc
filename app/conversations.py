"""What can be done with conversations: the commands behind Core, on the core's loop."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from app import events as ev
from app.agent.approval import Answer, Desk, Rules
from app.agent.budget import Meter, budget_of
from app.agent.guarding import as_event
from app.agent.patience import Patience
from app.agent.prompts import title_of
from app.agent.run import Run, Tools, waiting_call
from app.agent.turn import run_turn
from app.backends.base import Backend
from app.errors import RequestError, StoreError
from app.guard.guards import Guards, changed
from app.settings import Settings
from app.state import ConversationState
from app.steering import Steering, turn_of
from app.store.blobs import Blobs
from app.store.journal import Journal
from app.tools.base import FormReply
from app.trust.pattern import Pattern
from app.trust.policy import Rule

_log = logging.getLogger(__name__)

_TIDYING = 10.0
"""Seconds that a run has for it, once it is stopped, before another order breaks into it."""


class Conversations(Steering):
    """Turns user actions into events and runs. At most one run a conversation.

    Commands raise RequestError (``no_conversation``, ``no_turn``, ``busy``, ``empty_message``,
    ``not_resumable``, ``not_waiting``, and what steering says) and StoreError.
    """

    def __init__(
        self,
        journal: Journal,
        tools: Tools,
        find_backend: Callable[[ev.RunSettings], Awaitable[Backend]],
        settings: Callable[[], Settings],
        keep_rule: Callable[[Rule], None],
        scratch: Path,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        blobs: Blobs | None = None,
        guards: Guards | None = None,
    ) -> None:
        super().__init__(journal)
        self._tools = tools
        self._find_backend = find_backend
        self._settings = settings
        self._keep_rule = keep_rule
        self._scratch = scratch
        self._patience = patience
        self._blobs = blobs
        self._guards = guards
        self._desk = Desk()

    # -- conversations ------------------------------------------------------------------------

    def create(self, title: str, folder: str) -> str:
        conversation = secrets.token_hex(8)
        self._journal.append(conversation, ev.ConversationCreated(title.strip(), folder))
        return conversation

    def rename(self, conversation: str, title: str) -> None:
        self._journal.append(conversation, ev.ConversationRenamed(title.strip()))

    def set_folder(self, conversation: str, folder: str) -> None:
        self._journal.append(conversation, ev.ConversationFolderChanged(folder))

    async def delete(self, conversation: str) -> None:
        await self.stop(conversation, "now")
        self._journal.append(conversation, ev.ConversationDeleted())
        await self._tools.forget(conversation)

    def restore(self, conversation: str) -> None:
        self._journal.append(conversation, ev.ConversationRestored())

    # -- turns --------------------------------------------------------------------------------

    def send(
        self,
        conversation: str,
        text: str,
        settings: ev.RunSettings | None,
        unattended: ev.Unattended | None,
    ) -> str:
        """Begin a turn after the shown branch's last; the turn's id."""
        state = self._idle(conversation)
        settings = settings or self._settings().run
        title = "" if state.title else title_of(text)
        return self._begin(state, state.selected, text, settings, unattended, title)

    def regenerate(
        self, conversation: str, turn: str, settings: ev.RunSettings | None = None
    ) -> str:
        """Answer the same message again, on a branch of its own, perhaps with other settings."""
        state = self._idle(conversation)
        old = turn_of(state, turn)
        return self._begin(state, old.parent, old.text, settings or old.settings)

    def fork(
        self,
        conversation: str,
        turn: str,
        steps: int,
        settings: ev.RunSettings | None = None,
        paused: bool = False,
    ) -> str:
        """Go on from a turn's first ``steps`` steps on a branch of its own; the new turn's id.

        ``paused``: it waits before its first step, so that what was can be edited.
        """
        state = self._idle(conversation)
        old = turn_of(state, turn)
        if not 0 <= steps <= len(old.steps) or not all(s.ended for s in old.steps[:steps]):
            raise RequestError("no_step", f"this turn has no {steps} finished steps")
        fork = ev.Fork(turn, steps)
        made = self._begin(state, old.parent, old.text, settings or old.settings, fork=fork)
        if paused:
            self._runs[conversation][0].gate.asked = True
        return made

    def edit(self, conversation: str, turn: str, text: str) -> str:
        """Ask something else in a turn's place, on a branch of its own."""
        state = self._idle(conversation)
        old = turn_of(state, turn)
        return self._begin(state, old.parent, text, old.settings)

    def select(self, conversation: str, turn: str) -> None:
        """Show the branch through a turn, to its newest end."""
        state = self._journal.state(conversation)
        last = turn_of(state, turn)
        while children := [t for t in state.turns if t.parent == last.id]:
            last = children[-1]
        self._journal.append(conversation, ev.TurnSelected(last.id))

    def resume(self, conversation: str, turn: str, unattended: ev.Unattended | None) -> None:
        """Go on with a turn after its last finished step."""
        state = self._idle(conversation)
        old = turn_of(state, turn)
        if old.status in ("running", "answered"):
            raise RequestError("not_resumable", "this turn has nothing left to do")
        self._journal.append(conversation, ev.TurnResumed(turn), turn)
        if unattended is not None or old.unattended is not None:
            self._journal.append(conversation, ev.UnattendedSet(unattended), turn)
        self._start(conversation, turn, old.settings)

    async def stop(self, conversation: str, mode: ev.StopMode) -> None:
        """``now`` returns when the run has ended; without a run there is nothing to do."""
        found = self._at_work(conversation)
        if found is None:
            return
        run, task = found
        if run.cause == "user":  # it is being stopped, and tidies up what must not be broken off
            _, late = await asyncio.wait([task], timeout=_TIDYING)
            if late:
                task.cancel()
                await asyncio.wait([task])
            return
        try:
            run.emit(ev.StopAsked(mode))
        finally:
            for one in (run, *run.lanes.values()):
                if mode == "now":
                    one.cause = "user"
                else:
                    one.stop_after_step = True
                    self._let_end(one)
            if mode == "now":
                task.cancel()
        if mode == "now":
            await asyncio.wait([task])

    def answer_form(
        self, conversation: str, form: str, action: ev.FormAction, content: dict[str, Any]
    ) -> None:
        self._desk.answer_form(conversation, form, FormReply(action, content))

    def decide(
        self,
        conversation: str,
        call: str,
        decision: ev.Decision,
        reason: str = "",
        rule: str = "",
        arguments: str | None = None,
    ) -> None:
        """Answer a call that waits. Raises RequestError ``not_waiting``, ``bad_arguments``, and
        ConfigError ``bad_pattern``; then it still waits.
        """
        waiting = waiting_call(self._journal.state(conversation), call)
        if waiting is None:
            raise RequestError("not_waiting", f"the call {call} does not wait for a decision")
        waiter = self._desk.waiter(conversation, call)
        if decision in ("run", "always"):
            offered = (*waiting.suggestions, waiting.name)
            rule = str(Pattern.parse(rule or offered[0]))
        else:
            rule = ""
        if arguments is not None and arguments != waiting.arguments and decision != "deny":
            self.edit_call(conversation, call, arguments)
        waiter.set_result(Answer(decision, reason, rule=rule))

    def set_unattended(self, conversation: str, scope: ev.Unattended | None) -> None:
        """Raises ConfigError ``bad_pattern``, RequestError ``no_end``."""
        if scope is not None:
            for pattern in scope.allow:
                Pattern.parse(pattern)
            if not scope.until and self._at_work(conversation) is None:
                raise RequestError("no_end", "say until when, for no run goes on")
        run, _ = self._at_work(conversation) or (None, None)
        for_run = scope is not None and not scope.until
        ends = scope is None and run is not None and run.own_scope() is not None
        turn = run.turn if run is not None and (for_run or ends) else ""
        self._journal.append(conversation, ev.UnattendedSet(scope), turn)
        if scope is None and turn and self._journal.state(conversation).unattended is not None:
            self._journal.append(conversation, ev.UnattendedSet(None))

    async def wait(self, conversation: str) -> None:
        """Until no run of this conversation goes on."""
        _, task = self._runs.get(conversation, (None, None))
        if task is not None:
            await asyncio.wait([task])

    async def close(self) -> None:
        """Stop every run; each is recorded as interrupted by the shutdown."""
        tasks = [task for _, task in self._runs.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # -- inside -------------------------------------------------------------------------------

    def _idle(self, conversation: str) -> ConversationState:
        if self._at_work(conversation) is not None:
            raise RequestError(
                "busy", "this conversation is being worked on", "stop it or wait", retryable=True
            )
        return self._journal.state(conversation)

    def _begin(
        self,
        state: ConversationState,
        parent: str | None,
        text: str,
        settings: ev.RunSettings,
        unattended: ev.Unattended | None = None,
        title: str = "",
        fork: ev.Fork | None = None,
    ) -> str:
        if not text.strip():
            raise RequestError("empty_message", "there is nothing to send")
        turn = secrets.token_hex(8)
        text, hits = self._guarded(state.id, text, nobody=unattended is not None)
        title = title_of(text) if title else ""
        bodies: list[ev.Body] = [ev.TurnBegin(turn, parent, text, settings, fork)]
        if title:
            bodies.insert(0, ev.ConversationRenamed(title))
        self._journal.append_all(state.id, [(body, "") for body in bodies], turn)
        if unattended is not None:
            self._journal.append(state.id, ev.UnattendedSet(unattended), turn)
        for hit in hits:
            self._journal.append(state.id, hit, turn)
        self._start(state.id, turn, settings)
        asking = next((hit for hit in hits if hit.action == "ask"), None)
        if asking is not None:
            gate = self._runs[state.id][0].gate
            gate.asked, gate.why = True, f"guard {asking.guard}: {asking.message}"
        return turn

    def queue(self, conversation: str, text: str) -> None:
        """Tell the model something before its next step. Raises RequestError ``empty_message``."""
        run = self._running(conversation)
        text, hits = self._guarded(conversation, text, nobody=run.rules.present() is not None)
        super().queue(conversation, text)
        for hit in hits:
            run.emit(hit, run.span)

    def _guarded(
        self, conversation: str, text: str, *, nobody: bool
    ) -> tuple[str, list[ev.GuardHit]]:
        """A message as it may be stored and sent. Raises RequestError ``guard``."""
        hits = self._guards.hits("input", text) if self._guards is not None else []
        events = [as_event(hit, "input", text) for hit in hits]
        for hit, event in zip(hits, events, strict=True):
            if event.action == "block" or (nobody and event.action == "ask"):
                self._journal.append(conversation, event)
                message = f"the guard “{hit.rule.name}” holds this message back: {hit.message}"
                raise RequestError("guard", message, "change the message, or the guard")
        return changed(text, hits), events

    def _start(
        self,
        conversation: str,
        turn: str,
        settings: ev.RunSettings,
    ) -> None:
        run = Run(
            conversation=conversation,
            turn=turn,
            settings=settings,
            journal=self._journal,
            find_backend=self._find_backend,
            tools=self._tools,
            desk=self._desk,
            rules=Rules(
                lambda: self._settings().approvals, self._keep_rule, lambda: run.unattended()
            ),
            meter=Meter(budget_of(settings), lambda seconds: run.slept(seconds)),
            scratch=self._scratch / conversation,
            patience=self._patience,
            blobs=self._blobs,
            guards=self._guards,
        )
        task = asyncio.create_task(run_turn(run), name=f"turn {turn}")
        self._runs[conversation] = (run, task)
        task.add_done_callback(lambda done: self._ended(run, done))

    def _ended(self, run: Run, task: asyncio.Task[None]) -> None:
        if self._runs.get(run.conversation, (None, None))[0] is run:
            del self._runs[run.conversation]
        if task.cancelled():
            # Stopped before its first line ran, so it could not end the turn itself.
            last = (ev.Interrupted(run.cause), ev.TurnEnd(run.turn, "stopped"))
            try:
                self._journal.end_turn(run.conversation, run.turn, last)
            except StoreError as error:
                _log.error("turn %s has no end: %s", run.turn, error)
        elif task.exception() is not None:
            _log.error("turn %s broke", run.turn, exc_info=task.exception())
