"""Measure accelerators through torch, which is loaded only where there may be one."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.placement.hardware import Accelerator

if TYPE_CHECKING:
    import torch

log = logging.getLogger("engine.placement")
GIB = 1 << 30
_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/accel", "/dev/dri/renderD128", "/dev/dxg")
_COPY = 256 << 20
_SIDE = 4096


def find_accelerators() -> tuple[Accelerator, ...]:
    """What torch can compute on, measured in about half a second each; none where there is none."""
    if sys.platform != "darwin" and not any(Path(d).exists() for d in _DRIVERS):
        return ()
    import torch

    if not torch.accelerator.is_available():
        return ()
    found = []
    for index in range(torch.accelerator.device_count()):
        try:
            found.append(_measure(index))
        except (RuntimeError, torch.AcceleratorError) as error:
            # Busy or broken devices are left out: planning goes on without them.
            log.warning("accelerator %d cannot be measured: %s", index, error)
    return tuple(found)


def _measure(index: int) -> Accelerator:
    import torch

    kind = torch.accelerator.current_accelerator()
    assert kind is not None
    device = torch.device(kind.type, index)
    name, total, free, unified = _facts(device)
    size = min(_COPY, free // 8)
    near = torch.ones(size // 2, dtype=torch.bfloat16, device=device)
    far = torch.ones(size // 2, dtype=torch.bfloat16)
    if device.type != "mps":
        far = far.pin_memory()
    square = torch.ones(_SIDE, _SIDE, dtype=torch.bfloat16, device=device)
    copies = _rate(lambda: near.clone())
    crossings = _rate(lambda: near.copy_(far, non_blocking=True))
    products = _rate(lambda: square @ square)
    return Accelerator(
        name=name,
        memory_gib=min(total, free) / GIB,
        read_gb_per_s=2 * near.nbytes * copies / 1e9,
        bus_gb_per_s=far.nbytes * crossings / 1e9,
        bf16_tflops=2 * _SIDE**3 * products / 1e12,
        unified=unified,
    )


def _facts(device: torch.device) -> tuple[str, int, int, bool]:
    """(name, bytes, free bytes, whether its memory is the host's)."""
    import torch

    if device.type == "mps":
        total = torch.mps.recommended_max_memory()
        return "Apple GPU", total, total - torch.mps.current_allocated_memory(), True
    module = torch.get_device_module(device)
    properties = module.get_device_properties(device)
    free, total = torch.accelerator.get_memory_info(device)
    integrated = bool(getattr(properties, "is_integrated", False))
    return str(properties.name), total, free, integrated


def _rate(work: Callable[[], object], seconds: float = 0.1) -> float:
    """Times a second, after one time that does not count."""
    import torch

    work()
    torch.accelerator.synchronize()
    began, times = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        for _ in range(4):
            work()
        torch.accelerator.synchronize()
        times += 4
    return times / (time.perf_counter() - began)
