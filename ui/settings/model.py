"""The page of the model: which one our engine loads, how, and what that would be like."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QMessageBox,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from app.engines.models import key_of, model_of
from app.engines.options import EngineOptions, load_request
from app.engines.view import EngineView
from app.errors import SelenographError
from engine.errors import CheckpointError
from engine.protocol import PlanReport
from ui.bridge import Bridge
from ui.chat.row_base import button, label, line, set_label_role
from ui.settings.forecast_card import ForecastCard
from ui.settings.load_form import LoadForm
from ui.settings.undo_line import UndoLine
from ui.widgets.scrolled import scrolled
from ui.words import sentence

Models = dict[str, EngineOptions]


class ModelPage(QWidget):
    """Signals: ``changed(dict)`` of fields of the settings that are to be saved now; ``used``:
    our engine is to answer new runs.
    """

    changed = Signal(object)
    used = Signal()

    def __init__(self, bridge: Bridge, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("modelPage")
        self._bridge = bridge
        settings = bridge.core.settings
        self._models: Models = {"": EngineOptions(), **settings.models}
        self._models.setdefault(settings.model, EngineOptions())
        self._chosen = settings.model
        self._asked: Future[PlanReport] | None = None
        self._seen = False
        self._disturbed = False
        """The engine was at work when the machine was measured."""
        self._is_model = True
        """As far as is known: False where the folder holds none, or one that is not supported."""
        self._view = EngineView()
        self._make_choice()
        self.card = ForecastCard()
        self.form = LoadForm()
        self.form.changed.connect(self._keep_options)
        self._state = label("muted")
        self._state.setObjectName("modelState")
        self._state.setWordWrap(True)
        self._state.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._load = button(self.tr("Load"), "loadModel", "", "primary")
        self._load.clicked.connect(self._load_if_free)
        self._cancel = button(self.tr("Cancel"), "cancelLoad", self.tr("Stop loading"))
        self._cancel.clicked.connect(lambda: bridge.then(bridge.core.stop_engine()))
        self._reset = button(
            self.tr("All automatic"), "resetLoad", self.tr("Leave everything to the engine")
        )
        self._reset.clicked.connect(self._leave_to_engine)
        self.undo = UndoLine("modelUndo", gives_way=True)
        self._lay_out()
        bridge.engine_changed.connect(self.set_view)
        self._fill()
        self.set_view(bridge.engine)

    def leave(self) -> None:
        """The page is closed: nothing is asked any more."""
        self._bridge.engine_changed.disconnect(self.set_view)
        self.form.settle()
        self._drop_question()

    # -- layout -------------------------------------------------------------------------------

    def _make_choice(self) -> None:
        self.choice = QComboBox()
        self.choice.setObjectName("modelChoice")
        self.choice.setAccessibleName(self.tr("Model"))
        self.choice.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.choice.setMinimumContentsLength(16)
        policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        self.choice.setSizeAdjustPolicy(policy)
        self.choice.activated.connect(lambda _: self._choose(str(self.choice.currentData())))
        self._browse = button(
            self.tr("Open folder…"), "browseModel", self.tr("A checkpoint on this machine (Ctrl+O)")
        )
        self._browse.setShortcut("Ctrl+O")
        self._browse.clicked.connect(self._ask_folder)
        self._forget = button(
            self.tr("Forget"), "forgetModel", self.tr("Take it off this list; can be undone")
        )
        self._forget.clicked.connect(self._forget_chosen)
        self._folder = label("faint")
        self._folder.setObjectName("modelFolder")
        self._folder.setWordWrap(True)
        self._folder.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def _lay_out(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(12, 12, 12, 4)
        column.setSpacing(10)
        chosen = line(self.choice, self._browse, self._forget)
        chosen.setStretch(0, 1)
        column.addLayout(chosen)
        column.addWidget(self._folder)
        column.addWidget(self.card)
        column.addWidget(self.form)
        column.addStretch(1)
        foot = line(self._state, self._cancel, self._reset, self._load)
        foot.setStretch(0, 1)
        foot.setContentsMargins(12, 4, 12, 0)
        back = line(self.undo)
        back.setContentsMargins(12, 0, 12, 0)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(scrolled("modelArea", inside), 1)
        whole.addLayout(back)
        whole.addLayout(foot)

    # -- what is shown ------------------------------------------------------------------------

    def _fill(self) -> None:
        """The list, and everything of the chosen model."""
        self.choice.clear()
        for key in self._models:
            folder = model_of(key)
            name = self.tr("{n} (embedded)").format(n=folder.name) if not key else folder.name
            self.choice.addItem(name, key)
            self.choice.setItemData(
                self.choice.count() - 1, str(folder), Qt.ItemDataRole.ToolTipRole
            )
        self.choice.setCurrentIndex(self.choice.findData(self._chosen))
        self._folder.setText(str(model_of(self._chosen)))
        self._folder.setVisible(bool(self._chosen))
        self._forget.setVisible(bool(self._chosen))
        self.form.set_options(self._options)
        self._show_state()
        if self._seen:
            self._ask_forecast(first=True)

    def showEvent(self, event: QShowEvent) -> None:
        """The machine is measured when somebody looks, not before."""
        super().showEvent(event)
        if not self._seen:
            self._seen = True
            self._ask_forecast(first=True, afresh=True)

    @property
    def _options(self) -> EngineOptions:
        return self._models[self._chosen]

    def set_view(self, view: EngineView) -> None:
        """What the engine is doing."""
        self._view = view
        self._show_state()

    def _show_state(self) -> None:
        view = self._view
        loading = view.phase in ("starting", "loading")
        loaded = view.phase == "ready" and view.request is not None
        key = key_of(Path(view.request.path)) if view.request else ""
        as_wanted = loaded and view.request == load_request(
            model_of(self._chosen), self._options, view.request.snapshots if view.request else None
        )
        role, again = "muted", loaded and key == self._chosen
        if loading:
            progress = view.status.load_progress if view.status else None
            done = f" {progress:.0%}" if progress is not None else ""
            text = self.tr("Loading{done}…").format(done=done)
        elif as_wanted:
            role, text = "good", self.tr("Loaded with these settings.")
        elif again:
            role, text = "warn", self.tr("Loaded with other settings.")
        elif loaded:
            text = self.tr("{name} is loaded.").format(name=model_of(key).name)
        elif view.phase in ("failed", "lost"):
            role = "bad"
            text = " ".join(sentence(t) for t in (view.message, view.hint) if t)
        else:
            text = self.tr("The engine is off.")
        self._state.setText(text)
        set_label_role(self._state, role)
        self._cancel.setVisible(loading)
        self._load.setEnabled(self._is_model and not as_wanted)
        self._load.setText(self.tr("Load again") if again and not as_wanted else self.tr("Load"))
        self._load.setToolTip(self.tr("New runs are then answered by it"))
        self._reset.setEnabled(self._options != EngineOptions())

    # -- what is foretold ---------------------------------------------------------------------

    def _ask_forecast(self, *, first: bool, afresh: bool = False) -> None:
        self._drop_question()
        self.card.show_busy(first=first)
        folder, options = model_of(self._chosen), self._options
        asked = self._bridge.core.foretell(folder, options, afresh=afresh)
        self._asked = asked
        if afresh:
            status = self._view.status
            self._disturbed = status is not None and status.running > 0

        def show(report: PlanReport) -> None:
            if self._asked is asked:
                self.card.show_report(report, disturbed=self._disturbed)
                self._is_model = True
                self._show_state()

        def tell(error: Exception) -> None:
            if self._asked is not asked:
                return
            if isinstance(error, SelenographError):
                self.card.show_error(error.message, error.hint)
            else:
                self.card.show_error(repr(error), self.tr("This is a bug."))
            self._is_model = not isinstance(error, CheckpointError)
            self._show_state()

        self._bridge.then(asked, show, tell, owner=self)

    def _drop_question(self) -> None:
        asked, self._asked = self._asked, None
        if asked is not None and not asked.done():
            self._bridge.core.cancel(asked)

    # -- what is done -------------------------------------------------------------------------

    def _choose(self, key: str) -> None:
        self.form.settle()
        if key != self._chosen:
            self._models.setdefault(key, EngineOptions())
            self._chosen = key
            self._fill()

    def _ask_folder(self) -> None:
        start = self._chosen or str(Path.home())
        folder = QFileDialog.getExistingDirectory(self, self.tr("Folder of a checkpoint"), start)
        if folder:
            self.open_folder(Path(folder))

    def open_folder(self, folder: Path) -> None:
        """Put it on the list and look at it; it is loaded when that is asked."""
        self.undo.clear()
        self._choose(key_of(folder))
        self._save()

    def _keep_options(self, options: EngineOptions) -> None:
        self.undo.clear()
        self._take(options)

    def _take(self, options: EngineOptions) -> None:
        self._models[self._chosen] = options
        self._save()
        self._show_state()
        self._ask_forecast(first=False)

    def _save(self) -> None:
        kept = {
            key: options
            for key, options in self._models.items()
            if key or options != EngineOptions()
        }
        self.changed.emit({"models": kept})

    def _leave_to_engine(self) -> None:
        before, key = self._options, self._chosen

        def undo() -> None:
            self._choose(key)
            self.form.set_options(before)
            self._take(before)

        self.form.set_options(EngineOptions())
        self._take(EngineOptions())
        self.undo.offer(self.tr("Everything is automatic again"), undo)

    def _forget_chosen(self) -> None:
        before, key = dict(self._models), self._chosen

        def undo() -> None:
            self._models = before
            self._choose(key)
            self._save()

        del self._models[key]
        self._chosen = ""
        self._fill()
        self._save()
        self.undo.offer(self.tr("“{name}” is forgotten").format(name=Path(key).name), undo)

    def _load_if_free(self) -> None:
        """Ask first where replies would be cut off."""
        status = self._view.status
        cut = status.running + status.waiting if status and self._view.phase == "ready" else 0
        if not cut:
            self.load()
            return
        box = QMessageBox(self.window())
        box.setObjectName("confirmLoad")
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle(self.tr("Load another model"))
        box.setText(self.tr("The engine is writing {n}.").format(n=_replies(cut)))
        box.setInformativeText(
            self.tr("That is cut off; its run can be continued with the new model.")
        )
        load = box.addButton(self.tr("Load all the same"), QMessageBox.ButtonRole.AcceptRole)
        load.setObjectName("confirmLoadYes")
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.buttonClicked.connect(lambda pressed: self.load() if pressed is load else None)
        box.finished.connect(lambda _: box.deleteLater())
        box.open()

    def load(self) -> None:
        """In the place of what is loaded."""
        self.form.settle()
        self.undo.clear()
        self.changed.emit({"model": self._chosen})
        self._save()
        self.used.emit()
        # How it goes is seen in the engine's state.
        self._bridge.then(self._bridge.core.open_model(), None, lambda _: None)


def _replies(number: int) -> str:
    return "a reply" if number == 1 else f"{number:,} replies"
