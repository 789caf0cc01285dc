"""Messages and tools to the prompt a model was trained on."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError

from engine.errors import CheckpointError, RequestError
from engine.text.dialects.base import Dialect, Mark
from engine.text.dialects.kimi_k2 import KIMI_K2
from engine.text.guard import Guard
from engine.text.messages import count_calls, plain_messages, plain_tools
from engine.text.sandbox import TemplateSandbox
from engine.text.tiktoken_file import read_bounded, read_json_object
from engine.text.tokenizer import Tokenizer

MAX_TEMPLATE_BYTES = 256 << 10
MAX_PROMPT_CHARS = 16 << 20
OWN_TEMPLATE = Path(__file__).parent / "templates" / "kimi_k2.jinja"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered conversation.

    ``text`` is for showing: control tokens by name, and messages as they were written, so the
    two look alike there. ``token_ids`` is what the model gets; only the template's own control
    names became control tokens. ``starts_in_reasoning``: the template opened the reasoning for
    the model. ``next_call_index``: the N of the next ``functions.NAME:N``.
    """

    text: str
    token_ids: tuple[int, ...]
    starts_in_reasoning: bool
    next_call_index: int


class ChatTemplate:
    """A checkpoint's chat template bound to its tokenizer. Safe from any thread."""

    def __init__(self, source: str, tokenizer: Tokenizer, dialect: Dialect = KIMI_K2) -> None:
        """Compile ``source``. Raises CheckpointError ``template_damaged``."""
        self.source = source
        self._tokenizer = tokenizer
        self._sandbox = TemplateSandbox()
        self._lock = threading.Lock()
        self._opens = _ids_of(Mark.REASONING_OPEN, tokenizer, dialect)
        self._closes = _ids_of(Mark.REASONING_CLOSE, tokenizer, dialect) | tokenizer.eos_ids
        try:
            self._template = self._sandbox.compile_counted(source)
        except (jinja2.TemplateError, RecursionError, SyntaxError, ValueError) as error:
            raise CheckpointError(
                "template_damaged",
                f"the chat template does not compile: {str(error)[:300]}",
                "download chat_template.jinja of the checkpoint again",
            ) from None

    @classmethod
    def from_folder(
        cls, path: Path, tokenizer: Tokenizer, dialect: Dialect = KIMI_K2
    ) -> ChatTemplate:
        """``chat_template.jinja``, else tokenizer_config.json's, else our own K2 template.

        Raises CheckpointError: ``tokenizer_missing``, ``tokenizer_damaged``,
        ``template_damaged``.
        """
        return cls(_read_source(path), tokenizer, dialect)

    def render(
        self,
        messages: Sequence[Any],
        tools: Sequence[Any] = (),
        add_generation_prompt: bool = True,
        thinking: bool | None = None,
    ) -> Prompt:
        """Render OpenAI-form ``messages`` and ``tools`` (dicts or protocol structs).

        ``thinking`` is handed to templates that know it (K2.5) when not None. Raises
        RequestError: ``bad_messages``, ``template_refused``, ``template_failed``,
        ``prompt_too_long``.
        """
        plain, declared = plain_messages(messages), plain_tools(tools)
        guard = Guard(self._tokenizer.special, [plain, declared], self.source)
        variables: dict[str, Any] = {
            "messages": [_hidden_message(message, guard) for message in plain],
            "tools": guard.hide_all(declared) or None,
            "add_generation_prompt": add_generation_prompt,
        }
        if thinking is not None:
            variables["thinking"] = thinking
        rendered = self._run(variables, guard)
        token_ids = tuple(self._tokenizer.encode_template(rendered, guard.reveal))
        return Prompt(
            text=guard.reveal(rendered),
            token_ids=token_ids,
            starts_in_reasoning=self._ends_open(token_ids),
            next_call_index=count_calls(plain),
        )

    def _run(self, variables: Mapping[str, Any], guard: Guard) -> str:
        parts: list[str] = []
        size = 0
        with self._lock:
            self._sandbox.begin(guard)
            try:
                for part in self._template.generate(**variables):
                    parts.append(part)
                    size += len(part)
                    if size > MAX_PROMPT_CHARS:
                        raise RequestError(
                            "prompt_too_long", f"the prompt exceeds {MAX_PROMPT_CHARS} characters"
                        )
            except RequestError:
                raise
            except (
                jinja2.TemplateError,
                SecurityError,
                ArithmeticError,
                AttributeError,
                LookupError,
                RecursionError,
                TypeError,
                ValueError,
            ) as error:
                raise RequestError(
                    "template_failed",
                    f"the chat template failed on these messages: {str(error)[:300]}",
                    "the checkpoint's template may not support this kind of message",
                ) from None
        return "".join(parts)

    def _ends_open(self, token_ids: Sequence[int]) -> bool:
        """Whether a reasoning-open token is the last of those that matter."""
        for token_id in reversed(token_ids):
            if token_id in self._opens or token_id in self._closes:
                return token_id in self._opens
        return False


def _hidden_message(message: dict[str, Any], guard: Guard) -> dict[str, Any]:
    """Everything a client wrote is hidden; field names and the role, a closed set, are not."""
    return {
        field: value if field == "role" else guard.hide_all(value)
        for field, value in message.items()
    }


def _ids_of(mark: Mark, tokenizer: Tokenizer, dialect: Dialect) -> frozenset[int]:
    return frozenset(
        tokenizer.special[spelling]
        for spelling, meaning in dialect.markers.items()
        if meaning is mark and spelling in tokenizer.special
    )


def _read_source(path: Path) -> str:
    file = path / "chat_template.jinja"
    if file.is_file():
        data = read_bounded(file, MAX_TEMPLATE_BYTES)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise CheckpointError("template_damaged", "chat_template.jinja is not UTF-8") from None
    config = path / "tokenizer_config.json"
    declared = read_json_object(config).get("chat_template") if config.is_file() else None
    if isinstance(declared, list):
        # The named form, [{"name": "default", "template": "..."}, ...].
        named = {item.get("name"): item.get("template") for item in declared if type(item) is dict}
        declared = named.get("default")
    if declared is None:
        return OWN_TEMPLATE.read_text("utf-8")
    if not isinstance(declared, str) or len(declared) > MAX_TEMPLATE_BYTES:
        raise CheckpointError(
            "template_damaged", "tokenizer_config.json: chat_template is not a text of usable size"
        )
    return declared
