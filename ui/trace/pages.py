"""The texts behind the detail tabs, from a step and its parts. No Qt here."""

from __future__ import annotations

import json
from collections.abc import Iterable

import msgspec

from app.events import Budget
from app.state import ModelCall, Step, ToolRun, Turn
from ui.chat.arguments import NO_JSON


def prompt(call: ModelCall | None) -> str:
    """What the model read: the exact tokens where the engine told, else the messages."""
    if call is None:
        return ""
    return call.prompt or messages(call)


def messages(call: ModelCall | None) -> str:
    """The messages and tools of the request, as JSON."""
    if call is None:
        return ""
    asked = {
        "messages": msgspec.to_builtins(call.messages),
        "tools": msgspec.to_builtins(call.tools),
    }
    return json.dumps(asked, indent=2, ensure_ascii=False)


def response(step: Step | None) -> str:
    """What the model wrote, part by part, as it wrote it."""
    if step is None:
        return ""
    blocks: list[str] = []
    for part in step.parts:
        if part.discarded:
            blocks.append("(of an attempt that broke off, discarded:)")
        if part.kind == "reasoning":
            blocks.append(f"<think>\n{part.text.strip()}\n</think>")
        elif part.kind == "text":
            blocks.append(part.text.strip())
        else:
            blocks.append(f"{part.call or part.name}\n{part.text}")
    if step.call is not None:
        blocks += [f"⚠ {code}: {message}" for code, message in step.call.problems]
        if step.call.finish_reason:
            blocks.append(f"finish reason: {step.call.finish_reason}")
    return "\n\n".join(blocks)


def tools(runs: Iterable[ToolRun]) -> str:
    """Arguments, approval and result of each call."""
    return "\n\n\n".join(_tool(run) for run in runs)


def timings(call: ModelCall | None) -> str:
    """Tokens and speeds of a model call."""
    if call is None:
        return ""
    usage, t = call.usage, call.timings
    reasoning = usage.completion_tokens_details.reasoning_tokens
    return _table(
        [
            ("Prompt", f"{usage.prompt_tokens or call.prompt_tokens:,} tokens"),
            ("  of these cached", f"{usage.prompt_tokens_details.cached_tokens:,} tokens"),
            ("Completion", f"{usage.completion_tokens:,} tokens"),
            (
                "  of these reasoning",
                f"{reasoning:,} tokens",
            ),
            ("First token after", _ms(call.first_token_ms)),
            ("Waiting in the queue", _ms(t.queue_ms)),
            ("Prefill", f"{_ms(t.prefill_ms)}  {_speed(t.prefill_tokens_per_s)}"),
            ("Decode", f"{_ms(t.decode_ms)}  {_speed(t.decode_tokens_per_s)}"),
            ("Whole call", _ms(call.seconds * 1000)),
        ]
    )


def settings(turn: Turn | None, call: ModelCall | None) -> str:
    """What the run was asked to be."""
    if turn is None:
        return ""
    rows: list[tuple[str, str]] = []
    if call is not None:
        rows += [("Endpoint", call.backend), ("Model", call.model or "the endpoint's own")]
        rows += [(name, f"{value}") for name, value in call.sampling]
    rows.append(("Effort", turn.settings.effort))
    rows.append(("Tools", ", ".join(turn.settings.tools) or "none"))
    own = turn.settings.budget == Budget()
    budget = {} if own else msgspec.to_builtins(turn.settings.budget)
    limits = [f"{value} {name}" for name, value in budget.items() if value]
    rows.append(("Budget", ", ".join(limits) or "the effort's own"))
    rows.append(("Status", turn.status))
    return _table(rows)


def _tool(run: ToolRun) -> str:
    lines = [run.call, "", _pretty(run.arguments), ""]
    if run.problem:
        lines.append(f"problem: {run.problem}")
    if run.written is not None:
        lines += ["a person changed it; the model wrote:", _pretty(run.written), ""]
    if run.asked or run.rule:
        lines += _approval(run)
    if run.risk:
        confined = f", confined by {run.sandbox}" if run.sandbox else ""
        lines.append(f"risk: {run.risk}{confined}")
    for change in run.changes:
        undone = " (undone)" if change.change in run.undone else ""
        lines += ["", f"changed {change.path}{undone}", change.diff]
    lines += [f"made {one.media} {one.title} ({one.size:,} bytes)" for one in run.artefacts]
    if run.status:
        lines.append(f"{run.status} after {run.seconds:.2f} s")
    lines += ["", run.result if run.status else run.output]
    return "\n".join(lines).rstrip()


def _approval(run: ToolRun) -> list[str]:
    """Who let it run, and why anybody had to."""
    by = f" by {run.decided_by}" if run.decided_by else ""
    rule = f", pattern {run.rule}" if run.rule else ""
    reason = f" ({run.deny_reason})" if run.deny_reason else ""
    lines = [f"approval: {run.decision or 'waiting'}{by}{rule}{reason}"]
    lines += [f"  asked: {text}" for text in run.asked.splitlines()]
    lines += [f"  not named by you: {target}" for target in run.strange]
    return lines


def _pretty(arguments: str) -> str:
    """Arguments, with texts of several lines as such."""
    try:
        parsed = json.loads(arguments)
        if not isinstance(parsed, dict):
            return arguments
        return "\n".join(_named(name, value) for name, value in parsed.items())
    except NO_JSON:
        return arguments


def _named(name: str, value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{name}:\n{text}" if "\n" in text else f"{name}: {text}"


def _table(rows: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(f"{name:<{width}}{value}".rstrip() for name, value in rows)


def _ms(value: float) -> str:
    if not value:
        return "–"
    return f"{value:.1f} ms" if value < 1000 else f"{value / 1000:.2f} s"


def _speed(value: float) -> str:
    return f"({value:,.0f} tokens/s)" if value else ""
