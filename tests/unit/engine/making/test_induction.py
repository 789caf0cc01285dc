"""The induction model: its codes, and needles that are found with the margin that was built in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.bench.context.haystack import haystack
from engine.checkpoint.report import inspect_folder
from engine.config import ModelConfig
from engine.errors import RequestError
from engine.making.induction import (
    ANSWER_MARGIN,
    CODE,
    gold_codes,
    induction_shape,
    shift_weights,
    write_induction,
)
from engine.model.deepseek import Batch, Model
from engine.model.loader import load_model
from engine.model.rope import inverse_frequencies

SLACK = 0.5
"""Of the margin: what bfloat16's 8 bits take from 24 and from weights of nearly 1."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_induction(tmp_path_factory.mktemp("made") / "induction")


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def model(request: pytest.FixtureRequest, folder: Path) -> Model:
    return load_model(folder, getattr(torch, request.param))


def next_after(model: Model, tokens: list[int]) -> Tensor:
    """Logits [V]."""
    return model.forward(Batch([(model.new_cache(), tokens)]))[0]


def margin(logits: Tensor, token: int) -> float:
    """By how much `token` leads; negative where another does."""
    others = logits.clone()
    others[token] = -torch.inf
    return float(logits[token] - others.max())


def test_codes_are_nearly_orthogonal() -> None:
    codes = gold_codes().astype(np.float32)
    products = codes @ codes.T
    assert (products.diagonal() == CODE).all()
    np.fill_diagonal(products, 0)
    assert np.abs(products).max() == 16


@pytest.mark.parametrize("context", [4096, 262_144])
def test_a_shift_head_looks_one_back(context: int) -> None:
    """At every distance of the context, also where rotary pairs come round again."""
    config = ModelConfig.from_dict(induction_shape(context))
    weight = torch.from_numpy(shift_weights(config)).double()
    beyond = torch.cat((torch.tensor([-1]), torch.arange(1, context))).double()
    angle = beyond[:, None] * inverse_frequencies(config).double()  # [d, P/2]
    score = 96 * (angle.cos() @ weight)
    assert (score - 96).exp().sum() < 1e-5


def test_the_checkpoint_is_whole(folder: Path) -> None:
    assert inspect_folder(folder, deep=True).complete


@pytest.mark.parametrize("length", [1024, 4096])
def test_needles_are_found_at_any_depth(model: Model, length: int) -> None:
    hay = haystack(length, (0.0, 0.31, 0.77, 1.0), model.config.vocab_size, seed=length)
    cache = model.new_cache()
    for begin in range(0, length, 512):
        model.forward(Batch([(cache, hay.tokens[begin : begin + 512])]))
    for needle in hay.needles:
        logits = model.forward(Batch([(cache, needle.key)]))[0]
        for token in needle.value:
            assert margin(logits, token) > ANSWER_MARGIN - SLACK, needle
            logits = model.forward(Batch([(cache, [token])]))[0]
        cache.truncate(length)


def test_two_tokens_have_to_match(model: Model) -> None:
    """What stands in between is the same; the token before it decides."""
    tokens = [1, 10, 50, 101, 2, 20, 50, 102, 3, 30, 50, 103, 4]
    for before, after in ((10, 101), (20, 102), (30, 103)):
        assert margin(next_after(model, [*tokens, before, 50]), after) > ANSWER_MARGIN - SLACK
    # A pair that never stood there: the last token alone decides.
    assert int(next_after(model, [*tokens, 99, 50]).argmax()) in (101, 102, 103)


def test_nothing_is_found_where_nothing_stood(model: Model) -> None:
    logits = next_after(model, list(range(40)))
    assert margin(logits, int(logits.argmax())) < ANSWER_MARGIN / 2


def test_one_token_may_be_enough(tmp_path: Path) -> None:
    model = load_model(write_induction(tmp_path / "one", match=1))
    assert model.config.num_hidden_layers == 2
    tokens = [*range(300, 600), 7, 8, *range(600, 900), 7]
    assert margin(next_after(model, tokens), 8) > ANSWER_MARGIN - SLACK


@pytest.mark.parametrize(("match", "vocab"), [(0, 2048), (3, 2048), (2, 256), (1, 5000)])
def test_impossible_shapes_are_named(match: int, vocab: int) -> None:
    with pytest.raises(RequestError, match="no induction model"):
        induction_shape(match=match, vocab=vocab)
