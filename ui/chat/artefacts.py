"""Pictures and tables in a tool's card. They come from code that nobody vouches for: pictures are
decoded under limits, tables are rebuilt from cleaned text, and nothing is ever fetched.
"""

from __future__ import annotations

import csv
import io
from collections import OrderedDict
from collections.abc import Callable
from html import escape
from pathlib import Path

import nh3
from PySide6.QtCore import (
    QBuffer,
    QByteArray,
    QIODevice,
    QObject,
    QRunnable,
    Qt,
    QThreadPool,
    Signal,
)
from PySide6.QtGui import QImage, QImageReader, QPixmap
from PySide6.QtWidgets import QFileDialog, QLabel, QVBoxLayout, QWidget

from app.events import ArtefactMade
from ui.chat.row_base import ChatActions, button, label, line
from ui.chat.text_widgets import RichText
from ui.theme import Theme

MOST_PIXELS = 40_000_000
MOST_ROWS = 12
MOST_COLUMNS = 12
LONGEST_CELL = 120
_HIGHEST = 360
_KEPT = 48
"""Decoded artefacts in memory."""
_TABLE_TAGS = {
    "table", "thead", "tbody", "tfoot", "tr", "th", "td", "caption", "p", "br", "em", "strong",
    "b", "i", "code", "pre", "ul", "ol", "li", "sup", "sub",
}  # fmt: skip
_LONGEST_HTML = 200_000
_ENDINGS = {"image/png": "png", "image/jpeg": "jpg", "text/csv": "csv", "text/html": "html"}

Shown = QImage | str
"""A picture, or cleaned HTML; an empty string: it cannot be shown."""


def prepare(media: str, data: bytes | None) -> Shown:
    """What is shown of an artefact; for a thread of its own. Never raises on any bytes."""
    if data is None:
        return ""
    if media.startswith("image/"):
        return _picture(media, data) or ""
    text = data.decode("utf-8", "replace")
    if media == "text/csv":
        return _table(text)
    return nh3.clean(text[:_LONGEST_HTML], tags=_TABLE_TAGS, attributes={}, link_rel=None)


def _picture(media: str, data: bytes) -> QImage | None:
    buffer = QBuffer()
    buffer.setData(QByteArray(data))
    buffer.open(QIODevice.OpenModeFlag.ReadOnly)
    reader = QImageReader(buffer, QByteArray(media.removeprefix("image/").encode()))
    size = reader.size()
    if not size.isValid() or size.width() * size.height() > MOST_PIXELS:
        return None
    image = reader.read()
    return None if image.isNull() else image


def _table(text: str) -> str:
    try:
        rows = list(csv.reader(io.StringIO(text)))
    except csv.Error:
        return ""
    if not rows:
        return ""
    shown = [row[:MOST_COLUMNS] for row in rows[: MOST_ROWS + 1]]
    cells = [[escape(cell[:LONGEST_CELL]) for cell in row] for row in shown]
    head = "".join(f"<th>{cell}</th>" for cell in cells[0])
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in cells[1:])
    size = f"{len(rows) - 1:,} × {max(map(len, rows)):,}"
    cut = len(rows) - 1 > MOST_ROWS or max(map(len, rows)) > MOST_COLUMNS
    note = f"<p>{size}, the beginning</p>" if cut else ""
    return f"<table><tr>{head}</tr>{body}</table>{note}"


class Gallery(QObject):
    """Reads and decodes artefacts beside the window's thread and keeps the last ones.

    ``ready(blob)``: :meth:`get` has it now. ``failed(message)``: it could not be saved.
    """

    ready = Signal(str)
    failed = Signal(str)
    _done = Signal(str, object)

    def __init__(self, read: Callable[[str], bytes | None], parent: QObject | None = None) -> None:
        """``read`` gives a blob's bytes, from any thread."""
        super().__init__(parent)
        self.read = read
        self._kept: OrderedDict[str, Shown] = OrderedDict()
        self._asked: set[str] = set()
        self._done.connect(self._keep)

    def get(self, made: ArtefactMade) -> Shown | None:
        """None: not yet."""
        if made.blob in self._kept:
            self._kept.move_to_end(made.blob)
            return self._kept[made.blob]
        if made.blob not in self._asked:
            self._asked.add(made.blob)
            QThreadPool.globalInstance().start(_Work(self._prepare, made.blob, made.media))
        return None

    def save(self, blob: str, path: str) -> None:
        """Write its bytes to a file; for a thread of its own."""
        data = self.read(blob)
        if data is None:
            return self.failed.emit(self.tr("It is no longer kept."))
        try:
            Path(path).write_bytes(data)
        except OSError as error:
            self.failed.emit(f"{path}: {error.strerror}")

    def _prepare(self, blob: str, media: str) -> None:
        shown: Shown = ""
        try:
            shown = prepare(media, self.read(blob))
        finally:
            self._done.emit(blob, shown)

    def _keep(self, blob: str, shown: object) -> None:
        self._asked.discard(blob)
        self._kept[blob] = shown if isinstance(shown, QImage | str) else ""
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        self.ready.emit(blob)


