"""A machine as the planner sees it, and its form in a file.

A file describes a machine that one may not have: JSON with the fields of :class:`Hardware`, checked
when it is read. GB are 10^9 bytes, GiB 2^30. Ten typical ones are in ``resources/hardware``.
"""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import Annotated, Any

import msgspec

from engine.errors import RequestError

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Count = Annotated[int, msgspec.Meta(ge=1, le=65_536)]
ByThreads = Annotated[dict[Count, Positive], msgspec.Meta(min_length=1, max_length=256)]
_GIB = 1 << 30
_MAX_FILE = 1 << 20


class Accelerator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device beside the processor."""

    name: Name
    memory_gib: Positive
    read_gb_per_s: Positive
    """From its own memory."""
    bus_gb_per_s: Positive
    """From pinned memory of the host to the device."""
    bf16_tflops: Positive
    """Dense matrix product with float32 sums."""
    unified: bool = False
    """Whether its memory is the host's; ``memory_gib`` is then what it may take of it."""

    @property
    def memory_bytes(self) -> int:
        return int(self.memory_gib * _GIB)


class Hardware(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Measured by :func:`engine.placement.probe.probe`, or described in a file."""

    name: Name
    isa: Name
    """The best that the kernels can use, by their names for it."""
    cores: Count
    """Physical ones that we may use."""
    memory_gib: Positive
    available_gib: Positive
    """Of it, what programs may take without swapping; files in the page cache count as free."""
    read_gb_per_s: ByThreads
    """Streaming read from memory, all nodes together, by number of threads."""
    int8_gops: ByThreads
    """INT8 dot products, two operations a multiply-add, by number of threads."""
    disk_gb_per_s: Positive
    """Sequential read of a large file that is not in memory."""
    limit_gib: Positive | None = None
    """What a container allows, if there is one."""
    loop_us: Positive | None = None
    """Microseconds of :func:`engine.placement.probe.interpreter_loop`; None: unknown."""
    numa_nodes: Count = 1
    accelerators: tuple[Accelerator, ...] = ()
    source: str = ""
    """Where the numbers are from."""

    @property
    def usable_bytes(self) -> int:
        """Memory that a program may take, within every limit."""
        return int(min(self.available_gib, self.limit_gib or self.available_gib) * _GIB)

    @property
    def threads(self) -> tuple[int, ...]:
        """Thread counts that were measured, fewest first."""
        return tuple(sorted(self.read_gb_per_s))

    def read_rate(self, threads: int) -> float:
        """Bytes a second from memory."""
        return 1e9 * _at(self.read_gb_per_s, threads)

    def int8_rate(self, threads: int) -> float:
        """INT8 operations a second."""
        return 1e9 * _at(self.int8_gops, threads)

    @property
    def disk_rate(self) -> float:
        """Bytes a second from disk."""
        return 1e9 * self.disk_gb_per_s


def read_hardware(path: Path) -> Hardware:
    """A described machine. Raises RequestError ``hardware_missing`` or ``hardware_invalid``."""
    try:
        if path.stat().st_size > _MAX_FILE:
            raise _invalid(path.name, "it is larger than 1 MiB")
        hardware = msgspec.json.decode(path.read_bytes(), type=Hardware)
    except OSError as error:
        raise RequestError(
            "hardware_missing", f"cannot read {path}: {error.strerror or error}"
        ) from error
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise _invalid(path.name, str(error)) from error
    return _checked(path.name, hardware)


def described(fields: dict[str, Any]) -> Hardware:
    """A machine by its fields, as JSON has them. Raises RequestError ``hardware_invalid``."""
    try:
        hardware = msgspec.convert(fields, Hardware, str_keys=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise _invalid("this", str(error)) from error
    return _checked("this", hardware)


def as_json(hardware: Hardware) -> str:
    """The form that :func:`read_hardware` reads."""
    return msgspec.json.format(msgspec.json.encode(hardware), indent=2).decode()


def _checked(name: str, hardware: Hardware) -> Hardware:
    problem = _contradiction(hardware)
    if problem:
        raise _invalid(name, problem)
    return hardware


def _contradiction(hardware: Hardware) -> str:
    """What cannot be true of one machine, or nothing."""
    if hardware.available_gib > hardware.memory_gib:
        return "available_gib is more than memory_gib"
    if max(hardware.threads) > 8 * hardware.cores:
        return "read_gb_per_s names more threads than the cores have"
    if any(a.unified and a.memory_gib > hardware.memory_gib for a in hardware.accelerators):
        return "a unified accelerator has more memory than the machine"
    return ""


def _invalid(name: str, problem: str) -> RequestError:
    return RequestError(
        "hardware_invalid",
        f"{name} does not describe a machine: {problem}",
        "resources/hardware holds examples",
    )


def _at(table: dict[int, float], threads: int) -> float:
    """Between two measured counts in proportion; outside them the nearest."""
    counts = sorted(table)
    above = bisect_right(counts, threads)
    if above == 0:
        return table[counts[0]] * threads / counts[0]
    low = counts[above - 1]
    if above == len(counts) or low == threads:
        return table[low]
    high = counts[above]
    share = (threads - low) / (high - low)
    return table[low] + share * (table[high] - table[low])
