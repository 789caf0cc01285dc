"""One endpoint in a form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit, QSizePolicy, QWidget

from app.endpoints.config import Endpoint, caution, check_endpoint
from app.errors import ConfigError
from ui.bridge import Bridge
from ui.chat.row_base import label, line
from ui.settings.trial_panel import TrialPanel
from ui.widgets.editor import Editor, choice, text_line

_FORMS = (("OpenAI's (chat completions)", "openai"), ("Anthropic's (messages)", "anthropic"))
_KEYS = (
    ("None", "none"),
    ("From an environment variable", "variable"),
    ("Kept in the settings file", "kept"),
)
_THINKING = (
    ("With a budget of tokens", "budget"),
    ("Adaptive, as newer models want it", "adaptive"),
    ("Off", "off"),
)


class EndpointEditor(Editor):
    """Signals: ``saved(Endpoint)``, under the id that came."""

    def __init__(
        self,
        bridge: Bridge,
        endpoint: Endpoint,
        others: Iterable[Endpoint],
        advice: str = "",
        parent: QWidget | None = None,
    ) -> None:
        """``others``: whose names are taken. ``advice``: for whoever starts the server."""
        super().__init__("endpoint", self.tr("Endpoint"), parent)
        self._endpoint, self._others = endpoint, tuple(others)
        self._name = text_line("endpointName", endpoint.name, self.tr("as its address"))
        self._form_box = choice("endpointForm", _FORMS, endpoint.form)
        self._address = text_line("endpointUrl", endpoint.base_url, "https://example.org/v1")
        self._model = QComboBox()
        self._model.setObjectName("endpointModel")
        self._model.setEditable(True)
        self._model.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self._model.setCurrentText(endpoint.model)
        self._model.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        edit = self._model.lineEdit()
        assert edit is not None
        edit.setPlaceholderText(self.tr("Test lists what there is"))
        source = "variable" if endpoint.key_env else "kept" if endpoint.key else "none"
        self._key_from = choice("endpointKeyFrom", _KEYS, source)
        self._variable = text_line("endpointKeyVariable", endpoint.key_env, "MOONSHOT_API_KEY")
        self._key = text_line("endpointKey", endpoint.key, self.tr("only you can read that file"))
        self._key.setEchoMode(QLineEdit.EchoMode.Password)
        self._show_key = QCheckBox(self.tr("Show"))
        self._show_key.setObjectName("endpointShowKey")
        self._show_key.toggled.connect(self._echo)
        self._kept = QWidget()
        self._kept.setLayout(line(self._key, self._show_key))
        self._context = text_line("endpointContext", _text(endpoint.context), self.tr("not known"))
        zero = self.tr("none")
        self._price_in = text_line("endpointPriceIn", _text(endpoint.price_prompt), zero)
        self._price_out = text_line("endpointPriceOut", _text(endpoint.price_completion), zero)
        cached = "" if endpoint.price_cached is None else f"{endpoint.price_cached:g}"
        self._price_cached = text_line("endpointPriceCached", cached, self.tr("as read"))
        self._thinking = choice("endpointThinking", _THINKING, endpoint.thinking)
        self._longest = text_line("endpointLongest", _text(endpoint.max_tokens), "32000")
        self._add_rows()
        self._trial = TrialPanel(bridge, self._to_try)
        self._trial.models_found.connect(self._offer_models)
        self._caution = label("warn")
        self._caution.setObjectName("endpointCaution")
        told = label("muted")
        told.setText(advice)
        told.setVisible(bool(advice))
        for one in (told, self._caution):
            one.setWordWrap(True)
        self.lay_out(self._caution, self._trial, above=told)
        self._form_box.currentIndexChanged.connect(lambda _: self._show_rows())
        self._key_from.currentIndexChanged.connect(lambda _: self._show_rows())
        for edit in (self._address, self._key, self._variable):
            edit.textChanged.connect(lambda _: self._warn())
        self._show_rows()
        (self._name if not endpoint.name else self._address).setFocus()

    def _add_rows(self) -> None:
        prices = QWidget()
        parts: list[QWidget | None] = []
        for words, edit in (
            (self.tr("read"), self._price_in),
            (self.tr("cached"), self._price_cached),
            (self.tr("written"), self._price_out),
        ):
            title = label("muted")
            title.setText(words)
            title.setBuddy(edit)
            edit.setAccessibleName(self.tr("Price of a million tokens, {w}").format(w=words))
            parts += [title, edit]
        prices.setLayout(line(*parts, spacing=6))
        self.add_row(self.tr("Name"), self._name)
        self.add_row(self.tr("Form"), self._form_box)
        self.add_row(self.tr("Address"), self._address)
        self.add_row(self.tr("Model"), self._model)
        self.add_row(self.tr("Key"), self._key_from)
        self.add_row(self.tr("Variable"), self._variable)
        self.add_row(self.tr("Key itself"), self._kept, self._key)
        self.add_row(self.tr("Context window"), self._context)
        self.add_row(self.tr("Price per million tokens"), prices, self._price_in)
        self.add_row(self.tr("Thinking"), self._thinking)
        self.add_row(self.tr("Longest reply"), self._longest)

    def read(self) -> Endpoint:
        """Raises ConfigError ``endpoint``."""
        return self._checked(self._others)

    def done(self, result: int) -> None:
        """Stop what is tried."""
        self._trial.stop()
        super().done(result)

    # -- inside -------------------------------------------------------------------------------

    def _to_try(self) -> Endpoint | None:
        """Whatever it is called."""
        return self.check(lambda: self._checked(()))

    def _checked(self, others: Iterable[Endpoint]) -> Endpoint:
        made = self._as_written()
        check_endpoint(made, others)
        return made

    def _as_written(self) -> Endpoint:
        source = self._key_from.currentData()
        cached = self._price_cached.text().strip()
        values: dict[str, Any] = {
            "name": self._name.text().strip(),
            "form": self._form_box.currentData(),
            "base_url": self._address.text().strip().rstrip("/"),
            "model": self._model.currentText().strip(),
            "key": self._key.text().strip() if source == "kept" else "",
            "key_env": self._variable.text().strip() if source == "variable" else "",
            "context": _whole(self._context, self.tr("the context window")),
            "price_prompt": _number(self._price_in, self.tr("the price of what is read")),
            "price_completion": _number(self._price_out, self.tr("the price of what is written")),
            "price_cached": _number(self._price_cached, self.tr("the price of what is cached"))
            if cached
            else None,
            "thinking": self._thinking.currentData(),
            "max_tokens": _whole(self._longest, self.tr("the longest reply")),
        }
        if source == "variable" and not values["key_env"]:
            raise ConfigError("endpoint", self.tr("say which environment variable holds the key"))
        return msgspec.structs.replace(self._endpoint, **values)

    def _show_rows(self) -> None:
        source = self._key_from.currentData()
        self.form.setRowVisible(self._variable, source == "variable")
        self.form.setRowVisible(self._kept, source == "kept")
        anthropic = self._form_box.currentData() == "anthropic"
        self.form.setRowVisible(self._thinking, anthropic)
        self.form.setRowVisible(self._longest, anthropic)
        self._warn()

    def _warn(self) -> None:
        source = self._key_from.currentData()
        key = self._key.text() if source == "kept" else ""
        variable = self._variable.text() if source == "variable" else ""
        seen = Endpoint("", self._address.text().strip(), key=key, key_env=variable)
        try:
            text = caution(seen)
        except ValueError:  # an address in the middle of being written
            text = ""
        self._caution.setText(text)
        self._caution.setVisible(bool(text))

    def _echo(self, shown: bool) -> None:
        modes = QLineEdit.EchoMode
        self._key.setEchoMode(modes.Normal if shown else modes.Password)

    def _offer_models(self, models: tuple[str, ...]) -> None:
        """Into the list; what is written stays. The only one there is, is taken."""
        written = self._model.currentText().strip()
        self._model.clear()
        self._model.addItems(list(models))
        self._model.setCurrentText(written or (models[0] if len(models) == 1 else ""))


def _text(number: float) -> str:
    return f"{number:g}" if isinstance(number, float) and number else str(number or "")


def _whole(edit: QLineEdit, what: str) -> int:
    text = edit.text().strip().replace(",", "").replace("_", "").replace(" ", "")
    try:
        return int(text) if text else 0
    except ValueError:
        raise ConfigError("endpoint", f"{what} is a whole number of tokens") from None


def _number(edit: QLineEdit, what: str) -> float:
    text = edit.text().strip().replace(",", ".")
    try:
        return float(text) if text else 0.0
    except ValueError:
        raise ConfigError("endpoint", f"{what} is a number") from None
