"""Colours, distances and type, as one small table; everything drawn takes them from here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication

Choice = Literal["system", "light", "dark"]
_ICONS = Path(__file__).parents[1] / "resources" / "icons"


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours as #rrggbb; text colours reach 4.5:1 on the surfaces that they are used on."""

    dark: bool
    window: str
    surface: str
    raised: str
    border: str
    text: str
    muted: str
    faint: str
    accent: str
    accent_text: str
    selection: str
    good: str
    warn: str
    bad: str
    code_bg: str
    reasoning_bg: str
    user_bg: str
    radius: int = 8

    @property
    def body_font(self) -> QFont:
        """The desktop's own font at its own size."""
        return QFont(QApplication.font())

    @property
    def small_font(self) -> QFont:
        """For captions and meta lines."""
        return _scaled(self.body_font, 0.9)

    @property
    def heading_font(self) -> QFont:
        """For the few headings there are."""
        font = _scaled(self.body_font, 1.35)
        font.setWeight(QFont.Weight.DemiBold)
        return font

    @property
    def mono_font(self) -> QFont:
        """For code, arguments and results."""
        font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
        font.setPointSizeF(max(self.body_font.pointSizeF() * 0.95, 7.0))
        return font


LIGHT = Theme(
    dark=False,
    window="#f6f6f4",
    surface="#ffffff",
    raised="#fbfbfa",
    border="#dcdcd8",
    text="#1d1f23",
    muted="#5b606a",
    faint="#6f747d",
    accent="#3d56b2",
    accent_text="#ffffff",
    selection="#dfe5f8",
    good="#23744a",
    warn="#8a5a00",
    bad="#b3261e",
    code_bg="#f3f3f0",
    reasoning_bg="#f5f4ee",
    user_bg="#e9edf9",
)

DARK = Theme(
    dark=True,
    window="#17181c",
    surface="#1d1f24",
    raised="#24262c",
    border="#363942",
    text="#e6e7ea",
    muted="#a5aab5",
    faint="#8d929e",
    accent="#93a8f4",
    accent_text="#12141a",
    selection="#2f3958",
    good="#7fcf9f",
    warn="#e2b866",
    bad="#f2908a",
    code_bg="#15161a",
    reasoning_bg="#202127",
    user_bg="#29304a",
)


def current() -> Theme:
    """The theme in use; light before a :class:`ThemeSource` exists."""
    return _current[0]


_current: list[Theme] = [LIGHT]


class ThemeSource(QObject):
    """Follows the desktop's light or dark unless told otherwise.

    Signals: ``changed(Theme)`` after palette and style sheet are in place.
    """

    changed = Signal(object)

    def __init__(self, app: QApplication, choice: Choice = "system") -> None:
        super().__init__(app)
        self._app = app
        self._choice: Choice = choice
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._apply)
        self._apply()

    @property
    def choice(self) -> Choice:
        """What was asked for."""
        return self._choice

    def choose(self, choice: Choice) -> None:
        """Follow the system, or stay light or dark."""
        self._choice = choice
        self._apply()

    def _apply(self) -> None:
        system_dark = QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark
        dark = system_dark if self._choice == "system" else self._choice == "dark"
        theme = DARK if dark else LIGHT
        _current[0] = theme
        self._app.setPalette(_palette(theme))
        self._app.setStyleSheet(style_sheet(theme))
        self.changed.emit(theme)


def _picture(name: str, dark: bool) -> str:
    """Of an icon that there is in two colours, as a style sheet names files."""
    return (_ICONS / f"{name}-{'dark' if dark else 'light'}.svg").as_posix()


def _scaled(font: QFont, factor: float) -> QFont:
    font.setPointSizeF(max(font.pointSizeF() * factor, 7.0))
    return font


def _palette(t: Theme) -> QPalette:
    palette = QPalette()
    roles = QPalette.ColorRole
    for role, colour in (
        (roles.Window, t.window),
        (roles.WindowText, t.text),
        (roles.Base, t.surface),
        (roles.AlternateBase, t.raised),
        (roles.Text, t.text),
        (roles.Button, t.raised),
        (roles.ButtonText, t.text),
        (roles.ToolTipBase, t.raised),
        (roles.ToolTipText, t.text),
        (roles.PlaceholderText, t.faint),
        (roles.Highlight, t.selection),
        (roles.HighlightedText, t.text),
        (roles.Link, t.accent),
        (roles.LinkVisited, t.accent),
        (roles.Mid, t.border),
    ):
        palette.setColor(role, QColor(colour))
    for role in (roles.Text, roles.ButtonText, roles.WindowText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(t.faint))
    return palette


