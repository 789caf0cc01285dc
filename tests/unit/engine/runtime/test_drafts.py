"""Drafts change how many steps a reply takes and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.cache.latent_pool import PagedCache
from engine.model.deepseek import Batch
from engine.model.loader import load_model
from engine.runtime.engine import Engine, TextEnds
from engine.speculation.base import NewDrafter
from engine.text.chat_template import Prompt
from engine.text.tokenizer import Tokenizer
from engine.tiny import TinyShape, write_tiny
from engine.types import Broke, Emission, Ended, Request, SamplingParams, Wrote

from .engines import engine_of

PROMPT = tuple((3 + i * 7) % 250 for i in range(20))
LENGTH = 24


class Recalling:
    """Knows the reply from an earlier run; errs at some of its places."""

    def __init__(self, reply: Sequence[int], wrong: frozenset[int]) -> None:
        self._reply = [t ^ 1 if i in wrong else t for i, t in enumerate(reply)]
        self.observed: list[tuple[int, int, int]] = []

    def draft(
        self, tokens: Sequence[int], most: int, beside: int = 0, cache: PagedCache | None = None
    ) -> list[int]:
        done = len(tokens) - len(PROMPT)
        return self._reply[done : done + most]

    def observe(self, drafted: int, accepted: int, tokens: int, seconds: float) -> None:
        assert seconds > 0
        self.observed.append((drafted, accepted, tokens))


class Bench:
    """One small model on the test's own thread."""

    def __init__(self, folder: Path) -> None:
        self.model = load_model(folder, torch.float32, "native", threads=1)
        self.text = TextEnds(Tokenizer.from_folder(folder), frozenset())

    def engine(self, new_drafter: NewDrafter | None = None) -> Engine:
        """With nothing cached."""
        return engine_of(self.model, self.text, 256, new_drafter)

    def run(
        self, seed: int | None, drafter: Recalling | None = None, max_tokens: int = LENGTH
    ) -> tuple[list[int], Ended, int]:
        """Tokens of the reply, its end, and the steps it took after the prompt."""
        heard: list[Emission] = []
        new = (lambda: drafter) if drafter is not None else None
        engine = self.engine(new)
        params = SamplingParams(0.0 if seed is None else 1.0, seed=seed, max_tokens=max_tokens)
        request = Request("one", Prompt("", PROMPT, False, 0), params, (), heard.append, True)
        engine.enqueue(request)
        steps = 0
        while engine.busy:
            engine.step()
            for sequence in engine.scheduler.running:
                sequence.check()
            steps += 1
        assert isinstance(heard[-1], Ended)
        tokens = [t.id for e in heard if isinstance(e, Wrote) for t in e.tokens]
        return tokens, heard[-1], steps - 1


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    shape = TinyShape(layers=2, experts=4, context=256)
    return Bench(write_tiny(tmp_path_factory.mktemp("tiny") / "small", seed=1, shape=shape))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.none() | st.integers(0, 3),
    wrong=st.frozensets(st.integers(0, LENGTH - 1)),
    max_tokens=st.integers(1, LENGTH),
)
def test_a_reply_is_the_same_with_drafts(
    bench: Bench, seed: int | None, wrong: frozenset[int], max_tokens: int
) -> None:
    plain, _, _ = bench.run(seed)
    drafter = Recalling(plain, wrong)
    tokens, ended, steps = bench.run(seed, drafter, max_tokens)
    assert tokens == plain[:max_tokens]
    details = ended.usage.completion_tokens_details
    drafted = sum(d for d, _, _ in drafter.observed)
    accepted = sum(a for _, a, _ in drafter.observed)
    assert details.accepted_prediction_tokens == accepted
    assert details.rejected_prediction_tokens == drafted - accepted
    assert steps + accepted == max_tokens - 1, "each accepted draft saves a step"
    assert all(computed == 1 + d for d, _, computed in drafter.observed), "it ran alone"


def test_right_drafts_save_the_steps(bench: Bench) -> None:
    plain, _, steps = bench.run(None)
    assert (len(plain), steps) == (LENGTH, LENGTH - 1)
    again, ended, fewer = bench.run(None, Recalling(plain, frozenset()))
    assert again == plain
    assert fewer == -(-(LENGTH - 1) // 8), "eight tokens a step"
    assert ended.usage.completion_tokens_details.rejected_prediction_tokens == 0


def test_an_abort_between_two_rows_of_a_step_keeps_the_cache_right(bench: Bench) -> None:
    plain, _, _ = bench.run(None)
    heard: list[Emission] = []
    engine = bench.engine(lambda: Recalling(plain, frozenset()))

    def sink(emission: Emission) -> None:
        heard.append(emission)
        if isinstance(emission, Wrote) and sum(isinstance(e, Wrote) for e in heard) == 4:
            sequence = engine.sequence("one")
            assert sequence is not None
            sequence.aborted = True

    params = SamplingParams(0.0, max_tokens=LENGTH)
    prompt = Prompt("", PROMPT, False, 0)
    engine.enqueue(Request("one", prompt, params, (), sink, True))
    while engine.busy:
        engine.step()
    assert isinstance(heard[-1], Broke)
    assert [t.id for e in heard if isinstance(e, Wrote) for t in e.tokens] == plain[:4]
    rest: list[Emission] = []
    longer = Prompt("", (*PROMPT, *plain[:4]), False, 0)
    engine.enqueue(Request("two", longer, params, (), rest.append, True))
    while engine.busy:
        engine.step()
    tokens = [t.id for e in rest if isinstance(e, Wrote) for t in e.tokens]
    assert tokens[: LENGTH - 4] == plain[4:]


@pytest.mark.parametrize("rows", [(1, 3, 2), (0, 2, 0), (0, 0, 0)])
def test_logits_of_the_wanted_rows(bench: Bench, rows: tuple[int, int, int]) -> None:
    for lengths in ((1, 4, 2), (20, 3, 9)):  # whole, and layer by layer
        prompts = [PROMPT[:n] for n in lengths]
        caches = [bench.model.new_cache(64) for _ in range(6)]
        every = bench.model.forward(
            Batch(list(zip(caches[:3], prompts, strict=True))), all_logits=True
        )
        some = bench.model.forward(Batch(list(zip(caches[3:], prompts, strict=True)), rows))
        ends = [sum(lengths[: i + 1]) for i in range(3)]
        picked = [i for end, n in zip(ends, rows, strict=True) for i in range(end - n, end)]
        assert some.shape[0] == sum(rows)
        assert torch.allclose(some, every[picked], atol=1e-5)
