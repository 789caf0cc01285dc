"""The loop: model call, tool calls, results, until an answer, a limit, a stop or an error."""

from __future__ import annotations

from app import events as ev
from app.agent import notes
from app.agent.asking import ask_patiently
from app.agent.breaker import Breaker
from app.agent.budget import used_before
from app.agent.conclude import conclude
from app.agent.drift import Drift
from app.agent.ending import Ending
from app.agent.fitting import fit, narrowed
from app.agent.model_call import Ask, Reply
from app.agent.repeats import Repeats, heated, key_of
from app.agent.run import Run
from app.agent.steering import after_reply, after_results, before_step, take_queued
from app.agent.tool_call import answer_calls, propose_calls
from app.agent.undone import tell_undone
from app.backends.base import Backend
from app.errors import (
    BackendError,
    BudgetSpent,
    FormatError,
    RequestError,
    SelenographError,
    Stuck,
)

_EMPTY_REPLIES = 3
"""How often in a row a model may think and say nothing before the turn fails."""
_CUT_REPLIES = 2
"""How often in a row its thinking may be cut with nothing said before it has to conclude."""
_NARROWINGS = 3
"""How often a run may find out that the window is smaller than it was told."""


async def take_steps(run: Run) -> Ending:
    """Drive a turn or a lane, new or resumed, to its end. Raises what a model call raises."""
    backend = await prepare(run)
    turn = run.state.turn(run.turn)
    if turn is not None:
        run.meter.used = used_before(turn, backend.traits.prices)
        run.repeats = Repeats.of(turn)
        run.breaker = Breaker.of(turn)
        run.repairs = sum(r.code == "repair" for step in turn.steps for r in step.remarks)
        run.doubtful = {
            key_of(tool.name, tool.arguments): tool.call
            for step in turn.steps
            for tool in step.tools
            if tool.status == "unknown"
        }
    try:
        async with run.meter.clock():
            return await _Steps(run, backend).take()
    except BudgetSpent as error:
        answer = await conclude(run, backend, error)
        return Ending("budget", answer, (ev.Interrupted("budget", str(error)),))
    except Stuck as error:
        answer = await conclude(run, backend, error)
        return Ending("budget", answer, (ev.Interrupted("loop", error.message),))


async def prepare(run: Run) -> Backend:
    """The model of a run, once its tools are ready and its window is known."""
    backend = await run.find_backend(run.settings)
    for server, message in await run.tools.prepare(run.enabled):
        run.emit(ev.ToolsMissing(server, message))
    traits = backend.traits
    run.meter.prices = traits.prices
    windows = [size for size in (run.settings.context, traits.context) if size]
    run.window = min(windows, default=0)
    run.marks = traits.marks
    # A system message in mid-conversation is our templates' way; not every endpoint takes one.
    run.forbids_calls = traits.forbids_calls
    run.note_role = "system" if traits.closes_reasoning else "user"
    return backend


