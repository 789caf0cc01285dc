from __future__ import annotations

import pytest

from app.backends import base
from app.backends.scripted import Reply, ScriptedBackend
from app.errors import BackendError
from engine.protocol import ChatMessage, FunctionCall, ToolCall

REQUEST = base.ModelRequest((ChatMessage("user", "hello"),))


async def test_says_what_it_was_told() -> None:
    model = ScriptedBackend(
        [Reply(reasoning="abcdefghij", calls=(("t", "{}"), ("u", '{"x": 1}'))), Reply(text="done")]
    )
    events = [event async for event in model.stream(REQUEST)]
    assert events[1:-1] == [
        base.ReasoningDelta("abcdefgh", 1),
        base.ReasoningDelta("ij", 1),
        base.CallBegin(0, "functions.t:0", "t"),
        base.CallDelta(0, "{}", 1),
        base.CallBegin(1, "functions.u:1", "u"),
        base.CallDelta(1, '{"x": 1}', 1),
    ]
    assert isinstance(events[-1], base.Finished)
    assert events[-1].reason == "tool_calls"
    for _ in range(2):
        events = [event async for event in model.stream(REQUEST)]
        assert events[1] == base.TextDelta("done", 1)
    assert (len(model.requests), model.cut) == (3, 0)


async def test_ids_go_on_from_the_history() -> None:
    model = ScriptedBackend([Reply(calls=(("t", "{}"),))])
    before = ToolCall("functions.t:0", FunctionCall("t", "{}"))
    history = (*REQUEST.messages, ChatMessage("assistant", tool_calls=(before,)))
    events = [event async for event in model.stream(base.ModelRequest(history))]
    assert base.CallBegin(0, "functions.t:1", "t") in events


async def test_errors_and_cuts_are_counted() -> None:
    model = ScriptedBackend([Reply(text="a", error=BackendError("x", "y"))])
    with pytest.raises(BackendError):
        [event async for event in model.stream(REQUEST)]
    assert model.cut == 1
    await model.close()
    assert model.closed
    with pytest.raises(ValueError, match="at least one"):
        ScriptedBackend([])
