"""Who hears of events once the journal has them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

_log = logging.getLogger(__name__)

Item = TypeVar("Item")


class Bus(Generic[Item]):
    """Calls every listener in the order of subscription, on the publisher's thread.

    ``subscribe`` and its returned ``unsubscribe`` may be called from any thread. A listener that
    raises is a bug: it is logged, and the others still hear.
    """

    def __init__(self) -> None:
        self._listeners: tuple[Callable[[Item], None], ...] = ()

    def subscribe(self, listener: Callable[[Item], None]) -> Callable[[], None]:
        self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            self._listeners = tuple(one for one in self._listeners if one is not listener)

        return unsubscribe

    def publish(self, item: Item) -> None:
        for listener in self._listeners:
            try:
                listener(item)
            except Exception:
                _log.exception("a listener failed on %r", type(item).__name__)
