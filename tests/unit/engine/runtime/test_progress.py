"""How far a prompt is, told while a step takes long: where experts come from disk, minutes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from torch import Tensor

from engine.model.deepseek import Batch
from engine.model.loader import load_model
from engine.runtime.loop import EngineThread
from engine.scheduler.scheduler import Work
from engine.server import http
from engine.text.tokenizer import Tokenizer
from engine.tiny import write_tiny
from engine.types import Prefilling
from tests.unit.engine.scheduler.world import ArithmeticRunner, World


class SlowRunner(ArithmeticRunner):
    """Four layers of a third of a second each, told one by one."""

    def run(self, work: Sequence[Work], told: Callable[[float], None]) -> list[Tensor]:
        if any(item.prompt for item in work):
            for layer in range(4):
                time.sleep(0.3)
                told((layer + 1) / 4)
        return super().run(work, told)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("progress") / "tiny")


def test_a_long_step_tells_how_far_its_prompts_are(folder: Path) -> None:
    world = World(Tokenizer.from_folder(folder))
    world.runner = world.engine._runner = SlowRunner(world.machine)
    asked = world.ask(range(40), max_tokens=3)
    world.run()
    told = [e.progress for e in asked.heard if isinstance(e, Prefilling)]
    # On an idle machine two layers pass before half a second does; the last is not told of.
    assert told and {p.done for p in told} <= {10, 20, 30}
    assert all(p.total == 40 for p in told)
    left = told[-1].seconds_left
    assert left is not None and 0.05 < left < 10
    assert len(asked.tokens) == 3


def test_a_quick_step_tells_nothing_of_its_inside(folder: Path) -> None:
    world = World(Tokenizer.from_folder(folder))
    asked = world.ask(range(40), max_tokens=3)
    world.run()
    assert not [e for e in asked.heard if isinstance(e, Prefilling)]


def test_a_model_tells_of_each_layer(folder: Path) -> None:
    model = load_model(folder)
    shares: list[float] = []
    tokens = [i % 50 for i in range(100)]
    model.forward(Batch([(model.new_cache(256), tokens)]), told=shares.append)
    layers = model.config.num_hidden_layers
    assert shares == [(i + 1) / layers for i in range(layers)]
    model.close()


async def test_a_status_comes_though_the_engine_tells_of_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "_STATUS_SECONDS", 0.05)
    engine = EngineThread()  # not started: as silent as in the midst of a long step
    events = http._events(engine)
    began = time.monotonic()
    received = [await anext(events) for _ in range(4)]
    assert 0.1 < time.monotonic() - began < 10
    assert all(event.startswith(b"data: ") for event in received)
    await events.aclose()
