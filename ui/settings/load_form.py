"""How a model is loaded, as a form: what is left alone is decided by the engine."""

from __future__ import annotations

import os
from typing import TypeVar

import msgspec
from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal
from PySide6.QtWidgets import QComboBox, QDoubleSpinBox, QFormLayout, QSpinBox, QVBoxLayout, QWidget

from app.engines.options import EngineOptions
from ui.chat.header_button import HeaderButton
from ui.chat.row_base import label
from ui.widgets.editor import choice

Box = TypeVar("Box", QSpinBox, QDoubleSpinBox)
_GIB = 1 << 30
_CONTEXTS = (8_192, 16_384, 32_768, 65_536, 131_072, 262_144)
_MOST_GIB, _MOST_EXPERTS, _MOST_DEFERRED = 65_536, 65_536, 7
_USUAL_GIB = 4.0
_SETTLED_MS = 300
_DENSE = (
    ("As published", "auto"),
    ("INT8, half the reading", "int8"),
    ("INT4, a quarter of it", "int4"),
)
_MEMORY = (
    ("Automatic", "auto"),
    ("As the system decides", "system"),
    ("At most", "most"),
)
_DRAFTS = (
    ("Where they pay", "auto"),
    ("Also by the model's own layer", "mtp"),
    ("Never", "off"),
)
_FORMS = (
    ("As the model computes", "auto"),
    ("FP32", "float32"),
    ("BF16", "bf16"),
    ("INT8, half of BF16", "int8"),
)
_DEVICES = (("If there is one", "auto"), ("Never", "cpu"))
_READING = (
    ("Whichever is faster here", "auto"),
    ("Through the system's cache", "map"),
    ("Straight into own memory", "direct"),
)
_ARITHMETIC = (
    ("By the model's size", "auto"),
    ("Fast, INT8 activations", "fast"),
    ("Exact, FP32 activations", "exact"),
)

_FEW_NEED = (
    "speculation",
    "cache_form",
    "cache_bytes",
    "device",
    "hot_experts",
    "deferred_experts",
    "expert_reading",
    "mode",
)


