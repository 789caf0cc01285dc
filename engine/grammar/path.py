"""One reply's way through its rules, token by token.

    START --think--> REASONING --close--> OPEN          START, OPEN --text--> TEXT or ANSWER
    START, REASONING, OPEN, TEXT --section open--> SECTION
    SECTION --call open--> NAME --arguments open--> ARGUMENTS --call close--> SECTION
    SECTION --section close--> DONE                     TEXT, ANSWER, DONE --end--> over

Reasoning and text are free but for control tokens, of which only those above are allowed; a name,
arguments and a structured answer follow their grammars. A reply cannot end before it has answered,
by more than blanks, or called.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from engine.grammar.rules import Rules, is_among
from engine.grammar.schemas import Compiled, Place
from engine.grammar.vocabulary import Mask


class _At(enum.Enum):
    START = enum.auto()
    REASONING = enum.auto()
    OPEN = enum.auto()
    """Nothing was answered yet, and no more reasoning comes."""
    TEXT = enum.auto()
    ANSWER = enum.auto()
    SECTION = enum.auto()
    NAME = enum.auto()
    ARGUMENTS = enum.auto()
    DONE = enum.auto()


class Path:
    """Which tokens may come next in a reply. For one thread.

    Only tokens that were drawn are accepted, so drafts that turn out wrong leave no trace.
    """

    def __init__(self, rules: Rules, in_reasoning: bool, next_call: int) -> None:
        """``next_call``: the N of the first call's id."""
        self._rules = rules
        self._at = _At.REASONING if in_reasoning else _At.START
        self._first_call = next_call
        self._calls = 0
        self._names: dict[str, bytes] = {}
        """Of a call whose name is being written: ids that begin like it."""
        self._written = b""
        self._tool = ""
        self._place: Place | None = None
        self._forbidden: frozenset[str] = frozenset()
        self._remarks: list[tuple[str, str]] = []
        self._masks: dict[tuple[_At, bool], Mask] = {}

    def take_remarks(self) -> Sequence[tuple[str, str]]:
        """What could not be kept to since the last time, as (code, message)."""
        remarks, self._remarks = self._remarks, []
        return remarks

    def allowed(self) -> Mask:
        """Raises ResourceError ``grammar_too_complex``. Not to be written to."""
        match self._at:
            case _At.NAME:
                return self._in_name()
            case _At.ARGUMENTS:
                return self._in_place(self._rules.marks.call_close)
            case _At.ANSWER:
                return self._in_place(*self._rules.marks.ends)
            case _At.START | _At.OPEN if self._rules.answer is not None:
                mask = Place(self._rules.answer, self._rules.vocabulary).allowed()
                return mask | self._marks_here()
            case _:
                key = self._at, self._calls > 0
                if key not in self._masks:
                    self._masks[key] = self._marks_here(free=self._free)
                return self._masks[key]

    def permits(self, token_id: int) -> bool:
        """Whether an allowed token leaves another call possible than those that are forbidden."""
        if self._at is not _At.ARGUMENTS or not self._forbidden or self._place is None:
            return True
        if not self._rules.vocabulary.ordinary[token_id]:
            return True
        return self._place.leads_past(self._gone, token_id)

    def _gone(self, arguments: bytes) -> bool:
        return is_among(self._forbidden, arguments)

    def concede(self) -> None:
        """Nothing but forbidden calls can come of this one: let it be written, and say so."""
        self._forbidden = frozenset()
        message = f"no other call of {self._tool} was possible than one that is forbidden"
        self._remarks.append(("forbidden_call", message))

    def accept(self, token_id: int) -> None:
        """The reply goes on with a token that was allowed. Raises as `allowed`."""
        marks = self._rules.marks
        if self._rules.vocabulary.ordinary[token_id]:
            self._text(token_id)
        elif token_id == marks.reasoning_open:
            self._at = _At.REASONING
        elif token_id == marks.reasoning_close:
            self._at = _At.OPEN
        elif token_id == marks.section_open:
            self._at = _At.SECTION
        elif token_id == marks.call_open:
            self._begin_name()
        elif token_id == marks.arguments_open:
            self._begin_arguments()
        elif token_id == marks.call_close:
            self._at, self._place = _At.SECTION, None
            self._calls += 1
        elif token_id == marks.section_close:
            self._at = _At.DONE

    def _text(self, token_id: int) -> None:
        match self._at:
            case _At.START | _At.OPEN if self._rules.answer is not None:
                self._begin(self._rules.answer, "the answer")
                self._at = _At.ANSWER
                self._go_on(token_id)
            case _At.START | _At.OPEN:
                self._written += self._rules.vocabulary.bytes[token_id]
                if self._written.decode("utf-8", "ignore").strip():  # blanks answer nothing
                    self._at = _At.TEXT
            case _At.NAME:
                self._written += self._rules.vocabulary.bytes[token_id]
                written = self._written
                self._names = {n: i for n, i in self._names.items() if i.startswith(written)}
            case _At.ARGUMENTS | _At.ANSWER:
                self._go_on(token_id)

    def _begin_name(self) -> None:
        self._at, self._written = _At.NAME, b""
        prefix, number = self._rules.marks.prefix, self._first_call + self._calls
        self._names = {
            name: f"{prefix}{name}:{number}".encode("utf-8", "replace")
            for name in self._rules.tools
        }

    def _begin_arguments(self) -> None:
        self._tool = next(n for n, call_id in self._names.items() if call_id == self._written)
        self._at = _At.ARGUMENTS
        self._forbidden = (self._rules.forbidden or {}).get(self._tool, frozenset())
        self._begin(self._rules.tools[self._tool], self._tool)

    def _begin(self, compiled: Compiled, of: str) -> None:
        self._place = Place(compiled, self._rules.vocabulary)
        if compiled.loose:
            self._remarks.append(("schema_not_enforced", f"{of}: {compiled.loose}"))

    def _go_on(self, token_id: int) -> None:
        assert self._place is not None
        self._place.accept(token_id)

    @property
    def _free(self) -> bool:
        if self._at in (_At.START, _At.OPEN):
            return not self._rules.must_call
        return self._at in (_At.REASONING, _At.TEXT)

    def _marks_here(self, free: bool = False) -> Mask:
        rules, marks, at = self._rules, self._rules.marks, self._at
        ids: list[int | None] = []
        if at is _At.START:
            ids.append(marks.reasoning_open)
        if at is _At.REASONING:
            ids.append(marks.reasoning_close)
        if at in (_At.START, _At.REASONING, _At.OPEN, _At.TEXT) and rules.tools:
            ids.append(marks.section_open)
        if at is _At.SECTION and (rules.several or not self._calls):
            ids.append(marks.call_open)
        if at is _At.SECTION and self._calls:
            ids.append(marks.section_close)
        if at in (_At.TEXT, _At.DONE):
            ids += marks.ends
        mask = rules.vocabulary.only(*ids)
        return mask | rules.vocabulary.ordinary if free else mask

    def _in_place(self, *ends: int | None) -> Mask:
        assert self._place is not None
        mask = self._place.allowed()
        if self._place.complete:
            mask |= self._rules.vocabulary.only(*ends)
        return mask

    def _in_name(self) -> Mask:
        vocabulary, done = self._rules.vocabulary, len(self._written)
        ids: list[int | None] = []
        for rest in {call_id[done:] for call_id in self._names.values()}:
            if not rest:
                ids.append(self._rules.marks.arguments_open)
            ids += [vocabulary.ids.get(rest[:end]) for end in range(1, len(rest) + 1)]
        return vocabulary.only(*ids)
