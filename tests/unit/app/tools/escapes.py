# ruff: noqa: E501 - one attempt a line
"""Ways out of the sandbox, as pieces of Python. Each says ESCAPED if it got what it wanted.

The names in capitals are bound by whoever runs them (:func:`script`). Calls that would do harm are
made with arguments that the kernel refuses, so that only the refusal's reason tells whether the
door was open; ``control`` marks those that succeed, harmlessly, without a sandbox.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

PRELUDE = '''
import ctypes, errno, os, resource, signal, socket, stat, struct, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def escaped(what=""):
    print("ESCAPED", what, flush=True)
def kernel(number, *arguments):
    """A raw system call; its result, and the error's name."""
    result = libc.syscall(number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    return result, errno.errorcode.get(ctypes.get_errno(), "") if result == -1 else ""
def inherited():
    """Open files that nobody here opened."""
    for number in range(3, 256):
        try:
            about = os.fstat(number)
        except OSError:
            continue
        if stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode) or stat.S_ISSOCK(about.st_mode):
            yield number
def door(number, *arguments, closed=("EPERM", "EACCES", "ENOSYS")):
    """Whether a call gets as far as the kernel's own code."""
    result, error = kernel(number, *arguments)
    if result != -1 or error not in closed:
        escaped(f"{number}: {result} {error}")
