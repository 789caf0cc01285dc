"""Who goes first, who waits for whom, and who gives way: one case at a time."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import pytest

from engine.errors import QueueFull
from engine.scheduler.budget import Chunks
from engine.scheduler.intervals import Intervals
from engine.scheduler.scheduler import SchedulerLimits
from engine.text.tokenizer import Tokenizer
from engine.tiny import TinyShape, write_tiny
from engine.types import Ended, Prefilling, Started, Wrote

from .world import Asked, Machine, World, alone


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = tmp_path_factory.mktemp("tiny") / "t"
    return Tokenizer.from_folder(write_tiny(folder, shape=TinyShape(layers=1)))


def prompt(length: int, step: int = 3) -> list[int]:
    return [8 + i * step % 40 for i in range(length)]


def first_step(world: World, asked: Asked) -> int:
    """In which step a request was served first."""
    return next(i for i, s in enumerate(world.runner.steps) if asked.request.id in dict(s))


def test_interactive_before_background(tokenizer: Tokenizer) -> None:
    world = World(tokenizer, limits=SchedulerLimits(running=1))
    later = [world.ask(prompt(20, 7), priority="background") for _ in range(2)]
    first = [world.ask(prompt(20, 9)), world.ask(prompt(20, 11))]
    world.run()
    order = [*first, *later]
    began = [first_step(world, asked) for asked in order]
    assert began == sorted(began)


def test_an_interactive_request_takes_the_place_of_a_background_one(tokenizer: Tokenizer) -> None:
    world = World(tokenizer, limits=SchedulerLimits(running=2))
    slow = [world.ask(prompt(70, 7 + i), 60, seed=i, priority="background") for i in (0, 2)]
    while not all(asked.tokens for asked in slow):
        world.step()
    urgent = world.ask(prompt(20))
    world.step()
    assert {s.request.id for s in world.scheduler.running} == {
        slow[0].request.id,
        urgent.request.id,
    }
    world.run()
    assert world.scheduler.preemptions == 1
    for asked in (*slow, urgent):
        assert asked.tokens == alone(asked.request), "nothing of it was lost"
    assert sum(world.runner.computed) < sum(
        len(a.request.prompt.token_ids) + len(a.tokens) for a in (*slow, urgent)
    ), "pages were kept, so nothing was computed twice"


def test_prompts_take_turns(tokenizer: Tokenizer) -> None:
    """Equals advance alike, and a short one does not wait for a long one's end."""
    limits = SchedulerLimits(chunks=Chunks(most=64))
    world = World(tokenizer, limits=limits)
    long = [world.ask(prompt(900, step), 1) for step in (3, 7)]
    for _ in range(4):
        world.step()
    short = world.ask(prompt(30, 9), 1)
    for _ in range(3):
        world.step()
    assert short.end is not None
    done = [dict[str, int]() for _ in long]
    for step in world.runner.steps:
        for name, count in step:
            for asked, sum_of in zip(long, done, strict=True):
                if name == asked.request.id:
                    sum_of["tokens"] = sum_of.get("tokens", 0) + count
    assert abs(done[0]["tokens"] - done[1]["tokens"]) <= 64
    world.run()


@pytest.mark.parametrize("own", [0, 40])
def test_what_many_share_is_computed_once(tokenizer: Tokenizer, own: int) -> None:
    """Eight that come at once, whose prompts are one or part after 300 tokens, in mid-page."""
    world = World(tokenizer, pages=200, limits=SchedulerLimits(chunks=Chunks(most=128)))
    shared = prompt(300)
    asked = [world.ask([*shared, *(20 + i for _ in range(own))], 4, seed=i) for i in range(8)]
    world.run()
    for one in asked:
        assert one.tokens == alone(one.request)
    assert cached(asked[0]) == 0
    assert {cached(one) for one in asked[1:]} == {300 if own else 299}, "all but the last token"
    new = sum(300 + own - cached(one) + len(one.tokens) - 1 for one in asked)
    assert sum(world.runner.computed) == new


