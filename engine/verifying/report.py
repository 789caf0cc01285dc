"""What verifying found: checks, each with its worst case, and a verdict."""

from __future__ import annotations

import msgspec


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at. ``worst`` must not be above ``limit``."""

    name: str
    passed: bool
    worst: float
    limit: float
    where: str
    """Where the worst case is, for people."""
    covered: str
    """How much was looked at."""


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """All checks of a folder on this machine."""

    folder: str
    isas: tuple[str, ...]
    checks: tuple[Check, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every check passed, and there was one."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def verdict(self) -> str:
        """One sentence."""
        bad = [check for check in self.checks if not check.passed]
        if not bad:
            return "This machine computes this checkpoint's experts rightly."
        first = bad[0]
        return f"Do not trust this model here: {first.name} is wrong at {first.where}."


def as_json(found: Verification) -> bytes:
    """The checks with verdict and outcome beside them."""
    fields = msgspec.to_builtins(found)
    return msgspec.json.encode({**fields, "passed": found.passed, "verdict": found.verdict})


def as_text(found: Verification) -> str:
    """The checks for people, the verdict last."""
    lines = []
    for check in found.checks:
        mark = "right" if check.passed else "WRONG"
        where = f" at {check.where}" if check.where else ""
        lines.append(
            f"{mark}  {check.name:<24} worst {check.worst:.2e} (limit {check.limit:.0e}){where}; "
            f"{check.covered}"
        )
    return "\n".join([*lines, found.verdict])
