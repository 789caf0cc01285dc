"""A turn at an endpoint that lets the model's markers through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from app import events as ev
from app.backends import base
from app.backends.leaks import parsed
from app.backends.scripted import Reply, ScriptedBackend
from tests.unit.app.agent.bench import DONE, Bench, assert_recorded

CALL = (
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.echo:0"
    "<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>"
)


class Leaking(ScriptedBackend):
    """A script whose texts are read as those of a foreign endpoint."""

    def stream(self, request: base.ModelRequest) -> AsyncIterator[base.BackendEvent]:
        return parsed(super().stream(request))


async def test_a_leaked_call_is_run_and_told_of(bench: Callable[..., Bench]) -> None:
    b = bench(DONE)
    b.other = Leaking([Reply("Hm.", "I look." + CALL.replace("{}", '{"x": "7"}')), DONE])
    turn = await b.ask()
    assert turn.status == "answered"
    (tool,) = turn.steps[0].tools
    assert (tool.name, tool.result) == ("echo", "7")
    (remark,) = turn.steps[0].remarks
    assert remark.text == "Markers leaked by the endpoint, parsed: 5 markers, 1 call"
    assert all("<|" not in part.text for step in turn.steps for part in step.parts)
    assert_recorded(b)


async def test_what_is_no_call_is_asked_for_again(bench: Callable[..., Bench]) -> None:
    b = bench(DONE)
    other = Leaking(
        [Reply(text=CALL.replace("{}", '{"x": ')), Reply(calls=(("echo", '{"x": "1"}'),)), DONE]
    )
    b.other = other
    turn = await b.ask()
    assert turn.status == "answered"
    (asked,) = b.bodies(ev.RepairAsked)
    assert (asked.calls, asked.problems) == (("echo",), ("the arguments are not JSON",))
    assert [tool.result for tool in turn.steps[0].tools] == ["1"]
    assert "<|" not in "".join(m.content or "" for m in other.requests[1].messages)
    assert_recorded(b)
