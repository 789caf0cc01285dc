"""The page of endpoints: who may answer runs, and who does."""

from __future__ import annotations

from pathlib import Path

import msgspec
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import (
    QBoxLayout,
    QFormLayout,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from app.endpoints.config import PRESETS, Endpoint, Preset, caution, new_id, new_name
from ui.bridge import Bridge
from ui.chat.row_base import button, label, line
from ui.settings.endpoint_editor import EndpointEditor
from ui.settings.trial_panel import TrialPanel
from ui.settings.undo_line import UndoLine
from ui.theme import current

_NARROW = 560
_LIST_WIDTH = 190
_LIST_HEIGHT = 120
_OURS = "local"


class EndpointsPage(QWidget):
    """Signals: ``changed(tuple)`` of Endpoint, to be saved; ``used(id)``: it answers new runs."""

    changed = Signal(object)
    used = Signal(str)

    def __init__(self, bridge: Bridge, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bridge = bridge
        settings = bridge.core.settings
        self._own, self._in_use = settings.endpoints, settings.run.backend
        self._model = Path(settings.model).name if settings.model else self.tr("the embedded model")
        self.list = QListWidget()
        self.list.setObjectName("endpointList")
        self.list.setAccessibleName(self.tr("Endpoints"))
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.currentItemChanged.connect(lambda *_: self._show())
        # Queued: the same Enter would go on to the editor's button that is pressed by Enter.
        queued = Qt.ConnectionType.QueuedConnection
        self.list.itemActivated.connect(self._edit_chosen, queued)
        self._title, self._where = label(), label("muted")
        self._title.setObjectName("endpointTitle")
        self._title.setFont(current().heading_font)
        self._where.setObjectName("endpointWhere")
        self._caution = label("warn")
        for one in (self._title, self._where, self._caution):
            one.setWordWrap(True)
        self._facts = QFormLayout()
        self._facts.setHorizontalSpacing(16)
        self._facts.setVerticalSpacing(3)
        self._make_buttons()
        self._trial = TrialPanel(bridge, self._chosen)
        self._undo = UndoLine("undoEndpoint")
        self._lay_out()
        for key, work in ((QKeySequence.StandardKey.Delete, self._remove_chosen),):
            shortcut = QShortcut(QKeySequence(key), self.list)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(work)
        self._fill(self._in_use)

    def leave(self) -> None:
        """The page is closed: stop what is tried."""
        self._trial.stop()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Where it is narrow, the list stands above."""
        super().resizeEvent(event)
        narrow = event.size().width() < _NARROW
        kinds = QBoxLayout.Direction
        self._line.setDirection(kinds.TopToBottom if narrow else kinds.LeftToRight)
        self.list.setMaximumSize(
            10_000 if narrow else _LIST_WIDTH, _LIST_HEIGHT if narrow else 10_000
        )
        self._actions.setDirection(kinds.TopToBottom if narrow else kinds.LeftToRight)

    # -- layout -------------------------------------------------------------------------------

    def _make_buttons(self) -> None:
        use = self.tr("New runs are answered by it")
        self._use = button(self.tr("Use for new runs"), "useEndpoint", use, "primary")
        self._edit = button(self.tr("Edit…"), "editEndpoint", self.tr("Change it (Enter)"))
        copy = self.tr("Add another like it")
        self._copy = button(self.tr("Duplicate"), "duplicateEndpoint", copy)
        away = self.tr("Forget it (Delete); can be undone")
        self._remove = button(self.tr("Remove"), "removeEndpoint", away, "danger")
        self._use.clicked.connect(self._use_chosen)
        self._edit.clicked.connect(self._edit_chosen)
        self._copy.clicked.connect(self._copy_chosen)
        self._remove.clicked.connect(self._remove_chosen)
        self._add = button(self.tr("Add ▾"), "addEndpoint", self.tr("Add an endpoint (Ctrl+N)"))
        self._add.setShortcut("Ctrl+N")
        menu = QMenu(self._add)
        menu.setObjectName("addEndpointMenu")
        for preset in PRESETS:
            action = menu.addAction(preset.title)
            action.triggered.connect(lambda _=False, one=preset: self._add_from(one))
        menu.addSeparator()
        other = menu.addAction(self.tr("Another…"))
        blank = Preset("", Endpoint("", ""))
        other.triggered.connect(lambda _=False: self._add_from(blank))
        self._add.clicked.connect(
            lambda: menu.popup(self._add.mapToGlobal(self._add.rect().bottomLeft()))
        )

    def _lay_out(self) -> None:
        self._actions = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._actions.setSpacing(6)
        self._actions.addLayout(line(self._use, self._edit, None, spacing=6), 1)
        self._actions.addLayout(line(self._copy, self._remove, None, spacing=6))
        right = QVBoxLayout()
        right.addWidget(self._title)
        right.addWidget(self._where)
        right.addLayout(self._facts)
        right.addWidget(self._caution)
        right.addSpacing(4)
        right.addLayout(self._actions)
        right.addWidget(self._trial)
        right.addStretch(1)
        self._line = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._line.setSpacing(16)
        self._line.addWidget(self.list)
        self._line.addLayout(right, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 12, 12, 4)
        column.addLayout(self._line, 1)
        foot = line(self._add, self._undo)
        foot.setStretch(1, 1)
        column.addLayout(foot)

    # -- what is shown ------------------------------------------------------------------------

    @property
    def _id(self) -> str:
        item = self.list.currentItem()
        return str(item.data(Qt.ItemDataRole.UserRole)) if item else _OURS

    def _chosen(self) -> Endpoint | None:
        """None: our own engine."""
        return next((one for one in self._own if one.id == self._id), None)

    def _fill(self, chosen: str) -> None:
        """Show them all, and choose one."""
        self.list.clear()
        titles = [(_OURS, self.tr("Own engine")), *((one.id, one.title) for one in self._own)]
        known = {id for id, _ in titles}
        if self._in_use not in known:
            self._in_use = _OURS
        for id, title in titles:
            item = QListWidgetItem(f"● {title}" if id == self._in_use else title)
            item.setData(Qt.ItemDataRole.UserRole, id)
            item.setToolTip(title + (self.tr(" (answers new runs)") if id == self._in_use else ""))
            self.list.addItem(item)
            if id == (chosen if chosen in known else _OURS):
                self.list.setCurrentItem(item)

    def _show(self) -> None:
        endpoint = self._chosen()
        in_use = self._id == self._in_use
        self._use.setEnabled(not in_use)
        self._use.setText(self.tr("Answers new runs") if in_use else self.tr("Use for new runs"))
        for one in (self._edit, self._copy, self._remove, self._trial):
            one.setVisible(endpoint is not None)
        warning = caution(endpoint) if endpoint else ""
        self._caution.setText(warning)
        self._caution.setVisible(bool(warning))
        while self._facts.rowCount():
            self._facts.removeRow(0)
        if endpoint is None:
            self._title.setText(self.tr("Own engine"))
            self._where.setText(self.tr("Runs on this machine: {m}.").format(m=self._model))
            if not self._own:
                hint = self.tr(
                    "There is no other endpoint yet. Add a server of yours (vLLM, SGLang, "
                    "KTransformers, llama.cpp) or a service."
                )
                self._where.setText(f"{self._where.text()}\n\n{hint}")
        else:
            self._title.setText(endpoint.title)
            form = self.tr("Anthropic's form") if endpoint.form == "anthropic" else "OpenAI's form"
            self._where.setText(f"{endpoint.base_url}  ({form})")
            for name, text in self._facts_of(endpoint):
                self._add_fact(name, text)
        self._trial.show_known()

    def _add_fact(self, name: str, text: str) -> None:
        title, value = label("muted"), label()
        title.setText(name)
        value.setText(text)
        value.setObjectName("endpointFact")
        value.setWordWrap(True)
        value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        value.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self._facts.addRow(title, value)

    def _facts_of(self, one: Endpoint) -> list[tuple[str, str]]:
        key = self.tr("none")
        if one.key_env:
            key = self.tr("from ${name}").format(name=one.key_env)
        elif one.key:
            key = self.tr("kept in the settings file")
        context = self.tr("{n:,} tokens").format(n=one.context) if one.context else ""
        cached = f" / {one.price_cached:g}" if one.price_cached is not None else ""
        prices = ""
        if one.price_prompt or one.price_completion:
            text = self.tr("{read:g}{cached} read, {written:g} written, per million tokens")
            prices = text.format(read=one.price_prompt, cached=cached, written=one.price_completion)
        return [
            (self.tr("Model"), one.model or self.tr("not chosen")),
            (self.tr("Key"), key),
            (self.tr("Context window"), context or self.tr("not known")),
            (self.tr("Price"), prices or self.tr("none, so no cost is counted")),
        ]

    # -- what is done -------------------------------------------------------------------------

    def _save(self, endpoints: tuple[Endpoint, ...], chosen: str) -> None:
        self._own = endpoints
        self.changed.emit(endpoints)
        self._fill(chosen)

    def _use_chosen(self) -> None:
        self._use_id(self._id)

    def _use_id(self, id: str) -> None:
        self._in_use = id
        self.used.emit(id)
        self._fill(id)

    def _add_from(self, preset: Preset) -> None:
        name = preset.endpoint.name
        if name:
            name = new_name(name, (one.title for one in self._own))
        self._open(msgspec.structs.replace(preset.endpoint, name=name), preset.advice)

    def _edit_chosen(self) -> None:
        endpoint = self._chosen()
        if endpoint is not None:
            self._open(endpoint, "")

    def _open(self, endpoint: Endpoint, advice: str) -> None:
        editor = EndpointEditor(self._bridge, endpoint, self._own, advice, self.window())
        editor.saved.connect(self._keep)
        editor.finished.connect(lambda _: editor.deleteLater())
        editor.open()

    def _keep(self, made: Endpoint) -> None:
        self._undo.clear()
        if made.id:
            kept = tuple(made if one.id == made.id else one for one in self._own)
            self._save(kept, made.id)
        else:
            self._append(made)

    def _append(self, made: Endpoint) -> None:
        id = new_id(made.title, (one.id for one in self._own))
        self._save((*self._own, msgspec.structs.replace(made, id=id)), id)

    def _copy_chosen(self) -> None:
        endpoint = self._chosen()
        if endpoint is not None:
            self._undo.clear()
            name = new_name(endpoint.title, (one.title for one in self._own))
            self._append(msgspec.structs.replace(endpoint, name=name))

    def _remove_chosen(self) -> None:
        endpoint = self._chosen()
        if endpoint is None:
            return
        before, in_use = self._own, self._in_use
        at = before.index(endpoint)

        def undo() -> None:
            self._save(before, endpoint.id)
            if in_use == endpoint.id:
                self._use_id(in_use)

        if in_use == endpoint.id:
            self._use_id(_OURS)
        rest = before[:at] + before[at + 1 :]
        self._save(rest, rest[min(at, len(rest) - 1)].id if rest else _OURS)
        text = self.tr("“{name}” is removed").format(name=endpoint.title)
        if in_use == endpoint.id:
            text += self.tr("; the own engine answers new runs")
        self._undo.offer(text, undo)
        self.list.setFocus()
