"""Where models lie."""

from __future__ import annotations

from pathlib import Path

_EMBEDDED = Path(__file__).parents[2] / "resources" / "models"


def default_model() -> Path:
    """The folder of the embedded model, which every installation carries."""
    return _EMBEDDED / "nano"
