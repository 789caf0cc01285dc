"""``selenograph run``: one turn of the same agent core that the window has."""

from __future__ import annotations

import argparse
import contextlib
import queue
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import msgspec

from app import events as ev
from app.agent.budget import budget_of
from app.cli import ANSWERED, FAILED, INTERRUPTED, STOPPED, complain
from app.core import Core
from app.engines.models import key_of, model_of
from app.engines.options import EngineOptions, options_with
from app.errors import ConfigError, RequestError
from app.events import Event, RunSettings
from app.paths import Paths
from app.state import Turn
from app.terminal.printer import JsonPrinter, Printer, TextPrinter
from app.tools.names import NAMES, SEPARATOR
from app.trust.pattern import Pattern

_STATUS_CODES: dict[ev.TurnStatus, int] = {
    "answered": ANSWERED,
    "failed": FAILED,
    "stopped": STOPPED,
    "budget": STOPPED,
}

_KEY_SECONDS = 0.2


class RunSummary(msgspec.Struct, frozen=True, tag_field="type", tag="run_summary"):
    """The last line of ``--json``. Token counts are sums over the steps, those of lanes included.

    ``lanes`` came to an answer, of which ``agreeing`` say what the final one says; None: nobody
    said how many. Without lanes both are 0.
    """

    status: Literal["answered", "stopped", "failed", "budget", "running"]
    answer: str
    steps: int
    tool_calls: int
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    wall_s: float
    conversation: str
    turn: str
    lanes: int = 0
    agreeing: int | None = 0


def run(arguments: argparse.Namespace) -> int:
    """The exit code. Raises SelenographError."""
    paths = Paths.under(arguments.data) if arguments.data else Paths.default()
    core = Core(paths)
    settings = _run_settings(core.settings.run, arguments)
    prompt = sys.stdin.read() if arguments.prompt == "-" else arguments.prompt
    printer: Printer = JsonPrinter() if arguments.json else TextPrinter()
    with at_work(core):
        return _ask(core, arguments, settings, prompt, printer)


def summary(conversation: str, turn: Turn, wall_s: float) -> RunSummary:
    """What a turn came to."""
    steps = [step for one in (turn, *turn.lanes) for step in one.steps]
    calls = [call for step in steps for call in step.calls]
    usages = [call.usage for call in calls]
    cached = sum(usage.prompt_tokens_details.cached_tokens for usage in usages)
    prompt = sum(usage.prompt_tokens for usage in usages)
    agreed = turn.agreement
    told = agreed is not None and agreed.by != "nobody"
    completion = sum(usage.completion_tokens for usage in usages)
    return RunSummary(
        status=turn.status,
        answer=turn.answer,
        steps=len(steps),
        tool_calls=sum(len(step.tools) for step in steps),
        prompt_tokens=prompt,
        completion_tokens=completion,
        reasoning_tokens=sum(u.completion_tokens_details.reasoning_tokens for u in usages),
        cached_tokens=cached,
        prefill_tokens_per_s=_rate(prompt - cached, sum(c.timings.prefill_ms for c in calls)),
        decode_tokens_per_s=_rate(completion, sum(c.timings.decode_ms for c in calls)),
        wall_s=round(wall_s, 3),
        conversation=conversation,
        turn=turn.id,
        lanes=sum(bool(lane.answer) for lane in turn.lanes),
        agreeing=len(agreed.agree) if agreed and told else (None if turn.lanes else 0),
    )


def _rate(tokens: int, milliseconds: float) -> float:
    return round(tokens / milliseconds * 1000, 2) if milliseconds else 0.0


def _ask(
    core: Core,
    arguments: argparse.Namespace,
    settings: RunSettings,
    prompt: str,
    printer: Printer,
) -> int:
    began = time.monotonic()
    watched = not (arguments.yes or arguments.json) and sys.stdin.isatty()
    unattended = None if watched else scope_of(arguments)
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    core.subscribe(events.put)
    conversation, turn = "", ""
    interrupted = False
    try:
        if (arguments.model or arguments.set) and settings.backend == "local":
            model = arguments.model or model_of(core.settings.model)
            kept = core.settings.models.get(key_of(model), EngineOptions())
            options = options_with(kept, arguments.set)
            printer.note(f"loading {model}")
            core.start_engine(model, options).result()
        if arguments.resume:
            conversation = arguments.resume
            turn = _last_turn(core, conversation)
            core.resume(conversation, turn, unattended=unattended).result()
        else:
            conversation = _conversation(core, arguments)
            turn = core.send(conversation, prompt, settings, unattended=unattended).result()
        _follow(core, events, conversation, turn, printer, watched)
    except KeyboardInterrupt:
        interrupted = True
        if not turn:
            return INTERRUPTED
        core.stop(conversation).result()
        _drain(events, conversation, printer)
    found = core.open(conversation).result().turn(turn)
    assert found is not None
    printer.end(summary(conversation, found, time.monotonic() - began))
    _complain(found)
    return INTERRUPTED if interrupted else _STATUS_CODES[found.status]


