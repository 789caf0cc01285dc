"""A model's tokens to reasoning, answer and tool calls, while they come.

The states and what moves between them (control tokens by id, never by their spelling):

    REASONING --close--> TEXT          REASONING, TEXT --section open--> SECTION
    TEXT, SECTION --open--> REASONING  REASONING, TEXT, SECTION --call open--> CALL
    CALL --call close--> SECTION       SECTION --section close--> TEXT

Every marker is accepted in every state; where it has no meaning it is consumed and reported. No
text is lost: it comes out as reasoning, as answer, in a call's ``written`` or in a Problem's
``text``. The one exception is whitespace at the edges of tool sections, and an answer of
whitespace only.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from typing import Literal

from engine.errors import CheckpointError
from engine.text.call_reader import CallReader
from engine.text.dialects.base import Dialect, Mark
from engine.text.pieces import Piece, Problem, ReasoningDelta, TextDelta, ToolCallEnd
from engine.text.tokenizer import Tokenizer
from engine.text.tool_call import ToolSpec
from engine.text.utf8 import TextStream

FinishCause = Literal["stop", "length", "abort"]


class State(enum.Enum):
    REASONING = "the reasoning"
    TEXT = "the answer"
    SECTION = "the tool section"
    CALL = "a tool call"


class StreamParser:
    """Parses one reply. Not for use by two threads at once.

    ``tools`` are those the model was shown; ``next_call_index`` is the N of the first call's id,
    from :class:`engine.text.chat_template.Prompt`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        dialect: Dialect,
        starts_in_reasoning: bool,
        tools: Sequence[ToolSpec] = (),
        next_call_index: int = 0,
    ) -> None:
        self._tokenizer = tokenizer
        self._dialect = dialect
        self._tools = tuple(tools)
        self._next_call_index = next_call_index
        self._marks = {
            token_id: dialect.markers.get(name, Mark.STRAY)
            for name, token_id in tokenizer.special.items()
        } | dict.fromkeys(tokenizer.eos_ids, Mark.END)
        self._spelled = _SpelledMarkers(dialect, tokenizer)
        self._utf8 = TextStream()
        self._state = State.REASONING if starts_in_reasoning else State.TEXT
        self._held = ""
        self._run_shown = False  # some of the text since the last marker was shown
        self._section_open = False  # a section marker was seen and not yet its end
        self._section_calls = 0
        self._after_section = False
        self._answered = False
        self._calls = 0
        self._call: CallReader | None = None
        self._out: list[Piece] = []

    @property
    def in_reasoning(self) -> bool:
        """Whether the token fed last left the reply inside its reasoning."""
        return self._state is State.REASONING

    @property
    def calls(self) -> int:
        """How many calls were begun so far."""
        return self._calls + (self._call is not None)

    def feed(self, token_id: int) -> list[Piece]:
        """What one more token completes. Control tokens and reply ends may be fed too."""
        self._out = []
        mark = self._marks.get(token_id)
        if mark is not None:
            self._text(self._utf8.flush())
            self._apply(mark, self._tokenizer.name(token_id))
        elif token_id >= self._tokenizer.vocab_size:
            self._problem("unknown_token", f"token {token_id} is not in the vocabulary")
        else:
            self._text(self._utf8.push(self._tokenizer.token_bytes(token_id)))
        return self._out

    def finish(self, cause: FinishCause) -> list[Piece]:
        """What is left when no more tokens come: the model stopped, the limit, or an abort."""
        self._out = []
        self._text(self._utf8.flush())
        where = self._state
        if self._call is not None:
            self._cut_off(self._call, cause)
        else:
            self._end_run()
            if where is State.SECTION and self._section_open and cause == "stop":
                self._problem("section_not_closed", "the reply ended inside the tool section")
            if cause == "length":
                self._problem("truncated", f"the limit was reached in {where.value}")
        if cause == "stop" and not self._answered and not self._calls:
            self._problem("no_answer", f"the reply ended in {where.value} with no answer or call")
        return self._out

    # Text

    def _text(self, text: str) -> None:
        if not text:
            return
        if self._call is not None:
            self._out += self._call.push(text)
            return
        self._held += text
        while (found := self._spelled_marker()) is not None:
            rest = self._held[found.end() :]
            self._held = self._held[: found.start()]
            self._apply_spelled(found.group())
            self._held = rest
        keep = self._hold_from()
        self._show(self._held[:keep])
        self._held = self._held[keep:]

    def _spelled_marker(self) -> re.Match[str] | None:
        """A marker in ordinary tokens that is certain to be one, in the held text."""
        if self._state is State.SECTION:
            return self._spelled.anything.search(self._held)
        if self._state is State.TEXT and self._after_section and not self._run_shown:
            found = self._spelled.close.match(self._held.lstrip())
            if found is not None:
                return self._spelled.close.search(self._held)
        return self._spelled.empty_section.search(self._held)

    def _hold_from(self) -> int:
        """From where the held text cannot be shown yet, as its meaning depends on what follows."""
        keep = self._spelled.hold_from(self._held)
        if self._state is State.REASONING:
            return keep
        solid = self._held[:keep].rstrip()
        if not self._run_shown and "null".startswith(solid.lstrip()):
            return 0
        return len(solid)

    def _end_run(self, before_tools: bool = False) -> None:
        """A marker or the end has come: show or drop what was held.

        ``before_tools``: the marker belongs to tool calls, so a spelled section marker just
        before it was meant as one, and blanks and a lone ``null`` are not part of the answer.
        """
        text, self._held = self._held, ""
        spelled = ""
        if before_tools and self._state is not State.SECTION:
            text, spelled = self._spelled.split_open(text)
        if self._state is not State.REASONING:
            if before_tools or self._state is State.SECTION:
                text = text.rstrip()
                if not self._run_shown and text.strip() == "null":
                    self._problem("null_before_call", "the word null before a call", text)
                    text = ""
            if not self._run_shown and not text.strip():
                text = ""
        self._show(text)
        self._run_shown = False
        if spelled:
            self._apply_spelled(spelled)

    def _show(self, text: str) -> None:
        if not text:
            return
        if self._state is State.REASONING:
            self._out.append(ReasoningDelta(text))
            return
        if not self._run_shown and self._state is State.SECTION:
            self._problem("text_in_section", "text between tool calls")
        elif not self._run_shown and self._after_section:
            self._problem("text_after_calls", "text after the tool section")
        self._run_shown = self._answered = True
        self._out.append(TextDelta(text))

    # Markers

    def _apply(self, mark: Mark, name: str) -> None:
        if self._call is not None:
            self._apply_in_call(self._call, mark, name)
        elif mark is Mark.REASONING_OPEN and self._state is not State.REASONING:
            self._end_run()
            if self._state is State.SECTION and self._section_open:
                self._problem("section_not_closed", "reasoning began inside the tool section")
            self._enter(State.REASONING)
        elif mark is Mark.REASONING_CLOSE and self._state is State.REASONING:
            self._end_run()
            self._enter(State.TEXT)
        elif mark is Mark.SECTION_OPEN:
            self._open_section(name)
        elif mark is Mark.SECTION_CLOSE:
            self._close_section(name)
        elif mark is Mark.CALL_OPEN:
            self._open_call()
        elif mark is not Mark.END:
            shown = self._run_shown
            self._end_run()
            self._run_shown = shown
            self._stray(name)

    def _apply_in_call(self, call: CallReader, mark: Mark, name: str) -> None:
        if mark is Mark.ARGUMENTS_OPEN and not call.in_arguments:
            self._out += call.open_arguments()
        elif mark is Mark.CALL_CLOSE:
            self._close_call(call)
        elif mark in (Mark.CALL_OPEN, Mark.SECTION_OPEN, Mark.SECTION_CLOSE):
            self._problem("missing_call_end", f"{name} came before the call's end")
            self._close_call(call)
            self._apply(mark, name)
        elif mark is not Mark.END:
            # A model writing about its own format: the arguments want the characters.
            self._problem("marker_in_call", f"{name} inside a call was taken as text")
            self._out += call.push(name)

    def _apply_spelled(self, marker: str) -> None:
        """A section marker in ordinary tokens; its text is reported so that it is accounted for."""
        self._end_run(before_tools=True)
        self._problem("spelled_marker", f"{marker} in plain text", marker)
        self._apply(self._dialect.markers[marker], marker)

    def _open_section(self, name: str) -> None:
        self._end_run(before_tools=True)
        if self._state is State.SECTION and self._section_open:
            self._stray(name)
            return
        self._enter(State.SECTION)
        self._section_open = True
        self._section_calls = 0

    def _close_section(self, name: str) -> None:
        self._end_run(before_tools=True)
        if self._state is not State.SECTION:
            self._stray(name)
            return
        if self._section_open and not self._section_calls:
            self._problem("empty_section", "a tool section without a call")
        self._section_open = False
        self._enter(State.TEXT)
        self._after_section = True

    def _open_call(self) -> None:
        self._end_run(before_tools=True)
        if self._state is not State.SECTION:
            self._problem("missing_section", "a call outside a tool section")
        self._enter(State.CALL)
        self._call = CallReader(
            self._calls,
            self._next_call_index + self._calls,
            self._tools,
            self._dialect.id_prefix,
        )

    def _close_call(self, call: CallReader) -> None:
        self._call = None
        self._enter(State.SECTION)
        if call.is_blank:
            self._problem("empty_call", "a call with nothing in it", call.written)
            return
        self._out += call.end()
        self._calls += 1
        self._section_calls += 1

    def _cut_off(self, call: CallReader, cause: FinishCause) -> None:
        self._call = None
        if not call.in_arguments:
            self._problem("truncated", "the reply ended in a call's name", call.written)
            return
        self._out += call.end(cut_off=True)
        self._calls += 1
        if cause == "stop":
            self._problem("missing_call_end", "the reply ended before the call's end")
        elif cause == "length" and all(
            piece.problem != "truncated" for piece in self._out if isinstance(piece, ToolCallEnd)
        ):
            self._problem("truncated", "the limit was reached just after a call's arguments")

    def _enter(self, state: State) -> None:
        self._state = state
        self._run_shown = False
        self._after_section = False

    def _stray(self, name: str) -> None:
        self._problem("stray_marker", f"{name} in {self._state.value}")

    def _problem(self, code: str, message: str, text: str = "") -> None:
        self._out.append(Problem(code, message, text))


