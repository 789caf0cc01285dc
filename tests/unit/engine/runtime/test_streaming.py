"""From which prompt on experts stream: as asked, or as the planner finds for the machine."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.config import ModelConfig
from engine.experts.accelerator import find_accelerator
from engine.making.shapes import read_shape
from engine.placement.hardware import read_hardware
from engine.protocol import LoadRequest
from engine.runtime.streaming import planned, stream_from

MACHINES = Path(__file__).parents[4] / "resources" / "hardware"
NOWHERE = Path("/there/is/no/such/folder")


def test_what_is_asked_is_done_without_a_look_at_the_machine() -> None:
    for asked in (0, 300):
        assert stream_from(LoadRequest(str(NOWHERE), stream_from=asked), NOWHERE) == asked


@pytest.mark.skipif(find_accelerator() is not None, reason="for machines without an accelerator")
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_without_an_accelerator_nothing_streams(device: str) -> None:
    request = LoadRequest(str(NOWHERE))
    assert stream_from(msgspec.structs.replace(request, device=device), NOWHERE) == 0


def test_long_prompts_stream_where_the_bus_outruns_the_processor() -> None:
    config = ModelConfig.from_dict(read_shape("k2-thinking"))
    workstation = read_hardware(MACHINES / "threadripper-512gb-24gb.json")
    found = planned(config, workstation)
    assert 512 < found < 100_000
    (card,) = workstation.accelerators
    slower = msgspec.structs.replace(card, bus_gb_per_s=card.bus_gb_per_s / 4)
    later = planned(config, msgspec.structs.replace(workstation, accelerators=(slower,)))
    assert later == 0 or later > found
    assert planned(config, msgspec.structs.replace(workstation, accelerators=())) == 0
