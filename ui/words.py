"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Iterable


def size(count: float) -> str:
    """Bytes in the unit that fits, with three digits: ``4.31 GB``. Decimal, as disks are sold."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            break
        count /= 1000
    digits = 0 if unit == "B" or count >= 99.95 else 1 if count >= 9.995 else 2
    return f"{count:,.{digits}f} {unit}"


def memory(count: float) -> str:
    """Bytes of memory, in binary units, as it is sold: ``11.6 GiB``."""
    value, unit = (count / (1 << 30), "GiB") if count >= 1 << 29 else (count / (1 << 20), "MiB")
    return f"{value:,.{0 if value >= 99.5 else 1}f} {unit}"


def speed(tokens_per_s: float) -> str:
    """A rate; small ones with a decimal, for there it matters."""
    return f"{tokens_per_s:,.{1 if tokens_per_s < 20 else 0}f} tokens/s"


def span(seconds: float) -> str:
    """A length of time in its two largest units: ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def took(seconds: float) -> str:
    """How long something took: ``51 ms``, ``4.2 s``, ``12 s``, then as :func:`span`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.0005 else "<1 ms"
    return f"{seconds:.1f} s" if seconds < 9.95 else span(seconds)


def count(number: int, noun: str) -> str:
    """``1 token``, ``2,300 tokens``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def sentence(text: str) -> str:
    """A message as one: with a capital, unless a name or a code begins it, and a full stop."""
    first = text.split(" ", 1)[0]
    begun = text[:1].upper() + text[1:] if first.isalpha() and first.islower() else text
    return f"{begun}." if begun and begun[-1] not in ".!?…:" else begun


def new_name(name: str, taken: Iterable[str]) -> str:
    """The name, with a number where it is taken."""
    known, found, number = set(taken), name, 1
    while found in known:
        number += 1
        found = f"{name} {number}"
    return found
