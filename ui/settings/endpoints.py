"""The page of endpoints: who may answer runs, and who does."""

from __future__ import annotations

from pathlib import Path

import msgspec
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QListWidgetItem, QMenu, QWidget

from app.endpoints.config import PRESETS, Endpoint, Preset, caution, new_id
from ui.bridge import Bridge
from ui.chat.row_base import button
from ui.settings.endpoint_editor import EndpointEditor
from ui.settings.list_page import ListPage
from ui.settings.trial_panel import TrialPanel
from ui.words import new_name

_OURS = "local"


class EndpointsPage(ListPage):
    """Signals: ``changed(tuple)`` of Endpoint, to be saved; ``used(id)``: it answers new runs."""

    changed = Signal(object)
    used = Signal(str)

    def __init__(self, bridge: Bridge, parent: QWidget | None = None) -> None:
        super().__init__("endpoint", parent)
        self._bridge = bridge
        settings = bridge.core.settings
        self._own, self._in_use = settings.endpoints, settings.run.backend
        self.list.setAccessibleName(self.tr("Endpoints"))
        self._make_buttons()
        self._trial = TrialPanel(bridge, self._chosen)
        first, second = (self._use, self._edit), (self._copy, self._remove)
        self.lay_out(self._add, first, second, (self._trial,))
        self._fill(self._in_use)

    def leave(self) -> None:
        """The page is closed: stop what is tried."""
        self._trial.stop()

    def _make_buttons(self) -> None:
        use = self.tr("New runs are answered by it")
        self._use = button(self.tr("Use for new runs"), "useEndpoint", use, "primary")
        self._edit = button(self.tr("Edit…"), "editEndpoint", self.tr("Change it (Enter)"))
        copy = self.tr("Add another like it")
        self._copy = button(self.tr("Duplicate"), "duplicateEndpoint", copy)
        away = self.tr("Forget it (Delete); can be undone")
        self._remove = button(self.tr("Remove"), "removeEndpoint", away, "danger")
        self._use.clicked.connect(self._use_chosen)
        self._edit.clicked.connect(self.edit_chosen)
        self._copy.clicked.connect(self._copy_chosen)
        self._remove.clicked.connect(self.remove_chosen)
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

    def show_chosen(self) -> None:
        """What is known of it, and what can be done."""
        endpoint = self._chosen()
        in_use = self._id == self._in_use
        self._use.setEnabled(not in_use)
        self._use.setText(self.tr("Answers new runs") if in_use else self.tr("Use for new runs"))
        for one in (self._edit, self._copy, self._remove, self._trial):
            one.setVisible(endpoint is not None)
        self.set_caution(caution(endpoint) if endpoint else "")
        self.set_facts(self._facts_of(endpoint) if endpoint else [])
        if endpoint is None:
            self.title.setText(self.tr("Own engine"))
            model = self._bridge.core.settings.model
            name = Path(model).name if model else self.tr("the embedded model")
            about = self.tr("Runs on this machine: {m}.").format(m=name)
            if not self._own:
                about += "\n\n" + self.tr(
                    "There is no other endpoint yet. Add a server of yours (vLLM, SGLang, "
                    "KTransformers, llama.cpp) or a service."
                )
            self.about.setText(about)
        else:
            anthropic = endpoint.form == "anthropic"
            form = self.tr("Anthropic's form") if anthropic else self.tr("OpenAI's form")
            self.title.setText(endpoint.title)
            self.about.setText(f"{endpoint.base_url}  ({form})")
        self._trial.show_known()

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

    def use_own(self) -> None:
        """Our engine answers new runs."""
        if self._in_use != _OURS:
            self._use_id(_OURS)

    def _use_id(self, id: str) -> None:
        self._in_use = id
        self.used.emit(id)
        self._fill(id)

    def _add_from(self, preset: Preset) -> None:
        name = preset.endpoint.name
        if name:
            name = new_name(name, (one.title for one in self._own))
        self._open(msgspec.structs.replace(preset.endpoint, name=name), preset.advice)

    def edit_chosen(self) -> None:
        """In a form."""
        endpoint = self._chosen()
        if endpoint is not None:
            self._open(endpoint, "")

    def _open(self, endpoint: Endpoint, advice: str) -> None:
        editor = EndpointEditor(self._bridge, endpoint, self._own, advice, self.window())
        editor.saved.connect(self._keep)
        editor.finished.connect(lambda _: editor.deleteLater())
        editor.open()

    def _keep(self, made: Endpoint) -> None:
        self.undo.clear()
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
            self.undo.clear()
            name = new_name(endpoint.title, (one.title for one in self._own))
            self._append(msgspec.structs.replace(endpoint, name=name))

    def remove_chosen(self) -> None:
        """Forget it, and offer to undo that."""
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
        self.undo.offer(text, undo)
        self.list.setFocus()
