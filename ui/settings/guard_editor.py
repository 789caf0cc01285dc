"""One guard rule in a form, tried on a text while it is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future

import msgspec
from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QColor, QTextCharFormat
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QGridLayout,
    QLineEdit,
    QPlainTextEdit,
    QTextEdit,
    QVBoxLayout,
    QWidget,
)

from app.errors import ConfigError
from app.guard.rules import GuardRule, check_rule
from app.guard.trial import Tried
from ui.bridge import Bridge
from ui.chat.row_base import label, set_label_role
from ui.settings.guard_words import ACTIONS, KINDS, PLACES, VALUES, effect
from ui.theme import current

_PAUSE_MS = 250
_SAMPLE = "Write to anna@example.org from https://a.example.org/x, as ~/.ssh/config says."


class GuardEditor(QDialog):
    """Signals: ``saved(GuardRule)``."""

    saved = Signal(object)

    def __init__(
        self,
        bridge: Bridge,
        rule: GuardRule,
        others: Iterable[GuardRule],
        functions: Sequence[str] = (),
        parent: QWidget | None = None,
    ) -> None:
        """``others``: whose names are taken. ``functions``: those that may be chosen."""
        super().__init__(parent)
        self.setObjectName("guardEditor")
        self.setWindowTitle(self.tr("Guard"))
        self.setMinimumWidth(460)
        self._bridge, self._rule, self._others = bridge, rule, tuple(others)
        self._at_work: Future[Tried] | None = None
        self._name = QLineEdit(rule.name)
        self._kind = _box(KINDS, rule.find)
        own = rule.find == "python"
        self._values = _lines("" if own else "\n".join(rule.values), 3)
        self._function = QComboBox()
        self._function.addItems(list(dict.fromkeys((*(rule.values if own else ()), *functions))))
        self._places = [QCheckBox(self.tr(text)) for text, _ in PLACES]
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        for i, (one, (_, place)) in enumerate(zip(self._places, PLACES, strict=True)):
            one.setObjectName(f"guardOn_{place}")
            one.setChecked(place in rule.on)
            one.toggled.connect(lambda _: self._changed())
            grid.addWidget(one, i // 2, i % 2)
        places = QWidget()
        places.setLayout(grid)
        self._calls = _lines("\n".join(rule.calls), 2)
        self._action = _box(ACTIONS, rule.action)
        self._message = QLineEdit(rule.message)
        self._message.setPlaceholderText(self.tr("what was found"))
        self._effect, self._problem, self._told = label("muted"), label("bad"), label("muted")
        self._sample = _lines("", 3)
        self._sample.setPlaceholderText(_SAMPLE)
        self._form = QFormLayout()
        self._form.setHorizontalSpacing(16)
        rows: tuple[tuple[str, str, QWidget], ...] = (
            ("Name", "guardName", self._name),
            ("Finds", "guardKind", self._kind),
            ("Values", "guardValues", self._values),
            ("Function", "guardFunction", self._function),
            ("Looks at", "guardPlaces", places),
            ("Calls, patterns one a line", "guardCalls", self._calls),
            ("Then", "guardAction", self._action),
            ("", "guardEffect", self._effect),
            ("Says", "guardMessage", self._message),
            ("Try it on", "guardSample", self._sample),
            ("", "guardTold", self._told),
        )
        for words, name, widget in rows:
            widget.setObjectName(name)
            widget.setAccessibleName(self.tr(words))
            self._form.addRow(self.tr(words), widget)
        self._problem.setObjectName("guardProblem")
        for one_label in (self._effect, self._problem, self._told):
            one_label.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 16, 20, 12)
        column.addLayout(self._form)
        column.addWidget(self._problem)
        column.addStretch(1)
        column.addWidget(self._buttons())
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE_MS)
        self._timer.timeout.connect(self._try)
        for line in (self._name, self._message):
            line.textChanged.connect(lambda _: self._changed())
        for text in (self._values, self._calls):
            text.textChanged.connect(self._changed)
        self._sample.textChanged.connect(self._timer.start)
        for box in (self._kind, self._action, self._function):
            box.currentIndexChanged.connect(lambda _: self._changed())
        self._changed()
        self._problem.setText("")

    def _buttons(self) -> QDialogButtonBox:
        kinds = QDialogButtonBox.StandardButton
        made = QDialogButtonBox(kinds.Save | kinds.Cancel)
        made.button(kinds.Save).setObjectName("saveGuard")
        made.accepted.connect(self.accept)
        made.rejected.connect(self.reject)
        return made

    def accept(self) -> None:
        """Hand it over, if it could work."""
        rule = self._checked()
        if rule is not None:
            super().accept()
            self.saved.emit(rule)

    def done(self, result: int) -> None:
        """Stop what is tried."""
        self._timer.stop()
        self._stop()
        super().done(result)

    # -- inside -------------------------------------------------------------------------------

    def _as_written(self) -> GuardRule:
        find = self._kind.currentData()
        values = _split(self._values) if find != "secrets" else ()
        if find == "python":
            values = (self._function.currentText(),) if self._function.currentText() else ()
        on = [
            place for box, (_, place) in zip(self._places, PLACES, strict=True) if box.isChecked()
        ]
        calls = tuple(text.strip() for text in _split(self._calls))
        return msgspec.structs.replace(
            self._rule,
            name=self._name.text().strip(),
            find=find,
            on=tuple(on),
            action=self._action.currentData(),
            values=values,
            calls=calls if {"call", "result"} & set(on) else calls or ("*",),
            message=self._message.text().strip(),
        )

    def _checked(self) -> GuardRule | None:
        """None: it could not work, and the line below says why."""
        rule = self._as_written()
        try:
            check_rule(rule, self._others)
        except ConfigError as error:
            text = f"{error.message[:1].upper()}{error.message[1:]}"
            self._problem.setText(f"{text} ({error.hint})." if error.hint else f"{text}.")
            return None
        self._problem.setText("")
        return rule

    def _changed(self) -> None:
        rule = self._as_written()
        own = rule.find == "python"
        self._form.setRowVisible(self._values, rule.find not in ("secrets", "python"))
        self._form.setRowVisible(self._function, own)
        self._form.setRowVisible(self._calls, bool({"call", "result"} & set(rule.on)))
        if rule.find in VALUES:
            words, example = VALUES[rule.find]
            title = self._form.labelForField(self._values)
            if title is not None:
                title.setProperty("text", self.tr(words))
            self._values.setAccessibleName(self.tr(words))
            self._values.setPlaceholderText(example)
        self._effect.setText(self.tr(effect(rule)))
        self._checked()
        self._timer.start()

    def _stop(self) -> None:
        if self._at_work is not None:
            self._bridge.core.cancel(self._at_work)
            self._at_work = None

    def _try(self) -> None:
        self._stop()
        text = self._sample.toPlainText()
        rule = self._as_written()
        # A name is no matter here, and the line below says what else is wrong.
        rule = msgspec.structs.replace(rule, name=rule.name or "new")
        try:
            check_rule(rule)
        except ConfigError:
            self._show(None)
            return
        if not text and rule.find != "regex":
            self._show(None)
            return
        set_label_role(self._told, "muted")
        self._told.setText(self.tr("Trying…"))
        future = self._at_work = self._bridge.core.try_guard(rule, text)

        def done(found: Tried | None) -> None:
            if self._at_work is future:
                self._at_work = None
                self._show(found)

        self._bridge.then(future, done, lambda _: done(None))

    def _show(self, found: Tried | None) -> None:
        theme = current()
        marks = []
        colour = QTextCharFormat()
        colour.setBackground(QColor(theme.selection))
        colour.setForeground(QColor(theme.bad))
        for begin, end in found.spans if found else ():
            mark = QTextEdit.ExtraSelection()
            mark.cursor = self._sample.textCursor()
            mark.cursor.setPosition(_units(self._text, begin))
            keep = mark.cursor.MoveMode.KeepAnchor
            mark.cursor.setPosition(_units(self._text, end), keep)
            mark.format = colour
            marks.append(mark)
        self._sample.setExtraSelections(marks)
        role, text = self._words(found)
        set_label_role(self._told, role)
        self._told.setText(text)

    @property
    def _text(self) -> str:
        return self._sample.toPlainText()

    def _words(self, found: Tried | None) -> tuple[str, str]:
        if found is None:
            return "muted", ""
        if found.problem:
            return "bad", f"✗ {found.problem[:1].upper()}{found.problem[1:]}."
        slow = self.tr("Long texts may take it very long: say more exactly what may repeat.")
        said = ""
        if found.spans:
            count = len(found.spans)
            places = self.tr("1 place") if count == 1 else self.tr("{n} places").format(n=count)
            said = f"{places}: {found.message}"
        elif found.message:
            said = self.tr("It finds {what}").format(what=found.message)
        elif self._text:
            said = self.tr("It finds nothing here.")
        if found.slow:
            return "warn", " ".join(filter(None, (said, slow)))
        return ("accent" if found.message else "muted"), said


def _units(text: str, at: int) -> int:
    """A place in a text as Qt counts: in UTF-16."""
    return at + sum(ord(sign) > 0xFFFF for sign in text[:at])


def _split(edit: QPlainTextEdit) -> tuple[str, ...]:
    return tuple(text for text in edit.toPlainText().splitlines() if text.strip())


def _lines(text: str, count: int) -> QPlainTextEdit:
    made = QPlainTextEdit(text)
    made.setTabChangesFocus(True)
    made.setFixedHeight(made.fontMetrics().lineSpacing() * count + 22)
    return made


def _box(items: Iterable[tuple[str, str]], value: str) -> QComboBox:
    made = QComboBox()
    for text, data in items:
        made.addItem(text, data)
    made.setCurrentIndex(max(made.findData(value), 0))
    return made
