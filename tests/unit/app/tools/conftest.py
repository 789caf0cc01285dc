from __future__ import annotations

from pathlib import Path

import pytest

from app.tools.base import ToolContext


@pytest.fixture
def context(tmp_path: Path) -> ToolContext:
    """A folder of a person and a scratch folder beside it."""
    folder, scratch = tmp_path / "folder", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    return ToolContext("conversation", folder, scratch)