class LoadForm(QWidget):
    """Signals: ``changed(EngineOptions)`` when a person has changed something and paused."""

    changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._options, self._filling = EngineOptions(), False
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLED_MS)
        self._settled.timeout.connect(lambda: self.changed.emit(self._options))
        self._make_fields()
        first, more = _form(), _form()
        self._first = first
        self._add(first, "Context", self._context)
        self._add(first, "Dense part", self._dense, self.tr("Everything but routed experts"))
        self._add(first, "Memory for experts", self._memory)
        self._add(first, "", self._most)
        self._add(first, "Threads", self._threads)
        self._add(more, "Drafts", self._drafts, self.tr("Guessed tokens, checked many at once"))
        self._add(more, "Context cache", self._cache_form)
        self._add(more, "Its size", self._cache)
        self._add(more, "Accelerator", self._device)
        self._add(more, "Experts on it", self._hot)
        self._add(more, "Experts that join late", self._deferred)
        self._add(more, "Experts from disk", self._reading)
        self._add(more, "Arithmetic of experts", self._mode)
        self._late = label("warn")
        self._late.setText(self.tr("Experts that join late change the answers a little."))
        self._late.setWordWrap(True)
        more.addRow(self._late)
        self._more = QWidget()
        self._more.setLayout(more)
        self._header = HeaderButton("loadMore", lambda: self.show_more(self._more.isHidden()))
        self._header.title.setText(self.tr("More"))
        self._header.setAccessibleName(self.tr("More options"))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(first)
        column.addWidget(self._header)
        column.addWidget(self._more)
        self.show_more(False)
        self.set_options(EngineOptions())

    def _make_fields(self) -> None:
        self._context = choice("loadContext", [(self.tr("All that the model allows"), 0)], 0)
        for tokens in _CONTEXTS:
            self._context.addItem(self.tr("{n:,} tokens").format(n=tokens), tokens)
        self._dense = choice("loadDense", _DENSE, "auto")
        self._memory = choice("loadMemory", _MEMORY, "auto")
        self._most = _gibibytes("loadMemoryMost", "")
        self._threads = _spin("loadThreads", os.cpu_count() or 1, self.tr("One per core"))
        self._drafts = choice("loadDrafts", _DRAFTS, "auto")
        self._cache_form = choice("loadCacheForm", _FORMS, "auto")
        self._cache = _gibibytes("loadCache", self.tr("Automatic"))
        self._device = choice("loadDevice", _DEVICES, "auto")
        self._hot = _spin("loadHot", _MOST_EXPERTS, self.tr("As many as fit"), least=-1)
        self._deferred = _spin("loadDeferred", _MOST_DEFERRED, self.tr("None"))
        self._reading = choice("loadReading", _READING, "auto")
        self._mode = choice("loadMode", _ARITHMETIC, "auto")

    def _add(self, form: QFormLayout, words: str, field: QWidget, tip: str = "") -> None:
        caption = label("muted")
        caption.setText(self.tr(words))
        caption.setMinimumWidth(150)
        caption.setBuddy(field)
        field.setAccessibleName(self.tr(words))
        for widget in (caption, field):
            widget.setToolTip(tip)
        field.installEventFilter(self)
        form.addRow(caption, field)
        if isinstance(field, QComboBox):
            field.currentIndexChanged.connect(self._read)
        elif isinstance(field, QSpinBox | QDoubleSpinBox):
            field.valueChanged.connect(self._read)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """The wheel scrolls the page; it does not change what the pointer happens to be over."""
        if event.type() == QEvent.Type.Wheel:
            event.ignore()
            return True
        return super().eventFilter(watched, event)

    # -- what is shown ------------------------------------------------------------------------

    @property
    def options(self) -> EngineOptions:
        """What the form says now."""
        return self._options

    def set_options(self, options: EngineOptions) -> None:
        """Show them; nobody is told."""
        self._filling = True
        self._settled.stop()
        self._options = options
        known = self._context.findData(options.max_context)
        if known < 0:  # by hand, in the settings' file
            text = self.tr("{n:,} tokens").format(n=options.max_context)
            self._context.addItem(text, options.max_context)
            known = self._context.count() - 1
        self._context.setCurrentIndex(known)
        _choose(self._dense, "auto" if options.dense == "published" else options.dense)
        memory = options.expert_memory_bytes
        _choose(self._memory, "auto" if memory is None else "most" if memory else "system")
        self._most.setValue(memory / _GIB if memory else _USUAL_GIB)
        self._threads.setValue(options.threads)
        _choose(self._drafts, options.speculation)
        _choose(self._cache_form, options.cache_form)
        self._cache.setValue(options.cache_bytes / _GIB)
        _choose(self._device, options.device)
        self._hot.setValue(-1 if options.hot_experts is None else options.hot_experts)
        self._deferred.setValue(options.deferred_experts)
        _choose(self._reading, options.expert_reading)
        _choose(self._mode, options.mode)
        self._filling = False
        self._show_parts()

    def settle(self) -> None:
        """Tell at once what was changed a moment ago."""
        if self._settled.isActive():
            self._settled.stop()
            self.changed.emit(self._options)

    def show_more(self, opened: bool) -> None:
        """The options that few need."""
        self._more.setVisible(opened)
        self._header.show_open(opened)

    def _show_parts(self) -> None:
        self._first.setRowVisible(self._most, self._memory.currentData() == "most")
        self._late.setVisible(bool(self._deferred.value()))
        self._hot.setEnabled(self._device.currentData() == "auto")
        changed = sum(
            getattr(self._options, name) != getattr(EngineOptions(), name) for name in _FEW_NEED
        )
        told = self.tr("{n} changed").format(n=changed) if changed else ""
        self._header.detail.setText(told)

    # -- what is chosen -----------------------------------------------------------------------

    def _read(self, *_: object) -> None:
        if self._filling:
            return
        most = {"auto": None, "system": 0, "most": round(self._most.value() * _GIB)}
        dense = self._dense.currentData()
        same = dense == "auto" and self._options.dense == "published"
        made = msgspec.structs.replace(
            self._options,
            max_context=self._context.currentData(),
            dense="published" if same else dense,
            expert_memory_bytes=most[self._memory.currentData()],
            threads=self._threads.value(),
            speculation=self._drafts.currentData(),
            cache_form=self._cache_form.currentData(),
            cache_bytes=round(self._cache.value() * _GIB),
            device=self._device.currentData(),
            hot_experts=None if self._hot.value() < 0 else self._hot.value(),
            deferred_experts=self._deferred.value(),
            expert_reading=self._reading.currentData(),
            mode=self._mode.currentData(),
        )
        if made != self._options:
            self._options = made
            self._settled.start()
        self._show_parts()


def _form() -> QFormLayout:
    form = QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setHorizontalSpacing(16)
    form.setVerticalSpacing(6)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
    return form


def _choose(box: QComboBox, value: object) -> None:
    box.setCurrentIndex(max(box.findData(value), 0))


def _spin(name: str, most: int, least_words: str, least: int = 0) -> QSpinBox:
    made = QSpinBox()
    made.setObjectName(name)
    made.setRange(least, most)
    made.setSpecialValueText(least_words)
    return _indented(made)


def _gibibytes(name: str, least_words: str) -> QDoubleSpinBox:
    made = QDoubleSpinBox()
    made.setObjectName(name)
    made.setDecimals(1)
    made.setSingleStep(0.5)
    made.setSuffix(" GiB")
    made.setRange(0.0 if least_words else 0.1, _MOST_GIB)
    made.setSpecialValueText(least_words)
    return _indented(made)


def _indented(box: Box) -> Box:
    """Its text stands where that of the other fields does."""
    box.lineEdit().setTextMargins(4, 0, 0, 0)
    return box
