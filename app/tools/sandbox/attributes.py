"""Modes, owners and times of files, changed for a confined process where it may write.

Landlock does not know of these changes: a process could make them to every file that it can name.
So the kernel hands such calls to the supervisor (seccomp_unotify(2)), which reads what they are
about, opens the file itself without following where it may not, looks where what it holds in its
hand really lies, and makes the change with that handle. Nothing the process does meanwhile matters.

The standard library only, as for :mod:`app.tools.sandbox.launch`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat
import struct
import time
from collections.abc import Callable, Sequence

# linux/seccomp.h
_RECEIVE, _SEND, _IS_VALID = 0xC0502100, 0xC0182101, 0x40082102
_ASKED, _ANSWER, _ASKED_SIZE = "=QIIiI7Q", "=QqiI", 80
# fcntl.h and stat.h of Linux
_AT_FDCWD, _NO_FOLLOW, _EMPTY_PATH = -100, 0x100, 0x1000
_NOW, _OMIT = (1 << 30) - 1, (1 << 30) - 2
_LONGEST_PATH = 4096
_NONE = 0xFFFFFFFF
"""An owner that stays as it is."""

# name: (x86-64, aarch64); None: there is none
CALLS: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
}
_COLUMN = {"x86_64": 0, "aarch64": 1}


def serve(listener: int, folders: Sequence[str]) -> None:
    """Answer as long as anybody may ask; in a thread of its own. ``folders``: absolute, without
    links.
    """
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    try:
        while all(event & select.POLLIN for _, event in waiting.poll()):
            asked = bytearray(_ASKED_SIZE)
            with contextlib.suppress(OSError):  # who asked may be gone
                fcntl.ioctl(listener, _RECEIVE, asked)
                id, pid, _, number, _, _, *arguments = struct.unpack(_ASKED, asked)
                code = _answer(_Call(listener, id, pid, arguments), number, folders)
                fcntl.ioctl(listener, _SEND, struct.pack(_ANSWER, id, 0, -code, 0))
    finally:
        os.close(listener)  # or whoever asks next would wait for ever


def _answer(call: _Call, number: int, folders: Sequence[str]) -> int:
    """Make the change: 0, or the error's number."""
    column = _COLUMN[os.uname().machine]
    name = next(name for name, numbers in CALLS.items() if numbers[column] == number)
    try:
        return _MAKERS[name](call, folders)
    except OSError as error:
        return error.errno or errno.EPERM
    except (ValueError, OverflowError, struct.error):
        return errno.EINVAL


