"""Quantiser, network, QK-clip and decoder."""

from __future__ import annotations

import pytest
import torch
from nano.config import NanoConfig
from nano.model import Groups, Nano, Normalise
from nano.optim import build, clip_qk
from nano.quant import dequantised, fake_quant, pack
from nano.rollout import Decoder, as_exported

SMALL = NanoConfig(vocab_size=97, hidden_size=64, num_hidden_layers=2, moe_intermediate_size=32)


@pytest.fixture
def model() -> Nano:
    torch.manual_seed(0)
    return Nano(SMALL)


def test_packed_nibbles_are_the_values_trained_with() -> None:
    torch.manual_seed(1)
    weight = torch.randn(16, 64)
    packed, scale = pack(weight)
    pairs = packed.contiguous().view(torch.uint8)  # [16, 32]: low nibble is the even column
    nibbles = torch.stack((pairs & 15, pairs >> 4), -1).flatten(-2).float() - 8
    values = nibbles.unflatten(-1, (-1, 32)) * scale.float()[..., None]
    assert torch.equal(values.flatten(-2), dequantised(weight))
    assert torch.allclose(fake_quant(weight), values.flatten(-2), atol=1e-6)


def test_quantising_twice_changes_nothing() -> None:
    torch.manual_seed(2)
    once = dequantised(torch.randn(8, 96))
    assert torch.allclose(dequantised(once), once, rtol=1e-2, atol=1e-3)


def test_gradient_passes_the_quantiser_straight() -> None:
    weight = torch.randn(4, 32, requires_grad=True)
    fake_quant(weight).sum().backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.ones_like(weight))


def test_documents_of_a_batch_do_not_see_each_other(model: Nano) -> None:
    model.eval()
    ids = torch.randint(0, 97, (2 * 5 + 7,))
    with torch.no_grad():
        whole = model(ids, Groups(((2, 5), (1, 7))))
        alone = model(ids[5:10], Groups(((1, 5),)))
    assert torch.allclose(whole[5:10], alone, atol=1e-5)


def test_decoder_agrees_with_the_whole_network(model: Nano) -> None:
    twin = as_exported(model)
    ids = torch.randint(0, 97, (23,))
    decoder = Decoder(twin, 1, 32)
    with torch.no_grad():
        stepped = torch.cat([decoder.step(i[None]) for i in ids])
        assert torch.allclose(stepped, twin(ids, Groups(((1, 23),))), atol=1e-4)


def test_qk_clip_brings_the_largest_logit_to_tau(model: Nano) -> None:
    attention = model.layers[0].self_attn
    with torch.no_grad():
        attention.q_b_proj.weight.mul_(6)
    attention.watch = True
    ids = torch.randint(0, 97, (40,))
    groups = Groups(((1, 40),))
    with torch.no_grad():
        model(ids, groups)
        before = attention.max_logit
        tau = float(before.max()) / 2
        clip_qk(attention, tau)
        model(ids, groups)
    after = attention.max_logit
    assert float(after.max()) == pytest.approx(tau, rel=1e-3)
    untouched = before < tau
    assert torch.allclose(after[untouched], before[untouched], rtol=1e-3)


def test_bias_rises_for_idle_experts(model: Nano) -> None:
    moe = model.moes()[0]
    moe.load.copy_(torch.tensor([10.0, 0, 1, 1, 1, 1, 1, 1]))
    moe.balance(0.01)
    assert float(moe.e_score_correction_bias[0]) == pytest.approx(-0.01)
    assert float(moe.e_score_correction_bias[1]) == pytest.approx(0.01)
    assert not moe.load.any()


def test_a_few_steps_lower_the_loss(model: Nano) -> None:
    optimizers = build(model, 3e-3)
    ids = torch.randint(0, 97, (64,))
    losses = []
    for _ in range(12):
        logits = model(ids, Groups(((2, 32),)))
        loss = torch.nn.functional.cross_entropy(logits[:-1], ids[1:])
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.5


def test_norm_gradient_is_that_of_the_formula() -> None:
    torch.manual_seed(3)
    x = torch.randn(5, 16, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(16, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: Normalise.apply(a, b, 1e-6), (x, weight))
