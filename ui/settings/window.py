"""The settings: one page a subject."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QTabWidget, QVBoxLayout, QWidget

from ui.bridge import Bridge
from ui.settings.endpoints import EndpointsPage
from ui.settings.guards import GuardsPage


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
        self.resize(760, 520)
        self.setMinimumSize(420, 420)
        self.endpoints = EndpointsPage(bridge)
        self.endpoints.changed.connect(lambda made: self.changed.emit({"endpoints": made}))
        self.endpoints.used.connect(self.endpoint_used)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setDrawBase(False)
        self.guards = GuardsPage(bridge)
        self.guards.changed.connect(lambda made: self.changed.emit({"guards": made}))
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

    def done(self, result: int) -> None:
        """Stop what the pages do."""
        self.endpoints.leave()
        super().done(result)
