"""A scrolling column of rows of which only the visible ones have widgets.

Heights of rows that were never shown are estimated and corrected when they come into view; the
row at the top of the view stays where it is meanwhile, so nothing jumps.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QAbstractScrollArea, QApplication, QFrame, QWidget

from ui.chat.row_base import RowWidget
from ui.chat.rows import Row

_MARGIN = 24
_MAX_COLUMN = 780
_OVERSCAN = 300


class VirtualList(QAbstractScrollArea):
    """Signals: ``tail_changed(bool)`` when the view starts or stops following the end."""

    tail_changed = Signal(bool)

    def __init__(
        self,
        make: Callable[[str], RowWidget],
        kind_of: Callable[[Row], str],
        bind: Callable[[RowWidget, Row], None],
        estimate: Callable[[Row], int],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setProperty("role", "chat")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._make, self._kind_of, self._bind, self._estimate = make, kind_of, bind, estimate
        self._rows: list[Row] = []
        self._index: dict[str, int] = {}
        self._heights: dict[str, int] = {}
        self._offsets: list[int] = [0]
        self._live: dict[str, tuple[str, Row, RowWidget]] = {}
        self._spare: dict[str, list[RowWidget]] = {}
        self._follow = True
        self._busy = False
        self._laid_out = 0
        self.verticalScrollBar().setSingleStep(24)
        self.verticalScrollBar().valueChanged.connect(self._scrolled)

    @property
    def following(self) -> bool:
        """Whether the view stays at the end as it grows."""
        return self._follow

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Show these rows; equal keys keep their place, widget and height."""
        anchor = self._anchor()
        self._rows = list(rows)
        self._index = {row.key: i for i, row in enumerate(self._rows)}
        self._place(anchor)

    def refresh(self) -> None:
        """Bind every visible row again (theme, opened state, clocks)."""
        anchor = self._anchor()
        for key, (kind, _, widget) in list(self._live.items()):
            self._live[key] = (kind, None, widget)  # type: ignore[assignment]
        self._place(anchor)

    def forget_heights(self) -> None:
        """After a change of fonts."""
        self._heights.clear()

    def resized(self, key: str) -> None:
        """A row's natural height changed by itself."""
        self._heights.pop(key, None)
        self.refresh()

    def jump_to_end(self) -> None:
        """Follow the end again."""
        self._set_follow(True)
        self._place(None)

    def reveal(self, key: str) -> bool:
        """Scroll a row into view; False if there is none of that key."""
        index = self._index.get(key)
        if index is None:
            return False
        self._set_follow(False)
        self.verticalScrollBar().setValue(max(self._offsets[index] - _MARGIN, 0))
        self._place((key, _MARGIN))
        return True

    # -- Qt

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Another width, other heights."""
        anchor = self._anchor()
        _, width = self._column()
        if width != self._laid_out:
            self._laid_out = width
            self._heights.clear()
        self._place(anchor)

    def focusNextPrevChild(self, next: bool) -> bool:
        """Tab goes through the rows as they stand, whatever the order their widgets were made in;
        before the first and after the last it leaves the list.
        """
        stops = [self, *(w for row in self._in_order() for w in _stops(row))]
        now = QApplication.focusWidget()
        at = stops.index(now) if now in stops else -1
        to = at + 1 if next else at - 1
        if at >= 0 and 0 <= to < len(stops):
            reason = Qt.FocusReason
            stops[to].setFocus(reason.TabFocusReason if next else reason.BacktabFocusReason)
            self._show_whole(stops[to])
            return True
        return self._leave(next)

    def _in_order(self) -> list[RowWidget]:
        live = sorted(self._live.items(), key=lambda item: self._index[item[0]])
        return [widget for _, (_, _, widget) in live]

    def _leave(self, next: bool) -> bool:
        window, at = self.window(), self._beside(self, next)
        while at is not None and at is not self:
            if not self.isAncestorOf(at) and window.isAncestorOf(at) and _is_stop(at):
                reason = Qt.FocusReason
                at.setFocus(reason.TabFocusReason if next else reason.BacktabFocusReason)
                return True
            at = self._beside(at, next)
        return False

    @staticmethod
    def _beside(widget: QWidget, next: bool) -> QWidget | None:
        return widget.nextInFocusChain() if next else widget.previousInFocusChain()

    def _show_whole(self, widget: QWidget) -> None:
        """Scroll to what has the focus now, unless it is seen, or is the list itself."""
        page = self.viewport().height()
        if widget is self or widget.height() > page:
            return
        top = widget.mapTo(self.viewport(), QPoint()).y()
        bar = self.verticalScrollBar()
        if top < 0:
            bar.setValue(bar.value() + top - _MARGIN)
        elif top + widget.height() > page:
            bar.setValue(bar.value() + top + widget.height() - page + _MARGIN)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Scroll by keyboard."""
        bar, key = self.verticalScrollBar(), event.key()
        page = max(self.viewport().height() - 48, 24)
        moves = {
            Qt.Key.Key_PageUp: -page,
            Qt.Key.Key_PageDown: page,
            Qt.Key.Key_Up: -48,
            Qt.Key.Key_Down: 48,
        }
        if key == Qt.Key.Key_Home:
            bar.setValue(0)
        elif key == Qt.Key.Key_End:
            self.jump_to_end()
        elif key in moves:
            bar.setValue(bar.value() + moves[Qt.Key(key)])
        else:
            super().keyPressEvent(event)

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        """Row widgets are moved by `_place`, not by blitting."""

    def _scrolled(self) -> None:
        if self._busy:
            return
        bar = self.verticalScrollBar()
        self._set_follow(bar.value() >= bar.maximum() - 8)
        self._place(self._anchor())

    # -- placing

    def _column(self) -> tuple[int, int]:
        # Of the whole width: the scroll bar comes and goes within the margin, and moves nothing.
        width = min(self.width() - 2 * _MARGIN, _MAX_COLUMN)
        return max((self.width() - width + 1) // 2, 0), max(width, 120)

    def _anchor(self) -> tuple[str, int] | None:
        """The first visible row and where its top is in the view; None when following."""
        if self._follow or not self._rows:
            return None
        top = self.verticalScrollBar().value()
        first = min(max(bisect_right(self._offsets, top) - 1, 0), len(self._rows) - 1)
        return self._rows[first].key, self._offsets[first] - top

    def _place(self, anchor: tuple[str, int] | None) -> None:
        """Lay out until heights settle: showing a row may correct its estimate."""
        self._busy = True
        try:
            for _ in range(4):
                self._measure_total()
                self._scroll_to(anchor)
                if not self._show_visible():
                    break
        finally:
            self._busy = False

    def _measure_total(self) -> None:
        heights = (self._heights.get(row.key) or self._estimate(row) for row in self._rows)
        self._offsets = [0, *accumulate(heights)]
        total = self._offsets[-1] + 2 * _MARGIN
        page = self.viewport().height()
        bar = self.verticalScrollBar()
        bar.setPageStep(page)
        bar.setRange(0, max(total - page, 0))

    def _scroll_to(self, anchor: tuple[str, int] | None) -> None:
        bar = self.verticalScrollBar()
        if self._follow:
            bar.setValue(bar.maximum())
        elif anchor is not None and anchor[0] in self._index:
            bar.setValue(self._offsets[self._index[anchor[0]]] - anchor[1])

    def _show_visible(self) -> bool:
        """Bind and move what is in view; True if a height turned out different."""
        top = self.verticalScrollBar().value() - _MARGIN
        bottom = top + self.viewport().height()
        first = max(bisect_right(self._offsets, top - _OVERSCAN) - 1, 0)
        last = min(bisect_right(self._offsets, bottom + _OVERSCAN), len(self._rows))
        wanted = {row.key for row in self._rows[first:last]}
        for key in [k for k in self._live if k not in wanted]:
            self._recycle(key)
        x, width = self._column()
        changed = False
        for i in range(first, last):
            row = self._rows[i]
            widget, height = self._shown(row, width)
            changed = changed or height != self._offsets[i + 1] - self._offsets[i]
            widget.setGeometry(x, self._offsets[i] - top, width, height)
        return changed

    def _shown(self, row: Row, width: int) -> tuple[RowWidget, int]:
        kind = self._kind_of(row)
        live = self._live.get(row.key)
        if live is not None and live[0] != kind:
            self._recycle(row.key)
            live = None
        if live is None:
            spare = self._spare.get(kind)
            widget = spare.pop() if spare else self._make(kind)
            widget.setParent(self.viewport())
            widget.key = row.key
        else:
            widget = live[2]
        known = self._heights.get(row.key)
        if live is None or (live[1] is not row and live[1] != row) or known is None:
            widget.resize(width, widget.height())
            self._bind(widget, row)
            known = max(widget.height_at(width), 1)
            self._heights[row.key] = known
        self._live[row.key] = (kind, row, widget)
        widget.show()
        return widget, known

    def _recycle(self, key: str) -> None:
        kind, _, widget = self._live.pop(key)
        if widget.isAncestorOf(QApplication.focusWidget() or self):
            self.setFocus()  # or Qt gives it to another row
        widget.hide()
        self._spare.setdefault(kind, []).append(widget)

    def _set_follow(self, follow: bool) -> None:
        if follow != self._follow:
            self._follow = follow
            self.tail_changed.emit(follow)


def _stops(row: QWidget) -> list[QWidget]:
    """What of a row Tab stops at, in the order of its layout."""
    return [widget for widget in row.findChildren(QWidget) if _is_stop(widget)]


def _is_stop(widget: QWidget) -> bool:
    tab = Qt.FocusPolicy.TabFocus
    return widget.isVisible() and widget.isEnabled() and bool(widget.focusPolicy() & tab)
