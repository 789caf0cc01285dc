"""The app's own errors; they share the shape of :class:`engine.errors.SelenographError`."""

from __future__ import annotations

from engine.errors import EngineLost, RequestError, ResourceError, SelenographError

__all__ = [
    "BackendError",
    "BudgetSpent",
    "ConfigError",
    "EngineLost",
    "FormatError",
    "RequestError",
    "ResourceError",
    "SelenographError",
    "StoreError",
    "Stuck",
    "ToolError",
]


class BackendError(SelenographError):
    """A model endpoint answered with an error or not in its protocol."""

    kind = "backend"


class ToolError(SelenographError):
    """A tool could not do what it was asked; the text becomes the tool's result."""

    kind = "tool"


class FormatError(SelenographError):
    """The model wrote something outside its format; it is told so and the fault is counted."""

    kind = "format"


class BudgetSpent(SelenographError):
    """A limit of steps, tokens or time was reached."""

    kind = "budget"


class Stuck(SelenographError):
    """The model insists on calls that bring nothing new."""

    kind = "loop"


class ConfigError(SelenographError):
    """A setting has a value that cannot be used."""

    kind = "config"


class StoreError(SelenographError):
    """The conversation database cannot be opened, read or written."""

    kind = "store"
