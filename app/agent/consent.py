"""Whether a call may run: what speaks against it, whose rules answer that, and asking a person."""

from __future__ import annotations

from dataclasses import replace

from app import events as ev
from app.agent.approval import Answer
from app.agent.guarding import as_event
from app.agent.model_call import Call
from app.agent.run import Run
from app.errors import ToolError
from app.guard.rules import Hit
from app.tools.base import Asking, Facts, Target, Tool, facts_of
from app.trust.call import Wanted
from app.trust.policy import Reason, asked, suggestions
from app.trust.targets import targets_of


def wanted(run: Run, call: Call, tool: Tool, arguments: dict[str, object]) -> Wanted:
    """The call as rules look at it."""
    context = run.context()
    targets = targets_of(tool, arguments, context)
    return Wanted(call.name, tool.risk, arguments, targets, str(context.folder or ""))


async def consent(
    run: Run, span: str, call: Call, tool: Tool, arguments: dict[str, object], doubt: str
) -> Answer:
    """The answer, recorded where anybody was asked or a rule decided.

    ``doubt``: a call of unknown outcome that did the same; then it asks in any case.
    """
    look = wanted(run, call, tool, arguments)
    answer = run.rules.forbids(look)
    hits = _guards(run, span, call, look)
    if answer is None and hits and hits[0].rule.action == "block":
        answer = Answer("deny", _said_by(hits[0]), "guard")
    reasons: tuple[Reason, ...] = ()
    if answer is None:
        facts = await _facts(run, tool, arguments)
        reasons = _reasons(run, call, tool, look, facts, doubt)
        # Arguments are not blacked out behind the model's back: the person is asked.
        asking = (hit for hit in hits if hit.rule.action != "note")
        reasons += tuple(Reason("guard", _said_by(hit)) for hit in asking)
        if not reasons:
            return Answer("once", by="rule")
        answer = run.rules.answer(look, reasons)
    if answer is None:
        answer = await _ask(run, span, call, facts, look, reasons)
        if answer.decision in ("run", "always"):
            run.rules.learn(answer)
    body = ev.ApprovalAnswered(call.id, answer.decision, answer.reason, answer.by, answer.rule)
    run.emit(body, span)
    return answer


def _reasons(
    run: Run, call: Call, tool: Tool, look: Wanted, facts: Facts, doubt: str
) -> tuple[Reason, ...]:
    reasons: list[Reason] = []
    if doubt:
        text = f"{call.name} may have done this already: the program ended while {doubt} ran"
        reasons.append(Reason("doubt", text))
    question = _question(run, tool, call, look)
    if question is not None:
        reasons.append(Reason("tool", question))
    if (
        run.number
        and not tool.read_only
        and (tool.risk in ("write", "foreign") or call.name == "shell")
    ):
        text = f"lane {run.number} of several would change what all of them share"
        reasons.append(Reason("lane", text))
    system, scratch = run.settings.system_prompt, str(run.scratch)
    strange = run.origins.strange(look, run.path(), system, scratch)
    if strange:
        text = f"you did not name {_listed(strange)}: it may come from a text that a tool read"
        reasons.append(Reason("target", text, strange))
    by_rule = asked(look, run.rules.kept())
    if by_rule is not None:
        reasons.append(by_rule)
    if facts.each_time and tool.risk == "execute":
        reasons.append(Reason("bare", "nothing on this machine confines what it starts"))
    return tuple(reasons)


def _guards(run: Run, span: str, call: Call, look: Wanted) -> list[Hit]:
    if run.guards is None:
        return []
    hits = run.guards.hits("call", call.arguments, look)
    for hit in hits:
        run.emit(as_event(hit, "call", call.arguments, call.id), span)
    return hits


def _said_by(hit: Hit) -> str:
    return f"the guard “{hit.rule.name}” found: {hit.message}"


def _question(run: Run, tool: Tool, call: Call, look: Wanted) -> str | None:
    """What a person is asked before it runs; None: nothing."""
    if not tool.asks:
        return None
    if isinstance(tool, Asking):
        return tool.question(look.arguments, run.context())
    return f"{call.name} can change things on this computer"


async def _facts(run: Run, tool: Tool, arguments: dict[str, object]) -> Facts:
    try:
        return await facts_of(tool, arguments, run.context())
    except (ToolError, OSError):  # the call itself will say what is wrong
        return Facts(tool.risk)


async def _ask(
    run: Run, span: str, call: Call, facts: Facts, look: Wanted, reasons: tuple[Reason, ...]
) -> Answer:
    strange = tuple(target for reason in reasons for target in reason.targets)
    body = ev.ApprovalAsked(
        call.id,
        "\n".join(reason.text for reason in reasons),
        facts.risk,
        facts.preview,
        facts.level or "",
        targets=tuple(_named(target) for target in look.targets),
        strange=tuple(_named(target) for target in strange),
        suggestions=suggestions(look, reasons),
    )
    run.emit(body, span)
    with run.meter.paused():
        answer = await run.desk.wait(run.conversation, run.address(call.id))
    return answer if answer.by == "person" else replace(answer, rule="")


def _named(target: Target) -> str:
    value = target.value if len(target.value) <= 300 else target.value[:299] + "…"
    return f"{target.kind} {value}"


def _listed(targets: tuple[Target, ...]) -> str:
    names = [f"the {_named(target)}" for target in targets[:3]]
    more = f" and {len(targets) - 3} more" if len(targets) > 3 else ""
    return ", ".join(names) + more
