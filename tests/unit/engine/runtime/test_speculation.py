"""The engine with its own drafter: replies are the same with and without, alone and in company."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engine.model.loader import load_model
from engine.protocol import CompletionTokensDetails
from engine.runtime.engine import TextEnds
from engine.speculation.mtp import new_drafters
from engine.text.chat_template import Prompt
from engine.text.tokenizer import Tokenizer
from engine.tiny import TinyShape, write_tiny
from engine.types import Emission, Ended, Request, SamplingParams, Wrote

from .engines import engine_of

LENGTH = 32
PROMPTS = [tuple((3 + i * step) % 24 for i in range(60)) for step in (1, 5, 7)]
SAMPLING = [
    SamplingParams(0.0, max_tokens=LENGTH),
    SamplingParams(0.3, seed=5, max_tokens=LENGTH),
    SamplingParams(1.0, top_k=2, seed=6, max_tokens=LENGTH),
]


class Bench:
    """One small model on the test's own thread."""

    def __init__(self, folder: Path, predict: bool = False) -> None:
        self.model = load_model(folder, torch.float32, "native", threads=1, predict=predict)
        self.text = TextEnds(Tokenizer.from_folder(folder), frozenset())

    def run(
        self, chosen: list[int], speculate: bool, on: bool = True
    ) -> dict[int, tuple[list[int], CompletionTokensDetails]]:
        """Tokens of the chosen requests, computed together, twice."""
        drafters = new_drafters(self.model.predictor) if on else None
        engine = engine_of(self.model, self.text, 256, drafters)
        heard: dict[int, list[Emission]] = {}
        for _ in range(2):  # the second time it is known what steps cost, from the first token on
            heard = {i: [] for i in chosen}
            for i in chosen:
                engine.enqueue(
                    Request(
                        str(i),
                        Prompt("", PROMPTS[i], False, 0),
                        SAMPLING[i],
                        (),
                        heard[i].append,
                        return_tokens=True,
                        speculate=speculate,
                    )
                )
            while engine.busy:
                engine.step()
                for sequence in engine.scheduler.running:
                    sequence.check()
        replies = {}
        for i, emissions in heard.items():
            assert isinstance(emissions[-1], Ended)
            tokens = [t.id for e in emissions if isinstance(e, Wrote) for t in e.tokens]
            replies[i] = tokens, emissions[-1].usage.completion_tokens_details
        return replies


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = TinyShape(layers=2, experts=4, context=256, predicts=True)
    return write_tiny(tmp_path_factory.mktemp("tiny") / "small", seed=1, shape=shape)


@pytest.fixture(scope="module")
def bench(folder: Path) -> Bench:
    return Bench(folder)


def test_replies_are_the_same_with_and_without(bench: Bench) -> None:
    plain = {i: bench.run([i], speculate=True, on=False)[i] for i in range(len(PROMPTS))}
    assert all(len(tokens) == LENGTH for tokens, _ in plain.values())
    drafted = 0
    for chosen in ([0], [1], [2], [0, 1], [0, 1, 2]):
        for i, (tokens, details) in bench.run(chosen, speculate=True).items():
            assert tokens == plain[i][0]
            drafted += details.accepted_prediction_tokens + details.rejected_prediction_tokens
    # The prompts end in long matches, and what a step with drafts costs was not measured yet.
    assert drafted > 0


def test_a_request_can_do_without(bench: Bench) -> None:
    for _, details in bench.run([0, 1, 2], speculate=False).values():
        assert details.accepted_prediction_tokens == details.rejected_prediction_tokens == 0


def test_the_prediction_layer_changes_no_reply(bench: Bench, folder: Path) -> None:
    predicting = Bench(folder, predict=True)
    assert bench.model.predictor is None and predicting.model.predictor is not None
    plain = {i: bench.run([i], speculate=False)[i][0] for i in range(len(PROMPTS))}
    drafted = 0
    for chosen in ([0], [1], [2], [0, 1, 2]):
        for i, (tokens, details) in predicting.run(chosen, speculate=True).items():
            assert tokens == plain[i]
            drafted += details.accepted_prediction_tokens + details.rejected_prediction_tokens
    assert drafted > 0
