"""How many steps pass between an order to stop a request and its pages being free."""

from __future__ import annotations


class Cancels:
    """Counted from the last 1,024 orders. ``ordered`` may come from any thread."""

    _MOST = 1024

    def __init__(self) -> None:
        self.steps = 0
        """That began since the model was loaded."""
        self._pending: dict[str, int] = {}
        self._waits: list[int] = []
        self.total = 0
        """Requests that were stopped."""

    def ordered(self, request_id: str) -> None:
        """Somebody wants a request to stop; the first order counts."""
        self._pending.setdefault(request_id, self.steps)

    def gone(self, request_id: str) -> None:
        """A request has left, stopped or not, and what it held is free."""
        begun = self._pending.pop(request_id, None)
        if begun is None:
            return
        self.total += 1
        self._waits = [*self._waits[1 - self._MOST :], self.steps - begun]

    @property
    def p99(self) -> int:
        """Steps that 99 of 100 waited at most; 0 before the first."""
        waits = sorted(self._waits)
        return waits[-(-len(waits) * 99 // 100) - 1] if waits else 0
