"""Makes the package `nano` in packaging/ importable, as its command line does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "packaging"))


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The shipped checkpoint."""
    return ROOT / "resources" / "models" / "nano"
