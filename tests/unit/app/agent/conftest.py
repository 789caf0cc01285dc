from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from app.backends.base import ModelRequest
from app.backends.scripted import Reply
from tests.unit.app.agent.bench import Bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Callable[..., Bench]]:
    """Makes a bench from model replies; it is closed at the end."""
    made: list[Bench] = []

    def make(*replies: Reply, model: Callable[[ModelRequest], Reply] | None = None) -> Bench:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Bench(folder, model or replies))
        return made[-1]

    yield make
    for one in made:
        await one.close()
