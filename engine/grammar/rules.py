"""What one request allows its reply to be: which tools, whether it must call, the answer's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.errors import RequestError
from engine.grammar.schemas import ANY_OBJECT, Compiled, Place, Schemas
from engine.grammar.vocabulary import Vocabulary
from engine.protocol import (
    ChatRequest,
    FunctionCall,
    NamedTool,
    ResponseFormat,
    canonical_arguments,
)
from engine.text.dialects.base import Dialect, Mark
from engine.text.dialects.kimi_k2 import KIMI_K2
from engine.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Marks:
    """Control tokens by what they mean; None where a vocabulary has none."""

    reasoning_open: int | None
    reasoning_close: int | None
    section_open: int | None
    section_close: int | None
    call_open: int | None
    arguments_open: int | None
    call_close: int | None
    ends: frozenset[int]
    prefix: str
    """Of a tool's name in ids."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, ends: frozenset[int], dialect: Dialect = KIMI_K2) -> Marks:
        """Of a vocabulary and what ends a reply."""
        ids = {
            mark: tokenizer.special[name]
            for name, mark in dialect.markers.items()
            if name in tokenizer.special
        }
        return cls(
            ids.get(Mark.REASONING_OPEN),
            ids.get(Mark.REASONING_CLOSE),
            ids.get(Mark.SECTION_OPEN),
            ids.get(Mark.SECTION_CLOSE),
            ids.get(Mark.CALL_OPEN),
            ids.get(Mark.ARGUMENTS_OPEN),
            ids.get(Mark.CALL_CLOSE),
            frozenset(end for end in ends if end < tokenizer.vocab_size),
            dialect.id_prefix,
        )

    @property
    def calls(self) -> bool:
        """Whether tools can be called in this vocabulary."""
        needed = (self.section_open, self.section_close, self.call_open)
        return None not in (*needed, self.arguments_open, self.call_close)


@dataclass(frozen=True, slots=True)
class Rules:
    """Immutable; each reply goes its own way through them (:class:`engine.grammar.path.Path`)."""

    vocabulary: Vocabulary
    marks: Marks
    tools: Mapping[str, Compiled]
    """Those that may be called."""
    must_call: bool = False
    several: bool = True
    """Whether a reply may hold more than one call."""
    answer: Compiled | None = None
    """What the answer has to be; None: any text."""
    forbidden: Mapping[str, frozenset[str]] | None = None
    """By tool: arguments, canonical, with which it may not be called."""


class Grammars:
    """Of one loaded model. Safe from any thread."""

    def __init__(self, tokenizer: Tokenizer, ends: frozenset[int]) -> None:
        self.vocabulary = Vocabulary(tokenizer, ends)
        self.marks = Marks.of(tokenizer, ends)
        self._schemas = Schemas(self.vocabulary)

    def rules(self, chat: ChatRequest) -> Rules | None:
        """Of a request; None where nothing is asked that would constrain its reply.

        Raises RequestError: ``schema_unsupported``, ``no_such_tool``, ``tools_unsupported``,
        ``nothing_to_call``.
        """
        choice = chat.tool_choice
        if not chat.x_engine.constrain:
            return None
        must = choice == "required" or isinstance(choice, NamedTool)
        answer = None if must else self._answer(chat.response_format)
        if not (chat.tools or choice or answer):
            return None
        if not self.marks.calls and chat.tools and choice != "none":
            if must or any(tool.function.strict is True for tool in chat.tools):
                message = "this model's vocabulary has no marks for tool calls"
                raise RequestError("tools_unsupported", message, "leave tool_choice and strict out")
            return None
        forbidden = _forbidden(chat.x_engine.forbidden)
        tools = {
            name: compiled
            for name, compiled in self._tools(chat).items()
            if name not in forbidden or self._can_be_called(compiled, forbidden[name])
        }
        if must and not tools:
            message = "a call is required, and there is none that may be made"
            raise RequestError("nothing_to_call", message, "send tools, or another tool_choice")
        return Rules(
            self.vocabulary,
            self.marks,
            tools,
            must,
            chat.parallel_tool_calls and not isinstance(choice, NamedTool),
            answer,
            forbidden,
        )

    def _can_be_called(self, compiled: Compiled, forbidden: frozenset[str]) -> bool:
        place = Place(compiled, self.vocabulary)
        return place.leads_past(lambda arguments: is_among(forbidden, arguments))

    def _tools(self, chat: ChatRequest) -> dict[str, Compiled]:
        choice = chat.tool_choice
        if choice == "none":
            return {}
        functions = [tool.function for tool in chat.tools]
        if isinstance(choice, NamedTool):
            name = choice.function.name
            functions = [f for f in functions if f.name == name]
            if not functions:
                message = f"tool_choice names {name[:80]!r}, which is none of the tools"
                raise RequestError("no_such_tool", message)
        return {
            f.name: self._schemas.arguments(f.parameters, f.strict is True, f"the tool {f.name}")
            for f in functions
        }

    def _answer(self, form: ResponseFormat | None) -> Compiled | None:
        if form is None or form.type == "text":
            return None
        if form.type == "json_object":
            return self._schemas.compiled(ANY_OBJECT, True, "the answer")
        if form.json_schema is None or form.json_schema.schema is None:
            raise RequestError("bad_request", "response_format has no json_schema.schema")
        asked = form.json_schema
        return self._schemas.compiled(asked.schema or {}, asked.strict is True, "the answer")


def is_among(forbidden: frozenset[str], arguments: bytes) -> bool:
    """Whether a call with these arguments, complete, is one of them."""
    return canonical_arguments(arguments.decode("utf-8", "replace")) in forbidden


def _forbidden(calls: Sequence[FunctionCall]) -> dict[str, frozenset[str]]:
    names = {call.name for call in calls}
    return {
        name: frozenset(canonical_arguments(c.arguments) for c in calls if c.name == name)
        for name in names
    }