class _Call:
    """What a process that waits asks for. Methods raise OSError."""

    def __init__(self, listener: int, id: int, pid: int, arguments: Sequence[int]) -> None:
        self._listener, self._id, self._pid = listener, id, pid
        self.arguments = arguments

    def integer(self, index: int) -> int:
        """An ``int``."""
        value = self.arguments[index] & 0xFFFFFFFF
        return value - (1 << 32) if value >> 31 else value

    def memory(self, address: int, size: int) -> bytes:
        """As much of it as there is."""
        handle = os.open(f"/proc/{self._pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(handle, size, address)
        finally:
            os.close(handle)

    def opened(self, at: int, address: int, flags: int) -> int:
        """A handle on the file of a name: an address in memory; 0: on what ``at`` is itself."""
        name = b""
        if address:
            name, end, _ = self.memory(address, _LONGEST_PATH).partition(b"\0")
            if not end:
                raise OSError(errno.ENAMETOOLONG, "")
            if not name and not flags & _EMPTY_PATH:
                raise OSError(errno.ENOENT, "")
        elif at == _AT_FDCWD:
            raise OSError(errno.EFAULT, "")
        own = f"/proc/{self._pid}/".encode()
        for link in (b"/proc/self/", b"/proc/thread-self/"):
            name = own + name[len(link) :] if name.startswith(link) else name
        base = f"/proc/{self._pid}/cwd" if at == _AT_FDCWD else f"/proc/{self._pid}/fd/{at}"
        if not name:
            found = _path_handle(base)
        elif name.startswith(b"/"):
            found = _path_handle(name, flags)
        else:
            begin = _path_handle(base)
            try:
                found = _path_handle(name, flags, begin)
            finally:
                os.close(begin)
        try:
            # Not of another process that has got the number since.
            fcntl.ioctl(self._listener, _IS_VALID, struct.pack("=Q", self._id))
        except OSError:
            os.close(found)
            raise
        return found


def _path_handle(name: str | bytes, flags: int = 0, at: int | None = None) -> int:
    follow = os.O_NOFOLLOW if flags & _NO_FOLLOW else 0
    return os.open(name, os.O_PATH | os.O_CLOEXEC | follow, dir_fd=at)


def _change(
    handle: int, folders: Sequence[str], change: Callable[[str, os.stat_result], None]
) -> int:
    """Make it by a path that leads to what the handle holds; 0, or why not."""
    try:
        path = f"/proc/self/fd/{handle}"
        place, about = os.readlink(path), os.fstat(handle)
        inside = any(place == folder or place.startswith(f"{folder}/") for folder in folders)
        if not inside or about.st_uid != os.getuid():
            return errno.EPERM
        change(path, about)
        return 0
    finally:
        os.close(handle)


def _mode(at: int, name: int, mode: int, flags: int = 0) -> _Maker:
    """``at`` and the others: which arguments they are; -1: there is none."""

    def make(call: _Call, folders: Sequence[str]) -> int:
        bits = call.arguments[mode]
        if bits & 0o6000:
            return errno.EPERM

        def change(path: str, about: os.stat_result) -> None:
            if stat.S_ISLNK(about.st_mode):
                raise OSError(errno.EOPNOTSUPP, "")
            os.chmod(path, bits & 0o1777)

        return _change(_named(call, at, name, flags), folders, change)

    return make


def _owner(at: int, name: int, owner: int, flags: int = 0, *, link: bool = False) -> _Maker:
    """Only to whom it belongs already."""

    def make(call: _Call, folders: Sequence[str]) -> int:
        wanted = [call.arguments[owner + i] & _NONE for i in range(2)]

        def change(path: str, about: os.stat_result) -> None:
            if wanted[0] not in (_NONE, about.st_uid) or wanted[1] not in (_NONE, about.st_gid):
                raise OSError(errno.EPERM, "")

        return _change(_named(call, at, name, flags, link=link), folders, change)

    return make


def _times(at: int, name: int, times: int, form: str, unit: int, flags: int = 0) -> _Maker:
    """``form`` of the two times in memory; ``unit``: nanoseconds of their second parts."""

    def make(call: _Call, folders: Sequence[str]) -> int:
        address = call.arguments[times]
        now = time.time_ns()
        given = [0, _NOW, 0, _NOW]
        if address:
            given = list(struct.unpack(form, call.memory(address, struct.calcsize(form))))
            if not unit:
                given = [given[0], 0, given[1], 0]

        def change(path: str, about: os.stat_result) -> None:
            present = (about.st_atime_ns, about.st_mtime_ns)
            wanted = []
            for i in range(2):
                seconds, part = given[2 * i : 2 * i + 2]
                special = {_NOW: now, _OMIT: present[i]} if unit in (0, 1) else {_NOW: now}
                wanted.append(special.get(part, seconds * 10**9 + part * unit))
            os.utime(path, ns=(wanted[0], wanted[1]))

        return _change(_named(call, at, name, flags), folders, change)

    return make


def _named(call: _Call, at: int, name: int, flags: int, *, link: bool = False) -> int:
    base = call.integer(at) if at >= 0 else _AT_FDCWD
    given = call.integer(flags) if flags else 0
    return call.opened(base, call.arguments[name] if name >= 0 else 0, given | _NO_FOLLOW * link)


_Maker = Callable[[_Call, Sequence[str]], int]
_MAKERS: dict[str, _Maker] = {
    "chmod": _mode(-1, 0, 1),
    "fchmod": _mode(0, -1, 1),
    "fchmodat": _mode(0, 1, 2),
    "fchmodat2": _mode(0, 1, 2, 3),
    "chown": _owner(-1, 0, 1),
    "fchown": _owner(0, -1, 1),
    "lchown": _owner(-1, 0, 1, link=True),
    "fchownat": _owner(0, 1, 2, 4),
    "utime": _times(-1, 0, 1, "=2q", 0),
    "utimes": _times(-1, 0, 1, "=4q", 1000),
    "futimesat": _times(0, 1, 2, "=4q", 1000),
    "utimensat": _times(0, 1, 2, "=4q", 1, 3),
}