def style_sheet(t: Theme) -> str:
    """The one style sheet. Widgets are picked out by type, object name or `role` property."""
    return f"""
* {{ outline: 0; }}
QMainWindow, QDialog {{ background: {t.window}; }}
QToolTip {{ background: {t.raised}; color: {t.text}; border: 1px solid {t.border}; padding: 4px; }}
QDialogButtonBox {{ dialogbuttonbox-buttons-have-icons: 0; }}
QPushButton, QToolButton {{
  background: {t.surface}; color: {t.text}; border: 1px solid {t.border};
  border-radius: 6px; padding: 4px 12px; }}
QToolButton {{ padding: 4px 8px; }}
QPushButton:hover, QToolButton:hover {{ background: {t.selection}; }}
QPushButton:pressed, QToolButton:pressed, QToolButton:checked {{ background: {t.selection}; }}
QPushButton:focus, QToolButton:focus {{ border: 1px solid {t.accent}; }}
QPushButton:disabled, QToolButton:disabled {{ color: {t.faint}; }}
QPushButton[role="primary"] {{
  background: {t.accent}; color: {t.accent_text}; border: 1px solid {t.accent}; }}
QPushButton[role="primary"]:disabled {{ background: {t.raised}; color: {t.faint};
  border: 1px solid {t.border}; }}
QPushButton[role="danger"] {{ color: {t.bad}; }}
QPushButton[role="danger"]:disabled {{ color: {t.faint}; }}
QPushButton[role="quiet"], QPushButton[role="close"], QToolButton[role="quiet"] {{
  background: transparent; border: 1px solid transparent; color: {t.muted}; padding: 2px 8px; }}
QPushButton[role="close"] {{ padding: 0; }}
QPushButton[role="quiet"]:hover, QPushButton[role="close"]:hover, QToolButton[role="quiet"]:hover {{
  background: {t.selection}; color: {t.text}; }}
QPushButton[role="quiet"]:focus, QPushButton[role="close"]:focus, QToolButton[role="quiet"]:focus {{
  border: 1px solid {t.accent}; }}
QToolButton::menu-indicator {{ image: none; width: 0; }}
QToolButton[popupMode="1"] {{ padding-right: 18px; }}
QToolButton::menu-button {{ border: 0; background: transparent; width: 18px; }}
QToolButton::menu-arrow {{ image: url({_picture("arrow-down", t.dark)});
  width: 10px; height: 10px; }}
QLineEdit, QPlainTextEdit, QTextEdit, QComboBox, QAbstractSpinBox {{
  background: {t.surface}; color: {t.text}; border: 1px solid {t.border}; border-radius: 6px;
  padding: 4px 6px; selection-background-color: {t.selection}; selection-color: {t.text}; }}
QComboBox {{ padding-right: 2px; }}
QComboBox::drop-down {{ border: 0; background: transparent; width: 20px; }}
QComboBox::down-arrow {{ image: url({_picture("arrow-down", t.dark)});
  width: 10px; height: 10px; }}
QAbstractSpinBox::up-button, QAbstractSpinBox::down-button {{
  border: 0; background: transparent; width: 20px; }}
QAbstractSpinBox::up-arrow {{ image: url({_picture("arrow-up", t.dark)});
  width: 9px; height: 9px; }}
QAbstractSpinBox::down-arrow {{ image: url({_picture("arrow-down", t.dark)});
  width: 9px; height: 9px; }}
QComboBox QAbstractItemView {{ background: {t.raised}; color: {t.text};
  border: 1px solid {t.border}; selection-background-color: {t.selection};
  selection-color: {t.text}; }}
QLineEdit:focus, QPlainTextEdit:focus, QTextEdit:focus, QComboBox:focus,
QAbstractSpinBox:focus {{
  border: 1px solid {t.accent}; }}
QCheckBox::indicator, QListView::indicator, QTableView::indicator {{
  width: 13px; height: 13px; border: 1px solid {t.faint}; border-radius: 3px;
  background: {t.surface}; }}
QCheckBox::indicator:checked, QListView::indicator:checked, QTableView::indicator:checked {{
  background: {t.accent}; border: 1px solid {t.accent};
  image: url({_picture("check", t.dark)}); }}
QCheckBox::indicator:focus, QCheckBox::indicator:hover {{ border: 1px solid {t.accent}; }}
QTextBrowser[role="block"], QPlainTextEdit[role="plain"] {{
  background: transparent; border: 0; padding: 0; }}
QLabel[role="muted"] {{ color: {t.muted}; }}
QLabel[role="faint"] {{ color: {t.faint}; }}
QLabel[role="good"] {{ color: {t.good}; }}
QLabel[role="warn"] {{ color: {t.warn}; }}
QLabel[role="bad"] {{ color: {t.bad}; }}
QFrame[role="card"] {{ background: {t.surface}; border: 1px solid {t.border};
  border-radius: {t.radius}px; }}
QFrame[role="asking"] {{ background: {t.surface}; border: 1px solid {t.accent};
  border-radius: {t.radius}px; }}
QFrame[role="user"] {{ background: {t.user_bg}; border: 0; border-radius: {t.radius}px; }}
QFrame[role="reasoning"] {{ background: {t.reasoning_bg}; border: 0;
  border-radius: {t.radius}px; }}
QFrame[role="code"] {{ background: {t.code_bg}; border: 1px solid {t.border};
  border-radius: {t.radius}px; }}
QFrame[role="trouble"] {{ background: {t.surface}; border: 1px solid {t.bad};
  border-radius: {t.radius}px; }}
QFrame[role="note"] {{ background: {t.surface}; border: 1px solid {t.warn};
  border-radius: {t.radius}px; }}
QFrame[role="chip"] {{ background: {t.user_bg}; border: 0; border-radius: 10px; }}
QFrame[role="lane"] {{ background: {t.surface}; border: 1px solid {t.border};
  border-radius: 6px; }}
QWidget[role="header"]:focus {{ background: {t.selection}; border-radius: 3px; }}
QFrame[role="lane"]:hover, QFrame[role="lane"]:focus {{ border: 1px solid {t.accent}; }}
QLabel[role="accent"] {{ color: {t.accent}; }}
QLabel[role="badge-good"], QLabel[role="badge-warn"] {{ border: 1px solid {t.good};
  border-radius: 8px; padding: 1px 8px; color: {t.good}; }}
QLabel[role="badge-warn"] {{ border-color: {t.warn}; color: {t.warn}; }}
QFrame[role="line"] {{ background: {t.border}; border: 0; }}
QListView, QTreeView {{ background: {t.window}; border: 0; }}
QListView::item, QTreeView::item {{ padding: 4px 4px; color: {t.text}; }}
QListView::item:selected, QTreeView::item:selected {{ background: {t.selection};
  color: {t.text}; }}
QTreeView::item:hover, QListView::item:hover {{ background: {t.raised}; }}
QHeaderView::section {{ background: {t.window}; color: {t.muted}; border: 0;
  border-bottom: 1px solid {t.border}; padding: 4px; }}
QScrollArea, QAbstractScrollArea[role="chat"] {{ background: {t.window}; border: 0; }}
QScrollBar:vertical {{ background: transparent; width: 12px; margin: 0; }}
QScrollBar:horizontal {{ background: transparent; height: 12px; margin: 0; }}
QScrollBar::handle {{ background: {t.border}; border-radius: 4px; margin: 2px;
  min-height: 28px; min-width: 28px; }}
QScrollBar::handle:hover {{ background: {t.faint}; }}
QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
QSplitter::handle {{ background: {t.border}; }}
QSplitter::handle:horizontal {{ width: 1px; }}
QSplitter::handle:vertical {{ height: 1px; }}
QMainWindow::separator {{ background: {t.border}; width: 1px; height: 1px; }}
QDockWidget {{ color: {t.muted}; }}
QDockWidget::title {{ background: {t.window}; padding: 6px 8px; }}
QTabWidget::pane {{ border: 0; border-top: 1px solid {t.border}; }}
QTabBar::tab {{ background: transparent; color: {t.muted}; padding: 6px 10px; border: 0;
  border-bottom: 2px solid transparent; }}
QTabBar::tab:selected {{ color: {t.text}; border-bottom: 2px solid {t.accent}; }}
QTabBar QToolButton {{ padding: 0; border-radius: 0; }}
QTabBar::tab:hover {{ color: {t.text}; }}
QStatusBar {{ background: {t.window}; color: {t.muted}; border-top: 1px solid {t.border}; }}
QStatusBar::item {{ border: 0; }}
QMenuBar {{ background: {t.window}; color: {t.text}; }}
QMenuBar::item:selected {{ background: {t.selection}; }}
QMenu {{ background: {t.raised}; color: {t.text}; border: 1px solid {t.border}; padding: 4px; }}
QMenu::item {{ padding: 4px 24px; border-radius: 4px; }}
QMenu::item:selected {{ background: {t.selection}; }}
QMenu::item:disabled {{ color: {t.faint}; }}
QMenu::separator {{ height: 1px; background: {t.border}; margin: 4px 8px; }}
QProgressBar {{ background: {t.raised}; border: 1px solid {t.border}; border-radius: 4px;
  text-align: center; color: {t.text}; }}
QProgressBar::chunk {{ background: {t.accent}; border-radius: 3px; }}
"""
