"""The first program inside a sandbox: gives up what the next one must not have, then becomes it.

Run as ``python -I launch.py CONFIG COMMAND…`` with JSON as :class:`app.tools.sandbox.Config` writes
it. It imports the standard library only, since it runs where nothing of the app should be within
reach. With ``supervise`` it stays instead, adopts every process that loses its parent, and ends all
of them with the command or when it is told to: what a process namespace does where there is one.

Sources: prctl(2), capabilities(7), seccomp(2), landlock(7) and ``linux/landlock.h``.
"""

from __future__ import annotations

import _thread  # as it starts sooner than threading
import base64
import contextlib
import ctypes
import json
import os
import resource
import signal
import struct
import sys
import time
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_DEATH_SIGNAL, _SECCOMP, _BOUNDING_DROP, _NO_NEW_PRIVS, _SUBREAPER = 1, 22, 24, 38, 36
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_FILTER_MODE = 2
_PIDFD_GETFD = 438
_SECCOMP_CALL, _NEW_LISTENER = {"x86_64": 317, "aarch64": 277}, 8
_LINUX_CAPABILITY_VERSION_3 = 0x20080522

# linux/landlock.h: what a rule can allow below a folder, by the interface's version
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1, 2, 4, 8, 1 << 14
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_TCP = 3
_SCOPES = 3  # abstract sockets and signals


def main() -> None:
    """Never returns."""
    config = json.loads(sys.argv[1])
    command = sys.argv[2:]
    os.nice(config["nice"])
    if not config["supervise"]:
        _become(config, command)
    _call("PR_SET_CHILD_SUBREAPER", _libc.prctl(_SUBREAPER, 1, 0, 0, 0))
    ended = False

    def end(*_: object) -> None:
        nonlocal ended
        ended = True

    signal.signal(signal.SIGTERM, end)
    _call("PR_SET_PDEATHSIG", _libc.prctl(_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0))
    if os.getppid() != config["parent"]:
        os._exit(1)
    number, told = os.pipe()
    taken, done = os.pipe()
    child = os.fork()
    if not child:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            os.close(done)
            _become(config, command, (told, taken))
        finally:
            os._exit(127)
    os.close(told)
    os.close(taken)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)  # so that its pipes end with the command
    _thread.start_new_thread(_answer, (child, number, done, config["attributes"]))
    status = None
    while status is None and not ended:
        done, how = _wait(os.WNOHANG)
        if done == child:
            status = how
        elif not done:
            time.sleep(0.01)
    _end_all()
    os._exit(1 if status is None else (128 + -status if status < 0 else status))


def _answer(child: int, number: int, done: int, folders: list[str]) -> None:
    """What the kernel asks us about the command's calls, if it does: then its child says by what
    handle, which we take.
    """
    told = os.read(number, 16)
    listener = -1
    if told:
        with contextlib.suppress(OSError):
            listener = _libc.syscall(_PIDFD_GETFD, os.pidfd_open(child), int(told), 0)
    os.close(done)
    if listener >= 0:
        sys.path.append(os.path.dirname(__file__))
        __import__("attributes").serve(listener, folders)


def _wait(options: int) -> tuple[int, int]:
    try:
        done, how = os.waitpid(-1, options)
    except ChildProcessError:
        return -1, 0
    return done, os.waitstatus_to_exitcode(how) if done else 0


def _end_all() -> None:
    """Kill until there is nobody left; whoever loses its parent meanwhile becomes our child."""
    while True:
        for pid in _descendants():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        done = 1
        while done > 0:
            done, _ = _wait(os.WNOHANG)
        if done < 0:
            return
        time.sleep(0.005)


def _descendants() -> list[int]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found: list[int] = []
    level = children.get(os.getpid(), [])
    while level:
        found += level
        level = [child for pid in level for child in children.get(pid, [])]
    return found


def _become(
    config: dict[str, Any], command: list[str], supervisor: tuple[int, int] | None = None
) -> None:
    for name, most in config["limits"].items():
        what = getattr(resource, f"RLIMIT_{name}")
        if name == "NPROC" and config["supervise"]:
            most += _tasks_of_ours()  # counted over all that the user runs
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))
    _drop_capabilities()
    _call("PR_SET_NO_NEW_PRIVS", _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    if config["landlock"]:
        _landlock(config["landlock"])
    if config["seccomp"]:
        _seccomp([base64.b64decode(code) for code in config["seccomp"]], supervisor)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing too much is an error, not the end
    os.execvpe(command[0], command, os.environ)


def _drop_capabilities() -> None:
    for number in range(64):
        if _libc.prctl(_BOUNDING_DROP, number, 0, 0, 0):
            break
    header = ctypes.create_string_buffer(struct.pack("=Ii", _LINUX_CAPABILITY_VERSION_3, 0))
    _call("capset", _libc.capset(header, ctypes.create_string_buffer(24)))


def _landlock(config: dict[str, Any]) -> None:
    version: int = _libc.syscall(_CREATE_RULESET, None, 0, 1)
    rights = next(r for v, r in reversed(_FILE_RIGHTS.items()) if v <= version)
    net = _TCP if version >= 4 and not config["network"] else 0
    scopes = _SCOPES if version >= 6 else 0
    attributes = struct.pack("=QQQ", rights, net, scopes)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = _libc.syscall(_CREATE_RULESET, ctypes.create_string_buffer(attributes), size, 0)
    _call("landlock_create_ruleset", 0 if ruleset >= 0 else -1)
    for kind, allowed in (
        ("read", _EXECUTE | _READ_FILE | _READ_DIR),
        ("write", rights),
        ("device", _READ_FILE | _WRITE_FILE),
    ):
        for path in config[kind]:
            try:
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            allowed_here = allowed if os.path.isdir(path) else allowed & _OF_FILES
            rule = struct.pack("=Qi", allowed_here & rights, place)
            added = _libc.syscall(_ADD_RULE, ruleset, 1, ctypes.create_string_buffer(rule), 0)
            _call(f"landlock_add_rule for {path}", added)
            os.close(place)
    _call("landlock_restrict_self", _libc.syscall(_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def _seccomp(filters: list[bytes], supervisor: tuple[int, int] | None) -> None:
    """The first asks the supervisor; the last is for where there is none, or where somebody else
    is asked already. ``supervisor``: pipes, to tell it the handle and to hear that it has it.
    """
    kept = [ctypes.create_string_buffer(code, len(code)) for code in filters]
    programs = [_Program(len(code) // 8, ctypes.addressof(code)) for code in kept]
    if supervisor is not None and len(programs) > 1:
        listener = _libc.syscall(
            _SECCOMP_CALL[os.uname().machine], 1, _NEW_LISTENER, ctypes.byref(programs[0])
        )
        if listener >= 0:
            told, taken = supervisor
            os.write(told, b"%d" % listener)
            os.read(taken, 1)
            os.close(listener)
            return
    last = ctypes.byref(programs[-1])
    _call("seccomp", _libc.prctl(_SECCOMP, _FILTER_MODE, last, 0, 0))


def _tasks_of_ours() -> int:
    count, us = 0, os.getuid()
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == us:
                    count += len(os.listdir(f"/proc/{name}/task"))
    return count


def _call(what: str, result: int) -> None:
    if result < 0:
        sys.stderr.write(f"sandbox: {what}: {os.strerror(ctypes.get_errno())}\n")
        os._exit(126)


if __name__ == "__main__":
    main()
