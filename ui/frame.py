"""How the window is divided, and how that is remembered."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from PySide6.QtCore import QByteArray, Qt
from PySide6.QtWidgets import QHBoxLayout, QMainWindow, QSplitter, QVBoxLayout, QWidget

from app.settings import WindowLayout

_COLUMN = 780
"""Width of the chat's column, which the composer keeps to."""
_SAVED_STATE = 2
"""Raised when docks change so that an old layout no longer fits."""


def central(
    sidebar: QWidget, banners: QWidget, chat: QWidget, writing: Sequence[QWidget]
) -> QSplitter:
    """The list at the left; beside it banners, chat and, in the chat's column, ``writing``."""
    middle = QWidget()
    middle.setMinimumWidth(340)
    column = QVBoxLayout(middle)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(0)
    column.addWidget(banners)
    column.addWidget(chat, 1)
    foot = QHBoxLayout()
    foot.setContentsMargins(24, 4, 24, 12)
    place = QWidget()
    place.setMaximumWidth(_COLUMN)
    below = QVBoxLayout(place)
    below.setContentsMargins(0, 0, 0, 0)
    below.setSpacing(0)
    for widget in writing:
        below.addWidget(widget)
    foot.addStretch(1)
    foot.addWidget(place, 1000)
    foot.addStretch(1)
    column.addLayout(foot)
    splitter = QSplitter(Qt.Orientation.Horizontal)
    splitter.addWidget(sidebar)
    splitter.addWidget(middle)
    splitter.setStretchFactor(1, 1)
    splitter.setSizes([230, 900])
    splitter.setCollapsible(1, False)
    return splitter


def restore_layout(window: QMainWindow, layout: WindowLayout) -> None:
    """As it was left, if that is known."""
    if layout.geometry:
        window.restoreGeometry(_bytes(layout.geometry))
        window.restoreState(_bytes(layout.state), _SAVED_STATE)


def layout_of(window: QMainWindow, trace: bool, conversation: str) -> WindowLayout:
    """To be remembered."""
    return WindowLayout(
        geometry=_text(window.saveGeometry()),
        state=_text(window.saveState(_SAVED_STATE)),
        trace=trace,
        conversation=conversation,
    )


def _text(data: QByteArray) -> str:
    return base64.b64encode(data.data()).decode()


def _bytes(text: str) -> QByteArray:
    return QByteArray.fromBase64(text.encode())
