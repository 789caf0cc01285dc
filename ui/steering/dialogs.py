"""Editing a call, a result or a thought; choosing other settings for a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import get_args

import msgspec
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLineEdit,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from app.endpoints.config import Endpoint
from app.events import Effort, RunSettings
from ui.chat.arguments import NO_JSON, indented
from ui.chat.row_base import label
from ui.theme import current


class EditDialog(QDialog):
    """A text to change. ``save`` gets it when the person is done."""

    def __init__(
        self,
        parent: QWidget,
        title: str,
        text: str,
        save: Callable[[str], object],
        as_json: bool = False,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("editDialog")
        self.setWindowTitle(title)
        self._save, self._as_json = save, as_json
        self.editor = QPlainTextEdit(indented(text) if as_json else text)
        self.editor.setObjectName("editText")
        self.editor.setAccessibleName(title)
        self.editor.setFont(current().mono_font)
        self._trouble = label("bad")
        kinds = QDialogButtonBox.StandardButton
        self._buttons = QDialogButtonBox(kinds.Save | kinds.Cancel)
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 16, 16, 12)
        column.addWidget(self.editor, 1)
        column.addWidget(self._trouble)
        column.addWidget(self._buttons)
        self.resize(560, 340)
        self.editor.textChanged.connect(self._check)
        self._check()

    def accept(self) -> None:
        """Hand the text over."""
        if self._check():
            self._save(self.editor.toPlainText())
            super().accept()

    def _check(self) -> bool:
        wrong = ""
        if self._as_json:
            try:
                if not isinstance(json.loads(self.editor.toPlainText()), dict):
                    wrong = self.tr("An object is expected.")
            except NO_JSON as error:
                wrong = self.tr("Not JSON: {error}").format(error=str(error)[:120])
        self._trouble.setText(wrong)
        self._trouble.setVisible(bool(wrong))
        self._buttons.button(QDialogButtonBox.StandardButton.Save).setEnabled(not wrong)
        return not wrong


class RerunDialog(QDialog):
    """Another model, effort, temperature or seed. ``run`` gets the settings."""

    def __init__(
        self,
        parent: QWidget,
        settings: RunSettings,
        endpoints: tuple[Endpoint, ...],
        run: Callable[[RunSettings], object],
    ) -> None:
        super().__init__(parent)
        self.setObjectName("rerunDialog")
        self.setWindowTitle(self.tr("Run again with"))
        self._settings, self._run = settings, run
        self.backend = self._box("rerunBackend", [(self.tr("Own engine"), "local")])
        for endpoint in endpoints:
            self.backend.addItem(endpoint.title, endpoint.id)
        self.backend.setCurrentIndex(max(self.backend.findData(settings.backend), 0))
        self.model = self._line("rerunModel", settings.model, self.tr("the endpoint's own"))
        efforts = [(value.capitalize(), value) for value in get_args(Effort)]
        self.effort = self._box("rerunEffort", efforts)
        self.effort.setCurrentIndex(self.effort.findData(settings.effort))
        lanes = [(f"{n}", n) for n in sorted({1, 2, 3, 4, 6, 8, 12, 16, settings.lanes})]
        self.lanes = self._box("rerunLanes", lanes)
        self.lanes.setCurrentIndex(self.lanes.findData(settings.lanes))
        self.temperature = self._line(
            "rerunTemperature", _text(settings.temperature), self.tr("the endpoint's own")
        )
        self.seed = self._line("rerunSeed", _text(settings.seed), self.tr("by chance"))
        form = QFormLayout()
        form.setHorizontalSpacing(16)
        for name, widget in (
            (self.tr("Endpoint"), self.backend),
            (self.tr("Model"), self.model),
            (self.tr("Effort"), self.effort),
            (self.tr("Lanes"), self.lanes),
            (self.tr("Temperature"), self.temperature),
            (self.tr("Seed"), self.seed),
        ):
            widget.setAccessibleName(name)
            form.addRow(name, widget)
        kinds = QDialogButtonBox.StandardButton
        self._buttons = QDialogButtonBox(kinds.Ok | kinds.Cancel)
        self._buttons.button(kinds.Ok).setText(self.tr("Run"))
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 20, 20, 14)
        column.addLayout(form)
        column.addSpacing(8)
        column.addWidget(self._buttons)
        self.setMinimumWidth(380)
        self.effort.currentIndexChanged.connect(lambda _: self._check())
        for edit in (self.temperature, self.seed):
            edit.textChanged.connect(lambda _: self._check())
        self._check()

    def accept(self) -> None:
        """Begin the run."""
        chosen = self._chosen()
        if chosen is not None:
            self._run(chosen)
            super().accept()

    def _chosen(self) -> RunSettings | None:
        """None: a number is none."""
        try:
            heat = float(self.temperature.text()) if self.temperature.text().strip() else None
            seed = int(self.seed.text()) if self.seed.text().strip() else None
        except ValueError:
            return None
        if (heat is not None and not 0 <= heat <= 5) or (seed is not None and seed < 0):
            return None
        return msgspec.structs.replace(
            self._settings,
            backend=self.backend.currentData(),
            model=self.model.text().strip(),
            effort=self.effort.currentData(),
            lanes=self.lanes.currentData(),
            temperature=heat,
            seed=seed,
        )

    def _check(self) -> None:
        self.lanes.setEnabled(self.effort.currentData() == "heavy")
        fine = self._chosen() is not None
        self._buttons.button(QDialogButtonBox.StandardButton.Ok).setEnabled(fine)

    def _box(self, name: str, items: list[tuple[str, str]] | list[tuple[str, int]]) -> QComboBox:
        made = QComboBox()
        made.setObjectName(name)
        for text, value in items:
            made.addItem(text, value)
        return made

    def _line(self, name: str, text: str, hint: str) -> QLineEdit:
        made = QLineEdit(text)
        made.setObjectName(name)
        made.setPlaceholderText(hint)
        return made


def _text(value: float | int | None) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
