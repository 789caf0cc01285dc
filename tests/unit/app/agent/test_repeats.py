"""Loops are seen, told, refused, heated, and in the end concluded; broken tools rest."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import events as ev
from app.agent.repeats import Repeats, heated, key_of
from app.backends.base import ModelRequest, Traits
from app.backends.scripted import Reply
from app.state import Turn
from tests.unit.app.agent.bench import DONE, ECHO, Bench, Toy, assert_recorded

Make = Callable[..., Bench]


def call(name: str, x: str) -> Reply:
    return Reply(calls=((name, json.dumps({"x": x})),))


def stages(bench: Bench) -> list[str]:
    return [event.stage for event in bench.bodies(ev.LoopSeen)]


def results(turn: Turn) -> list[str]:
    return [tool.result for step in turn.steps for tool in step.tools]


def obstinate(*calls: Reply) -> Callable[[ModelRequest], Reply]:
    """Goes round in the calls whatever it is told, and answers when it may not call."""
    count = 0

    def model(request: ModelRequest) -> Reply:
        nonlocal count
        count += 1
        return calls[(count - 1) % len(calls)] if request.may_call else Reply(text="I give up.")

    return model


async def test_an_obstinate_model_is_brought_to_an_answer(bench: Make) -> None:
    b = bench(model=obstinate(ECHO))
    turn = await b.ask()
    assert (turn.status, turn.answer) == ("budget", "I give up.")
    assert turn.interrupted is not None and turn.interrupted.cause == "loop"
    assert stages(b) == ["told", "refused", "refused", "heated", "refused", "concluded"]
    assert len(b.bodies(ev.ToolStarted)) == 2
    first, second, third, *_ = results(turn)
    assert first == "12"
    assert second.startswith("12\n\n(Note from the program: this is the same result")
    assert third.startswith("error: not run: this exact call was made 2 times")
    assert [r.sampling.temperature for r in b.model.requests] == [None] * 4 + [1.3, None]
    assert any("not run" in r.text for r in turn.steps[2].remarks)
    assert_recorded(b)


async def test_two_calls_in_turn_are_a_loop_too(bench: Make) -> None:
    b = bench(model=obstinate(call("echo", "a"), call("echo", "b")))
    turn = await b.ask()
    assert turn.answer == "I give up."
    assert len(b.bodies(ev.ToolStarted)) == 4
    assert stages(b) == ["told", "told", "refused", "refused", "heated", "refused", "concluded"]


async def test_the_spelling_of_arguments_does_not_hide_a_loop(bench: Make) -> None:
    spellings = ('{"x": "a  b"}', '{ "x":"a b" }', '{"x": " a b "}', '{"x": "a\\nb"}')
    b = bench(model=obstinate(*(Reply(calls=(("wait", text),)) for text in spellings)))
    b.tools.gate.set()
    await b.ask()
    assert len(b.bodies(ev.ToolStarted)) == 2


async def test_a_model_that_listens_goes_on(bench: Make) -> None:
    b = bench(ECHO, ECHO, ECHO, call("echo", "13"), ECHO, DONE)
    turn = await b.ask()
    assert turn.status == "answered"
    assert stages(b) == ["told", "refused", "refused"]


async def test_many_equal_calls_in_one_reply(bench: Make) -> None:
    b = bench(Reply(calls=(("echo", '{"x": "1"}'),) * 9), DONE)
    turn = await b.ask()
    assert len(b.bodies(ev.ToolStarted)) == 2
    assert sum("not run" in text for text in results(turn)) == 7
    assert_recorded(b)


async def test_a_result_that_changes_is_no_loop(bench: Make) -> None:
    count = itertools.count()

    async def tick(x: str, output: Callable[[str], None]) -> str:
        return str(next(count))

    b = bench(*[ECHO] * 8, DONE)
    b.tools.put(Toy("echo", tick))
    turn = await b.ask()
    assert len(set(results(turn))) == 8
    assert stages(b) == []


async def test_an_engine_that_forbids_calls_is_told_which(bench: Make) -> None:
    """It keeps the model from the call itself, so that nothing has to be refused."""

    def model(request: ModelRequest) -> Reply:
        wishes = [("echo", '{"x": "a"}'), ("echo", '{"x":  "b"}'), ("fail", '{"x": "c"}')]
        gone = [key_of(*call) for call in request.forbidden]
        left = [wish for wish in wishes if key_of(*wish) not in gone]
        return Reply(calls=(left[0],)) if request.may_call and left else Reply(text="Done.")

    b = bench(model=model)
    b.model.traits = Traits(closes_reasoning=True, forbids_calls=True)
    turn = await b.ask()
    assert (turn.status, turn.answer) == ("answered", "Done.")
    assert stages(b) == ["told", "forbidden"] * 3
    assert [len(request.forbidden) for request in b.model.requests] == [0, 0, 1, 1, 2, 2, 3]
    assert b.model.requests[2].forbidden == (key_of("echo", '{"x": "a"}'),)
    begun = b.bodies(ev.ModelCallBegin)
    assert ["forbidden" in body.sampling for body in begun] == [False] * 2 + [True] * 5
    assert any("does not let the model" in r.text for s in turn.steps for r in s.remarks)
    assert_recorded(b)


async def test_elsewhere_nothing_is_forbidden(bench: Make) -> None:
    b = bench(model=obstinate(ECHO))
    await b.ask()
    assert not any(request.forbidden for request in b.model.requests)


async def test_a_loop_is_remembered_when_a_run_goes_on(bench: Make) -> None:
    b = bench(ECHO, ECHO, Reply(calls=(("wait", "{}"),)), ECHO, DONE)
    id = b.send()
    await b.tools.waiting.wait()
    await b.conversations.stop(b.id, "now")
    await b.ended(id)
    b.conversations.resume(b.id, id, None)
    turn = await b.ended(id)
    assert stages(b) == ["told", "refused"]
    assert turn.status == "answered"


# -- broken tools and drift --------------------------------------------------------------------


async def test_a_tool_that_only_fails_rests(bench: Make) -> None:
    broken = [Reply(calls=(("fail", json.dumps({"x": "bug", "n": n})),)) for n in range(12)]
    b = bench(*broken, DONE)
    turn = await b.ask()
    assert b.bodies(ev.ToolUnavailable) == [
        ev.ToolUnavailable("fail", 5, 10),
        ev.ToolUnavailable("fail", 6, 16),
    ]
    ran = [step.index for step in turn.steps if any(t.started for t in step.tools)]
    assert ran == [0, 1, 2, 3, 4, 10]
    assert results(turn)[5].startswith("error: not run: fail is not available for the next 5 step")
    assert turn.status == "answered"
    assert_recorded(b)


async def test_different_errors_are_a_search_not_a_defect(bench: Make) -> None:
    b = bench(*(call("fail", f"file{n}") for n in range(7)), DONE)
    await b.ask()
    assert b.bodies(ev.ToolUnavailable) == []
    signs = b.bodies(ev.DriftSeen)
    assert signs == []
    b = bench(*(call("fail", f"file{n}") for n in range(14)), DONE)
    await b.ask()
    assert [sign.code for sign in b.bodies(ev.DriftSeen)] == ["errors"]


async def test_the_same_thoughts_again_and_again(bench: Make) -> None:
    thought = "Let me look for the file in the folder once more, it must be there."
    b = bench(*(Reply(thought, calls=(("echo", f'{{"x": "{n}"}}'),)) for n in range(5)), DONE)
    await b.ask()
    assert [sign.code for sign in b.bodies(ev.DriftSeen)] == ["same_thoughts"]


# -- the rule itself ---------------------------------------------------------------------------

KEYS = st.sampled_from([key_of("a", "{}"), key_of("a", '{"x": 1}'), key_of("b", "{}")])


@given(st.lists(st.tuples(KEYS, st.integers(0, 2)), max_size=80))
def test_no_call_runs_a_third_time_with_one_result(
    steps: list[tuple[tuple[str, str], int]],
) -> None:
    repeats = Repeats()
    ran: list[tuple[tuple[str, str], int]] = []
    for key, result in steps:
        (refused,) = repeats.refuse([key])
        same = [r for k, r in ran[-24:] if k == key]
        assert bool(refused) == (sum(r == same[-1] for r in same) >= 2 if same else False)
        if not refused:
            repeats.ended(key, str(result))
            ran.append((key, result))
        repeats.end_step()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_a_key_does_not_depend_on_how_json_is_written(value: object) -> None:
    plain = json.dumps({"v": value})
    assert key_of("t", plain) == key_of("t", json.dumps({"v": value}, indent=3))
    assert key_of("t", plain) == key_of("t", json.dumps({"v": value}, ensure_ascii=False))


@pytest.mark.parametrize("temperature", [None, 0.0, 0.3, 1.0, 1.4])
def test_heat_changes_the_temperature(temperature: float | None) -> None:
    assert heated(temperature) != (1.0 if temperature is None else temperature)
    assert 0.5 < heated(temperature) < 1.6
