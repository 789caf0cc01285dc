"""The page of guards: what must not be said, sent or read."""

from __future__ import annotations

from typing import Literal

import msgspec
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QListWidgetItem, QMenu, QWidget

from app.errors import ConfigError
from app.guard.custom import OwnFunction
from app.guard.rules import DEFAULT, GuardRule, check_rule
from ui.bridge import Bridge
from ui.chat.row_base import button, label
from ui.settings.guard_editor import GuardEditor
from ui.settings.guard_words import KINDS, effect, facts_of
from ui.settings.list_page import ListPage
from ui.words import new_name

_NEW = {
    "secrets": "secrets",
    "regex": "words",
    "hosts": "hosts",
    "paths": "paths",
    "python": "own",
}
"""Names of new rules by their kinds."""


class GuardsPage(ListPage):
    """Signals: ``changed(tuple)`` of GuardRule, to be saved."""

    changed = Signal(object)

    def __init__(self, bridge: Bridge, parent: QWidget | None = None) -> None:
        super().__init__("guard", parent)
        self._bridge = bridge
        self._rules = bridge.core.settings.guards
        self._functions: tuple[OwnFunction, ...] = ()
        self._filling = False
        self.list.setAccessibleName(self.tr("Guards"))
        self.list.itemChanged.connect(self._switched)
        self._own = label("muted")
        self._own.setObjectName("guardFunctions")
        self._own.setWordWrap(True)
        self._own.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._make_buttons()
        self.lay_out(self._add, (self._edit, self._copy), (self._remove,), (self._own,))
        self._fill(0)
        listed = bridge.core.own_functions()
        bridge.then(listed, self._show_functions, self._no_functions, owner=self)

    def _make_buttons(self) -> None:
        self._edit = button(self.tr("Edit…"), "editGuard", self.tr("Change it (Enter)"))
        copy = self.tr("Add another like it")
        self._copy = button(self.tr("Duplicate"), "duplicateGuard", copy)
        away = self.tr("Forget it (Delete); can be undone")
        self._remove = button(self.tr("Remove"), "removeGuard", away, "danger")
        self._edit.clicked.connect(self.edit_chosen)
        self._copy.clicked.connect(self._copy_chosen)
        self._remove.clicked.connect(self.remove_chosen)
        self._add = button(self.tr("Add ▾"), "addGuard", self.tr("Add a guard (Ctrl+N)"))
        self._add.setShortcut("Ctrl+N")
        menu = QMenu(self._add)
        menu.setObjectName("addGuardMenu")
        for text, kind in KINDS:
            action = menu.addAction(self.tr(text))
            action.triggered.connect(lambda _=False, kind=kind: self._add_new(kind))
        menu.addSeparator()
        built_in = menu.addAction(self.tr("Those that are there by default"))
        built_in.triggered.connect(self._add_default)
        self._add.clicked.connect(
            lambda: menu.popup(self._add.mapToGlobal(self._add.rect().bottomLeft()))
        )

    # -- what is shown ------------------------------------------------------------------------

    def _chosen(self) -> GuardRule | None:
        row = self.list.currentRow()
        return self._rules[row] if 0 <= row < len(self._rules) else None

    def _fill(self, chosen: int) -> None:
        """Show them all, and choose one."""
        self._filling = True
        self.list.clear()
        states = Qt.CheckState
        for rule in self._rules:
            item = QListWidgetItem(rule.name)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(states.Unchecked if rule.off else states.Checked)
            self.list.addItem(item)
        self._filling = False
        self.list.setCurrentRow(min(chosen, len(self._rules) - 1))
        self.show_chosen()

    def show_chosen(self) -> None:
        """What it finds, where, and what becomes of that."""
        if self._filling:
            return
        rule = self._chosen()
        for one in (self._edit, self._copy, self._remove):
            one.setVisible(rule is not None)
        if rule is None:
            self.title.setText(self.tr("No guards"))
            self.about.setText(
                self.tr("Nothing is looked for in messages, replies, calls and results.")
            )
            self.set_facts([])
            self.set_caution("")
            return
        self.title.setText(rule.name)
        off = self.tr("It is off. ") if rule.off else ""
        self.about.setText(off + self.tr(effect(rule)))
        self.set_facts([(self.tr(name), text) for name, text in facts_of(rule)])
        self.set_caution(self._wrong(rule))

    def _wrong(self, rule: GuardRule) -> str:
        """Why it does not work, so that everything counts as found."""
        try:
            check_rule(rule)
        except ConfigError as error:
            return self.tr("It does not work: {why}.").format(why=error.message)
        return ""

    def _show_functions(self, found: tuple[OwnFunction, ...]) -> None:
        self._functions = found
        folder = self._bridge.core.paths.guards
        if not found:
            words = self.tr("Own functions: none. They are check(text, info) in FILE.py of {f}.")
            self._own.setText(words.format(f=folder))
            return
        lines = [self.tr("Own functions, of {f} (not to be changed here):").format(f=folder)]
        lines += [f"✗ {one.name}: {one.problem}" if one.problem else one.name for one in found]
        self._own.setText("\n".join(lines))

    def _no_functions(self, error: Exception) -> None:
        message = error.message if isinstance(error, ConfigError) else repr(error)
        self._own.setText(self.tr("Own functions cannot be used: {why}").format(why=message))

    # -- what is done -------------------------------------------------------------------------

    def _save(self, rules: tuple[GuardRule, ...], chosen: int) -> None:
        self._rules = rules
        self.changed.emit(rules)
        self._fill(chosen)

    def _switched(self, item: QListWidgetItem) -> None:
        if self._filling:
            return
        row = self.list.row(item)
        off = item.checkState() == Qt.CheckState.Unchecked
        changed = msgspec.structs.replace(self._rules[row], off=off)
        self._rules = (*self._rules[:row], changed, *self._rules[row + 1 :])
        self.changed.emit(self._rules)
        self.list.setCurrentRow(row)
        self.show_chosen()

    def _add_new(self, kind: Literal["secrets", "regex", "hosts", "paths", "python"]) -> None:
        name = new_name(_NEW[kind], (one.name for one in self._rules))
        rule = GuardRule(
            name, kind, ("call",) if kind in ("hosts", "paths") else ("output",), "ask"
        )
        self._open(rule, len(self._rules))

    def _add_default(self) -> None:
        names = {one.name for one in self._rules}
        missing = tuple(one for one in DEFAULT if one.name not in names)
        if missing:
            self.undo.clear()
            self._save((*self._rules, *missing), len(self._rules))

    def edit_chosen(self) -> None:
        """In a form."""
        rule = self._chosen()
        if rule is not None:
            self._open(rule, self.list.currentRow())

    def _open(self, rule: GuardRule, row: int) -> None:
        others = (*self._rules[:row], *self._rules[row + 1 :])
        functions = [one.name for one in self._functions if not one.problem]
        editor = GuardEditor(self._bridge, rule, others, functions, self.window())

        def keep(made: GuardRule) -> None:
            self.undo.clear()
            self._save((*self._rules[:row], made, *self._rules[row + 1 :]), row)

        editor.saved.connect(keep)
        editor.finished.connect(lambda _: editor.deleteLater())
        editor.open()

    def _copy_chosen(self) -> None:
        rule = self._chosen()
        if rule is not None:
            name = new_name(rule.name, (one.name for one in self._rules))
            self.undo.clear()
            made = msgspec.structs.replace(rule, name=name)
            self._save((*self._rules, made), len(self._rules))

    def remove_chosen(self) -> None:
        """Forget it, and offer to undo that."""
        rule, row = self._chosen(), self.list.currentRow()
        if rule is None:
            return
        before = self._rules
        self._save((*before[:row], *before[row + 1 :]), row)
        text = self.tr("“{name}” is removed").format(name=rule.name)
        self.undo.offer(text, lambda: self._save(before, row))
        self.list.setFocus()
