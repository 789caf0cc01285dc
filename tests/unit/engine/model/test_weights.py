"""What loading costs: views where the bytes allow it, and a refusal before memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.checkpoint.mapped import MappedCheckpoint
from engine.config import ModelConfig
from engine.errors import ResourceError
from engine.experts.base import Fp8Matrix, PackedMatrix
from engine.experts.native import NativeExperts
from engine.experts.reference import ReferenceExperts, dense
from engine.making.shapes import ExpertChoice, read_shape
from engine.making.writer import Choice, write_model
from engine.model.deepseek import Batch
from engine.model.loader import load_model
from engine.model.page_limit import PageLimit, mapped_bytes
from engine.model.weights import Weights
from engine.sampling.sampler import BadLogits, sample
from engine.types import SamplingParams

SMALL = {
    "hidden_size": 320,
    "intermediate_size": 192,
    "moe_intermediate_size": 160,
    "num_attention_heads": 4,
    "kv_lora_rank": 64,
    "n_routed_experts": 8,
    "vocab_size": 800,
}


def made(folder: Path, shape: str, experts: ExpertChoice = "published") -> Path:
    raw = read_shape(shape, layers=3, experts=experts)
    raw.update(SMALL, n_group=1, topk_group=1, first_k_dense_replace=1)
    return write_model(raw, folder / shape, Choice())


def opened(folder: Path, dtype: torch.dtype = torch.bfloat16) -> tuple[MappedCheckpoint, Weights]:
    source = MappedCheckpoint.open(folder)
    return source, Weights(ModelConfig.from_folder(folder), source, dtype)


@pytest.fixture
def mapping() -> Callable[[Tensor], bool]:
    """Whether a tensor lies in a mapped shard."""

    def is_mapped(tensor: Tensor) -> bool:
        at = tensor.data_ptr()
        for line in Path("/proc/self/maps").read_text().splitlines():
            begin, _, end = line.split(maxsplit=1)[0].partition("-")
            if int(begin, 16) <= at < int(end, 16):
                return line.endswith(".safetensors")
        return False

    return is_mapped


def test_a_bfloat16_model_is_made_of_views(
    tmp_path: Path, mapping: Callable[[Tensor], bool]
) -> None:
    folder = made(tmp_path, "k2-thinking")
    model = load_model(folder, torch.bfloat16, "reference")
    dense_parts = [model._embedding, model._head.weight]
    for layer in model._layers:
        a = layer.attention
        shared = getattr(layer.mlp, "shared", layer.mlp)
        linear = (a.q_a, a.q_b, a.kv_a, a.kv_b, a.out, shared.gate, shared.up, shared.down)
        dense_parts += [m.weight for m in linear if m is not None]
        dense_parts += [a.key_up, a.value_up, layer.mlp_norm.weight]
    assert all(mapping(t) for t in dense_parts)
    assert not mapping(torch.zeros(4))
    logits = model.forward(Batch([(model.new_cache(), [1, 2, 3])]))
    assert logits.isfinite().all() and logits.std() > 0.3
    model.close()


@pytest.mark.parametrize(
    ("shape", "experts", "kind"),
    [
        ("k2-thinking", "published", PackedMatrix),
        ("glm-4.7-flash", "int4", PackedMatrix),
        ("glm-4.7-flash", "published", Tensor),
        ("deepseek-v3", "published", Fp8Matrix),
    ],
)
def test_experts_of_every_format_are_views(
    tmp_path: Path,
    mapping: Callable[[Tensor], bool],
    shape: str,
    experts: ExpertChoice,
    kind: type,
) -> None:
    _, weights = opened(made(tmp_path, shape, experts))
    (*_, last) = weights.experts(2)
    for matrix, rows in ((last.gate, 160), (last.up, 160), (last.down, 320)):
        assert isinstance(matrix, kind)
        assert tuple(matrix.shape) == (rows, 480 - rows)
        parts = [matrix] if isinstance(matrix, Tensor) else [matrix.scale]
        assert all(mapping(t) for t in parts)
        assert dense(matrix).std() == pytest.approx((480 - rows) ** -0.5, rel=0.15)


def test_fp8_dense_parts_are_widened(tmp_path: Path, mapping: Callable[[Tensor], bool]) -> None:
    source, weights = opened(made(tmp_path, "deepseek-v3"))
    name = "model.layers.0.self_attn.o_proj.weight"
    widened = weights.matrix(name, (320, 512))
    assert widened.dtype == torch.bfloat16 and not mapping(widened)
    codes, scale = source.tensor(name).float(), source.tensor(f"{name}_scale_inv")
    assert scale.shape == (3, 4)
    # The lower right block, which overhangs.
    assert torch.equal(widened[256:, 384:], (codes[256:, 384:] * scale[2, 3]).bfloat16())


def test_too_little_memory_is_told_before_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(tmp_path, "k2-thinking")
    # A quarter of a gigabyte is kept free besides what is needed.
    monkeypatch.setattr("engine.model.weights.free_memory", lambda: (256 << 20) + 20_000)
    with pytest.raises(ResourceError) as caught:
        load_model(folder, torch.float32, "reference")
    assert caught.value.code == "out_of_memory"
    assert "268,455,456 are free" in caught.value.message
    assert caught.value.hint
    # As bfloat16 only the routers are copies: 2 x (8 x 320 + 8) float32, the bias stored so.
    monkeypatch.setattr("engine.model.weights.free_memory", lambda: (256 << 20) + 20_480)
    load_model(folder, torch.bfloat16, "reference").close()


def test_pages_are_given_back_beyond_the_limit_only(tmp_path: Path) -> None:
    folder = made(tmp_path, "moonlight-16b-a3b")
    source = MappedCheckpoint.open(folder)
    size = sum(p.stat().st_size for p in source.files)

    def read_all() -> int:
        for name in source.names():
            source.tensor(name).view(torch.uint8).sum()
        return mapped_bytes()

    before = read_all()
    PageLimit(source, limit=1 << 40).keep()
    assert before - mapped_bytes() < size // 4
    PageLimit(source, limit=1).keep()
    assert before - mapped_bytes() > size // 2
    assert read_all() - before > -size // 4, "what was given back is read again"


@pytest.mark.parametrize("shape", ["k2-thinking", "deepseek-v3", "glm-4.7-flash"])
def test_published_formats_take_the_kernels(tmp_path: Path, shape: str) -> None:
    folder = made(tmp_path, shape)
    model = load_model(folder, threads=1)
    assert model.experts.name.startswith("native")
    model.close()


def test_float32_experts_take_the_reference(tmp_path: Path) -> None:
    folder = made(tmp_path, "glm-4.7-flash")
    (path,) = folder.glob("*.safetensors")
    save_file({n: t.float() for n, t in load_file(path).items()}, path)
    model = load_model(folder, threads=1)
    assert model.experts.name.startswith("reference")
    model.close()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("matrix", ["gate_proj", "up_proj", "down_proj"])
def test_a_scale_that_is_no_number_shows_in_the_output(
    tmp_path: Path, matrix: str, bad: float
) -> None:
    """Sampling then refuses it; nothing may hide it on the way, in any mode."""
    folder = made(tmp_path, "k2-thinking")
    (path,) = folder.glob("*.safetensors")
    tensors = load_file(path)
    for expert in range(8):
        tensors[f"model.layers.1.mlp.experts.{expert}.{matrix}.weight_scale"][5, 2] = bad
    save_file(tensors, path)
    for backend in (NativeExperts(1), NativeExperts(1, mode="fast"), ReferenceExperts()):
        model = load_model(folder, torch.float32, backend)
        logits = model.forward(Batch([(model.new_cache(), [1, 2, 3])]))
        model.close()
        assert not logits.max().isfinite(), backend.name
        with pytest.raises(BadLogits):
            sample(logits[0], SamplingParams(), torch.Generator())
