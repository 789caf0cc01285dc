"""Reading the inside of one tool call: a header, then arguments, as the text arrives."""

from __future__ import annotations

from collections.abc import Sequence

from engine.text.pieces import Piece, Problem, ToolCallBegin, ToolCallDelta, ToolCallEnd
from engine.text.tool_call import (
    StringEscaper,
    ToolSpec,
    infer_tool,
    is_json_object,
    repaired_arguments,
    tool_name,
)


class CallReader:
    """One call from its opening marker to its end.

    Arguments that begin like an object are passed on as they come. Anything else waits for its
    end, since it may turn out to be an object in disguise (see ``repaired_arguments``); so what
    was passed on never has to be taken back.
    """

    def __init__(self, index: int, number: int, tools: Sequence[ToolSpec], prefix: str) -> None:
        """``index``: among the reply's calls. ``number``: the N of its id in the conversation."""
        self._index = index
        self._number = number
        self._tools = tools
        self._prefix = prefix
        self._header = ""
        self._raw: list[str] = []
        self._in_arguments = False
        self._name: str | None = None
        self._begun = False
        self._is_object: bool | None = None
        self._escaper = StringEscaper()
        self._passed: list[str] = []
        self._blank = ""

    @property
    def in_arguments(self) -> bool:
        return self._in_arguments

    @property
    def is_blank(self) -> bool:
        """Nothing but the opening marker has come."""
        return not self._in_arguments and not self._header.strip()

    @property
    def written(self) -> str:
        return self._header + "".join(self._raw)

    def open_arguments(self) -> list[Piece]:
        """The header is complete."""
        self._in_arguments = True
        self._name = tool_name(self._header, self._tools, self._prefix)
        return [] if self._name is None else self._begin(self._name)

    def push(self, text: str) -> list[Piece]:
        """More of the header or of the arguments."""
        if not self._in_arguments:
            self._header += text
            return []
        self._raw.append(text)
        if self._is_object is None:
            text = text.lstrip()
            if not text:
                return []
            self._is_object = text.startswith("{")
        if not self._is_object:
            return []
        # Blanks at the end wait: they belong to the arguments only if more follows.
        text = self._blank + self._escaper.push(text)
        solid = text.rstrip()
        self._blank = text[len(solid) :]
        if not solid:
            return []
        self._passed.append(solid)
        return [ToolCallDelta(self._index, solid)] if self._begun else []

    def end(self, cut_off: bool = False) -> list[Piece]:
        """Everything still due. ``cut_off``: no closing marker came and no more text will."""
        pieces: list[Piece] = []
        if not self._in_arguments:
            pieces += self._split_header()
        raw = "".join(self._raw).strip()
        repaired = None if self._is_object or cut_off else repaired_arguments(raw)
        arguments = "".join(self._passed) if self._is_object else (repaired or raw)
        usable = is_json_object(arguments)
        name = self._name
        if name is None:
            name = infer_tool(arguments, self._tools) or self._header.strip()
        if not self._begun:
            pieces += self._begin(name)
            pieces.append(ToolCallDelta(self._index, arguments))
        elif not self._is_object:
            pieces.append(ToolCallDelta(self._index, arguments))
        if usable and arguments != raw:
            pieces.append(Problem("arguments_repaired", f"arguments of {name} were not an object"))
        problem: str | None = None
        if cut_off and not usable:
            problem = "truncated"
        elif all(tool.name != name for tool in self._tools):
            problem = "unknown_tool"
        elif not usable:
            problem = "invalid_arguments"
        pieces.append(
            ToolCallEnd(self._index, self._id(name), name, arguments, problem, self.written)
        )
        return [piece for piece in pieces if piece != ToolCallDelta(self._index, "")]

    def _split_header(self) -> list[Piece]:
        """No argument marker came: the arguments are what begins with a brace, if anything."""
        header, brace, rest = self._header.partition("{")
        self._header = header
        pieces: list[Piece] = [Problem("missing_argument_marker", "a call without argument marker")]
        pieces += self.open_arguments()
        return pieces + self.push(brace + rest) if brace else pieces

    def _begin(self, name: str) -> list[Piece]:
        self._begun = True
        call_id = self._id(name)
        begin = ToolCallBegin(self._index, call_id, name)
        if self._header == call_id:
            return [begin]
        return [Problem("id_repaired", f"{self._header[:80]!r} read as {call_id[:80]}"), begin]

    def _id(self, name: str) -> str:
        return f"{self._prefix}{name}:{self._number}"
