"""The tree's item model: takes new nodes in place, so that what is open stays open."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from PySide6.QtCore import QAbstractItemModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QColor

from ui.theme import current
from ui.trace.nodes import Node
from ui.words import took

Index = QModelIndex | QPersistentModelIndex
KEY = int(Qt.ItemDataRole.UserRole)
COLUMNS = ("Name", "Time", "Tokens")


class _Item:
    __slots__ = ("children", "node", "parent")

    def __init__(self, node: Node, parent: _Item | None) -> None:
        self.node = node
        self.parent = parent
        self.children = [_Item(child, self) for child in node.children]

    def walk(self) -> Iterator[_Item]:
        for child in self.children:
            yield child
            yield from child.walk()


_NOTHING = Node("", "turn", "", 0.0)


class TraceModel(QAbstractItemModel):
    """Columns: name, time, tokens."""

    def __init__(self) -> None:
        super().__init__()
        self._root = _Item(_NOTHING, None)

    def set_nodes(self, nodes: tuple[Node, ...]) -> None:
        """Show these; rows whose keys stayed are updated, others removed and inserted."""
        self._sync(self._root, nodes, QModelIndex())

    def reset_to(self, nodes: tuple[Node, ...]) -> None:
        """Show another conversation."""
        self.beginResetModel()
        self._root = _Item(Node("", "turn", "", 0.0, children=nodes), None)
        self.endResetModel()

    def tick(self) -> None:
        """Let the times of what is going on be read anew."""
        for item in self._root.walk():
            if item.node.live:
                index = self._index(item, 1)
                self.dataChanged.emit(index, index)

    def find(self, key: str) -> QModelIndex:
        """The index of a key; invalid if there is none."""
        for item in self._root.walk():
            if item.node.key == key:
                return self._index(item)
        return QModelIndex()

    def is_step(self, index: Index) -> bool:
        """Whether a line stands for a step."""
        return self._item(index).node.kind == "step"

    # -- QAbstractItemModel

    def index(self, row: int, column: int, parent: Index | None = None) -> QModelIndex:
        """Of a row below a parent."""
        children = self._item(parent).children
        if 0 <= row < len(children) and 0 <= column < len(COLUMNS):
            return self.createIndex(row, column, children[row])
        return QModelIndex()

    def parent(self, index: Index | None = None) -> QModelIndex:  # type: ignore[override]
        """Of an index."""
        above = self._item(index).parent
        return self._index(above) if above is not None else QModelIndex()

    def rowCount(self, parent: Index | None = None) -> int:
        """Children of an index."""
        return 0 if parent is not None and parent.column() > 0 else len(self._item(parent).children)

    def columnCount(self, parent: Index | None = None) -> int:
        """Always three."""
        return len(COLUMNS)

    def headerData(
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = int(Qt.ItemDataRole.DisplayRole),
    ) -> Any:
        """Titles."""
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return self.tr(COLUMNS[section])
        if role == Qt.ItemDataRole.TextAlignmentRole and section:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def data(self, index: Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        """Texts, colours and the key."""
        node = self._item(index).node
        if role == Qt.ItemDataRole.DisplayRole:
            if index.column() == 1:
                spent = time.time() - node.began if node.live else node.seconds
                return took(spent) if spent > 0 else ""
            if index.column() == 2:
                return f"{node.tokens:,}" if node.tokens else ""
            return node.name
        if role == KEY:
            return node.key
        if role == Qt.ItemDataRole.ToolTipRole and index.column() == 0:
            return node.name
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column():
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ForegroundRole:
            return QColor(_colour(node, index.column()))
        return None

    # -- inside

    def _item(self, index: Index | None) -> _Item:
        if index is None or not index.isValid():
            return self._root
        item = index.internalPointer()
        assert isinstance(item, _Item)
        return item

    def _index(self, item: _Item, column: int = 0) -> QModelIndex:
        if item.parent is None:
            return QModelIndex()
        return self.createIndex(item.parent.children.index(item), column, item)

    def _sync(self, item: _Item, nodes: tuple[Node, ...], index: QModelIndex) -> None:
        same = 0
        while (
            same < min(len(item.children), len(nodes))
            and item.children[same].node.key == nodes[same].key
        ):
            child, node = item.children[same], nodes[same]
            if child.node is not node:
                below = self.index(same, 0, index)
                child.node = node
                self.dataChanged.emit(below, self.index(same, len(COLUMNS) - 1, index))
                self._sync(child, node.children, below)
            same += 1
        if same < len(item.children):
            self.beginRemoveRows(index, same, len(item.children) - 1)
            del item.children[same:]
            self.endRemoveRows()
        if same < len(nodes):
            self.beginInsertRows(index, same, len(nodes) - 1)
            item.children += [_Item(node, item) for node in nodes[same:]]
            self.endInsertRows()


def _colour(node: Node, column: int) -> str:
    theme = current()
    if node.trouble:
        return theme.bad
    if column or node.kind in ("prompt", "reasoning", "remark"):
        return theme.muted
    return theme.accent if node.live and node.kind == "step" else theme.text
