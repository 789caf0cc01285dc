"""The prediction layer's drafts: after copies, as long as they pay, and tried again later."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from engine.cache.latent_pool import LatentPool, PagedCache
from engine.config import ModelConfig
from engine.model.loader import load_model
from engine.speculation.adaptive import StepCosts
from engine.speculation.mtp import Foresight, MtpDrafter
from engine.tiny import TinyShape, write_tiny


class Knowing:
    """Knows the text; right with a given chance, each token by itself."""

    def __init__(self, text: list[int], chance: float, making: float = 0.0) -> None:
        self.now = 0.0
        """Time spent on drafts, `making` each."""
        self._text = text
        self._making = making
        self._chance = chance
        self._draw = random.Random(4)
        self.asked = 0

    def draft(self, cache: PagedCache, token: int, most: int) -> list[int]:
        assert self._text[cache.length] == token
        self.asked += 1
        self.now += self._making * most
        coming = self._text[cache.length + 1 : cache.length + 1 + most]
        return [t if self._draw.random() < self._chance else t + 1 for t in coming]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    folder = write_tiny(tmp_path_factory.mktemp("tiny"), shape=TinyShape(layers=2, experts=2))
    return ModelConfig.from_folder(folder)


def speed(
    config: ModelConfig, text: list[int], chance: float, each: float, making: float = 0.0
) -> tuple[float, int]:
    """Tokens a step's time of writing `text`, and how often the layer was asked.

    A step's token after the first costs `each`, and to draft it `making`.
    """
    predictor = Knowing(text, chance, making)
    drafter = MtpDrafter(StepCosts(), Foresight(predictor, lambda: predictor.now))
    cache = PagedCache(LatentPool(config, 100, "float32"), len(text))
    cache.reserve(len(text))
    tokens, seconds = text[:10], 0.0
    while len(tokens) < len(text):
        cache.length = len(tokens) - 1
        most = min(7, len(text) - len(tokens) - 1)
        drafts = drafter.draft(tokens, most, 0, cache)[:most]
        assert drafts == drafter.draft(tokens, most, 0, cache)[:most]
        right = 0
        while right < len(drafts) and drafts[right] == text[len(tokens) + right]:
            right += 1
        tokens = text[: len(tokens) + right + 1]
        took = 1 + each * len(drafts) + 1e-9 * len(tokens)
        drafter.observe(len(drafts), right, 1 + len(drafts), took)
        seconds += took
    return (len(text) - 10) / (seconds + predictor.now), predictor.asked


def fresh(count: int) -> list[int]:
    return random.Random(9).sample(range(0, 100_000, 2), count)


def test_a_good_layer_pays(config: ModelConfig) -> None:
    assert speed(config, fresh(800), 0.85, 0.2)[0] > 1.6


def test_a_bad_or_dear_one_is_left_alone_but_for_rare_trials(config: ModelConfig) -> None:
    for chance, each, making in ((0.05, 0.3, 0.05), (0.6, 1.0, 0.0), (0.9, 0.2, 0.8)):
        rate, asked = speed(config, fresh(3000), chance, each, making)
        assert rate > 0.97
        assert 2 <= asked < 60


def test_copies_come_first(config: ModelConfig) -> None:
    argument = fresh(200)
    text = [*argument, *argument]
    rate, asked = speed(config, text, 0.0, 0.1)
    assert asked < 40
    assert rate > 1.5


def test_without_its_cache_nothing_is_asked(config: ModelConfig) -> None:
    predictor = Knowing(fresh(50), 1.0)
    drafter = MtpDrafter(StepCosts(), Foresight(predictor))
    cache = PagedCache(LatentPool(config, 4, "float32"), 64)
    assert drafter.draft([1, 2], 7) == []
    drafter.observe(0, 0, 1, 0.1)
    assert drafter.draft([1, 2, 3], 7, 0, cache) == []
    assert predictor.asked == 0


def test_a_checkpoint_without_the_layer_loads_as_ever(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path, shape=TinyShape(layers=2, experts=2))
    model = load_model(folder, torch.float32, "reference", predict=True)
    assert model.predictor is None
    assert not model.config.predicts
    model.close()
