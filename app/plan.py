"""A plan as text, for the model and for people."""

from __future__ import annotations

from collections.abc import Sequence

from app.events import PlanItem


def as_text(items: Sequence[PlanItem]) -> str:
    """One item a line, numbered from 1: ``2. [doing] read the file``."""
    return "\n".join(f"{n}. [{item.status}] {item.text}" for n, item in enumerate(items, 1))
