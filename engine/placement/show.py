"""Plans as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from engine.placement.words import CAUSES, FORMS, amount, duration, rate
from engine.protocol import FamilyPlan, Placement, PlanReport, SpeedPlan, TierPlan

_WIDTH = 98
_TIERS = {"gpu": "accelerator", "ram": "memory", "mapped": "disk"}


def report_text(report: PlanReport) -> str:
    """Verdict, tiers, speeds with their bounds, reasons, and what would help."""
    placement = report.placement
    lines = [f"{report.model} on {report.machine}: {placement.verdict}"]
    if placement.tiers:
        lines += ["", *map(_tier, placement.tiers)]
    if placement.decode:
        lines += ["", *_speeds(placement)]
    lines += ["", "Why", *_bullets(placement.why)]
    if report.helps:
        lines += ["", "What would help", *_bullets(report.helps)]
    if report.family:
        lines += ["", "Others of the family on this machine", *map(_relative, report.family)]
    return "\n".join(lines)


def table_text(rows: Mapping[str, Sequence[PlanReport]]) -> str:
    """A row a machine, a column a model: tokens a second, and seconds to the first token."""
    first = next(iter(rows.values()))
    names = ("", *(report.model for report in first))
    forms = ("", *(f"{FORMS[report.placement.expert_form]} experts" for report in first))
    body = [(name, *(_cell(r.placement) for r in reports)) for name, reports in rows.items()]
    return "\n".join((*_columns((names, forms, *body)), "", *_LEGEND))


_LEGEND = (
    "Tokens/s decoded and the time to the first token after a prompt of 512 tokens.",
    "* slowly: fewer than 5 tokens/s, or more than a minute to the first. no: it does not fit.",
)


def _cell(placement: Placement) -> str:
    if placement.verdict == "does not fit":
        return "no"
    mark = "*" if placement.verdict == "runs slowly" else ""
    return f"{rate(placement.decode[0].tokens_per_s)}, {duration(placement.first_token_s)}{mark}"


def _tier(tier: TierPlan) -> str:
    parts = sorted(tier.parts.items(), key=lambda part: -part[1])
    inside = ", ".join(f"{name} {amount(size)}" for name, size in parts)
    of = f" of {amount(tier.usable)}" if tier.usable else ""
    return _hanging(f"  {_TIERS[tier.tier]:<12} {amount(tier.used)}{of}: ", inside)


def _speeds(placement: Placement) -> list[str]:
    return [
        *(_speed("decode", "after", s) for s in placement.decode),
        *(_speed("prompt", "of", s) for s in placement.prefill),
        f"  first token  {duration(placement.first_token_s)} after a prompt of 512 tokens",
        f"  typical turn {duration(placement.turn_s)} for 1,024 tokens in and 512 out",
        f"  load         {duration(placement.load_s)} from a cold disk, "
        f"{duration(placement.warm_s)} until all experts that fit are in memory",
        f"  ceiling      {rate(placement.ceiling_tokens_per_s)} tokens/s if memory were all",
    ]


def _speed(name: str, where: str, speed: SpeedPlan) -> str:
    return (
        f"  {name:<12} {rate(speed.tokens_per_s):>6} tokens/s {where} {speed.tokens:,} tokens, "
        f"bound by {CAUSES[speed.cause]}"
    )


def _relative(family: FamilyPlan) -> str:
    name = f"{family.name} ({FORMS[family.expert_form]} experts)"
    if not family.decode_tokens_per_s:
        return f"  {name:<34} {family.verdict}"
    return (
        f"  {name:<34} {family.verdict}: {rate(family.decode_tokens_per_s)} tokens/s, first token "
        f"after {duration(family.first_token_s)}"
    )


def _bullets(sentences: Iterable[str]) -> list[str]:
    return [_hanging("  - ", sentence) for sentence in sentences]


def _hanging(lead: str, text: str) -> str:
    return textwrap.fill(
        text, _WIDTH, initial_indent=lead, subsequent_indent=" " * min(len(lead), 15)
    )


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
