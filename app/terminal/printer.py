"""How a run is shown in a terminal: for people, or as JSON lines."""

from __future__ import annotations

import sys
from typing import Protocol

import msgspec

from app import events as ev
from app.events import Event
from app.remarks import remark
from app.tools.web.untrusted import for_people


class Printer(Protocol):
    """Events in order, then the end."""

    def event(self, event: Event) -> None: ...

    def note(self, text: str) -> None: ...

    def end(self, summary: msgspec.Struct) -> None: ...


class JsonPrinter:
    """Each event as one flat object: the body's fields beside seq, at, conversation, run, span."""

    def event(self, event: Event) -> None:
        line = msgspec.to_builtins(event)
        body = line.pop("body")
        self._print({"type": body.pop("type"), **line, **body})

    def note(self, text: str) -> None:
        print(text, file=sys.stderr)

    def end(self, summary: msgspec.Struct) -> None:
        self._print(msgspec.to_builtins(summary))

    def _print(self, line: object) -> None:
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        sys.stdout.flush()


class TextPrinter:
    """The answer on stdout; what the model thinks and does on stderr, dimmed on a terminal."""

    def __init__(self) -> None:
        self._dim, self._plain = ("\x1b[2m", "\x1b[0m") if sys.stderr.isatty() else ("", "")
        self._live = sys.stdout.isatty()
        self._kind: ev.PartKind | None = None
        self._lanes: dict[str, int] = {}

    def event(self, event: Event) -> None:
        number = self._lanes.get(event.run)
        if number is not None:
            self._of_lane(number, event.body)
            return
        match event.body:
            case ev.LaneBegin(lane=lane, number=begun):
                self._lanes[lane] = begun
            case ev.PartBegin(kind=kind):
                self._kind = kind
            case ev.PartDelta(text=text):
                self._delta(text)
            case ev.PartEnd():
                self._end_part()
            case ev.ToolProposed(name=name, arguments=arguments):
                self.note(f"> {name} {arguments}")
            case ev.ToolEnded(result=result):
                lines = for_people(result).splitlines() or [""]
                more = f" (and {len(lines) - 8} more lines)" if len(lines) > 8 else ""
                self.note("\n".join(f"  {line[:200]}" for line in lines[:8]) + more)
            case body:
                words = remark(body)
                if words:
                    self.note(f"- {words[1]}")

    def _of_lane(self, number: int, body: ev.Body) -> None:
        """Lines of lanes alternate, so what is being written is not shown, only what came of it."""
        match body:
            case ev.ToolProposed(name=name, arguments=arguments):
                self._lane_says(number, f"> {name} {arguments}")
            case ev.LaneEnd(status=status, answer=answer, message=message):
                self._lane_says(number, f"{status}: {answer or message}")
            case ev.ToolEnded(status=status, result=result) if status != "ok":
                self._lane_says(number, result)
            case _:
                words = remark(body)
                if words:
                    self._lane_says(number, f"- {words[1]}")

    def _lane_says(self, number: int, text: str) -> None:
        self.note(f"[{number}] {' '.join(text[:400].split())[:160]}")

    def note(self, text: str) -> None:
        print(f"{self._dim}{text}{self._plain}", file=sys.stderr, flush=True)

    def end(self, summary: msgspec.Struct) -> None:
        answer = getattr(summary, "answer", "")
        if answer and not self._live:
            print(answer, flush=True)

    def _delta(self, text: str) -> None:
        if self._kind == "reasoning":
            sys.stderr.write(f"{self._dim}{text}{self._plain}")
            sys.stderr.flush()
        elif self._kind == "text" and self._live:
            sys.stdout.write(text)
            sys.stdout.flush()

    def _end_part(self) -> None:
        if self._kind == "reasoning":
            print(file=sys.stderr, flush=True)
        elif self._kind == "text" and self._live:
            print(flush=True)
        self._kind = None
