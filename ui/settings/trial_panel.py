"""A button that tries an endpoint in the background, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from app.endpoints.config import Endpoint
from app.endpoints.trial import Listing, Trial
from app.errors import SelenographError
from ui.bridge import Bridge
from ui.chat.row_base import button, label, line
from ui.words import sentence, took

Line = tuple[str, str]
"""A role and a text."""
_SHOWN_MODELS = 6


class TrialPanel(QWidget):
    """Signals: ``models_found(tuple)`` of names."""

    models_found = Signal(object)

    def __init__(
        self, bridge: Bridge, endpoint: Callable[[], Endpoint | None], parent: QWidget | None = None
    ) -> None:
        """``endpoint``: the one to be tried as it stands now; None: there is none."""
        super().__init__(parent)
        self._bridge, self._endpoint = bridge, endpoint
        self._at_work: Future[Any] | None = None
        self._known: dict[Endpoint, list[Line]] = {}
        tip = self.tr(
            "Ask for its models, then for a small reply, which may cost a little (Ctrl+T)"
        )
        self._begin = button(self.tr("Test"), "testEndpoint", tip)
        self._begin.setShortcut("Ctrl+T")
        self._begin.clicked.connect(self.begin)
        self._cancel = button(self.tr("Cancel"), "cancelTest", self.tr("Stop the test"))
        self._cancel.clicked.connect(self.stop)
        self._doing = label("muted")
        self._doing.setObjectName("testDoing")
        self._labels: list[QLabel] = []
        self._lines = QVBoxLayout()
        self._lines.setSpacing(2)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(line(self._begin, self._cancel, self._doing, None))
        column.addLayout(self._lines)
        self._show_working("")

    def show_known(self) -> None:
        """Another endpoint is to be tried now: show what is known of it."""
        self.stop()
        endpoint = self._endpoint()
        self._show(self._known.get(endpoint, []) if endpoint is not None else [])

    def begin(self) -> None:
        """Try it. A test that goes on is stopped first."""
        self.stop()
        endpoint = self._endpoint()
        self._show([])
        if endpoint is None:
            return
        self._show_working(self.tr("Asking for its models…"))
        listed = self._bridge.core.list_models(endpoint)
        self._follow(listed, lambda found: self._listed(endpoint, found), endpoint)

    def stop(self) -> None:
        """Break the test off, if one goes on."""
        if self._at_work is not None:
            self._bridge.core.cancel(self._at_work)
            self._at_work = None
        self._show_working("")

    # -- inside -------------------------------------------------------------------------------

    def _follow(
        self, future: Future[Any], work: Callable[[Any], object], endpoint: Endpoint
    ) -> None:
        self._at_work = future

        def done(found: Any) -> None:
            if self._at_work is future:
                self._at_work = None
                work(found)

        def failed(error: Exception) -> None:
            if self._at_work is future:
                self._end(endpoint, self._of_error(error))

        self._bridge.then(future, done, failed, owner=self)

    def _listed(self, endpoint: Endpoint, found: Listing) -> None:
        self.models_found.emit(found.models)
        self._add(self._of_listing(endpoint, found))
        if not endpoint.model:
            self._end(endpoint, [("warn", self.tr("Choose a model to test it, too."))])
            return
        self._show_working(self.tr("Asking {m} to call a tool…").format(m=endpoint.model))
        tried = self._bridge.core.try_model(endpoint)
        self._follow(tried, lambda trial: self._end(endpoint, self._of_trial(trial)), endpoint)

    def _end(self, endpoint: Endpoint, lines: list[Line]) -> None:
        self._at_work = None
        self._add(lines)
        self._known[endpoint] = self._shown()
        self._show_working("")

    def _of_listing(self, endpoint: Endpoint, found: Listing) -> list[Line]:
        trip = self.tr("{ms:.0f} ms there and back").format(ms=found.milliseconds)
        if not found.told:
            return [("good", f"✓ {trip}"), ("muted", self.tr("It has no list of models"))]
        count = len(found.models)
        names = ", ".join(found.models[:_SHOWN_MODELS]) + (", …" if count > _SHOWN_MODELS else "")
        lines = [("good", f"✓ {trip}")]
        if count:
            models = self.tr("1 model") if count == 1 else self.tr("{n} models").format(n=count)
            lines.append(("muted", f"{models}: {names}"))
        if count and endpoint.model and endpoint.model not in found.models:
            wrong = self.tr("“{m}” is not among them").format(m=endpoint.model)
            lines.append(("warn", f"✗ {wrong}"))
        return lines

    def _of_trial(self, found: Trial) -> list[Line]:
        first = self.tr("First words after {t}").format(t=took(found.first_ms / 1000))
        whole = self.tr("it comes whole, not piece by piece")
        lines = [("good", f"✓ {first}") if found.streams else ("warn", f"✗ {first}; {whole}")]
        if found.reasoning:
            lines.append(("good", "✓ " + self.tr("Thinks apart from its answer")))
        else:
            lines.append(("warn", "✗ " + self.tr("Shows no thinking")))
        if found.called:
            lines.append(("good", "✓ " + self.tr("Calls tools")))
        else:
            lines.append(("warn", "✗ " + self.tr("Did not call the tool that it was asked to")))
        return [*lines, ("muted", found.advice)] if found.advice else lines

    def _of_error(self, error: Exception) -> list[Line]:
        if not isinstance(error, SelenographError):
            return [("bad", f"✗ {error!r}"), ("muted", self.tr("This is a bug."))]
        lines = [("bad", f"✗ {error.message}")]
        if error.hint:
            lines.append(("muted", sentence(error.hint)))
        return lines

    def _show_working(self, doing: str) -> None:
        self._doing.setText(doing)
        self._begin.setVisible(not doing)
        self._cancel.setVisible(bool(doing))

    def _show(self, lines: list[Line]) -> None:
        for made in self._labels:
            self._lines.removeWidget(made)
            made.hide()
            made.deleteLater()
        self._labels = []
        self._add(lines)

    def _add(self, lines: list[Line]) -> None:
        for role, text in lines:
            made = label(role)
            made.setObjectName("testLine")
            made.setWordWrap(True)
            made.setText(text)
            self._lines.addWidget(made)
            self._labels.append(made)

    def _shown(self) -> list[Line]:
        return [(str(made.property("role")), made.text()) for made in self._labels]
