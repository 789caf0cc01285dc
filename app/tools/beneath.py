"""Opening below a folder, so that no name, link or race leads out of it.

The kernel resolves the whole path in one call that may not leave the folder (openat2(2) with
RESOLVE_BENEATH); where it has no such call, a part at a time and without following links.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import stat
import struct
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from app.errors import ToolError

LARGEST = 8 << 20
"""Bytes of a file that is read or written whole."""

_OPENAT2 = 437
_NO_MAGIC_LINKS, _BENEATH = 0x02, 0x08
_TRIES = 50
"""While somebody renames folders on the way, the kernel asks to try again."""
_libc = ctypes.CDLL(None, use_errno=True)


def open_folder(folder: Path, name: str) -> int:
    """A descriptor of ``name``, which is a folder. Raises ToolError, OSError."""
    try:
        return open_beneath(folder, name, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        raise ToolError("no_such_folder", f"no folder named {name}") from None


def open_file(folder: Path, name: str) -> int:
    """A descriptor of ``name``, which is a regular file, to read. Raises ToolError, OSError."""
    missing = ToolError("no_such_file", f"no file named {name}")
    try:
        # Not to wait for the other end, should it be a pipe.
        descriptor = open_beneath(folder, name, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise missing from None
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise missing from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise missing
    return descriptor


def open_beneath(folder: Path, name: str, flags: int) -> int:
    """As open(2). Raises ToolError ``outside`` if links or dots lead out, OSError."""
    if "\0" in name:
        raise ToolError("no_such_file", "no file has such a name")
    root = os.open(folder.resolve(), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _resolve(root, relative(folder, name), name, flags | os.O_CLOEXEC)
    finally:
        os.close(root)


def relative(folder: Path, name: str) -> str:
    """``name`` as it is below the folder. Raises ToolError ``outside`` for absolute others."""
    if not name.startswith("/"):
        return name or "."
    for root in (folder.resolve(), folder):
        with contextlib.suppress(ValueError):
            return str(PurePosixPath(name).relative_to(root))
    raise _outside(name)


def read(folder: Path, name: str) -> bytes | None:
    """All of a file; None: there is none. Raises ToolError, OSError."""
    try:
        descriptor = open_file(folder, name)
    except ToolError as error:
        if error.code == "no_such_file" and not _exists(folder, name):
            return None
        raise
    with open(descriptor, "rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ToolError("too_large", f"{name} is larger than {LARGEST >> 20} MiB")
    return data


def write(folder: Path, name: str, data: bytes) -> None:
    """Put a file in its place at once, with the folders that lead to it. Raises ToolError, OSError.

    A link is not written through, and of a file with several names the others keep what they have.
    """
    with _parent(folder, name, make=True) as (parent, last):
        mode = 0o644
        with contextlib.suppress(FileNotFoundError):
            about = os.stat(last, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISREG(about.st_mode):
                raise ToolError("not_a_file", f"{name} is a link, a folder or a device")
            mode = stat.S_IMODE(about.st_mode) & 0o777
        beside = f".{last[:80]}.{secrets.token_hex(6)}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(beside, flags, 0o600, dir_fd=parent), "wb") as file:
                file.write(data)
                os.fchmod(file.fileno(), mode)
            os.replace(beside, last, src_dir_fd=parent, dst_dir_fd=parent)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(beside, dir_fd=parent)
            raise


def remove(folder: Path, name: str) -> None:
    """Delete a file. Raises ToolError, OSError."""
    with _parent(folder, name, make=False) as (parent, last):
        os.unlink(last, dir_fd=parent)


@contextlib.contextmanager
def _parent(folder: Path, name: str, *, make: bool) -> Iterator[tuple[int, str]]:
    """A descriptor of the folder that a file is in, and the file's own name."""
    path = PurePosixPath(relative(folder, name))
    if "\0" in name or path.name in ("", ".."):
        raise ToolError("no_such_file", "no file has such a name")
    parts = path.parent.parts
    if make:
        for count in range(1, len(parts) + 1):
            _make_folder(folder, PurePosixPath(*parts[:count]))
    descriptor = open_folder(folder, str(path.parent))
    try:
        yield descriptor, path.name
    finally:
        os.close(descriptor)


def _make_folder(folder: Path, path: PurePosixPath) -> None:
    if path.name in ("", "..", "."):
        return
    parent = open_folder(folder, str(path.parent))
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path.name, 0o755, dir_fd=parent)
    finally:
        os.close(parent)


def _exists(folder: Path, name: str) -> bool:
    try:
        os.close(open_beneath(folder, name, os.O_PATH | os.O_NOFOLLOW))
    except FileNotFoundError:
        return False
    return True


def _resolve(root: int, path: str, name: str, flags: int) -> int:
    how = struct.pack("=QQQ", flags, 0, _BENEATH | _NO_MAGIC_LINKS)
    kept = ctypes.create_string_buffer(how, len(how))
    for _ in range(_TRIES):
        found: int = _libc.syscall(_OPENAT2, root, os.fsencode(path), kept, len(how))
        if found >= 0:
            return found
        code = ctypes.get_errno()
        if code in (errno.ENOSYS, errno.EPERM):
            return _step_by_step(root, path, name, flags)
        if code == errno.EXDEV:
            raise _outside(name)
        if code == errno.ELOOP:
            raise ToolError("no_such_file", f"no file named {name}")
        if code != errno.EAGAIN:
            raise OSError(code, os.strerror(code), name)
    raise OSError(errno.EAGAIN, "its folders are being renamed", name)


def _step_by_step(root: int, path: str, name: str, flags: int) -> int:
    """Without following any link."""
    parts = [part for part in PurePosixPath(path).parts if part != "."]
    if ".." in parts:
        raise _outside(name)
    here = os.dup(root)
    try:
        for part in parts[:-1]:
            walk = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            here, left = os.open(part, walk, dir_fd=here), here
            os.close(left)
        last = parts[-1] if parts else "."
        return os.open(last, flags | os.O_NOFOLLOW, dir_fd=here)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _outside(name) from None
        raise
    finally:
        os.close(here)


def _outside(name: str) -> ToolError:
    return ToolError("outside", f"{name} is outside the folder")
