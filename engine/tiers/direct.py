"""Experts in slots of our own, read past the page cache (``O_DIRECT``).

Nothing has to be mapped, kept apart from its neighbours or given back: a slot that was emptied is
written over. The kernels are told where an expert is when it has arrived, and on leaving that it is
in the mapped file again.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from engine.errors import CheckpointError
from engine.experts.base import ExpertWeights, tensors_of, with_tensors
from engine.tiers.pages import PAGE, Range, cannot_read
from engine.tiers.resident import FOLIO, ResidentSet
from engine.tiers.slots import Slots

Move = Callable[[int, ExpertWeights], None]
"""Tells the kernels where a key's expert is."""


class NotDirectError(Exception):
    """This file cannot be read directly; the message says why."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A range of an expert's file and its place in a slot."""

    range: Range
    at: int
    needed: int
    """Bytes of it that the expert's tensors take; the file may end behind them."""

    def __contains__(self, address: int) -> bool:
        return self.range.begin <= address < self.range.end


@dataclass(frozen=True, slots=True)
class _Placed:
    """An expert's slot and what comes into it."""

    slot: int
    pieces: tuple[_Piece, ...]


class DirectSet:
    """Keys whose experts are, or are about to be, in slots. One thread, but for `read`.

    `experts` are as they are mapped, `mapped` knows where.
    """

    def __init__(
        self, mapped: ResidentSet, experts: Mapping[int, ExpertWeights], slots: Slots, move: Move
    ) -> None:
        self._mapped, self._pages, self._experts = mapped, mapped.pages, experts
        self._slots, self._move = slots, move
        self._files: dict[str, int] = {}
        self._placed: dict[int, _Placed] = {}
        self._moved: set[int] = set()

    def open(self) -> None:
        """Open all files for reading past the page cache. Raises NotDirectError."""
        for key in self._mapped:
            for r in self._mapped.places(key):
                if r.region.path not in self._files:
                    self._files[r.region.path] = open_direct(r.region.path)
                    self._pages.file(r.region.path)  # now, while it is surely the same one
                    self._compare(r)

    def begin(self, key: int) -> None:
        """Take a slot for it."""
        ends = [t.data_ptr() + t.nbytes for t in tensors_of(self._experts[key])]
        pieces, at = [], 0
        for r in self._mapped.places(key):
            needed = max(end for end in ends if end <= r.end) - r.begin
            pieces.append(_Piece(r, at, needed))
            at += r.nbytes
        self._placed[key] = _Placed(self._slots.take(), tuple(pieces))

    def read(self, key: int) -> None:
        """Fill its slot. Sleeps without the GIL. Any thread. Raises CheckpointError."""
        placed = self._placed[key]
        memory, ranges = self._slots.bytes_of(placed.slot), [p.range for p in placed.pieces]
        cached = self._pages.cached(ranges)
        for piece in placed.pieces:
            path = piece.range.region.path
            file = self._pages.file(path) if cached else None
            place = memory[piece.at : piece.at + piece.range.nbytes]
            _fill(self._files[path] if file is None else file, piece, place)
        if cached:  # else it would take memory twice
            self._pages.forget(ranges)

    def arrive(self, key: int) -> None:
        """Have the kernels take it from its slot, which `read` has filled."""
        placed, expert = self._placed[key], self._experts[key]
        tensors = []
        for tensor in tensors_of(expert):
            begin = tensor.data_ptr()
            at = next((p.at + begin - p.range.begin for p in placed.pieces if begin in p), None)
            # What is no view of a file has memory of its own and stays there.
            tensors.append(tensor if at is None else self._slots.tensor(placed.slot, at, tensor))
        self._move(key, with_tensors(expert, tensors))
        self._moved.add(key)

    def drop(self, key: int) -> None:
        """Free its slot; whoever computes it all the same reads the map."""
        if key in self._moved:
            self._moved.remove(key)
            self._move(key, self._experts[key])
        self._slots.give(self._placed.pop(key).slot)

    def close(self) -> None:
        """Close the files and give all memory back; nothing may be computed any more."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()
        self._slots.close()

    def _compare(self, r: Range) -> None:
        """See that the file can be read, and is the one that is mapped. Raises NotDirectError."""
        page = replace(r, end=r.begin + PAGE)
        around = replace(
            r,
            begin=max(r.begin - FOLIO, r.region.begin),
            end=min(page.end + FOLIO, r.region.end),
        )
        try:
            with mmap.mmap(-1, PAGE) as seen:
                _fill(self._files[r.region.path], _Piece(page, 0, PAGE), memoryview(seen))
                self._pages.read([page])
                same = seen[:] == ctypes.string_at(page.begin, PAGE)
                self._pages.unmap(around)
                self._pages.forget([around])
        except (CheckpointError, BufferError) as error:
            raise NotDirectError(f"{os.path.basename(r.region.path)} cannot be read so") from error
        if not same:
            raise NotDirectError(f"{os.path.basename(r.region.path)} was replaced")


def open_direct(path: str) -> int:
    """The file, to be read past the page cache. Raises NotDirectError."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as error:
        raise NotDirectError(f"the file system says: {error.strerror}") from error


def _fill(file: int, piece: _Piece, memory: memoryview) -> None:
    """Read a piece from its file. Raises CheckpointError."""
    got = 0
    try:
        while got < piece.needed:
            count = os.preadv(file, [memory[got:]], piece.range.offset + got)
            got += count
            # Only a file's end comes in parts of a page, and nothing can be read behind it.
            if count % PAGE or not count:
                break
    except OSError as error:
        path = os.path.basename(piece.range.region.path)
        raise CheckpointError(
            "unreadable", f"{path}: {error.strerror or error}", "check the disk"
        ) from error
    if got < piece.needed:
        raise cannot_read(piece.range)
