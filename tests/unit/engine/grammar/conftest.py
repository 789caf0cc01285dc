"""A small vocabulary to write with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engine.text.tokenizer import Tokenizer

from .writing import Pen

NANO = Path(__file__).parents[4] / "resources" / "models" / "nano"


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def pen() -> Pen:
    return Pen.of(Tokenizer.from_folder(NANO))
