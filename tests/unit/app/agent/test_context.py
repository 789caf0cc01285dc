"""What is hidden, what becomes notes, and what never goes."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import events as ev
from app.agent.context import KEEP_STEPS, LOW, PLACEHOLDER, Item, decide, room_of
from app.agent.context_map import ContextMap, Surveyor
from app.backends.base import ModelRequest, Traits
from app.backends.scripted import Reply
from app.errors import BackendError
from app.state import fold_all, hidden_on
from tests.unit.app.agent.bench import DONE, RUN, Bench, assert_recorded

Make = Callable[..., Bench]
LONG = "word " * 100
TOOLS = ("long", "echo")


def words(request: ModelRequest) -> int:
    return sum(len((m.content or "").split()) for m in request.messages)


def within(context: int, **settings: object) -> ev.RunSettings:
    return msgspec.structs.replace(RUN, **{"context": context, "tools": TOOLS, **settings})


def reads(steps: int, answer: Reply = DONE) -> Callable[[ModelRequest], Reply]:
    """Reads one long thing after the other; writes notes when it is asked for them."""
    made = 0

    def model(request: ModelRequest) -> Reply:
        nonlocal made
        if not request.may_call:
            return Reply(text=f"Notes: {made} things were read.")
        if made == steps:
            return answer
        made += 1
        call = ("long", json.dumps({"x": str(made)}))
        return Reply(reasoning=f"thought {made}", calls=(call,))

    return model


# -- the decision ------------------------------------------------------------------------------

STEP = st.tuples(st.integers(1, 60), st.integers(0, 400), st.booleans())


@given(
    head=st.integers(0, 60),
    steps=st.lists(STEP, max_size=40),
    room=st.integers(200, 4000),
    keep=st.integers(1, KEEP_STEPS),
)
def test_the_decision(head: int, steps: list[tuple[int, int, bool]], room: int, keep: int) -> None:
    items = [Item("system", head, -1)]
    for n, (said, result, hidden) in enumerate(steps):
        items.append(Item(f"a{n}", said, n))
        items.append(Item(f"r{n}", result, n, not hidden))
    total = sum(item.tokens for item in items)
    found = decide(items, room, keep)
    assert found.before == total
    if total <= room:
        assert not found.hide and not found.steps
        return
    by_key = {item.key: item for item in items}
    hidden = [by_key[key] for key in found.hide]
    assert all(item.hideable and item.tokens > PLACEHOLDER for item in hidden)
    assert all(item.step < len(steps) - 1 for item in hidden), "the last step stays"
    # The oldest go first: nothing is hidden while something older could have been.
    could = [i for i in items if i.hideable and i.tokens > PLACEHOLDER]
    assert could[: len(hidden)] == hidden
    assert found.steps < max(1, len(steps))
    saved = sum(item.tokens - PLACEHOLDER for item in hidden)
    if not found.steps:
        assert found.after == total - saved
        if saved:
            last = hidden[-1].tokens - PLACEHOLDER
            assert found.after + last > room * LOW, "not more is hidden than is needed"
    if found.after > room:
        left = [i for i in could[len(hidden) :] if i.step < len(steps) - keep]
        assert not left, "it only gives up when nothing is left to hide"


def test_room_for_a_reply() -> None:
    assert room_of(32_768, None) == 24_576
    assert room_of(32_768, 2_048) == 30_720
    assert room_of(32_768, 1 << 20) == 24_576


# -- runs --------------------------------------------------------------------------------------


async def test_results_are_hidden_in_batches(bench: Make) -> None:
    b = bench(model=reads(40))
    turn = await b.ask("the task", settings=within(1600))
    assert turn.status == "answered"
    hides = b.bodies(ev.ContextHidden)
    assert 1 <= len(hides) < 12, "in batches"
    assert all(len(one.calls) > 1 for one in hides)
    assert all(one.tokens_before > 1200 for one in hides), "not before it is full"
    for request in b.model.requests:
        assert words(request) <= 1600
        assert request.messages[1].content == "the task" or "Notes" in str(request.messages[1])
        results = [m.content or "" for m in request.messages if m.role == "tool"]
        assert all("hidden" not in text for text in results[-KEEP_STEPS:])
    # Between two batches each prompt begins with the whole one before.
    same = 0
    for before, after in zip(b.model.requests, b.model.requests[1:], strict=False):
        same += after.messages[: len(before.messages)] == before.messages
    assert same >= len(b.model.requests) - 2 - len(hides) - 2 * len(b.bodies(ev.ContextSummarised))
    assert_recorded(b)
    # What is stored as differences is what was sent.
    stored = fold_all(b.journal.events(b.id))
    calls = [s.call for s in stored.turns[0].steps if s.call]
    assert [c.messages for c in calls] == [r.messages for r in b.model.requests]
    assert [c.tools for c in calls] == [r.tools for r in b.model.requests]
    prompts = ["\n".join(f"{m.role}: {m.content}" for m in c.messages) for c in calls]
    assert [c.prompt for c in calls] == prompts


async def test_old_steps_become_notes(bench: Make) -> None:
    b = bench(model=reads(90))
    turn = await b.ask("the task", settings=within(1600, budget=ev.Budget(steps=0)))
    assert turn.status == "answered"
    notes = b.bodies(ev.ContextSummarised)
    assert notes and notes[-1].text.startswith("Notes: ")
    asked = [r for r in b.model.requests if not r.may_call]
    assert len(asked) == len(notes)
    assert "will be replaced by notes" in (asked[0].messages[-1].content or "")
    assert asked[0].tools, "the prompt begins as before"
    last = b.model.requests[-1].messages
    assert "Notes: " in (last[1].content or "") and last[2].content == "the task"
    assert sum("Notes: " in (m.content or "") for m in last) == 1, "newer notes replace older ones"
    assert [s.purpose for s in turn.steps].count("summary") == len(notes)
    assert all(words(r) <= 1600 for r in b.model.requests)
    assert_recorded(b)


async def test_notes_without_a_model_that_writes_them(bench: Make) -> None:
    inner = reads(90)

    def model(request: ModelRequest) -> Reply:
        return inner(request) if request.may_call else Reply(error=BackendError("no", "cannot"))

    b = bench(model=model)
    turn = await b.ask(settings=within(1600, budget=ev.Budget(steps=0)))
    assert turn.status == "answered"
    notes = b.bodies(ev.ContextSummarised)
    assert "could not write notes" in notes[0].reason
    assert "- long" in notes[0].text
    assert_recorded(b)


async def test_recall_is_offered_when_there_is_something_to_recall(bench: Make) -> None:
    inner = reads(24, Reply(calls=(("recall", '{"id": "functions.long:0"}'),)))
    count = 0

    def model(request: ModelRequest) -> Reply:
        nonlocal count
        reply = inner(request)
        count += reply.calls[0][0] == "recall" if reply.calls else 0
        return DONE if count > 1 else reply

    b = bench(model=model)
    turn = await b.ask(settings=within(1600))
    offered = [[t.function.name for t in r.tools] for r in b.model.requests]
    assert "recall" not in offered[0] and offered[-1][-1] == "recall"
    (recalled,) = [t for s in turn.steps for t in s.tools if t.name == "recall"]
    assert recalled.result == f"1 {LONG}"
    assert "functions.long:0" in hidden_on([turn])
    assert_recorded(b)


async def test_an_unknown_id_cannot_be_recalled(bench: Make) -> None:
    wrong = Reply(calls=(("recall", '{"id": "x"}'), ("recall", "[]")))
    b = bench(wrong, wrong, DONE)
    turn = await b.ask(settings=msgspec.structs.replace(RUN, tools=("recall",)))
    first, second = turn.steps[0].tools
    assert first.result == "error: there is no result of a call 'x'"
    assert second.result == "error: wrong arguments: an object is expected"


async def test_a_later_turn_goes_on_from_what_was_hidden(bench: Make) -> None:
    b = bench(model=reads(24))
    await b.ask("one", settings=within(1600))
    first = b.model.requests[-1].messages
    await b.ask("two", settings=within(1600))
    second = b.model.requests[-1].messages
    assert second[: len(first)] == first
    # On a branch that leaves before the hiding, nothing is hidden.
    b.conversations.edit(b.id, b.state.turns[0].id, "three")
    await b.conversations.wait(b.id)
    assert not any("hidden" in (m.content or "") for m in b.model.requests[-1].messages)


async def test_a_window_that_is_smaller_than_it_was_said(bench: Make) -> None:
    inner = reads(30)

    def model(request: ModelRequest) -> Reply:
        if words(request) > 900:
            text = "This model's maximum context length is 900 tokens; please reduce the length"
            return Reply(error=BackendError("context_length_exceeded", text))
        return inner(request)

    for context in (0, 8000):
        b = bench(model=model)
        inner = reads(30)
        turn = await b.ask(settings=within(context))
        assert turn.status == "answered", turn.failure
        assert b.bodies(ev.ContextHidden)
        assert_recorded(b)


async def test_one_result_cannot_fill_the_window(bench: Make) -> None:
    b = bench(Reply(calls=(("echo", json.dumps({"x": "y" * 9000})),)), DONE)
    turn = await b.ask(settings=within(2000))
    assert len(turn.steps[0].tools[0].result) < 1600


async def test_the_window_of_the_endpoint(bench: Make) -> None:
    b = bench(model=reads(20))
    b.model.traits = Traits(closes_reasoning=True, context=1600)
    await b.ask(settings=within(0))
    assert b.bodies(ev.ContextHidden)[0].window == 1600


# -- the plan ----------------------------------------------------------------------------------


async def test_the_plan_is_kept_and_never_hidden(bench: Make) -> None:
    def plan(arguments: object) -> Reply:
        return Reply(calls=(("plan", json.dumps(arguments)),))

    items = [{"text": "look"}, {"text": "write", "status": "doing"}]
    inner = reads(90)
    first = [plan({"items": items}), plan({"update": [{"item": 1, "status": "done"}]})]

    def model(request: ModelRequest) -> Reply:
        return first.pop(0) if first else inner(request)

    b = bench(model=model)
    settings = within(1600, tools=("long", "plan"), budget=ev.Budget(steps=0))
    turn = await b.ask(settings=settings)
    assert turn.plan == (ev.PlanItem("look", "done"), ev.PlanItem("write", "doing"))
    assert turn.steps[1].tools[0].result == "1. [done] look\n2. [doing] write"
    assert turn.plan_call == "functions.plan:1"
    assert turn.plan_call not in turn.hidden
    assert b.bodies(ev.ContextSummarised)
    for request in b.model.requests[2:]:
        assert any("[doing] write" in (m.content or "") for m in request.messages)
    assert any("1 of 2 done: write" in r.text for r in turn.steps[1].remarks)
    assert_recorded(b)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"update": [{"item": 1, "status": "done"}]}, "the plan has no item 1: it has 0"),
        ({"items": [{"text": ""}]}, "an item is a text of 1 to 500 characters"),
        ({"items": [{"text": "x", "status": "maybe"}]}, "a status is one of"),
        ({"items": "x"}, "a list of objects is expected"),
        ({"items": [{"text": "x"}] * 101}, "at most 100 items"),
    ],
)
async def test_a_plan_that_is_none(bench: Make, arguments: object, error: str) -> None:
    b = bench(Reply(calls=(("plan", json.dumps(arguments)),)), DONE)
    turn = await b.ask(settings=msgspec.structs.replace(RUN, tools=("plan",)))
    assert error in turn.steps[0].tools[0].result
    assert turn.plan is None


async def test_long_runs_are_offered_a_plan(bench: Make) -> None:
    for effort, offered in (("standard", False), ("deep", True), ("exam", True), ("search", True)):
        b = bench(DONE)
        await b.ask(settings=msgspec.structs.replace(RUN, effort=effort))
        names = [t.function.name for t in b.model.requests[0].tools]
        assert ("plan" in names) == offered
        assert "recall" not in names


# -- the map -----------------------------------------------------------------------------------


async def test_the_context_map_measures_what_the_next_call_reads(bench: Make) -> None:
    b = bench(model=reads(24))
    await b.ask(settings=within(1600))
    surveyor = Surveyor()
    found = await surveyor.survey(b.state, b.model)
    kinds = [one.kind for one in found.slices]
    assert (found.window, found.measured) == (1600, True)
    assert sum(one.next for one in found.slices) == 1
    assert kinds.count("hidden") == len(
        [m for m in b.model.requests[-1].messages if "is hidden" in (m.content or "")]
    )
    assert kinds[:2] == ["system", "tools"]
    assert set(kinds) >= {"task", "reasoning", "replies", "results", "hidden"}
    # As a tokenizer counts it, and not as it would be guessed.
    (task,) = (one for one in found.slices if one.kind == "task")
    assert task.tokens == 1
    call = b.state.turns[0].steps[-1].call
    assert call is not None
    assert found.used == pytest.approx(call.usage.prompt_tokens, rel=0.25)
    shown = [m.tool_call_id for m in b.model.requests[-1].messages if m.role == "tool"]
    assert [one.key for one in found.slices if one.kind in ("results", "hidden")] == shown
    # Each decision with its reason, in order.
    decided = b.bodies(ev.ContextHidden, ev.ContextSummarised)
    assert len(found.decisions) == len(decided) > 1
    assert [one.reason for one in found.decisions] == [body.reason for body in decided]
    assert found.decisions[0].what.startswith("hid ") and found.decisions[0].step > 1


async def test_without_a_tokenizer_the_map_is_guessed_and_says_so(bench: Make) -> None:
    b = bench(DONE)
    assert await Surveyor().survey(b.state, None) == ContextMap()
    await b.ask()
    found = await Surveyor().survey(b.state, None)
    assert not found.measured and found.window == 0
    assert {one.kind for one in found.slices} >= {"system", "task", "replies"}


async def test_a_lane_has_a_map_of_its_own(bench: Make) -> None:
    def model(request: ModelRequest) -> Reply:
        seed, last = request.sampling.seed, request.messages[-1]
        if last.role == "tool" or "independent trajectories" in (last.content or ""):
            return Reply(f"seed {seed}", f"{seed}")
        return Reply(calls=(("echo", '{"x": "1"}'),))

    b = bench(model=model)
    settings = msgspec.structs.replace(RUN, effort="heavy", lanes=2, seed=5)
    turn = await b.ask(settings=settings)
    surveyor = Surveyor()
    whole = await surveyor.survey(b.state, b.model)
    mine = await surveyor.survey(b.state, b.model, turn.lanes[1].id)
    assert [one.name for one in mine.slices if one.kind == "reasoning"] == ["seed 6"]
    assert [one.kind for one in whole.slices].count("reasoning") == 1
    # What the last pass was told of the lanes is not taken for markers around messages.
    assert "markers" not in {one.kind for one in whole.slices}
    # Calls are named as the trace names them: the models of lanes number them alike.
    (result,) = (one for one in mine.slices if one.kind == "results")
    assert result.key == f"{turn.lanes[1].id}/{turn.lanes[1].steps[0].tools[0].call}"
