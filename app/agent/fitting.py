"""Keeps a run inside the model's window: counts, decides (:mod:`.context`), and does it."""

from __future__ import annotations

from app import events as ev
from app.agent import context, history
from app.agent.asking import ask_patiently
from app.agent.history import Segment
from app.agent.model_call import Ask
from app.agent.prompts import system_prompt
from app.agent.repeats import key_of
from app.agent.run import Run
from app.backends.base import Backend
from app.errors import EngineLost, SelenographError, StoreError
from app.state import Step, plan_call_on, summary_on

_WHY = "the window is full"
_NOTES_THINKING = 1_024
_LEAST = 512

_INSTRUCTION = (
    "Note from the program, not from the user: the window is nearly full, so everything up to and "
    "including {end} will be replaced by notes. Write them now, for yourself: every fact, number, "
    "name, path and decision that may be needed to finish the task, what was tried in vain, and "
    "what is still open. At most {words:,} words. Call no tool; write nothing but the notes."
)


async def fit(run: Run, backend: Backend) -> None:
    """Hide and summarise until the next prompt fits. Raises EngineLost and StoreError."""
    window = run.window
    path = run.path()
    segments = run.history.segments(path, system_prompt(run.settings), run.note_role)
    counts = await run.counter.count(backend, segments, run.specs())
    room = context.room_of(window, run.meter.max_tokens)
    if not window or run.counter.sum <= room:
        return
    tokens = [round(count * run.counter.scale) for count in counts]
    items = context.items_of(segments, tokens, plan_call_on(path))
    items.append(context.Item("tools", run.counter.beside, -1))
    decision = context.decide(items, room)
    if decision.hide:
        saved = decision.after if not decision.steps else 0
        run.emit(ev.ContextHidden(decision.hide, decision.before, saved, window, _WHY), run.span)
        for turn in path:
            for step in turn.steps:
                for tool in step.tools:
                    if tool.call in decision.hide:
                        run.repeats.forget(key_of(tool.name, tool.arguments))
    if decision.steps:
        await _summarise(run, backend, segments, decision, room)


def narrowed(run: Run) -> int:
    """A window that the prompt which was just refused would have overflowed."""
    return max(_LEAST, int(run.counter.sum * 0.9))


async def _summarise(
    run: Run, backend: Backend, segments: list[Segment], decision: context.Decision, room: int
) -> None:
    path = run.path()
    turn, steps = context.end_of(path, segments, decision.steps)
    most = context.notes_size(room)
    here = path[-1]
    index = len(here.steps)
    span = run.begin_step(index, "summary")
    ends = next(t for t in path if t.id == turn).steps[steps - 1]
    instruction = _INSTRUCTION.format(end=_name(ends), words=most // 2)
    ask = Ask(may_call=False, max_tokens=2 * most, thinking=_NOTES_THINKING, last=instruction)
    text, why = "", _WHY
    try:
        text = (await ask_patiently(run, backend, span, ask)).text.strip()
    except (EngineLost, StoreError):
        raise
    except SelenographError as error:
        why = f"{_WHY}; the model could not write notes ({error.message})"
    if not text:
        spans = set(list(dict.fromkeys(s.span for s in segments if s.span))[: decision.steps])
        told = [step for one in path for step in one.steps if step.span in spans]
        before = summary_on(path)
        text = _plain_notes(before.text if before else "", told, most)
    run.emit(
        ev.ContextSummarised(turn, steps, text, decision.before, decision.after, run.window, why),
        span,
    )
    run.emit(ev.StepEnd(index), span)


def _name(step: Step) -> str:
    return f"the result of {step.tools[-1].call}" if step.tools else f"step {step.index + 1}"


def _plain_notes(before: str, steps: list[Step], most: int) -> str:
    """Notes where the model wrote none: what was called and how each result begins."""
    lines = [before] if before else []
    for step in steps:
        lines += [
            f"- {tool.name} {tool.arguments[:120]}: {' '.join(tool.result[:160].split())}"
            for tool in step.tools
        ]
        said = " ".join(history.text_of(step).split())
        if said:
            lines.append(f"- said: {said[:200]}")
    text = "\n".join(lines)
    return text[-most * 3 :]
