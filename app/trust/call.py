"""What rules look at: one call, its risk and what it is aimed at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from app.tools.base import Risk, Target


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call that somebody has to allow. ``folder``: the one the person opened, absolute, or ""."""

    tool: str
    risk: Risk
    arguments: dict[str, Any]
    targets: tuple[Target, ...] = ()
    folder: str = ""

    def aimed_at(self, kind: str) -> tuple[str, ...]:
        """The targets of a kind."""
        return tuple(target.value for target in self.targets if target.kind == kind)

    def argument(self, name: str) -> str | None:
        """An argument as text; None: there is none of that name."""
        if name not in self.arguments:
            return None
        value = self.arguments[name]
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