def _follow(
    core: Core,
    events: queue.SimpleQueue[Event],
    conversation: str,
    turn: str,
    printer: Printer,
    watched: bool,
) -> None:
    waiting: set[str] = set()
    while True:
        event = _next(events, core, conversation, waiting if watched else set())
        if event.conversation != conversation:
            continue
        printer.event(event)
        body = event.body
        if isinstance(body, ev.EndpointLost):
            printer.note("  Enter: try it now; Ctrl-C: stop" if watched else "  Ctrl-C: stop")
            waiting.add(event.run)
        elif not isinstance(body, ev.EndpointLooked):
            waiting.discard(event.run)
        if isinstance(body, ev.TurnEnd) and body.turn == turn:
            return
        if watched and isinstance(body, ev.ApprovalAsked):
            decision, reason = _approve(body)
            # Lanes number their calls alike; theirs are named by lane and call.
            call = body.call if event.run == turn else f"{event.run}/{body.call}"
            core.decide(conversation, call, decision, reason).result()


def _next(
    events: queue.SimpleQueue[Event], core: Core, conversation: str, waiting: set[str]
) -> Event:
    """The next event; while a run waits for its endpoint, Enter has it tried at once."""
    while waiting:
        with contextlib.suppress(queue.Empty):
            return events.get(timeout=_KEY_SECONDS)
        if select.select([sys.stdin], [], [], 0)[0]:
            if not sys.stdin.readline():
                break
            with contextlib.suppress(RequestError):  # it went on meanwhile
                core.proceed(conversation).result()
    return events.get()


def _drain(events: queue.SimpleQueue[Event], conversation: str, printer: Printer) -> None:
    while not events.empty():
        event = events.get()
        if event.conversation == conversation:
            printer.event(event)


def _approve(asked: ev.ApprovalAsked) -> tuple[ev.Decision, str]:
    rule = f" {asked.suggestions[0]}" if asked.suggestions else ""
    preview = f"{asked.preview}\n" if asked.preview else ""
    print(
        f"\n{preview}{asked.reason}.\nAllow it? [y]es, for this [r]un or [a]lways{rule}, [n]o: ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    answers: dict[str, ev.Decision] = {"y": "once", "r": "run", "a": "always"}
    decision = answers.get(sys.stdin.readline().strip().lower()[:1], "deny")
    return decision, ""


def _complain(turn: Turn) -> None:
    """One line on stderr about what went wrong, if anything did."""
    if turn.failure is not None:
        failure = turn.failure
        hint = f" ({failure.hint})" if failure.hint else ""
        complain(f"{failure.code}: {failure.message}{hint}")
    elif turn.status in ("stopped", "budget"):
        why = turn.interrupted
        complain(f"{turn.status}: {why.message or why.cause}" if why else turn.status)


def _conversation(core: Core, arguments: argparse.Namespace) -> str:
    folder = arguments.cwd or Path.cwd()
    if not folder.is_dir():
        raise RequestError("no_folder", f"there is no folder {folder}")
    if not arguments.conversation:
        return core.create_conversation("", str(folder.resolve())).result()
    if arguments.cwd:
        core.set_folder(arguments.conversation, str(folder.resolve())).result()
    return str(arguments.conversation)


def _last_turn(core: Core, conversation: str) -> str:
    selected = core.open(conversation).result().selected
    if selected is None:
        raise RequestError("no_turn", "this conversation has no run to finish")
    return selected


def _run_settings(stored: RunSettings, arguments: argparse.Namespace) -> RunSettings:
    """The stored settings with what the command line says instead."""
    changes: dict[str, Any] = {
        "effort": arguments.effort,
        "backend": arguments.endpoint,
        "system_prompt": arguments.system,
        "seed": arguments.seed,
        "temperature": arguments.temperature,
        "context": arguments.context,
        "lanes": arguments.lanes,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    if arguments.tools is not None:
        changes["tools"] = tool_names(arguments.tools)
    settings = msgspec.structs.replace(stored, **changes)
    limits = {
        "steps": arguments.max_steps,
        "tokens": arguments.max_tokens,
        "seconds": arguments.max_seconds,
        "thinking": arguments.max_thinking,
        "cost": arguments.max_cost,
    }
    limits = {name: value for name, value in limits.items() if value is not None}
    if not limits:
        return settings
    budget = msgspec.structs.replace(budget_of(settings), **limits)
    return msgspec.structs.replace(settings, budget=budget)


def scope_of(arguments: argparse.Namespace) -> ev.Unattended:
    """What may run with nobody there. Raises ConfigError ``bad_pattern``."""
    allow = tuple(str(Pattern.parse(text)) for text in arguments.allow)
    return ev.Unattended(("*", *allow) if arguments.yes else allow)


def tool_names(text: str) -> tuple[str, ...]:
    """The names of a comma-separated list. Raises ConfigError ``no_tool``."""
    known = NAMES
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in known and SEPARATOR not in name:
            names_known = f"known: {', '.join(known)}, and SERVER__* of an MCP server"
            raise ConfigError("no_tool", f"there is no tool {name!r}", names_known)
    return names


@contextlib.contextmanager
def at_work(core: Core) -> Iterator[None]:
    """The core begins, says what it has to, and is closed; SIGTERM ends the block as Ctrl-C."""
    with _interruptible():
        core.start()
        try:
            for notice in core.notices:
                print(f"note: {notice.message} {notice.hint}", file=sys.stderr)
            yield
        finally:
            core.close()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before: Callable[[int, FrameType | None], Any] | int | None
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
