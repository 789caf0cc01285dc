"""Forms that servers of tools ask a person to fill in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from app import events as ev
from app.events import Event, FormAction
from ui.bridge import Bridge
from ui.chat.row_base import label, set_label_role

_MOST_FIELDS = 40
_LONGEST = 2_000


class FormDesk(QObject):
    """Opens a dialog for each form that is asked, and takes it away when the question is over."""

    def __init__(self, window: QWidget, bridge: Bridge) -> None:
        super().__init__(window)
        self._window, self._bridge = window, bridge
        self._open: dict[str, tuple[str, FormDialog]] = {}

    def hear(self, event: Event) -> None:
        """Take an event of any conversation."""
        body = event.body
        if isinstance(body, ev.FormAsked):
            dialog = FormDialog(body, self._window)
            dialog.answered.connect(self._answer(event.conversation, body.form))
            self._open[body.form] = event.conversation, dialog
            dialog.open()
        elif isinstance(body, ev.FormAnswered):
            self._close(body.form)
        elif isinstance(body, ev.TurnEnd):
            for form, (conversation, _) in tuple(self._open.items()):
                if conversation == event.conversation:
                    self._close(form)

    def _answer(self, conversation: str, form: str) -> Callable[[FormAction, dict[str, Any]], None]:
        def answer(action: FormAction, content: dict[str, Any]) -> None:
            core = self._bridge.core
            self._bridge.then(core.answer_form(conversation, form, action, content))

        return answer

    def _close(self, form: str) -> None:
        _, dialog = self._open.pop(form, ("", None))
        if dialog is not None:
            dialog.done(0)
            dialog.deleteLater()


class FormDialog(QDialog):
    """One form. Signals: ``answered(action, content)``."""

    answered = Signal(str, object)

    def __init__(self, asked: ev.FormAsked, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("form")
        self.setWindowTitle(self.tr("{server} asks").format(server=asked.server))
        self.setMinimumWidth(420)
        message, caution = label(), label("muted")
        for one in (message, caution):
            one.setWordWrap(True)
            one.setTextFormat(Qt.TextFormat.PlainText)
        message.setText(asked.message[:_LONGEST])
        caution.setText(
            self.tr("What you enter goes to this server. Give it no passwords and no keys.")
        )
        self._problem = label("bad")
        self._problem.setObjectName("formProblem")
        self._problem.hide()
        self._required = set(asked.schema.get("required", ()) or ())
        self._fields: dict[str, _Field] = {}
        grid = QFormLayout()
        grid.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        properties = asked.schema.get("properties", {})
        for name, schema in list(properties.items())[:_MOST_FIELDS]:
            if isinstance(schema, dict):
                self._fields[name] = _field(name, schema)
                title = str(schema.get("title") or name)[:80]
                star = " *" if name in self._required else ""
                grid.addRow(title + star, self._fields[name].widget)
        buttons = QDialogButtonBox()
        roles = QDialogButtonBox.ButtonRole
        send = buttons.addButton(self.tr("Send"), roles.AcceptRole)
        decline = buttons.addButton(self.tr("Decline"), roles.DestructiveRole)
        cancel = buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
        for button, name in ((send, "sendForm"), (decline, "declineForm"), (cancel, "cancelForm")):
            button.setObjectName(name)
        send.setProperty("role", "primary")
        send.clicked.connect(self._send)
        decline.clicked.connect(lambda: self.answered.emit("decline", {}))
        cancel.clicked.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 20, 20, 16)
        column.setSpacing(12)
        for widget in (message, caution):
            column.addWidget(widget)
        column.addLayout(grid)
        column.addWidget(self._problem)
        column.addWidget(buttons)

    def reject(self) -> None:
        """Escape and Cancel: no answer either way."""
        self.answered.emit("cancel", {})

    def _send(self) -> None:
        content: dict[str, Any] = {}
        for name, field in self._fields.items():
            try:
                value = field.read()
            except ValueError:
                return self._complain(name, self.tr("is not a number"))
            if value is not None:
                content[name] = value
            elif name in self._required:
                return self._complain(name, self.tr("is needed"))
        self.answered.emit("accept", content)

    def _complain(self, name: str, what: str) -> None:
        self._problem.setText(f"{name} {what}")
        set_label_role(self._problem, "bad")
        self._problem.show()
        self._fields[name].widget.setFocus()


class _Field:
    """A widget and how its value is read: None where nothing was entered."""

    def __init__(self, widget: QWidget, read: Callable[[], Any]) -> None:
        self.widget = widget
        self.read = read


def _field(name: str, schema: dict[str, Any]) -> _Field:
    kind, choices = schema.get("type"), _choices(schema)
    default = schema.get("default")
    if kind == "boolean":
        check = QCheckBox()
        check.setChecked(default is True)
        field = _Field(check, check.isChecked)
    elif kind == "array":
        field = _several(_choices(schema.get("items") or {}), default)
    elif choices:
        box = QComboBox()
        for value, title in (("", ""), *choices):
            box.addItem(title, value)
        box.setCurrentIndex(max(0, box.findData(default)))
        field = _Field(box, lambda: box.currentData() or None)
    else:
        field = _line(kind, default)
    field.widget.setObjectName(f"field_{name}")
    field.widget.setAccessibleName(str(schema.get("title") or name)[:80])
    field.widget.setToolTip(str(schema.get("description") or "")[:300])
    return field


def _line(kind: object, default: object) -> _Field:
    line = QLineEdit("" if default is None else str(default)[:_LONGEST])
    line.setMaxLength(_LONGEST)

    def read() -> Any:
        text = line.text()
        if not text.strip():
            return None
        return int(text) if kind == "integer" else float(text) if kind == "number" else text

    return _Field(line, read)


def _several(choices: list[tuple[str, str]], default: object) -> _Field:
    holder = QWidget()
    column = QVBoxLayout(holder)
    column.setContentsMargins(0, 0, 0, 0)
    chosen = default if isinstance(default, list) else []
    checks = [(value, QCheckBox(title)) for value, title in choices]
    for value, check in checks:
        check.setChecked(value in chosen)
        column.addWidget(check)
    if checks:
        holder.setFocusProxy(checks[0][1])
    return _Field(holder, lambda: [value for value, check in checks if check.isChecked()] or None)


def _choices(schema: dict[str, Any]) -> list[tuple[str, str]]:
    """(value, title) of what may be chosen, in any of the protocol's forms."""
    values = schema.get("enum")
    if isinstance(values, list):
        titles = schema.get("enumNames") or values
        return [(str(v), str(t)[:80]) for v, t in zip(values, titles, strict=False)][:200]
    options = schema.get("oneOf") or schema.get("anyOf") or ()
    return [
        (str(one["const"]), str(one.get("title") or one["const"])[:80])
        for one in options
        if isinstance(one, dict) and "const" in one
    ][:200]
