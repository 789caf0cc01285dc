"""One guard rule in a form, tried on a text while it is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future

import msgspec
from PySide6.QtCore import QTimer
from PySide6.QtGui import QColor, QTextCharFormat
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QPlainTextEdit,
    QTextEdit,
    QWidget,
)

from app.errors import ConfigError
from app.guard.rules import GuardRule, check_rule
from app.guard.trial import Tried
from ui.bridge import Bridge
from ui.chat.row_base import label, set_label_role
from ui.settings.guard_words import ACTIONS, KINDS, PLACES, VALUES, effect
from ui.theme import current
from ui.widgets.editor import Editor, choice, text_line, text_lines
from ui.words import sentence

_PAUSE_MS = 250
_SAMPLE = "Write to anna@example.org from https://a.example.org/x, as ~/.ssh/config says."


class GuardEditor(Editor):
    """Signals: ``saved(GuardRule)``."""

    def __init__(
        self,
        bridge: Bridge,
        rule: GuardRule,
        others: Iterable[GuardRule],
        functions: Sequence[str] = (),
        parent: QWidget | None = None,
    ) -> None:
        """``others``: whose names are taken. ``functions``: those that may be chosen."""
        super().__init__("guard", self.tr("Guard"), parent)
        self._bridge, self._rule, self._others = bridge, rule, tuple(others)
        self._at_work: Future[Tried] | None = None
        own = rule.find == "python"
        self._name = text_line("guardName", rule.name)
        self._kind = choice("guardKind", KINDS, rule.find)
        self._values = text_lines("guardValues", "" if own else "\n".join(rule.values), 3)
        self._function = QComboBox()
        self._function.setObjectName("guardFunction")
        self._function.addItems(list(dict.fromkeys((*(rule.values if own else ()), *functions))))
        self._places = [QCheckBox(self.tr(text)) for text, _ in PLACES]
        self._calls = text_lines("guardCalls", "\n".join(rule.calls), 2)
        self._action = choice("guardAction", ACTIONS, rule.action)
        self._message = text_line("guardMessage", rule.message, self.tr("what was found"))
        self._sample = text_lines("guardSample", "", 3, _SAMPLE)
        self._effect, self._told = label("muted"), label("muted")
        self._effect.setObjectName("guardEffect")
        self._told.setObjectName("guardTold")
        for one in (self._effect, self._told):
            one.setWordWrap(True)
        self._add_rows()
        self.lay_out()
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
        self.say("")

    def _add_rows(self) -> None:
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        for i, (one, (_, place)) in enumerate(zip(self._places, PLACES, strict=True)):
            one.setObjectName(f"guardOn_{place}")
            one.setChecked(place in self._rule.on)
            one.toggled.connect(lambda _: self._changed())
            grid.addWidget(one, i // 2, i % 2)
        places = QWidget()
        places.setLayout(grid)
        self.add_row(self.tr("Name"), self._name)
        self.add_row(self.tr("Finds"), self._kind)
        self.add_row(self.tr("Values"), self._values)
        self.add_row(self.tr("Function"), self._function)
        self.add_row(self.tr("Looks at"), places)
        self.add_row(self.tr("Calls, patterns one a line"), self._calls)
        self.add_row(self.tr("Then"), self._action)
        self.add_row("", self._effect)
        self.add_row(self.tr("Says"), self._message)
        self.add_row(self.tr("Try it on"), self._sample)
        self.add_row("", self._told)

    def read(self) -> GuardRule:
        """Raises ConfigError."""
        rule = self._as_written()
        check_rule(rule, self._others)
        return rule

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

    def _changed(self) -> None:
        rule = self._as_written()
        own = rule.find == "python"
        self.form.setRowVisible(self._values, rule.find not in ("secrets", "python"))
        self.form.setRowVisible(self._function, own)
        self.form.setRowVisible(self._calls, bool({"call", "result"} & set(rule.on)))
        if rule.find in VALUES:
            words, example = VALUES[rule.find]
            self.rename_row(self._values, self.tr(words))
            self._values.setPlaceholderText(example)
        self._effect.setText(self.tr(effect(rule)))
        self.check(self.read)
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

        self._bridge.then(future, done, lambda _: done(None), owner=self)

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
            return "bad", f"✗ {sentence(found.problem)}"
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
