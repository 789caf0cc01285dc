"""Where models lie, and what they are called in the settings."""

from __future__ import annotations

from pathlib import Path

_EMBEDDED = Path(__file__).parents[2] / "resources" / "models"


def default_model() -> Path:
    """The folder of the embedded model, which every installation carries."""
    return _EMBEDDED / "nano"


def key_of(model: Path) -> str:
    """Its name in the settings: the folder, or empty for the embedded one."""
    folder = model.expanduser().absolute()
    return "" if folder == default_model() else str(folder)


def model_of(key: str) -> Path:
    """The folder of a name in the settings."""
    return Path(key) if key else default_model()
