"""From a checkpoint folder to a model: dense parts in the chosen dtype, experts in place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from engine.checkpoint.mapped import MappedCheckpoint
from engine.checkpoint.names import (
    attention_shapes,
    expert_prefix,
    expert_shapes,
    layer_prefix,
)
from engine.config import ModelConfig
from engine.errors import Aborted, CheckpointError
from engine.experts.base import ExpertBackend, ExpertMatrix, ExpertWeights, PackedMatrix
from engine.experts.reference import ReferenceExperts
from engine.model.deepseek import Layer, Model
from engine.model.layers import LATENT_NORM_EPS, RMSNorm, SwiGLU
from engine.model.mla import Attention
from engine.model.moe import MixtureOfExperts, Router
from engine.model.rope import RotaryTable

ExpertChoice = Literal["auto", "native", "reference"]
_SMALL_DENSE_BYTES = 2 << 30


def load_model(
    folder: Path,
    dtype: torch.dtype | None = None,
    experts: ExpertChoice = "auto",
    threads: int = 0,
    progress: Callable[[float], None] = lambda share: None,
    should_abort: Callable[[], bool] = lambda: False,
) -> Model:
    """Load a folder. `dtype` None: float32 for small models, else bfloat16.

    Routed INT4 experts stay views of the mapped files. Raises CheckpointError, Aborted.
    """
    config = ModelConfig.from_folder(folder)
    source = MappedCheckpoint.open(folder)
    backend = _backend(config, experts, threads)
    try:
        return _Loading(config, source, dtype or _fitting_dtype(config), backend).run(
            progress, should_abort
        )
    except BaseException:
        backend.close()
        raise


def _fitting_dtype(config: ModelConfig) -> torch.dtype:
    """Float32 costs little for a small model and needs no bf16 instructions."""
    per_layer = 2 * config.hidden_size * (config.intermediate_size + 4 * config.hidden_size)
    dense = 4 * (config.num_hidden_layers * per_layer + 2 * config.vocab_size * config.hidden_size)
    return torch.float32 if dense <= _SMALL_DENSE_BYTES else torch.bfloat16


def _backend(config: ModelConfig, choice: ExpertChoice, threads: int) -> ExpertBackend:
    if choice == "native" or (choice == "auto" and config.quantisation is not None):
        from engine.experts.native import NativeExperts

        return NativeExperts(threads=threads)
    return ReferenceExperts()


class _Loading:
    """One load: reads tensors by name, checks shapes, converts what is not an expert."""

    def __init__(
        self,
        config: ModelConfig,
        source: MappedCheckpoint,
        dtype: torch.dtype,
        experts: ExpertBackend,
    ) -> None:
        self.config = config
        self.source = source
        self.dtype = dtype
        self.experts = experts
        self.rotary = RotaryTable(config)

    def run(self, progress: Callable[[float], None], should_abort: Callable[[], bool]) -> Model:
        config = self.config
        vocab, hidden = config.vocab_size, config.hidden_size
        embedding = self._dense(f"{config.prefix}model.embed_tokens.weight", (vocab, hidden))
        layers = []
        for i in range(config.num_hidden_layers):
            if should_abort():
                raise Aborted()
            layers.append(self._layer(i))
            progress((i + 1) / (config.num_hidden_layers + 1))
        head = (
            embedding
            if config.tie_word_embeddings
            else self._dense(f"{config.prefix}lm_head.weight", (vocab, hidden))
        )
        norm = self._norm(f"{config.prefix}model.norm", hidden)
        progress(1.0)
        return Model(config, self.dtype, embedding, layers, norm, head, self.rotary, self.experts)

    def _layer(self, i: int) -> Layer:
        at, hidden = layer_prefix(self.config, i), self.config.hidden_size
        return Layer(
            attention_norm=self._norm(f"{at}input_layernorm", hidden),
            attention=self._attention(f"{at}self_attn."),
            mlp_norm=self._norm(f"{at}post_attention_layernorm", hidden),
            mlp=self._mixture(i, f"{at}mlp.")
            if self.config.is_moe(i)
            else self._swiglu(f"{at}mlp.", self.config.intermediate_size),
        )

    def _attention(self, at: str) -> Attention:
        config, shapes = self.config, attention_shapes(self.config)

        def matrix(name: str) -> Tensor:
            return self._dense(f"{at}{name}.weight", shapes[f"{name}.weight"])

        def norm(name: str) -> RMSNorm:
            width = shapes[f"{name}.weight"][0]
            return self._norm(f"{at}{name}", width, LATENT_NORM_EPS)

        up = matrix("kv_b_proj").unflatten(0, (config.num_attention_heads, -1))  # [N, D+Vh, R]
        key_up, value_up = up.split((config.qk_nope_head_dim, config.v_head_dim), 1)
        lora = config.q_lora_rank is not None
        return Attention(
            config=config,
            rotary=self.rotary,
            q_a=matrix("q_a_proj") if lora else None,
            q_a_norm=norm("q_a_layernorm") if lora else None,
            q_b=matrix("q_b_proj" if lora else "q_proj"),
            kv_a=matrix("kv_a_proj_with_mqa"),
            kv_a_norm=norm("kv_a_layernorm"),
            key_up=key_up.contiguous(),
            value_up=value_up.contiguous(),
            out=matrix("o_proj"),
        )

    def _mixture(self, layer: int, at: str) -> MixtureOfExperts:
        config = self.config
        count = config.n_routed_experts
        self.experts.add_layer(layer, [self._expert(layer, e) for e in range(count)])
        router = Router(
            config,
            self.source.tensor(f"{at}gate.weight", (count, config.hidden_size)).float(),
            self.source.tensor(f"{at}gate.e_score_correction_bias", (count,)).float(),
        )
        inner = config.moe_intermediate_size * config.n_shared_experts
        shared = self._swiglu(f"{at}shared_experts.", inner) if inner else None
        return MixtureOfExperts(router, shared, self.experts)

    def _expert(self, layer: int, expert: int) -> ExpertWeights:
        at = expert_prefix(self.config, layer, expert)
        gate, up, down = (
            self._expert_matrix(f"{at}{name}", shape)
            for name, shape in expert_shapes(self.config).items()
        )
        return ExpertWeights(gate, up, down)

    def _expert_matrix(self, at: str, shape: tuple[int, int]) -> ExpertMatrix:
        rows, columns = shape
        quant = self.config.quantisation
        if quant is None:
            return self.source.tensor(f"{at}.weight", shape)
        if columns % quant.group_size:
            raise CheckpointError("wrong_shape", f"{at}: {columns} columns are no whole groups")
        packed = self.source.tensor(f"{at}.weight_packed", (rows, columns // 8))
        scale = self.source.tensor(f"{at}.weight_scale", (rows, columns // quant.group_size))
        if packed.dtype != torch.int32 or scale.dtype != torch.bfloat16:
            raise CheckpointError("wrong_dtype", f"{at} is not packed INT4 with bf16 scales")
        return PackedMatrix(packed.view(torch.uint8), scale)  # int32 [O, I/8] -> uint8 [O, I/2]

    def _swiglu(self, at: str, inner: int) -> SwiGLU:
        hidden = self.config.hidden_size
        gate = self._dense(f"{at}gate_proj.weight", (inner, hidden))
        up = self._dense(f"{at}up_proj.weight", (inner, hidden))
        down = self._dense(f"{at}down_proj.weight", (hidden, inner))
        return SwiGLU(torch.cat((gate, up)), down)  # 2 x [I, H] -> [2I, H]

    def _norm(self, at: str, width: int, eps: float | None = None) -> RMSNorm:
        return RMSNorm(self._dense(f"{at}.weight", (width,)), eps or self.config.rms_norm_eps)

    def _dense(self, name: str, shape: tuple[int, ...]) -> Tensor:
        tensor = self.source.tensor(name, shape)
        if not tensor.dtype.is_floating_point or tensor.dtype.itemsize < 2:
            raise CheckpointError(
                "wrong_dtype",
                f"{name} is {str(tensor.dtype).removeprefix('torch.')}",
                "supported here: bfloat16, float16, float32",
            )
        return tensor.to(self.dtype)
