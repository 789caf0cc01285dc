"""Approvals: the rules that stay, runs with nobody there, and the log of decisions."""

from __future__ import annotations

import time
from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QLineEdit,
    QPlainTextEdit,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from app.errors import ConfigError
from app.events import Unattended
from app.store.decisions import Decision
from app.trust.pattern import Pattern
from app.trust.policy import Rule, Ruling
from ui.chat.row_base import button, label, line
from ui.settings.undo_line import UndoLine

_DECISIONS: tuple[Ruling, ...] = ("allow", "ask", "deny")
_SPANS = (("this run", 0), ("one hour", 3600), ("four hours", 14400), ("until tomorrow", 86400))


class ApprovalsDialog(QDialog):
    """Signals: ``rules_changed(tuple)`` of Rule, ``unattended(Unattended or None)``."""

    rules_changed = Signal(object)
    unattended = Signal(object)

    def __init__(self, rules: Sequence[Rule], *, running: bool, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("approvalsDialog")
        self.setWindowTitle(self.tr("Approvals"))
        self.resize(640, 460)
        self._rules = list(rules)
        self._filling = False
        self._table = _table("rulesTable", (self.tr("Then"), self.tr("Calls"), self.tr("Reason")))
        self._table.itemChanged.connect(lambda item: self._changed(item.row()))
        self._log = _table("decisionsTable", (self.tr("When"), self.tr("What"), self.tr("Call")))
        self._log.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self._wrong = label("bad")
        self._wrong.setWordWrap(True)
        tabs = QTabWidget()
        tabs.setDocumentMode(True)
        tabs.tabBar().setDrawBase(False)
        tabs.addTab(self._rules_page(), self.tr("Rules"))
        tabs.addTab(self._unattended_page(running), self.tr("Unattended"))
        tabs.addTab(self._log, self.tr("Log"))
        close = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        close.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addWidget(tabs)
        column.addWidget(close)
        self._fill()

    # -- rules --------------------------------------------------------------------------------

    def _rules_page(self) -> QWidget:
        page = QWidget()
        self._new = QLineEdit()
        self._new.setObjectName("newRule")
        self._new.setPlaceholderText("open_page(host=*.example.org)")
        self._new.setAccessibleName(self.tr("Pattern of a new rule"))
        self._new.returnPressed.connect(self._add)
        add = button(self.tr("Add"), "addRule", self.tr("Add this rule"))
        add.clicked.connect(self._add)
        tip = self.tr("Forget the chosen rules (Delete); can be undone")
        self._forget = button(self.tr("Remove"), "removeRule", tip, "danger")
        self._forget.clicked.connect(self._remove)
        self._table.itemSelectionChanged.connect(self._selected)
        delete = QShortcut(QKeySequence(QKeySequence.StandardKey.Delete), self._table)
        delete.setContext(Qt.ShortcutContext.WidgetShortcut)
        delete.activated.connect(self._remove)
        self._undo = UndoLine("ruleUndo")
        self._selected()
        hint = label("muted")
        hint.setWordWrap(True)
        hint.setText(
            self.tr(
                "A tool, with * for any characters, or @ and a risk (read, write, network, "
                "execute, foreign); in brackets what it may be aimed at. The strictest rule wins."
            )
        )
        column = QVBoxLayout(page)
        column.addWidget(hint)
        column.addWidget(self._table)
        column.addWidget(self._wrong)
        column.addLayout(line(self._new, add, self._forget))
        column.addWidget(self._undo)
        return page

    def _fill(self) -> None:
        self._filling = True
        self._table.setRowCount(len(self._rules))
        for row, rule in enumerate(self._rules):
            choice = QComboBox()
            choice.addItems(_DECISIONS)
            choice.setCurrentText(rule.decision)
            choice.setAccessibleName(
                self.tr("What happens to {pattern}").format(pattern=rule.pattern)
            )
            choice.currentTextChanged.connect(lambda _, r=row: self._changed(r))
            self._table.setCellWidget(row, 0, choice)
            self._table.setItem(row, 1, QTableWidgetItem(rule.pattern))
            self._table.setItem(row, 2, QTableWidgetItem(rule.reason))
        self._filling = False

    def _changed(self, row: int) -> None:
        if self._filling:
            return
        choice = self._table.cellWidget(row, 0)
        assert isinstance(choice, QComboBox)
        self._put(row, self._cell(row, 1), _DECISIONS[choice.currentIndex()], self._cell(row, 2))

    def _cell(self, row: int, column: int) -> str:
        found = self._table.item(row, column)
        return found.text() if found is not None else ""

    def _put(self, row: int, pattern: str, decision: Ruling, reason: str) -> None:
        try:
            text = str(Pattern.parse(pattern))
        except ConfigError as error:
            self._wrong.setText(f"{error.message}; {error.hint}")
            self._fill()
            return
        self._wrong.setText("")
        self._undo.clear()
        made = Rule(text, decision, reason.strip(), round(time.time(), 3))
        self._rules = [*self._rules[:row], made, *self._rules[row + 1 :]]
        self._fill()
        self.rules_changed.emit(tuple(self._rules))

    def _add(self) -> None:
        if self._new.text().strip():
            before = len(self._rules)
            self._put(before, self._new.text(), "allow", "")
            if len(self._rules) > before:
                self._new.clear()

    def _selected(self) -> None:
        self._forget.setEnabled(bool(self._table.selectedIndexes()))

    def _remove(self) -> None:
        rows = {index.row() for index in self._table.selectedIndexes()}
        if not rows:
            return
        before, gone = self._rules, [self._rules[row].pattern for row in sorted(rows)]
        self._keep([rule for i, rule in enumerate(before) if i not in rows])
        text = self.tr("Removed: {rules}").format(rules=", ".join(gone))
        self._undo.offer(text, lambda: self._keep(before))

    def _keep(self, rules: list[Rule]) -> None:
        self._rules = rules
        self._fill()
        self._table.clearSelection()
        self.rules_changed.emit(tuple(rules))

    # -- unattended ---------------------------------------------------------------------------

    def _unattended_page(self, running: bool) -> QWidget:
        page = QWidget()
        said = label("muted")
        said.setWordWrap(True)
        said.setText(
            self.tr(
                "While you are away, calls that a pattern covers run without a question; one a "
                "line. A pattern without hosts or paths does not cover those that only pages or "
                "files named."
            )
        )
        self._scope = QPlainTextEdit()
        self._scope.setObjectName("unattendedScope")
        self._scope.setAccessibleName(self.tr("Patterns that may run unattended"))
        self._scope.setPlaceholderText("python\nopen_page(host=*.wikipedia.org)")
        self._scope.setTabChangesFocus(True)
        self._span = QComboBox()
        self._span.setObjectName("unattendedSpan")
        self._span.setAccessibleName(self.tr("How long"))
        for text, seconds in _SPANS if running else _SPANS[1:]:
            self._span.addItem(text, seconds)
        self._otherwise = QComboBox()
        self._otherwise.setObjectName("unattendedOtherwise")
        self._otherwise.setAccessibleName(self.tr("Other calls"))
        self._otherwise.addItem(self.tr("other calls wait for me"), "ask")
        self._otherwise.addItem(self.tr("other calls are denied"), "deny")
        begin = button(self.tr("I am away"), "beginUnattended", self.tr("Begin"), "primary")
        begin.clicked.connect(self._begin)
        end = button(self.tr("Ask me again"), "endUnattended", self.tr("End it now"))
        end.clicked.connect(lambda: self.unattended.emit(None))
        self._wrong_scope = label("bad")
        self._wrong_scope.setWordWrap(True)
        column = QVBoxLayout(page)
        column.addWidget(said)
        column.addWidget(self._scope, 1)
        column.addWidget(self._wrong_scope)
        column.addLayout(line(self._span, self._otherwise, None, begin, end))
        return page

    def _begin(self) -> None:
        lines = [text.strip() for text in self._scope.toPlainText().splitlines() if text.strip()]
        try:
            allow = tuple(str(Pattern.parse(text)) for text in lines)
        except ConfigError as error:
            self._wrong_scope.setText(f"{error.message}; {error.hint}")
            return
        if not allow:
            self._wrong_scope.setText(self.tr("Say what may run: at least one pattern."))
            return
        seconds = self._span.currentData()
        until = round(time.time() + seconds) if seconds else 0.0
        self.unattended.emit(Unattended(allow, until, self._otherwise.currentData()))
        self.accept()

    # -- log ----------------------------------------------------------------------------------

    def show_log(self, rows: Sequence[Decision]) -> None:
        """What was decided, the newest first."""
        self._log.setRowCount(len(rows))
        for row, one in enumerate(rows):
            at = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.at))
            rule = f": {one.rule}" if one.rule else ""
            reason = f" ({one.reason})" if one.reason else ""
            call = " ".join(f"{one.tool} {one.arguments}".split())[:300] or one.title
            for column, text in enumerate((at, f"{one.what} by {one.by}{rule}{reason}", call)):
                item = QTableWidgetItem(text)
                item.setToolTip(text)
                self._log.setItem(row, column, item)


def _table(name: str, titles: tuple[str, ...]) -> QTableWidget:
    made = QTableWidget(0, len(titles))
    made.setObjectName(name)
    made.setAccessibleName(name)
    made.setHorizontalHeaderLabels(list(titles))
    made.verticalHeader().hide()
    made.setShowGrid(False)
    made.setWordWrap(False)
    made.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    header = made.horizontalHeader()
    header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    header.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
    header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
    header.setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
    return made
