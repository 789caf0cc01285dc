"""Many texts, and which of them may hold a string: without looking through all of them.

Texts are gathered into blocks. Of each block it is known which four bytes stand beside each other
in it, as bits by their hashes: a block without those of a string does not hold the string. Eight
blocks share a row of bytes, so that one look answers for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = 65_536
"""Characters; a longer text is a block of its own. What is less is just looked through."""
_BITS = 19
"""Of a hash: so many that a block fills a tenth of them."""
_SPREAD = 2_654_435_761


class Sieve:
    """Not for two threads at once. ``len`` is the number of texts."""

    def __init__(self, block: int = BLOCK) -> None:
        self._block = block
        self._blocks: list[list[str]] = []
        self._table: NDArray[np.uint8] | None = None
        """[rows, hashes]: bit ``i`` of a row is the row's block ``i``. Some rows are to spare; they
        take no memory before they are written to.
        """
        self._loose: list[str] = []
        self._size = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, text: str) -> None:
        self._count += 1
        self._loose.append(text)
        self._size += len(text)
        if self._size >= self._block:
            self._close()

    def holding(self, string: str) -> Iterator[str]:
        """Every text in which it stands, however words are spaced, and perhaps some others. All for
        a string of less than four bytes.
        """
        if self._table is not None:
            import numpy as np

            hashes = np.concatenate(_hashes(string))
            rows = -(-len(self._blocks) // 8)
            found = np.bitwise_and.reduce(self._table[:rows, hashes], axis=1)
            (places,) = np.unpackbits(found, bitorder="little").nonzero()
            for place in places[places < len(self._blocks)]:
                yield from self._blocks[place]
        yield from self._loose

    def _close(self) -> None:
        import numpy as np  # here, since most conversations never read so much

        row, bit = divmod(len(self._blocks), 8)
        if self._table is None:
            self._table = np.zeros((1, 1 << _BITS), np.uint8)
        elif row == len(self._table):
            table = np.zeros((2 * row, 1 << _BITS), np.uint8)
            table[:row] = self._table
            self._table = table
        for text in self._loose:
            for hashes in _hashes(text):
                self._table[row, hashes] |= 1 << bit
        self._blocks.append(self._loose)
        self._loose, self._size = [], 0


def spaced(text: str) -> str:
    """With single spaces, so that line breaks do not hide what stands there."""
    return " ".join(text.split())


def _hashes(text: str) -> list[NDArray[np.uint32]]:
    """Of every four bytes beside each other."""
    import numpy as np

    data = spaced(text).encode(errors="surrogatepass")
    found = [np.zeros(0, np.uint32)]
    for start in range(min(4, max(0, len(data) - 3))):
        words = np.frombuffer(data, "<u4", (len(data) - start) // 4, start)
        found.append((words * np.uint32(_SPREAD)) >> np.uint32(32 - _BITS))
    return found
