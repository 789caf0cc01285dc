"""From which length of a prompt on experts stream to the accelerator."""

from __future__ import annotations

from pathlib import Path

from engine.config import ModelConfig
from engine.experts.accelerator import find_accelerator
from engine.placement.footprint import footprint
from engine.placement.hardware import Hardware
from engine.placement.planner import plan
from engine.placement.probe import probe
from engine.protocol import LoadRequest


def stream_from(request: LoadRequest, folder: Path) -> int:
    """As asked, else as planned where there is an accelerator; 0: never.

    Planning measures the machine, which takes two seconds. Raises CheckpointError.
    """
    if request.stream_from is not None:
        return request.stream_from
    if request.device != "auto" or find_accelerator() is None:
        return 0
    return planned(ModelConfig.from_folder(folder), probe(folder))


def planned(config: ModelConfig, hardware: Hardware) -> int:
    """Where the planner finds streaming faster than computing in place; 0: nowhere."""
    return plan(footprint(config), hardware).stream_from or 0
