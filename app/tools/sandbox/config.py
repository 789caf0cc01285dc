"""What a sandboxed process may use and see."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    "/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives", "/etc/fonts", "/etc/mime.types",
    "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/magic",
    "/etc/os-release", "/etc/lsb-release", "/etc/debian_version", "/etc/redhat-release",
)  # fmt: skip
_NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl", "/etc/ca-certificates", "/etc/pki")
_SECRETS = (
    ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".netrc", ".pgpass", ".npmrc",
    ".pypirc", ".git-credentials", ".password-store", ".mozilla", ".thunderbird",
    ".config/gcloud", ".config/gh", ".config/google-chrome", ".config/chromium",
    ".local/share/keyrings",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes, counts and seconds. Those without a remark are the kernel's to enforce; where the
    remark says "watched" the app looks ten times a second and ends everything.
    """

    memory: int = 4 << 30
    """Private memory of each process, and watched: of all together."""
    processes: int = 256
    """Also watched."""
    file_size: int = 1 << 30
    disk: int = 4 << 30
    """What may be written in all; watched."""
    tmp: int = 512 << 20
    """``/tmp`` and ``/dev/shm``, each."""
    cpu_seconds: int = 3600
    """Of each process."""
    open_files: int = 1024
    printed: int = 256 << 20
    """Watched."""


@dataclass(frozen=True, slots=True)
class Place:
    """Folders by what may be done in them; absolute, without links. Everything else but the
    system's programs is out of reach, and what is ``hidden`` inside them, too.
    """

    directory: Path
    writable: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    network: bool = False
    hidden: tuple[Path, ...] = ()

    @classmethod
    def of(
        cls,
        directory: Path,
        *,
        writable: tuple[Path, ...] = (),
        readable: tuple[Path, ...] = (),
        network: bool = False,
        ours: tuple[Path, ...] = (),
    ) -> Place:
        """With keys and passwords below the folders hidden, and ``ours``: what the app keeps."""
        own = tuple(folder for folder in writable if any(folder.is_relative_to(o) for o in ours))
        secrets = [Path.home() / name for name in _SECRETS] + list(ours)
        hidden = {
            path.resolve()
            for path in secrets
            for folder in (*writable, *readable)
            if folder not in own and path.exists() and path.resolve().is_relative_to(folder)
        }
        return cls(directory, writable, readable, network, tuple(sorted(hidden)))


def system_folders(place: Place) -> list[str]:
    """What every program may need to read: the system, and the running interpreter with its
    packages.
    """
    python = {sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(__file__).parents[1])}
    python.add(str(Path(sys.executable).resolve().parent))
    return [*_SYSTEM, *_ETC, *(_NETWORK if place.network else ()), *sorted(python)]


def environment(home: Path, tmp: str) -> dict[str, str]:
    """What a child may know of ours: nothing but where programs are."""
    return {
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), "/usr/local/bin:/usr/bin:/bin")),
        "HOME": str(home),
        "TMPDIR": tmp,
        "LANG": "C.UTF-8",
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": str(home),
    }
