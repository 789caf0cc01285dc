"""Pages that left a device, in the machine's memory."""

from __future__ import annotations

import threading
from collections import OrderedDict

from torch import Tensor

from engine.cache.snapshot import StoredPage


class HostStore:
    """At most `max_bytes`; the longest unused go. Any thread."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._lock = threading.Lock()
        self._pages: OrderedDict[bytes, tuple[StoredPage, Tensor]] = OrderedDict()
        self._after: dict[bytes, set[bytes]] = {}

    @property
    def pages(self) -> int:
        """How many there are."""
        return len(self._pages)

    def has(self, key: bytes) -> bool:
        """Whether a page is here."""
        return key in self._pages

    def put(self, page: StoredPage, latents: Tensor) -> None:
        """Keep bytes uint8 [n] on the processor, if they fit at all."""
        with self._lock:
            if self.has(page.key) or latents.nbytes > self.max_bytes:
                return
            self._pages[page.key] = page, latents
            self._after.setdefault(page.parent, set()).add(page.key)
            self.bytes += latents.nbytes
            while self.bytes > self.max_bytes:
                self._drop_oldest()

    def get(self, key: bytes) -> Tensor | None:
        """A page's bytes, which then count as just used."""
        with self._lock:
            if key not in self._pages:
                return None
            self._pages.move_to_end(key)
            return self._pages[key][1]

    def after(self, parent: bytes) -> list[StoredPage]:
        """The pages that follow a page."""
        with self._lock:
            return [self._pages[key][0] for key in self._after.get(parent, ())]

    def _drop_oldest(self) -> None:
        key, (page, latents) = self._pages.popitem(last=False)
        self.bytes -= latents.nbytes
        brothers = self._after[page.parent]
        brothers.discard(key)
        if not brothers:
            del self._after[page.parent]