'''


@dataclass(frozen=True, slots=True)
class Attempt:
    """``control``: it succeeds, harmlessly, without a sandbox."""

    name: str
    code: str
    control: bool = False


def _many(text: str) -> tuple[Attempt, ...]:
    """``name: code`` a line; a name that ends in ``!`` is a control."""
    found = []
    for line in textwrap.dedent(text).strip().splitlines():
        name, code = line.split(": ", 1)
        code = code.replace("; ", "\n")
        found.append(Attempt(name.rstrip("! "), code, name.endswith("!")))
    return tuple(found)


FILES = _many(r"""
    inherited files: [escaped(n) for n in inherited()]
    read a key !: escaped(open(KEY).read())
    read by dots !: escaped(open(os.path.join(SCRATCH, "..", "outside", ".ssh", "id")).read())
    read through a link !: os.symlink(KEY, SCRATCH + "/l1"); escaped(open(SCRATCH + "/l1").read())
    read through proc root: escaped(open("/proc/1/root" + KEY).read())
    read through the app's root !: escaped(open(f"/proc/{APP}/root" + KEY).read())
    read through the app's folder !: escaped(os.listdir(f"/proc/{APP}/cwd"))
    link hard !: os.link(KEY, SCRATCH + "/l2"); escaped(open(SCRATCH + "/l2").read())
    write outside !: open(OUTSIDE + "/w1", "w").write("x"); escaped()
    write through a link !: os.symlink(OUTSIDE + "/w2", SCRATCH + "/l3"); open(SCRATCH + "/l3", "w").write("x"); escaped()
    rename out !: open(SCRATCH + "/r", "w").write("x"); os.rename(SCRATCH + "/r", OUTSIDE + "/w3"); escaped()
    overwrite the key: open(KEY, "r+").write("x"); escaped()
    delete the key: os.unlink(KEY); escaped()
    change its mode: os.chmod(KEY, 0o666); escaped()
    change its owner: os.chown(KEY, os.getuid(), os.getgid()); escaped()
    change its times !: os.utime(KEY, (1, 1)); escaped()
    change its attributes !: os.setxattr(KEY, "user.x", b"1"); escaped()
    cut it off: os.truncate(KEY, 0); escaped()
    change a mode by handle !: h = os.open(os.__file__, os.O_RDONLY); os.fchmod(h, os.fstat(h).st_mode & 0o777); escaped()
    change a mode by a place's handle !: h = os.open(KEY, os.O_PATH); r, e = kernel(452, h, b"", 0o600, 0x1000); assert r == 0; escaped()
    change a mode through a link !: os.symlink(KEY, SCRATCH + "/l4"); os.chmod(SCRATCH + "/l4", 0o600); escaped()
    change a mode through a folder's link !: os.symlink(OUTSIDE, SCRATCH + "/l5"); os.chmod(SCRATCH + "/l5/.ssh/id", 0o600); escaped()
    change a mode by dots !: os.chmod(SCRATCH + "/../outside/.ssh/id", 0o600); escaped()
    change a mode from the root's handle !: os.chmod(KEY[1:], 0o600, dir_fd=os.open("/", os.O_PATH)); escaped()
    change a mode through proc !: os.chmod("/proc/self/root" + KEY, 0o600); escaped()
    change a mode through proc's handle !: h = os.open(KEY, os.O_PATH); os.chmod(f"/proc/self/fd/{h}", 0o600); escaped()
    change a mode from another folder !: os.chdir("/"); os.chmod(KEY[1:], 0o600); escaped()
    change times by handle !: h = os.open(os.__file__, os.O_RDONLY); s = os.fstat(h); os.utime(h, ns=(s.st_atime_ns, s.st_mtime_ns)); escaped()
    change times of a link !: os.symlink(KEY, SCRATCH + "/l6"); os.utime(SCRATCH + "/l6", (1, 1)); escaped()
    change an owner by handle !: h = os.open(os.__file__, os.O_RDONLY); os.fchown(h, os.getuid(), -1); escaped()
    change attributes by handle: os.setxattr(os.open(os.__file__, os.O_RDONLY), "user.x", b"1"); escaped()
    give a file away: h = os.open(SCRATCH + "/o", os.O_CREAT | os.O_RDWR); os.fchown(h, 12345, 12345); escaped()
    a setuid bit through the supervisor: open(SCRATCH + "/s4", "w"); kernel(452, -100, (SCRATCH + "/s4").encode(), 0o4755, 0); assert os.stat(SCRATCH + "/s4").st_mode & 0o6000; escaped()
    write to the system: open("/usr/escaped", "w").write("x"); escaped()
    write to etc: open("/etc/escaped", "w").write("x"); escaped()
    write to the interpreter: open(os.path.join(sys.prefix, "escaped.pth"), "w").write("x"); escaped()
    write to the app: open(LAUNCH, "a").write(""); escaped()
    make a folder at the root: os.mkdir("/escaped"); escaped()
    shadow: escaped(open("/etc/shadow").read())
    raw disk: os.open("/dev/vda", os.O_RDONLY); escaped()
    kernel memory: os.open("/dev/mem", os.O_RDONLY); escaped()
    make a device: os.mknod(SCRATCH + "/disk", 0o600 | stat.S_IFBLK, os.makedev(254, 0)); escaped()
    handle of a file: door(304, -100, ctypes.create_string_buffer(64), 0)
    set a setuid bit: open(SCRATCH + "/s1", "w"); os.chmod(SCRATCH + "/s1", 0o4755); escaped()
    create with a setuid bit: os.open(SCRATCH + "/s2", os.O_CREAT | os.O_WRONLY, 0o4755); escaped()
    set a setgid bit by handle: os.fchmod(os.open(SCRATCH + "/s3", os.O_CREAT | os.O_WRONLY), 0o2755); escaped()
    core pattern: os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY); escaped()
    drop caches: os.open("/proc/sys/vm/drop_caches", os.O_WRONLY); escaped()
    the oom killer's score of the app: os.open(f"/proc/{APP}/oom_score_adj", os.O_WRONLY); escaped()
    sysrq: os.open("/proc/sysrq-trigger", os.O_WRONLY); escaped()
    control groups: os.mkdir("/sys/fs/cgroup/pids/escaped"); escaped()
    release agent: os.open("/sys/fs/cgroup/pids/release_agent", os.O_WRONLY); escaped()
""")

PROCESSES = _many(r"""
    environment of the app !: escaped(open(f"/proc/{APP}/environ").read())
    environment of another !: assert "TOKEN" in open(f"/proc/{VICTIM}/environ").read(); escaped()
    search all environments !: [escaped() for p in os.listdir("/proc") if p == str(VICTIM) and "TOKEN" in open(f"/proc/{p}/environ").read()]
    own environment: assert "hush" in repr(os.environ); escaped()
    memory of another !: os.open(f"/proc/{VICTIM}/mem", os.O_RDONLY); escaped()
    read its memory: door(310, VICTIM, None, 0, None, 0, 0)
    write its memory: door(311, VICTIM, None, 0, None, 0, 0)
    attach to it: door(101, 0x4206, VICTIM, 0, 0)
    attach to the parent: door(101, 0x4206, os.getppid(), 0, 0)
    take a descriptor: door(438, 0, 0, 0)
    compare descriptors: door(312, APP, APP, 0, 0, 0)
    signal another !: os.kill(VICTIM, 0); escaped()
    signal the app !: os.kill(APP, 0); escaped()
    signal by handle !: signal.pidfd_send_signal(os.pidfd_open(VICTIM), 0); escaped()
    kill another: os.kill(VICTIM, signal.SIGKILL)
    become root: os.setuid(0); assert os.stat("/etc/shadow").st_size and open("/etc/shadow"); escaped()
    capabilities: header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0)); data = ctypes.create_string_buffer(24); libc.capget(header, data); assert any(data.raw); escaped(data.raw)
    regain capabilities: header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0)); data = ctypes.create_string_buffer(struct.pack("=6I", 1, 1, 0, 0, 0, 0)); assert libc.capset(header, data) == 0; escaped()
    a setuid program: p = subprocess.Popen(["su", "-c", "id"], stdin=subprocess.PIPE, stdout=-3, stderr=-3); time.sleep(0.05); ids = open(f"/proc/{p.pid}/status").read().split("Uid:")[1].split()[:3]; p.kill(); p.wait(); assert os.getuid() and "0" in ids; escaped(ids)
    drop the filter: assert libc.prctl(22, 0, 0, 0, 0) == 0; escaped()
    allow new privileges: assert libc.prctl(38, 0, 0, 0, 0) == 0; escaped()
    raise a limit: resource.setrlimit(resource.RLIMIT_NPROC, (100_000, 100_000)); escaped()
    raise the file size: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 40, 1 << 40)); escaped()
    raise priority !: os.setpriority(os.PRIO_PROCESS, 0, -5); escaped()
    real time !: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)); escaped()
""")

KERNEL = _many(r"""
    a user namespace: door(272, 0x10000000)
    a namespace by clone: r, e = kernel(56, 0x10000000 | 17, 0, 0, 0, 0); os._exit(0) if r == 0 else None; assert r > 0; escaped()
    clone3: door(435, None, 0)
    join a namespace: door(308, 0, 0)
    mount: door(165, None, None, None, 0, None)
    unmount: door(166, None, 0)
    a new mount: door(430, None, 0)
    open a tree: door(428, -1, None, 0)
    move a mount: door(429, -1, None, -1, None, 0)
    pivot: door(155, None, None)
    change the root: door(161, None)
    keyring: door(250, 99, 0, 0, 0, 0)
    a key: door(248, None, None, None, 0, 0)
    bpf: door(321, 999, None, 0)
    perf: door(298, None, 0, 0, 0, 0)
    userfaultfd: door(323, 1 << 30)
    io_uring: door(425, 0, None)
    io_uring enter: door(426, -1, 0, 0, 0, None, 0)
    type into a terminal: import fcntl; r, e = kernel(16, 0, 0x5412, ctypes.create_string_buffer(b"x")); assert e != "EPERM"; escaped(e)
    a terminal's selection: r, e = kernel(16, 0, 0x541C, ctypes.create_string_buffer(b"x")); assert e != "EPERM"; escaped(e)
    memory with no owner: door(319, ctypes.create_string_buffer(b"x"), 0)
    shared memory !: door(29, 0, 4096, 0o1600)
    a message queue !: door(68, 0, 0o1600)
    a kernel module: door(175, None, 0, None)
    another kernel: door(246, 0, 0, None, 0)
    reboot: door(169, 0, 0, 0, None)
    swap: door(167, None, 0)
    the clock: door(227, 99, None)
    the kernel's log: door(103, 10, None, 0)
    input and output ports: door(172, 0)
    personality !: door(135, 0x0400000)
    calls of another width: door(0x40000000 + 39)
    accounting: door(163, None)
    quota: door(179, 0, None, 0, None)
""")

NETWORK = _many(r"""
    a local service !: socket.create_connection(("127.0.0.1", PORT), 2); escaped()
    another address of it !: socket.create_connection(("localhost", PORT), 2); escaped()
    udp !: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", PORT)); print("SENT")
    the world: socket.create_connection(("1.1.1.1", 53), 1); escaped()
    names: assert socket.getaddrinfo("example.org", 80); escaped()
    a socket outside !: socket.socket(socket.AF_UNIX).connect(SOCKET_OUTSIDE); escaped()
    a socket in the folder !: socket.socket(socket.AF_UNIX).connect(SOCKET_INSIDE); escaped()
    a socket without a file !: socket.socket(socket.AF_UNIX).connect("\0" + ABSTRACT); escaped()
    raw packets: socket.socket(socket.AF_PACKET, socket.SOCK_RAW); escaped()
    raw internet: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); escaped()
    the hypervisor: socket.socket(40, socket.SOCK_STREAM); escaped()
    the kernel's ciphers: socket.socket(38, socket.SOCK_SEQPACKET); escaped()
    the message bus: socket.socket(socket.AF_UNIX).connect("/run/dbus/system_bus_socket"); escaped()
""")

ATTEMPTS = (*FILES, *PROCESSES, *KERNEL, *NETWORK)


GROUPS = {"files": FILES, "processes": PROCESSES, "kernel": KERNEL, "network": NETWORK}


def script(attempt: Attempt, **names: object) -> str:
    """All of it; what is refused with an exception is refused."""
    body = textwrap.indent(attempt.code, "    ")
    return f"{PRELUDE}\n{_values(names)}\ntry:\n{body}\nexcept BaseException as e:\n    print(repr(e))\n"


def scripts(attempts: tuple[Attempt, ...], **names: object) -> str:
    """Many, each in a process of its own, with its number and name before what it says."""
    codes = [(attempt.name, attempt.code) for attempt in attempts]
    return f"""{PRELUDE}
{_values(names)}
for number, (name, code) in enumerate({codes!r}):
    print(number, name, flush=True)
    child = os.fork()
    if not child:
        try:
            exec(code)
        except BaseException as error:
            print("refused", repr(error), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
print("all of them")
"""


def _values(names: dict[str, object]) -> str:
    return "\n".join(f"{name.upper()} = {value!r}" for name, value in names.items())