def test_who_comes_later_has_what_a_running_one_computed(tokenizer: Tokenizer) -> None:
    """Also of the page that it is still writing to."""
    world = World(tokenizer, limits=SchedulerLimits(chunks=Chunks(most=128)))
    shared = prompt(300)
    first = world.ask([*shared, *[20] * 20], 40)
    while not first.tokens:
        world.step()
    later = world.ask([*shared, *[21] * 20], 4)
    world.run()
    assert cached(later) == 300
    for one in (first, later):
        assert one.tokens == alone(one.request)


def test_who_waited_for_one_that_is_dropped_goes_on_from_there(tokenizer: Tokenizer) -> None:
    world = World(tokenizer, limits=SchedulerLimits(chunks=Chunks(most=80)))
    first, second, third = (world.ask(prompt(600), 4) for _ in range(3))
    for _ in range(3):
        world.step()
    done = sum(world.runner.computed)
    assert done == 240
    world.engine.drop(first.request.id)
    world.run()
    for one in (second, third):
        assert one.tokens == alone(one.request)
    assert cached(second) == done, "all that it had computed, the started page too"
    assert cached(third) == 599


def test_what_it_had_computed_itself_does_not_count_as_cached(tokenizer: Tokenizer) -> None:
    """A preempted one finds its prompt computed by another when it comes back."""
    world = World(tokenizer, pages=3, limits=SchedulerLimits(chunks=Chunks(most=96)))
    world.ask(prompt(1), 1)
    world.step()
    slow = world.ask(prompt(2, 5), 2, priority="background")
    world.step()
    first, second = world.ask(prompt(115), 15), world.ask(prompt(82, 5), 1)
    world.run()
    assert world.scheduler.preemptions
    for one in (slow, first, second):
        assert one.tokens == alone(one.request)
    assert cached(slow) == 1, "the first token, of the request before"


def test_nobody_waits_for_a_few_common_tokens(tokenizer: Tokenizer) -> None:
    """As of all prompts that begin with the same system prompt of a line."""
    world = World(tokenizer)
    common = prompt(20)
    asked = [world.ask([*common, *prompt(100, 7 + i)], 1) for i in range(3)]
    world.step()
    assert [count for _, count in world.runner.steps[0]] == [120] * 3
    world.run()
    for one in asked:
        assert one.tokens == alone(one.request)


def test_a_prompt_does_not_wait_for_one_of_less_priority(tokenizer: Tokenizer) -> None:
    world = World(tokenizer, limits=SchedulerLimits(chunks=Chunks(most=64)))
    shared = prompt(500)
    slow = world.ask(shared, 4, priority="background")
    world.step()
    urgent = world.ask([*shared, 9, 9], 4)
    world.step()
    assert urgent.request.id in dict(world.runner.steps[-1])
    world.run()
    for asked in (slow, urgent):
        assert asked.tokens == alone(asked.request)
    assert sum(world.runner.computed) < 700, "who was overtaken adopts what the other computed"


def test_the_youngest_of_the_least_priority_gives_way(tokenizer: Tokenizer) -> None:
    world = World(tokenizer, pages=7)
    old = world.ask(prompt(100, 3), 120, seed=1)
    young = world.ask(prompt(100, 7), 120, seed=2)
    back = world.ask(prompt(60, 9), 120, seed=3, priority="background")
    world.run()
    assert world.scheduler.preemptions >= 2
    for asked in (old, young, back):
        assert asked.tokens == alone(asked.request)
    ends = {name: i for i, step in enumerate(world.runner.steps) for name, _ in step}
    assert ends[old.request.id] < ends[young.request.id] < ends[back.request.id]


def test_pages_are_free_as_soon_as_a_request_is_dropped(tokenizer: Tokenizer) -> None:
    world = World(tokenizer, pages=16)
    asked = [world.ask(prompt(200, 3 + 2 * i), 100, seed=i) for i in range(3)]
    for _ in range(6):
        world.step()
    before = world.tree.room
    for one in asked:
        sequence = world.engine.sequence(one.request.id)
        assert sequence is not None
        sequence.aborted = True  # as another thread does
    world.step()
    assert before < world.tree.room == 16
    assert [one.code for one in asked] == ["aborted"] * 3


