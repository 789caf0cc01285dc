"""Positions up to the last of 256 K, with the published rotary settings, against transformers.

A query at the end meets keys near and far, so a wrong stretch of any pair shows, as does a table
that loses bits far out. Angles there have float32 steps of 0.016 rad; both sides round alike.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.config import ModelConfig
from engine.making.shapes import read_shape
from engine.making.writer import Choice, write_model
from engine.model.deepseek import Model
from engine.model.loader import load_model
from engine.model.mla import Form, Segment
from engine.model.moe import MixtureOfExperts
from engine.model.rope import RotaryTable

from .conftest import Pair, oracle_of

TOLERANCE = 2e-4
"""As in test_logits.py."""
SMALL = {
    "hidden_size": 128,
    "intermediate_size": 160,
    "moe_intermediate_size": 64,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "q_lora_rank": 64,
    "kv_lora_rank": 64,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "vocab_size": 800,
}
NEAR_AND_FAR = (0, 1, 2, 500, 4095, 4096, 65_535, 100_000, 131_072, 200_000, 262_100, 262_143)


@pytest.fixture(scope="module", params=["k2-thinking", "deepseek-v3"])
def far(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Two layers with a published model's heads and rotary settings, else small."""
    raw = read_shape(request.param, layers=2, experts="int4") | SMALL
    raw |= {"first_k_dense_replace": 1, "max_position_embeddings": 262_144}
    folder = write_model(raw, tmp_path_factory.mktemp("far") / request.param, Choice(seed=5))
    ours = load_model(folder, torch.float32, "reference")
    return Pair(folder, ours, oracle_of(folder, ours.config))


def test_angles_agree(far: Pair) -> None:
    """Every position of a stretch at the end, and some on the way."""
    positions = torch.cat((torch.tensor(NEAR_AND_FAR), torch.arange(261_632, 262_144)))
    with torch.inference_mode():
        cos, sin = far.theirs.model.rotary_emb(torch.zeros(1, 1, 1), positions[None])
    half = cos.shape[-1] // 2
    ours = RotaryTable(far.ours.config).at(positions)
    torch.testing.assert_close(ours[0], cos[0, :, :half], atol=1e-6, rtol=0)
    torch.testing.assert_close(ours[1], sin[0, :, :half], atol=1e-6, rtol=0)


@pytest.mark.parametrize("form", ["expanded", "absorbed"])
def test_logits_agree_over_far_distances(far: Pair, form: Form) -> None:
    positions = list(NEAR_AND_FAR)
    ids = torch.randint(0, 800, (len(positions),), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        theirs: Tensor = far.theirs(
            ids[None],
            position_ids=torch.tensor([positions]),
            attention_mask=torch.ones(1, len(positions)),  # else gaps would part sequences
        ).logits[0]
    ours = forward_at(far.ours, ids.tolist(), positions, form)
    assert theirs.std() > 0.3, "degenerate logits would make this test blind"
    assert (ours - theirs).abs().max() <= TOLERANCE
    shifted = forward_at(far.ours, ids.tolist(), [p // 2 for p in positions], form)
    assert (ours - shifted).abs().max() > 50 * TOLERANCE, "distances must matter"


@torch.inference_mode()
def forward_at(model: Model, ids: list[int], positions: list[int], form: Form) -> Tensor:
    """Logits [T, V] of tokens that stand at positions of their own."""
    cache = model.new_cache()
    cache.reserve(len(ids))
    cos, sin = RotaryTable(model.config).at(torch.tensor(positions))
    x = model._embedding[torch.tensor(ids)]  # [T] -> [T, H]
    segment = Segment(cache, 0, len(ids), 0)
    for i, layer in enumerate(model._layers):
        normed = layer.attention_norm(x)
        x = x + layer.attention(i, normed, cos, sin, [segment], form)
        normed, mlp = layer.mlp_norm(x), layer.mlp
        x = x + (mlp(i, normed) if isinstance(mlp, MixtureOfExperts) else mlp(normed))
    return model._head(model._norm(x))


def test_the_published_window_is_what_yarn_makes_of_the_trained_one() -> None:
    for shape in ("k2-thinking", "deepseek-v3"):
        config = ModelConfig.from_dict(read_shape(shape))
        assert config.yarn is not None
        stretched = config.yarn.factor * config.yarn.original_positions
        assert stretched == config.max_position_embeddings
