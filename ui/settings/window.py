"""The settings: one page a subject."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QTabWidget, QVBoxLayout, QWidget

from ui.bridge import Bridge
from ui.settings.endpoints import EndpointsPage
from ui.settings.guards import GuardsPage
from ui.settings.model import ModelPage


class SettingsDialog(QDialog):
    """Signals: ``changed(dict)`` of fields of the settings that are to be saved now;
    ``endpoint_used(id)``: it answers new runs.
    """

    changed = Signal(object)
    endpoint_used = Signal(str)

    def __init__(self, bridge: Bridge, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("settingsDialog")
        self.setWindowTitle(self.tr("Settings"))
        self.resize(760, 620)
        self.setMinimumSize(420, 420)
        self.endpoints = EndpointsPage(bridge)
        self.endpoints.changed.connect(lambda made: self.changed.emit({"endpoints": made}))
        self.endpoints.used.connect(self.endpoint_used)
        self.model = ModelPage(bridge)
        self.model.changed.connect(self.changed)
        self.model.used.connect(self.endpoints.use_own)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setDrawBase(False)
        self.guards = GuardsPage(bridge)
        self.guards.changed.connect(lambda made: self.changed.emit({"guards": made}))
        self.tabs.addTab(self.model, self.tr("Model"))
        self.tabs.addTab(self.endpoints, self.tr("Endpoints"))
        self.tabs.addTab(self.guards, self.tr("Guards"))
        close = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        close.rejected.connect(self.reject)
        # Enter in a list is for the list.
        close.button(QDialogButtonBox.StandardButton.Close).setAutoDefault(False)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 12)
        column.addWidget(self.tabs)
        column.addWidget(close)

    def show_page(self, page: QWidget) -> None:
        """One of ``model``, ``endpoints`` and ``guards``."""
        self.tabs.setCurrentWidget(page)

    def done(self, result: int) -> None:
        """Stop what the pages do."""
        self.model.leave()
        self.endpoints.leave()
        super().done(result)
