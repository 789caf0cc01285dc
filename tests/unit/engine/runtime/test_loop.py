"""The engine thread with a real small model: load, reply, stop, unload.

Nothing sleeps: a sink puts emissions into a queue, and what a test needs to happen *during* a
step it does in a sink, which runs on the engine thread between two steps.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine.errors import Aborted, RequestError, ResourceError
from engine.protocol import EngineStatus, LoadRequest, LoadState
from engine.runtime.loop import EngineThread
from engine.text.chat_template import Prompt
from engine.text.pieces import ReasoningDelta, TextDelta
from engine.tiny import TinyShape, write_tiny
from engine.types import Broke, Emission, Ended, Prefilling, Request, SamplingParams, Started, Wrote

PATIENCE = 30.0
CONTEXT = 1024


@dataclass
class Asked:
    """A request under way and what has been heard of it."""

    id: str
    inbox: queue.SimpleQueue[Emission] = field(default_factory=queue.SimpleQueue)
    heard: list[Emission] = field(default_factory=list)

    def next(self) -> Emission:
        self.heard.append(self.inbox.get(timeout=PATIENCE))
        return self.heard[-1]

    def until_over(self) -> Emission:
        while not isinstance(last := self.next(), Ended | Broke):
            pass
        return last

    @property
    def tokens(self) -> list[int]:
        return [t.id for e in self.heard if isinstance(e, Wrote) for t in e.tokens]

    @property
    def text(self) -> str:
        pieces = (p for e in self.heard if isinstance(e, Wrote) for p in e.pieces)
        return "".join(p.text for p in pieces if isinstance(p, TextDelta | ReasoningDelta))


class Bench:
    """A running engine thread and the state changes it told."""

    def __init__(self) -> None:
        self.engine = EngineThread()
        self._changed = threading.Condition()
        self.told: list[LoadState] = []
        self.engine.subscribe(self._tell)
        self.engine.start()

    def _tell(self, status: EngineStatus) -> None:
        with self._changed:
            self.told.append(status.state)
            self._changed.notify_all()

    def until(self, *states: LoadState) -> EngineStatus:
        with self._changed:
            assert self._changed.wait_for(lambda: self.engine.status().state in states, PATIENCE)
        return self.engine.status()

    def load(self, folder: Path) -> None:
        self.engine.load(LoadRequest(str(folder), dtype="float32", threads=1))
        status = self.until("ready", "failed")
        assert status.state == "ready", status.error

    def ask(
        self,
        name: str,
        ids: list[int],
        max_tokens: int = 16,
        on: Callable[[Emission], object] = lambda emission: None,
        seed: int | None = None,
    ) -> Asked:
        asked = Asked(name)

        def sink(emission: Emission) -> None:
            on(emission)
            asked.inbox.put(emission)

        params = SamplingParams(
            temperature=0.0 if seed is None else 1.0, seed=seed, max_tokens=max_tokens
        )
        prompt = Prompt("", tuple(ids), False, 0)
        self.engine.submit(Request(name, prompt, params, (), sink, return_tokens=True))
        return asked


def prompt_of(length: int, step: int = 7) -> list[int]:
    """Ordinary tokens."""
    return [(3 + i * step) % 250 for i in range(length)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = TinyShape(layers=2, experts=4, context=CONTEXT)
    return write_tiny(tmp_path_factory.mktemp("tiny") / "small", seed=1, shape=shape)


@pytest.fixture
def empty() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.engine.close()


@pytest.fixture
def bench(empty: Bench, folder: Path) -> Bench:
    empty.load(folder)
    return empty


def test_a_reply_in_order(bench: Bench) -> None:
    asked = bench.ask("one", prompt_of(600), max_tokens=5)
    ended = asked.until_over()
    assert isinstance(ended, Ended)
    kinds = [type(e) for e in asked.heard]
    assert kinds == [Started, Prefilling] + [Wrote] * ended.usage.completion_tokens + [Ended]
    assert asked.heard[0] == Started(prompt_tokens=600, cached_tokens=0)
    assert ended.usage.prompt_tokens == 600
    assert len(asked.tokens) == ended.usage.completion_tokens
    assert ended.reason in ("stop", "length")
    assert (ended.reason == "length") == (len(asked.tokens) == 5)
    assert ended.timings.prefill_ms > 0 and ended.timings.queue_ms >= 0


def test_the_same_prompt_again_comes_from_the_cache_and_says_the_same(bench: Bench) -> None:
    first, again = bench.ask("first", prompt_of(50)), None
    first.until_over()
    again = bench.ask("again", prompt_of(50))
    again.until_over()
    assert isinstance(again.heard[0], Started)
    assert again.heard[0].cached_tokens == 49, "all but the one whose logits are wanted"
    assert again.tokens == first.tokens


def test_two_at_once_write_what_each_writes_alone(bench: Bench, folder: Path) -> None:
    prompts = [prompt_of(40), prompt_of(33, step=11)]
    alone = []
    for i, ids in enumerate(prompts):
        bench.load(folder)  # nothing cached
        asked = bench.ask(f"alone{i}", ids, max_tokens=24)
        asked.until_over()
        alone.append(asked.tokens)
    assert alone[0] != alone[1]
    bench.load(folder)
    most = 0

    def count(emission: Emission) -> None:
        nonlocal most
        most = max(most, bench.engine.status().running)

    both = [bench.ask(f"both{i}", ids, 24, on=count) for i, ids in enumerate(prompts)]
    for asked in both:
        assert isinstance(asked.until_over(), Ended)
    assert most == 2, "they must have run in one batch"
    assert [asked.tokens for asked in both] == alone


def test_a_seed_decides_in_company(bench: Bench) -> None:
    alone = bench.ask("alone", prompt_of(20), seed=9)
    alone.until_over()
    other = bench.ask("other", prompt_of(64, step=5), seed=1)
    again = bench.ask("again", prompt_of(20), seed=9)
    for asked in (other, again):
        asked.until_over()
    assert again.tokens == alone.tokens


def test_an_abort_takes_effect_before_the_next_step(bench: Bench) -> None:
    heard = 0

    def stop(emission: Emission) -> None:
        nonlocal heard
        heard += isinstance(emission, Wrote)
        if heard == 3 and isinstance(emission, Wrote):
            assert bench.engine.abort("one")

    asked = bench.ask("one", prompt_of(10), max_tokens=500, on=stop)
    last = asked.until_over()
    assert isinstance(last, Broke) and isinstance(last.error, Aborted)
    assert len(asked.tokens) == 3, "nothing was computed after the abort"
    assert not bench.engine.abort("one"), "nobody of that name is left"


def test_an_abort_during_prefill_keeps_what_was_computed(bench: Bench) -> None:
    def stop(emission: Emission) -> None:
        if isinstance(emission, Prefilling):
            bench.engine.abort("long")

    asked = bench.ask("long", prompt_of(900), on=stop)
    last = asked.until_over()
    assert isinstance(last, Broke) and isinstance(last.error, Aborted)
    assert asked.tokens == []
    assert sum(isinstance(e, Prefilling) for e in asked.heard) == 1
    again = bench.ask("again", prompt_of(900), max_tokens=1)
    assert again.next() == Started(900, 512), "one chunk was done"
    again.until_over()


def test_an_abort_of_one_leaves_the_other_alone(bench: Bench) -> None:
    alone = bench.ask("alone", prompt_of(12), max_tokens=20)
    alone.until_over()
    stopped: list[Asked] = []

    def stop(emission: Emission) -> None:
        if isinstance(emission, Wrote):
            bench.engine.abort("victim")

    victim = bench.ask("victim", prompt_of(64, step=13), max_tokens=500)
    stopped.append(victim)
    other = bench.ask("other", prompt_of(12), max_tokens=20, on=stop)
    assert isinstance(other.until_over(), Ended)
    assert isinstance(victim.until_over(), Broke)
    assert other.tokens == alone.tokens


def test_without_a_model(empty: Bench) -> None:
    with pytest.raises(ResourceError) as caught:
        empty.ask("one", [1, 2])
    assert caught.value.code == "no_model"
    assert not empty.engine.abort("one")
    assert empty.engine.loaded() is None


def test_load_and_unload(empty: Bench, folder: Path) -> None:
    assert empty.engine.status().state == "empty"
    empty.load(folder)
    status = empty.engine.status()
    assert (status.model, status.family) == ("small", "kimi_k2")
    assert (status.dtype, status.context_length, status.threads) == ("float32", CONTEXT, 1)
    loaded = empty.engine.loaded()
    assert loaded is not None and loaded.context_length == CONTEXT
    empty.engine.unload()
    assert empty.until("empty").model is None
    assert empty.engine.loaded() is None
    assert empty.told.index("loading") < empty.told.index("ready") < len(empty.told) - 1


def test_unloading_ends_what_runs_with_a_reason(bench: Bench) -> None:
    def unload(emission: Emission) -> None:
        if isinstance(emission, Wrote):
            bench.engine.unload()

    asked = bench.ask("one", prompt_of(10), max_tokens=500, on=unload)
    last = asked.until_over()
    assert isinstance(last, Broke)
    assert (last.error.code, last.error.retryable) == ("model_unloaded", True)
    assert bench.until("empty").error is None


def test_a_folder_that_is_none_fails_and_the_next_loads(
    empty: Bench, folder: Path, tmp_path: Path
) -> None:
    empty.engine.load(LoadRequest(str(tmp_path / "nowhere"), threads=1))
    error = empty.until("failed", "ready").error
    assert error is not None and error.code and error.hint
    empty.load(folder)
    assert empty.engine.status().error is None


def test_a_second_request_of_one_name_is_refused(bench: Bench) -> None:
    refused: list[str] = []

    def repeat(emission: Emission) -> None:
        if isinstance(emission, Started):
            with pytest.raises(RequestError) as caught:
                bench.ask("one", [1, 2])
            refused.append(caught.value.code)

    bench.ask("one", prompt_of(10), on=repeat).until_over()
    assert refused == ["duplicate_id"]


def test_the_queue_is_bounded(bench: Bench) -> None:
    codes: list[str] = []
    accepted: list[Asked] = []

    def flood(emission: Emission) -> None:
        # On the engine thread: nothing is admitted until this returns.
        if isinstance(emission, Started):
            while not codes:
                try:
                    accepted.append(bench.ask(f"r{len(accepted)}", [5, 6], max_tokens=1))
                except ResourceError as error:
                    codes.append(error.code)

    bench.ask("one", prompt_of(10), on=flood).until_over()
    assert codes == ["queue_full"]
    assert len(accepted) == 64
    for asked in accepted:
        assert isinstance(asked.until_over(), Ended)


def test_closing_ends_what_runs(folder: Path) -> None:
    bench = Bench()
    bench.load(folder)
    asked = bench.ask("one", prompt_of(10), max_tokens=900)
    assert isinstance(asked.next(), Started)
    bench.engine.close()
    assert isinstance(asked.until_over(), Broke)


@pytest.mark.parametrize("length", [CONTEXT, CONTEXT + 1])
def test_a_prompt_longer_than_the_context_is_a_typed_error(
    bench: Bench, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.PATIENCE", 2.0)
    try:
        asked = bench.ask("long", prompt_of(length))
    except RequestError as error:
        assert error.code == "context_exceeded"
        return
    last = asked.until_over()
    assert isinstance(last, Broke) and last.error.code == "context_exceeded"


def test_after_a_prompt_that_fails_others_are_served(bench: Bench) -> None:
    bench.ask("outside", [10**6, 3])  # no such token: the step fails as a whole
    sound = bench.ask("sound", prompt_of(10), max_tokens=2)
    sound.until_over()
    again = bench.ask("again", prompt_of(10), max_tokens=2)
    assert isinstance(again.until_over(), Ended)
