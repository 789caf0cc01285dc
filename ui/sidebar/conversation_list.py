"""Conversations, newest first: open, filter, rename in place, delete."""

from __future__ import annotations

import time
from typing import Any

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QPersistentModelIndex,
    QRect,
    QSize,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from PySide6.QtGui import QColor, QHideEvent, QPainter, QShowEvent
from PySide6.QtWidgets import (
    QLineEdit,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from app.store.journal import ConversationSummary
from ui.chat.row_base import button, line
from ui.theme import current

Index = QModelIndex | QPersistentModelIndex
SUMMARY = int(Qt.ItemDataRole.UserRole)


class SummaryModel(QAbstractListModel):
    """Signals: ``renamed(id, title)`` when a title was edited in place."""

    renamed = Signal(str, str)

    def __init__(self) -> None:
        super().__init__()
        self._summaries: tuple[ConversationSummary, ...] = ()

    def set_summaries(self, summaries: tuple[ConversationSummary, ...]) -> None:
        """Show these; rows that kept their place are only repainted."""
        if [s.id for s in summaries] == [s.id for s in self._summaries]:
            self._summaries = summaries
            if summaries:
                self.dataChanged.emit(self.index(0), self.index(len(summaries) - 1))
            return
        self.beginResetModel()
        self._summaries = summaries
        self.endResetModel()

    def row_of(self, conversation: str) -> int:
        """Its row, or -1."""
        return next((i for i, s in enumerate(self._summaries) if s.id == conversation), -1)

    def rowCount(self, parent: Index | None = None) -> int:
        """Flat."""
        return 0 if parent is not None and parent.isValid() else len(self._summaries)

    def data(self, index: Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        """Title, tooltip and the summary itself."""
        summary = self._summaries[index.row()]
        if role == SUMMARY:
            return summary
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return summary.title
        if role == Qt.ItemDataRole.ToolTipRole:
            return summary.title
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{summary.title}, {subtitle(summary)}"
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        """Titles can be edited."""
        return super().flags(index) | Qt.ItemFlag.ItemIsEditable

    def setData(self, index: Index, value: Any, role: int = int(Qt.ItemDataRole.EditRole)) -> bool:
        """An edited title is a command; the list changes when the core says so."""
        title = str(value).strip()
        if role == Qt.ItemDataRole.EditRole and title:
            self.renamed.emit(self._summaries[index.row()].id, title)
            return True
        return False


class SummaryDelegate(QStyledItemDelegate):
    """Two lines: the title, and when; a mark while it runs or if it was cut off."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        """Two lines and air."""
        return QSize(160, 2 * option.fontMetrics.lineSpacing() + 16)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw a row."""
        theme, summary = current(), index.data(SUMMARY)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = option.rect.adjusted(6, 2, -6, -2)
        selected = bool(option.state & QStyle.StateFlag.State_Selected)
        hovered = bool(option.state & QStyle.StateFlag.State_MouseOver)
        if selected or hovered:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(theme.selection if selected else theme.raised))
            painter.drawRoundedRect(frame, 6, 6)
        inner = frame.adjusted(10, 4, -10, -4)
        half = inner.height() // 2
        top = QRect(inner.left(), inner.top(), inner.width(), half)
        below = QRect(inner.left(), inner.top() + half, inner.width(), half)
        painter.setFont(option.font)
        painter.setPen(QColor(theme.text))
        self._text(painter, top, summary.title)
        painter.setFont(theme.small_font)
        colour = (
            theme.accent if summary.running else theme.warn if summary.interrupted else theme.muted
        )
        painter.setPen(QColor(colour))
        self._text(painter, below, subtitle(summary))
        painter.restore()

    def _text(self, painter: QPainter, box: QRect, text: str) -> None:
        elided = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, box.width())
        painter.drawText(box, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, elided)


class ConversationList(QWidget):
    """Signals: ``chosen(id)``, ``created``, ``renamed(id, title)``; ``shown(bool)``: it came, or
    is hidden.
    """

    shown = Signal(bool)
    chosen = Signal(str)
    created = Signal()
    renamed = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = SummaryModel()
        self._model.renamed.connect(self.renamed)
        self._shown = QSortFilterProxyModel()
        self._shown.setSourceModel(self._model)
        self._shown.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self._view = QListView()
        self._view.setObjectName("conversations")
        self._view.setAccessibleName(self.tr("Conversations"))
        self._view.setModel(self._shown)
        self._view.setItemDelegate(SummaryDelegate(self._view))
        self._view.setMouseTracking(True)
        self._view.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self._view.setEditTriggers(QListView.EditTrigger.EditKeyPressed)
        self._view.selectionModel().currentChanged.connect(self._chosen)
        self._filter = QLineEdit()
        self._filter.setObjectName("filterConversations")
        self._filter.setPlaceholderText(self.tr("Filter"))
        self._filter.setAccessibleName(self.tr("Filter conversations"))
        self._filter.setClearButtonEnabled(True)
        self._filter.textChanged.connect(self._shown.setFilterFixedString)
        new = button(self.tr("New"), "newConversationButton", self.tr("New conversation (Ctrl+N)"))
        new.clicked.connect(self.created)
        top = line(self._filter, new)
        top.setContentsMargins(8, 8, 8, 4)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(top)
        column.addWidget(self._view)
        self.setMinimumWidth(180)
        self._quiet = False

    def showEvent(self, event: QShowEvent) -> None:
        """It came, or the window did."""
        super().showEvent(event)
        self.shown.emit(True)

    def hideEvent(self, event: QHideEvent) -> None:
        """It is hidden, or the whole window is."""
        super().hideEvent(event)
        self.shown.emit(not self.isHidden())

    def set_summaries(self, summaries: tuple[ConversationSummary, ...], selected: str) -> None:
        """Show the list with one of them selected; tells nobody."""
        self._quiet = True
        self._model.set_summaries(summaries)
        self.select(selected)
        self._quiet = False

    def select(self, conversation: str) -> None:
        """Mark the open conversation."""
        row = self._model.row_of(conversation)
        before, self._quiet = self._quiet, True
        if row >= 0:
            self._view.setCurrentIndex(self._shown.mapFromSource(self._model.index(row)))
        else:
            self._view.clearSelection()
            self._view.setCurrentIndex(QModelIndex())
        self._quiet = before

    def edit_title(self) -> None:
        """Rename the selected conversation in place."""
        index = self._view.currentIndex()
        if index.isValid():
            self._view.setFocus()
            self._view.edit(index)

    def _chosen(self, index: QModelIndex) -> None:
        if index.isValid() and not self._quiet:
            self.chosen.emit(index.data(SUMMARY).id)


def subtitle(summary: ConversationSummary) -> str:
    """When, or what is the matter."""
    if summary.running:
        return "running…"
    when = relative_time(summary.updated, time.time())
    return f"interrupted · {when}" if summary.interrupted else when


def relative_time(then: float, now: float) -> str:
    """Near times by distance, far ones by date."""
    age = max(now - then, 0)
    if age < 60:
        return "just now"
    if age < 3600:
        return f"{age // 60:.0f} min ago"
    if age < 86_400:
        return f"{age // 3600:.0f} h ago"
    if age < 7 * 86_400:
        return f"{age // 86_400:.0f} d ago"
    return time.strftime("%-d %b %Y", time.localtime(then))
