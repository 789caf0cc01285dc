"""Finds parts of windows by their object names, as a person finds them by their looks."""

from __future__ import annotations

from typing import TypeVar

from PySide6.QtWidgets import QComboBox, QLabel, QLineEdit, QPlainTextEdit, QPushButton, QWidget

Kind = TypeVar("Kind", bound=QWidget)


def part(parent: QWidget, kind: type[Kind], name: str) -> Kind:
    """The one of a name, shown or not."""
    found = parent.findChild(kind, name)
    assert isinstance(found, kind), name
    return found


def seen(parent: QWidget, kind: type[Kind]) -> Kind:
    """The one of a kind that is shown."""
    (found,) = (one for one in parent.findChildren(kind) if one.isVisible())
    return found


def press(parent: QWidget, name: str) -> None:
    """The button of a name that is shown."""
    found = next(one for one in parent.findChildren(QPushButton, name) if one.isVisible())
    assert found.isEnabled(), name
    found.click()


def text(parent: QWidget, name: str) -> str:
    """What a label says."""
    return part(parent, QLabel, name).text()


def field(parent: QWidget, name: str) -> QLineEdit:
    """A line to write in."""
    return part(parent, QLineEdit, name)


def lines(parent: QWidget, name: str) -> QPlainTextEdit:
    """Several lines to write in."""
    return part(parent, QPlainTextEdit, name)


def box(parent: QWidget, name: str) -> QComboBox:
    """A list to choose from."""
    return part(parent, QComboBox, name)


def choose(parent: QWidget, name: str, value: object) -> None:
    """A value of such a list."""
    found = box(parent, name)
    found.setCurrentIndex(found.findData(value))