def test_deadlines_in_queue_prompt_and_reply(tokenizer: Tokenizer) -> None:
    limits = SchedulerLimits(running=2, chunks=Chunks(most=32))
    world = World(tokenizer, limits=limits)
    soon = time.monotonic() + 0.5
    writing = world.ask(prompt(10), 1000, deadline=soon)
    reading = world.ask(prompt(900, 7), 10, deadline=soon)
    queued = world.ask(prompt(5), 10, deadline=soon)
    patient = world.ask(prompt(5, 9), 3, deadline=soon + 3600)
    for _ in range(3):
        world.step()
    assert isinstance(reading.heard[-1], Prefilling)
    assert queued.heard == []
    written = list(writing.tokens)
    assert written
    while time.monotonic() < soon:
        time.sleep(0.01)
    world.run()
    for asked in (writing, reading, queued):
        assert asked.code == "deadline_exceeded"
    assert writing.tokens == written, "what was written stays"
    assert isinstance(patient.end, Ended)


def test_a_full_queue_says_when_to_come_again(tokenizer: Tokenizer) -> None:
    world = World(tokenizer, limits=SchedulerLimits(running=1, waiting=2))
    for _ in range(2):
        world.ask(prompt(5), 3)
    with pytest.raises(QueueFull) as caught:
        world.ask(prompt(5), 3)
    assert caught.value.http_status == 429
    assert caught.value.retry_after == 1


def test_how_soon_there_is_room() -> None:
    intervals = Intervals()
    assert intervals.expected() == 1, "nothing is known"
    for now in (10.0, 22.0, 33.0):
        intervals.note(0.0, now)
    assert intervals.expected() == 11
    intervals.note(999.0, 1000.0)  # nothing ran in between, so nothing could end
    assert intervals.expected() == 9
    intervals.note(1000.0, 9000.0)
    assert intervals.expected() == 60


def test_seconds_left_grow_with_depth(tokenizer: Tokenizer) -> None:
    """Where attention outweighs, what is left takes longer than what was done."""
    machine = Machine(step=1e-4, token=1e-5, position=1e-6)
    world = World(tokenizer, limits=SchedulerLimits(chunks=Chunks(most=64)), machine=machine)
    asked = world.ask(prompt(960), 1)
    foretold: list[tuple[int, float]] = []
    while asked.end is None:
        world.step()
        if isinstance(asked.heard[-1], Prefilling):
            progress = asked.heard[-1].progress
            assert progress.total == 960
            assert progress.seconds_left is not None
            foretold.append((progress.done, progress.seconds_left))
    assert [done for done, _ in foretold] == list(range(64, 960, 64))
    # At half of the prompt three quarters of the work are left: wall time is real here, the costs
    # are simulated, so only their ratio can be told.
    cost = world.scheduler.cost
    ratio = cost.prefill(480, 960, 64) / cost.prefill(0, 480, 64)
    assert ratio == pytest.approx(2.8, rel=0.2)


def test_a_reply_goes_on_beside_a_long_prompt(tokenizer: Tokenizer) -> None:
    """The p95 of a short chat's time between tokens stays within 2.5 times its idle value."""
    machine = Machine(position=2e-7)
    world = World(tokenizer, pages=64, machine=machine)

    def seconds(count: int) -> list[float]:
        found = []
        for _ in range(count):
            before, written = machine.now, len(chat.tokens)
            world.step()
            if len(chat.tokens) > written:
                found.append(machine.now - before)
        return found

    chat = world.ask(prompt(20), 400, seed=11)
    world.step()
    idle = median(seconds(10))
    world.ask(prompt(1000, 7), 1)
    beside = sorted(seconds(20))
    assert chat.end is None, "it must have been writing all the time"
    assert beside[-1] > 1.2 * idle, "the prompt advances meanwhile"
    assert beside[int(0.95 * len(beside)) - 1] <= 2.5 * idle


def test_a_reply_is_heard_in_order(tokenizer: Tokenizer) -> None:
    world = World(tokenizer, limits=SchedulerLimits(chunks=Chunks(most=64)))
    asked = world.ask(prompt(100), 5)
    world.run()
    kinds = [type(emission) for emission in asked.heard]
    assert kinds == [Started, Prefilling, *[Wrote] * len(asked.tokens), Ended]


def cached(asked: Asked) -> int:
    """Tokens of its prompt that others had computed."""
    assert isinstance(asked.end, Ended)
    return asked.end.usage.prompt_tokens_details.cached_tokens
