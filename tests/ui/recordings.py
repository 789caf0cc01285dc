"""Realistic runs as events, for views and pictures. Times are fixed, so pictures repeat."""

from __future__ import annotations

from app import events as ev
from app.events import Event
from engine.protocol import (
    ChatMessage,
    CompletionTokensDetails,
    FunctionSpec,
    PromptTokensDetails,
    Timings,
    ToolSpec,
    Usage,
)

START = 1_764_000_000.0
CALCULATOR = ToolSpec(
    FunctionSpec(
        "calculator",
        "Evaluate an arithmetic expression exactly.",
        {"type": "object", "properties": {"expression": {"type": "string"}}},
    )
)


class Recording:
    """Builds one conversation's events in order."""

    def __init__(self, title: str, folder: str = "", start: float = START) -> None:
        self.events: list[Event] = []
        self.at = start
        self._turn = ""
        self._parent: str | None = None
        self._span = ""
        self._steps = 0
        self._parts = 0
        self.calls = 0
        self.add(ev.ConversationCreated(title, folder))

    def add(self, body: ev.Body, after: float = 0.05) -> Recording:
        """Append an event `after` seconds later."""
        self.at += after
        seq = len(self.events) + 1
        self.events.append(Event(seq, self.at, "c1", body, self._turn, self._span))
        return self

    def ask(self, text: str) -> Recording:
        """A user message."""
        self._turn = f"t{len(self.events)}"
        self._steps, self._span = 0, ""
        return self.add(ev.TurnBegin(self._turn, self._parent, text, ev.RunSettings(model="nano")))

    def step(self, prompt: str = "", messages: tuple[ChatMessage, ...] = ()) -> Recording:
        """A model call begins."""
        self._span = f"{self._turn}s{self._steps}"
        self.add(ev.StepBegin(self._steps))
        self._steps += 1
        sent = messages or (ChatMessage("user", "What is 17*23 + 4? Use the calculator."),)
        self.add(
            ev.ModelCallBegin("selenograph 0.1", "nano", sent, (CALCULATOR,), {"temperature": 0.0})
        )
        text = prompt or (
            "<|im_system|>tool_declare<|im_middle|>calculator(expression)<|im_end|>"
            f"<|im_user|>user<|im_middle|>{sent[-1].content}<|im_end|>"
            "<|im_assistant|>assistant<|im_middle|>"
        )
        return self.add(ev.ModelPrompt(text, 38 + 40 * self._steps))

    def part(
        self, kind: ev.PartKind, text: str, *, end: bool = True, call: str = "", name: str = ""
    ) -> Recording:
        """A stretch of output, streamed in eight deltas."""
        self._parts += 1
        id = f"p{self._parts}"
        self.add(ev.PartBegin(id, kind, call, name), 0.1)
        size = max(len(text) // 8, 1)
        pieces = [text[i : i + size] for i in range(0, len(text), size)]
        for piece in pieces:
            self.add(ev.PartDelta(id, piece, max(len(piece) // 4, 1)), 0.04)
        if end:
            tokens = sum(max(len(p) // 4, 1) for p in pieces)
            self.add(ev.PartEnd(id, text, tokens, 0.1 + 0.04 * len(pieces)))
        return self

    def tool(
        self,
        name: str,
        arguments: str,
        result: str,
        *,
        ask: str = "",
        status: ev.ToolStatus = "ok",
        seconds: float = 0.02,
    ) -> Recording:
        """A whole call, approved if it asks."""
        call = self.propose(name, arguments, ask=ask)
        if ask:
            self.add(ev.ApprovalAnswered(call, "once"), 2.0)
        self.add(ev.ToolStarted(call))
        return self.add(ev.ToolEnded(call, status, result, seconds), seconds)

    def propose(self, name: str, arguments: str, *, ask: str = "") -> str:
        """A call up to its question; returns its id."""
        call = f"functions.{name}:{self.calls}"
        self.calls += 1
        self.part("tool_call", arguments, call=call, name=name)
        self.model_end("tool_calls")
        self.add(ev.ToolProposed(call, name, arguments))
        if ask:
            self.add(ev.ApprovalAsked(call, ask))
        return call

    def model_end(self, reason: str = "stop", completion: int = 46) -> Recording:
        """The model call's usage and times."""
        prompt = 38 + 40 * self._steps
        usage = Usage(
            prompt,
            completion,
            prompt + completion,
            PromptTokensDetails(max(prompt - 60, 0)),
            CompletionTokensDetails(completion // 2),
        )
        timings = Timings(0.4, 31.0, completion * 4.2, (prompt % 60 + 60) / 0.031, 238.0)
        return self.add(ev.ModelCallEnd(reason, usage, timings, 33.0, 0.031 + completion * 0.0042))

    def end_step(self) -> Recording:
        """The step's end."""
        return self.add(ev.StepEnd(self._steps - 1))

    def end(self, status: ev.TurnStatus = "answered", answer: str = "") -> Recording:
        """The turn's end."""
        self._span = ""
        self.add(ev.TurnEnd(self._turn, status, answer))
        self._parent = self._turn
        return self


ANSWER = """The three totals agree. Here is how they compare:

| quarter | orders | revenue |
|---|---:|---:|
| Q1 | 1,204 | 18,310.50 |
| Q2 | 1,377 | 20,944.00 |

1. **Q2 is ahead** by 173 orders.
2. The mean order grew from `15.21` to `15.21`, so growth came from volume:
   - no price change
   - fewer returns

```python
def mean(total: float, orders: int) -> float:
    \"\"\"Revenue per order.\"\"\"
    return round(total / orders, 2)
```

> Figures are from `orders.csv`; see [the notes](https://example.org/notes) for the method.
"""


def short_chat() -> Recording:
    """One calculator question, answered."""
    r = Recording("17*23 + 4")
    r.ask("What is 17*23 + 4? Use the calculator.").step()
    r.part("reasoning", "I have to compute 17*23+4. I will use the calculator.")
    r.tool("calculator", '{"expression": "17*23+4"}', "395").end_step()
    r.step().part("reasoning", "The calculator returned 395, so that is the answer.")
    r.part("text", "17*23 + 4 = **395**.").model_end().end_step()
    return r.end("answered", "17*23 + 4 = **395**.")


def rich_answer() -> Recording:
    """Python with approval, then Markdown of every kind."""
    r = Recording("Compare the quarters", "/srv/orders")
    r.ask("Compare Q1 and Q2 of orders.csv: orders, revenue and revenue per order.").step()
    r.part(
        "reasoning",
        "The person wants two quarters compared. I should look at the file first, then compute "
        "the sums with Python rather than in my head.\n\nThe columns are probably date, order id "
        "and amount.",
    )
    r.tool(
        "read_file", '{"path": "orders.csv"}', "date,order,amount\n2025-01-02,1,14.20"
    ).end_step()
    r.step().part("reasoning", "Now the sums, by quarter.")
    r.tool(
        "python",
        '{"code": "import csv\\nrows = list(csv.DictReader(open(\'orders.csv\')))\\n'
        'print(len(rows))"}',
        "2581",
        ask="python runs code on this machine",
        seconds=0.61,
    ).end_step()
    r.step().part("reasoning", "Both sums agree with the file's footer.")
    r.part("text", ANSWER).model_end(completion=212).end_step()
    return r.end("answered", ANSWER)


def waiting_for_approval() -> Recording:
    """Stopped at the question."""
    r = short_chat()
    r.ask("Now the mean of 12, 7, 30 and 11, with Python.").step()
    r.part("reasoning", "The data are 12, 7, 30, 11. I will compute the mean with Python.")
    r.propose(
        "python",
        '{"code": "data = [12, 7, 30, 11]\\nsum(data) / len(data)"}',
        ask="python runs code on this machine",
    )
    return r


def streaming() -> Recording:
    """In the middle of its reasoning."""
    r = short_chat()
    r.ask("Which of the notes mentions the harbour, and when does the ferry leave?").step()
    r.part(
        "reasoning",
        "I need to find the note about the harbour. The folder may hold several files, so I will "
        "search for the word first and read only what matches. After that I can look for the "
        "ferry's time in the same",
        end=False,
    )
    return r


def engine_lost() -> Recording:
    """The engine went away in mid-reply."""
    r = streaming()
    r.add(ev.PartEnd(f"p{r._parts}", "I need to find the note about the harbour.", 9, 0.4))
    r.add(ev.Interrupted("engine_lost", "signal 9"))
    r.add(
        ev.Failed(
            "engine_lost",
            "The engine process ended while it was writing (signal 9).",
            "Restart the engine, then choose Continue.",
            True,
        )
    )
    return r.end("failed")


def long_run(steps: int = 300) -> Recording:
    """A run of many steps, each a thought and a call."""
    r = Recording("Three hundred steps")
    r.ask("Follow the chain of files to its end and add up all amounts.")
    for i in range(steps):
        r.step().part(
            "reasoning", f"Step {i}: the file names the next one. I keep the total and go on. " * 4
        )
        r.tool(
            "read_file", f'{{"path": "note-{i}.txt"}}', f"amount: {i * 7 % 113}\nnext: {i + 1}"
        ).end_step()
    r.step().part("text", f"The chain has {steps} files.").model_end().end_step()
    return r.end("answered", f"The chain has {steps} files.")


def steered() -> Recording:
    """Everything that the program or a person decides in the middle of a run."""
    r = Recording("Find the leak", "/srv/valve")
    r.ask("Which valve leaks? Look into the logs.").step()
    r.part("reasoning", "I begin with the first log.").part("text", "Let me")
    r.add(ev.ModelCallEnd("error"))
    r.add(ev.Retrying(1, 2.4, "http_503", "the endpoint is overloaded"))
    r.part("reasoning", "I begin with the first log.")
    r.tool("read_file", '{"path": "a.log"}', "pressure 3.1", status="ok").end_step()
    r.add(ev.ContextHidden(("functions.read_file:0",), 25_100, 14_700, 32_768, "it is full"))
    r.add(ev.MessageQueued("m1", "Only the north wing, please."))
    r.step()
    r.add(ev.MessageTaken("m1", "Only the north wing, please."))
    r.add(ev.BudgetNear("steps", 43, 50))
    r.add(ev.NoteGiven("budget_near", "43 of 50 steps are used. Bring the work to a conclusion."))
    r.part("text", "So:")
    r.add(ev.RepairAsked(("read_file",), ("the arguments are not JSON",)))
    r.part("reasoning", "The north wing only. I read the same log again.")
    call = r.propose("read_file", '{"path": "a.log"}')
    r.add(ev.Paused("call", "before read_file")).add(ev.ArgumentsEdited(call, '{"path": "n.log"}'))
    r.add(ev.Continued("go")).add(ev.ToolStarted(call))
    r.add(ev.LoopSeen(call, "told", 2)).add(ev.LoopSeen(call, "forbidden", 2))
    r.add(ev.ToolEnded(call, "unknown", "error: outcome unknown", 1.0))
    r.add(ev.ToolUnavailable("read_file", 5, 12)).add(ev.DriftSeen("errors", "8 of 9 calls failed"))
    r.add(ev.PlanChanged((ev.PlanItem("read the logs", "done"), ev.PlanItem("answer", "doing"))))
    r.add(ev.ThinkingCut(1_024, "engine")).add(ev.ClockJumped(3_600.0)).end_step()
    r.step()
    r.add(ev.Concluding("steps", "the limit of 50 steps is reached"))
    r.part("text", "The north valve, most likely: its pressure falls at night.").model_end()
    r.end_step()
    r.add(ev.Interrupted("budget", "steps: the limit of 50 steps is reached"))
    return r.end("budget", "The north valve, most likely.")