class _Steps:
    """The steps of one turn, and what has to be remembered from one to the next."""

    def __init__(self, run: Run, backend: Backend) -> None:
        self._run = run
        self._backend = backend
        self._empty = 0
        self._cut = 0
        self._notes: list[ev.NoteGiven] = []
        """For the next step, as the temperature."""
        self._temperature: float | None = None
        turn = run.state.turn(run.turn)
        self._drift = Drift.of(turn.steps if turn else ())
        self._narrowed = 0

    async def take(self) -> Ending:
        """Until one ends the turn. Raises BudgetSpent, and what a model call raises."""
        run = self._run
        while True:
            await before_step(run)
            if run.stop_after_step:
                return Ending("stopped", trouble=(ev.Interrupted("user"),))
            await fit(run, self._backend)
            run.meter.begin_step()
            turn = run.state.turn(run.turn)
            index = len(turn.steps) if turn else 0
            span = run.begin_step(index)
            self._tell(span)
            reply = await self._ask(span)
            if reply is None:
                run.close_step()
                continue
            written = "".join((reply.thought, reply.text, *(c.arguments for c in reply.calls)))
            planned = propose_calls(run, span, reply.calls) if reply.calls else []
            await after_reply(run, written, [call.name for call in reply.calls])
            if planned:
                await answer_calls(run, span, planned)
                await after_results(run)
            self._look_at(reply, span)
            self._look_back(span)
            run.emit(ev.StepEnd(index), span)
            self._break_loop()
            ending = self._ending(reply)
            if ending is not None:
                return ending

    def _tell(self, span: str) -> None:
        run = self._run
        for share in run.meter.near():
            run.emit(ev.BudgetNear(share.limit, share.used, share.allowed), span)
            self._notes.append(notes.budget_near(share))
        take_queued(run, span)
        tell_undone(run, span)
        for note in self._notes:
            run.emit(note, span)
        self._notes.clear()

    async def _ask(self, span: str) -> Reply | None:
        """None: the prompt was longer than the window, which is now known to be smaller."""
        ask = Ask(temperature=self._temperature, of_budget=True)
        self._temperature = None
        try:
            return await ask_patiently(self._run, self._backend, span, ask)
        except (RequestError, BackendError) as error:
            if not _too_long(error) or self._narrowed == _NARROWINGS:
                raise
            self._narrowed += 1
            run = self._run
            run.window = narrowed(run)
            run.emit(ev.FormatProblemSeen(error.code, error.message), span)
            return None

    def _look_at(self, reply: Reply, span: str) -> None:
        """What a reply that came to nothing calls for. Raises FormatError, BudgetSpent."""
        if not reply.empty:
            self._empty = self._cut = 0
        elif reply.cut:
            self._cut += 1
            if self._cut == _CUT_REPLIES:
                limit = f"{self._run.meter.budget.step_thinking:,} thinking tokens in a step"
                raise BudgetSpent("step_thinking", f"the limit of {limit} is reached")
            self._notes.append(notes.thinking_cut(reply.thought))
        elif reply.finish_reason == "length":
            raise BudgetSpent("step_tokens", "the reply was cut off at its token limit")
        else:
            self._empty += 1
            problem = "the model thought, but neither answered nor called a tool"
            self._run.emit(ev.FormatProblemSeen("empty_reply", problem), span)
            if self._empty == _EMPTY_REPLIES:
                raise FormatError("empty_reply", problem, "resume, or ask differently")
            if self._empty > 1:
                self._notes.append(notes.say_something(reply.thought))

    def _look_back(self, span: str) -> None:
        """Say what went wrong over the last steps."""
        turn = self._run.state.turn(self._run.turn)
        for sign in self._drift.seen(turn.steps if turn else ()):
            self._run.emit(sign, span)
        steps = self._run.repeats.end_step()
        if self._run.repeats.hopeless:
            self._run.emit(ev.LoopSeen("", "concluded", steps), span)
        elif self._run.repeats.stuck:
            self._run.emit(ev.LoopSeen("", "heated", steps), span)

    def _break_loop(self) -> None:
        """Raises Stuck."""
        if self._run.repeats.hopeless:
            raise Stuck(
                "loop", "the model went on making calls that had been refused as repetition"
            )
        if self._run.repeats.stuck:
            self._temperature = heated(self._run.settings.temperature)

    def _ending(self, reply: Reply) -> Ending | None:
        """Whether the turn is over after a step."""
        if not reply.calls and not reply.empty:
            if reply.finish_reason == "length":
                cut = ev.Interrupted("budget", "the reply was cut off at its token limit")
                return Ending("budget", reply.text, (cut,))
            turn = self._run.state.turn(self._run.turn)
            if turn is not None and turn.queued:
                return None
            return Ending("answered", reply.text.strip())
        if self._run.stop_after_step:
            return Ending("stopped", trouble=(ev.Interrupted("user"),))
        return None


def _too_long(error: SelenographError) -> bool:
    text = f"{error.code} {error.message}".lower()
    known = "context" in text and ("exceed" in text or "length" in text or "too long" in text)
    return known or "prompt is too long" in text