class _SpelledMarkers:
    """Section markers the vocabulary has no control token for, to be found in text."""

    def __init__(self, dialect: Dialect, tokenizer: Tokenizer) -> None:
        spelled = {
            spelling: mark
            for spelling, mark in dialect.markers.items()
            if spelling not in tokenizer.special
        }
        others = set(spelled.values()) - {Mark.SECTION_OPEN, Mark.SECTION_CLOSE}
        if others:
            missing = ", ".join(text for text, mark in spelled.items() if mark in others)
            raise CheckpointError(
                "tokenizer_unsupported", f"the vocabulary has no control token {missing}"
            )
        self._opens = tuple(text for text, mark in spelled.items() if mark is Mark.SECTION_OPEN)
        self._all = tuple(spelled)
        closes = [text for text, mark in spelled.items() if mark is Mark.SECTION_CLOSE]
        self.anything = _either(spelled)
        self.close = _either(closes)
        self.empty_section = re.compile(
            rf"(?:{_either(self._opens).pattern})(?=\s*(?:{self.close.pattern}))"
        )

    def hold_from(self, text: str) -> int:
        """Where a marker may be under way at the end of ``text``, or its length.

        An opening marker counts only when a call or an end follows it, so it waits, with any
        blanks after it.
        """
        for first in {marker[0] for marker in self._all}:
            start = text.find(first)
            while start >= 0:
                tail = text[start:]
                if self._may_begin(tail):
                    return start
                start = text.find(first, start + 1)
        return len(text)

    def split_open(self, text: str) -> tuple[str, str]:
        """``text`` without an opening marker at its end, and that marker or ""."""
        solid = text.rstrip()
        for marker in self._opens:
            if solid.endswith(marker):
                return solid[: -len(marker)], marker
        return text, ""

    def _may_begin(self, tail: str) -> bool:
        if any(marker.startswith(tail) and marker != tail for marker in self._all):
            return True
        for marker in self._opens:
            if tail.startswith(marker):
                rest = tail[len(marker) :].lstrip()
                return not rest or any(other.startswith(rest) for other in self._all)
        return False


def _either(texts: Sequence[str] | dict[str, Mark]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, texts)) or r"(?!)")
