"""A seccomp filter as classic BPF: the kernel's doors that no script of a model needs.

It denies by name and allows the rest, for the programs people run are many. What it denies are
ways to other processes, to mounts and namespaces, to memory that no limit counts, and to machinery
with a history of escapes. Numbers are those of the kernel's tables (``asm/unistd_64.h`` and
``asm-generic/unistd.h``), the layout is that of ``linux/seccomp.h`` and ``linux/bpf_common.h``.
"""

from __future__ import annotations

import errno
import platform
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.tools.sandbox.attributes import CALLS

_LOAD, _EQUAL, _ANY_BIT, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _ASK, _ERROR = 0x7FFF0000, 0x7FC00000, 0x00050000
_NUMBER, _ARCH = 0, 4
"""Offsets in ``struct seccomp_data``."""
_X32 = 0x40000000
"""Set in the numbers of x86-64's 32-bit-pointer calls, which we have no use for."""


@dataclass(frozen=True, slots=True)
class _Machine:
    arch: int
    """The kernel's AUDIT_ARCH."""
    column: int


_MACHINES = {"x86_64": _Machine(0xC000003E, 0), "aarch64": _Machine(0xC00000B7, 1)}

# name: (x86-64, aarch64); None: there is none
_NEVER: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "vhangup": (153, 58),
    "syslog": (103, 116),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "fanotify_init": (300, 262),
    "uselib": (134, None),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "vmsplice": (278, 75),
    # Memory that belongs to no process, so that nothing would count it.
    "shmget": (29, 194),
    "msgget": (68, 186),
    "mq_open": (240, 180),
}
_MISSING: dict[str, tuple[int | None, int | None]] = {
    # Programs have other ways where the kernel does not know these.
    "clone3": (435, 435),  # its flags are behind a pointer, where a filter cannot look
    "openat2": (437, 437),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
}
_NAMESPACES = 0x7E020080
"""CLONE_NEW*: of cgroups, hosts, IPC, users, processes, networks, mounts and time."""
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
"""To type into somebody's terminal."""
_SET_ID = 0o6000
"""Modes that lend a file's owner or group to whoever runs it."""
_MODES: dict[str, tuple[int | None, int | None, int]] = {
    "chmod": (90, None, 1),
    "fchmod": (91, 52, 1),
    "fchmodat": (268, 53, 2),
    "fchmodat2": (452, 452, 2),
    "mknod": (133, None, 1),
    "mknodat": (259, 33, 2),
    "creat": (85, None, 1),
    "open": (2, None, 2),
    "openat": (257, 56, 3),
}
_ATTRIBUTES: dict[str, tuple[int | None, int | None]] = {
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}
"""What changes a file that may only be read."""
_CLONE, _IOCTL, _SOCKET, _PERSONALITY = (56, 220), (16, 29), (41, 198), (135, 92)

Attributes = Literal["free", "asked", "never"]
Code = list[tuple[int, int, int, int]]
"""Instructions: code, jump if true, jump if false, operand."""


def program(internet: bool, attributes: Attributes = "free") -> bytes | None:
    """The filter for this machine, as an array of ``struct sock_filter``; None: it is of a kind we
    have no numbers for.

    ``internet``: whether sockets of it may be made. None of other families may: a socket file in
    the folder would lead to a program outside. ``attributes``: modes, owners and times of files,
    whose changes Landlock would not keep to the folder: free, asked about
    (:mod:`app.tools.sandbox.attributes`), or never changed.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return None
    at = machine.column
    code: Code = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, machine.arch),
        _fail(errno.EPERM),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if at == 0:
        code += [(_AT_LEAST, 0, 1, _X32), _fail(errno.ENOSYS)]
    for numbers in _NEVER.values():
        code += _denied(numbers[at], errno.EPERM)
    for numbers in _MISSING.values():
        code += _denied(numbers[at], errno.ENOSYS)
    otherwise = {"free": _ALLOW, "asked": _ASK, "never": _ERROR | errno.EPERM}[attributes]
    if attributes != "free":
        for numbers in _ATTRIBUTES.values():
            code += _denied(numbers[at], errno.EOPNOTSUPP)  # programs go on without them
    for name, (*mode_numbers, argument) in _MODES.items():
        after = otherwise if name in CALLS else _ALLOW
        code += _checked(mode_numbers[at], argument, [(_ANY_BIT, _SET_ID)], after)
    for name, numbers in CALLS.items():
        if name not in _MODES:
            code += _returned(numbers[at], otherwise)
    code += _checked(_CLONE[at], 0, [(_ANY_BIT, _NAMESPACES)])
    code += _checked(_IOCTL[at], 1, [(_EQUAL, _TIOCSTI), (_EQUAL, _TIOCLINUX)])
    families = [socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK] if internet else []
    code += _only(_SOCKET[at], 0, families, errno.EACCES)
    code += _only(_PERSONALITY[at], 0, [0, 0xFFFFFFFF], errno.EPERM)
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *one) for one in code)


def _fail(code: int) -> tuple[int, int, int, int]:
    return (_RETURN, 0, 0, _ERROR | code)


def _denied(number: int | None, code: int) -> Code:
    return _returned(number, _ERROR | code)


def _returned(number: int | None, what: int) -> Code:
    return [] if number is None else [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, what)]


def _checked(
    number: int | None, argument: int, tests: Sequence[tuple[int, int]], otherwise: int = _ALLOW
) -> Code:
    """Deny a call if any test of the low half of an argument holds."""
    if number is None:
        return []
    body: Code = [(_LOAD, 0, 0, 16 + 8 * argument)]
    for test, operand in tests:
        body += [(test, 0, 1, operand), _fail(errno.EPERM)]
    body.append((_RETURN, 0, 0, otherwise))
    return [(_EQUAL, 0, len(body), number), *body]


def _only(number: int | None, argument: int, values: Sequence[int], code: int) -> Code:
    """Deny a call unless the low half of an argument is one of these."""
    if number is None:
        return []
    body: Code = [(_LOAD, 0, 0, 16 + 8 * argument)]
    for value in values:
        body += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    body.append(_fail(code))
    return [(_EQUAL, 0, len(body), number), *body]