class _Work(QRunnable):
    def __init__(self, work: Callable[[str, str], None], blob: str, media: str) -> None:
        super().__init__()
        self._work = work
        self._arguments = (blob, media)

    def run(self) -> None:
        """In the pool."""
        self._work(*self._arguments)


class _Artefact(QWidget):
    """One of them, its name, and a way to keep it."""

    def __init__(self, actions: ChatActions) -> None:
        super().__init__()
        self._actions = actions
        self._made: ArtefactMade | None = None
        self._image: QImage | None = None
        self._title = label("faint")
        self._save = button(
            self.tr("Save…"), "saveArtefact", self.tr("Save this picture or table"), "quiet"
        )
        self._save.clicked.connect(self._ask_where)
        self._picture = QLabel()
        self._picture.setObjectName("artefactPicture")
        self._picture.setAlignment(Qt.AlignmentFlag.AlignLeft)
        self._text = RichText(wrap=False)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(line(self._title, None, self._save))
        column.addWidget(self._picture)
        column.addWidget(self._text)

    def show_made(self, made: ArtefactMade, theme: Theme) -> None:
        """What there is of it yet."""
        self._made = made
        gallery = self._actions.gallery
        shown = gallery.get(made) if gallery is not None else ""
        kind = self.tr("Picture") if made.media.startswith("image/") else self.tr("Table")
        self._title.setText(
            made.title or kind if shown != "" else self.tr("{kind} (not kept)").format(kind=kind)
        )
        self._image = shown if isinstance(shown, QImage) else None
        self._picture.setVisible(self._image is not None)
        self._picture.setAccessibleName(made.title or kind)
        self._text.setVisible(isinstance(shown, str) and shown != "")
        self._save.setVisible(shown != "")
        if isinstance(shown, str) and shown:
            self._text.show_html(shown, theme, theme.small_font)

    def fit(self, width: int) -> None:
        """Scale to a width."""
        if self._image is not None:
            ratio = self.devicePixelRatioF()
            most_wide = min(width, int(self._image.width()))
            scaled = self._image.scaled(
                int(most_wide * ratio),
                int(_HIGHEST * ratio),
                Qt.AspectRatioMode.KeepAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
            scaled.setDevicePixelRatio(ratio)
            self._picture.setPixmap(QPixmap.fromImage(scaled))
        elif self._text.isVisibleTo(self):
            self._text.setFixedHeight(min(self._text.height_at(width), _HIGHEST))

    def _ask_where(self) -> None:
        made, gallery = self._made, self._actions.gallery
        if made is None or gallery is None:
            return
        name = f"{made.title or 'artefact'}.{_ENDINGS[made.media]}".replace("/", "-")
        path, _ = QFileDialog.getSaveFileName(self.window(), self.tr("Save"), name)
        if path:
            QThreadPool.globalInstance().start(_Work(gallery.save, made.blob, path))


class Artefacts(QWidget):
    """All of a call."""

    def __init__(self, actions: ChatActions) -> None:
        super().__init__()
        self._actions = actions
        self._rows: list[_Artefact] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)

    def show_all(self, made: tuple[ArtefactMade, ...], theme: Theme) -> None:
        """Hidden where there are none."""
        self.setVisible(bool(made))
        while len(self._rows) < len(made):
            self._rows.append(_Artefact(self._actions))
            self._column.addWidget(self._rows[-1])
        for i, row in enumerate(self._rows):
            row.setVisible(i < len(made))
            if i < len(made):
                row.show_made(made[i], theme)

    def fit(self, width: int) -> None:
        """Scale to a width."""
        for row in self._rows:
            if row.isVisibleTo(self):
                row.fit(width)
