"""What stands in a conversation, by whose words it is: the person's, or those of texts that tools
brought.

Each text is taken once, when it came, so that a question does not take the longer the more there
is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from app.events import MessageTaken
from app.state import Step, ToolRun, Turn
from app.trust.sieve import Sieve, spaced

_NAME = re.compile(r"[\w.+@-]+")
_ENDS = re.compile(r"[+@]|\.(?!\w)|$")
"""Where a host or an address may end that stands in a longer name."""
_MOST_NAMES = 12
"""In one word."""


class Words:
    """Of one branch, as it grows."""

    def __init__(self, outside: Callable[[str], bool]) -> None:
        """``outside``: whether a tool of that name brings text of others."""
        self._outside = outside
        self._clear()

    def _clear(self) -> None:
        self._persons, self._others = Sieve(), Sieve()
        self._names: set[str] = set()
        self._odd: list[str] = []
        """Words of the person's with too many names in them."""
        self._system: str | None = None
        self._runs: list[_Taken] = []

    # -- questions ----------------------------------------------------------------------------

    @property
    def read(self) -> bool:
        """Whether there is any text of others."""
        return len(self._others) > 0

    def said(self, string: str) -> bool:
        """Whether the person wrote it, chose it, or allowed it with their own eyes."""
        return any(string in text for text in self._persons.holding(string))

    def named(self, forms: Iterable[str]) -> bool:
        """Whether the person named a host or an address as a whole word, in one of its forms."""
        low = [form.lower() for form in forms if form]
        return any(
            form in self._names or f"www.{form}" in self._names or self._stands_alone(form)
            for form in low
        )

    def _stands_alone(self, form: str) -> bool:
        """The same for what is no name in one piece, as an address in numbers and colons."""
        texts = self._odd if _NAME.fullmatch(form) else self._persons.holding("")
        whole = re.compile(rf"(?<![\w.-])(?:www\.)?{re.escape(form)}(?![\w-]|\.\w)", re.I)
        return any(whole.search(text) for text in texts)

    def holds(self, string: str) -> bool:
        """Whether it stands in a text of others."""
        return any(string in text for text in self._others.holding(string))

    def holds_words(self, words: str) -> bool:
        """The same whatever is between the words: line breaks and spaces are the page's own."""
        longest = max(words.split(), key=len)
        texts = self._others.holding(words)
        return any(longest in text and words in spaced(text) for text in texts)

    # -- growing ------------------------------------------------------------------------------

    def take(self, path: Sequence[Turn], system: str) -> None:
        """What came since the last time; everything anew where something else has changed."""
        # What lanes read is in the answer that was made of theirs.
        runs = list(chain.from_iterable((turn, *turn.lanes) for turn in path))
        known = zip(self._runs, runs, strict=False)
        if (
            system != self._system
            or len(runs) < len(self._runs)
            or not all(taken.fits(run) for taken, run in known)
        ):
            self._clear()
            self._system = system
            self._say(system)
        for run in runs[len(self._runs) :]:
            self._runs.append(_Taken(run))
            self._say(run.text)
        for taken, run in zip(self._runs, runs, strict=True):
            for message in taken.messages(run):
                self._say(message.text)
            for tool in taken.tools(run):
                if _allowed(tool):
                    self._say(tool.arguments)
                if tool.result and self._outside(tool.name):
                    self._others.add(tool.result)
            taken.close(run)

    def _say(self, text: str) -> None:
        self._persons.add(text)
        for word in set(_NAME.findall(text)):
            names = _names_in(word.lower())
            if names is None:
                self._odd.append(word)
            else:
                self._names.update(names)


class _Taken:
    """How far a turn or a lane was taken: steps that ended, and of the open one what there was."""

    def __init__(self, run: Turn) -> None:
        self._id, self._text = run.id, run.text
        self._steps: tuple[Step, ...] = ()
        self._messages = 0
        self._tools: dict[tuple[str, str], tuple[str, str]] = {}
        """Arguments and result by step and call."""

    def fits(self, run: Turn) -> bool:
        """Whether nothing that was taken has changed; steps that did not are the same objects."""
        count = len(self._steps)
        return (
            (run.id, run.text) == (self._id, self._text)
            and run.steps[:count] == self._steps
            and self._same_open(run.steps[count:])
        )

    def _same_open(self, steps: tuple[Step, ...]) -> bool:
        tools = {(s.span, t.call): (t.arguments, t.result) for s in steps for t in s.tools}
        return all(tools.get(key) == texts for key, texts in self._tools.items())

    def messages(self, run: Turn) -> list[MessageTaken]:
        """Of the person in the middle of the work, those that are new."""
        steps = run.steps[len(self._steps) :]
        found = [note for s in steps for note in s.notes if isinstance(note, MessageTaken)]
        new = found[self._messages :]
        self._messages = len(found)
        return new

    def tools(self, run: Turn) -> Iterator[ToolRun]:
        """Calls that have ended since."""
        for step in run.steps[len(self._steps) :]:
            for tool in step.tools:
                key = step.span, tool.call
                if tool.status is not None and key not in self._tools:
                    self._tools[key] = (tool.arguments, tool.result)
                    yield tool

    def close(self, run: Turn) -> None:
        """Steps that have ended stay as they are."""
        count = len(self._steps)
        while count < len(run.steps) and run.steps[count].ended:
            count += 1
        if count > len(self._steps):
            self._steps = run.steps[:count]
            left = run.steps[count:]
            self._messages = sum(isinstance(n, MessageTaken) for s in left for n in s.notes)
            spans = {step.span for step in left}
            self._tools = {key: texts for key, texts in self._tools.items() if key[0] in spans}


def _names_in(word: str) -> list[str] | None:
    """What a word names as a whole: a host, an address, a host within an address; None: much."""
    begins = [0, *(m.end() for m in re.finditer("[+@]", word))]
    ends = [m.start() for m in _ENDS.finditer(word)]
    if len(begins) * len(ends) > _MOST_NAMES:
        return None
    return [word[begin:end] for begin in begins for end in ends if begin < end]


def _allowed(tool: ToolRun) -> bool:
    return tool.decided_by == "person" and tool.decision not in (None, "deny")
