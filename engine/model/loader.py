"""From a checkpoint folder to a model: layers put together, experts handed to their backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from engine.checkpoint.mapped import MappedCheckpoint
from engine.checkpoint.names import attention_shapes, layer_prefix
from engine.config import ModelConfig
from engine.errors import Aborted
from engine.experts.assembly import Assembly, ExpertOptions, assemble, choose_device
from engine.experts.base import ExpertBackend
from engine.experts.device import Device, Inline
from engine.experts.observed import ObservedExperts
from engine.experts.reference import ReferenceExperts
from engine.model.deepseek import Layer, Model
from engine.model.dense import Dense
from engine.model.layers import LATENT_NORM_EPS, NativeSwiGLU, RMSNorm
from engine.model.linear import Linear, beside
from engine.model.mla import Attention
from engine.model.moe import MixtureOfExperts, Router
from engine.model.mtp import PredictionLayer, Predictor
from engine.model.page_limit import PageLimit
from engine.model.rope import RotaryTable
from engine.model.weights import Weights
from engine.placement.footprint import footprint

if TYPE_CHECKING:
    from engine.model.network import NativeNetwork

ExpertChoice = Literal["auto", "native", "reference"]
_SMALL_DENSE_BYTES = 2 << 30
_PLAIN = ExpertOptions()


@dataclass(frozen=True, slots=True)
class KernelOptions:
    """How the native kernels compute."""

    isa: str = "auto"
    """An instruction set by name, or the best of this processor."""
    mode: Literal["auto", "exact", "fast"] = "auto"
    """``auto``: exact for small models, where it costs little, else fast."""
    dense: Literal["auto", "published", "int8", "int4"] = "auto"
    """Form of dense parts on a machine without accelerator; ``auto``: as published."""


_BEST = KernelOptions()


def load_model(
    folder: Path,
    dtype: torch.dtype | None = None,
    experts: ExpertChoice | ExpertBackend = "auto",
    threads: int = 0,
    progress: Callable[[float], None] = lambda share: None,
    should_abort: Callable[[], bool] = lambda: False,
    options: ExpertOptions = _PLAIN,
    kernels: KernelOptions = _BEST,
    predict: bool = False,
) -> Model:
    """Load a folder. `dtype` None: float32 for small models, else bfloat16.

    `experts` may be a backend without layers yet; it is closed with the model, or on failure, and
    taken as it is, without `options`.
    Routed experts, and dense parts that are stored in `dtype`, stay views of the mapped files.
    Without an accelerator the native kernels multiply the dense parts of large models, too; small
    batches then go through all layers in one call of theirs, as they do for small models. `predict`
    has the checkpoint's layer for multi-token prediction loaded, if there is no accelerator and no
    budget for experts.
    Raises CheckpointError, ResourceError ``out_of_memory``, ``unsupported_isa``, ``unsupported``
    if experts are to be read directly and cannot, Aborted.
    """
    config = ModelConfig.from_folder(folder)
    source = MappedCheckpoint.open(folder)
    dtype = dtype or fitting_dtype(config)
    device = choose_device(options.device, options.spans)
    try:
        weights = Weights(config, source, dtype, device.place)
        weights.require_memory()
        if experts == "auto":
            experts = "native" if weights.experts_suit_kernels() else "reference"
        computing = _computing(config, experts, threads, kernels)
        assembly = _assembly(config, computing, experts, device, options)
        alone = isinstance(device, Inline) and not options.wraps
        join = f"{layer_prefix(config, config.num_hidden_layers)}eh_proj.weight"
        config = replace(config, predicts=predict and alone and weights.has(join))
    except BaseException:
        device.close()
        raise
    try:
        dense = _dense(weights, computing if isinstance(device, Inline) else None, kernels)
        # Everything that is wrapped around the kernels wants to see each layer by itself.
        whole = not options.wraps
        loading = _Loading(config, dense, dtype, assembly, whole, computing)
        return loading.run(PageLimit(source), progress, should_abort)
    except BaseException:
        assembly.experts.close()
        raise


def fitting_dtype(config: ModelConfig) -> torch.dtype:
    """Float32 costs little for a small model and needs no bf16 instructions."""
    per_layer = 2 * config.hidden_size * (config.intermediate_size + 4 * config.hidden_size)
    dense = 4 * (config.num_hidden_layers * per_layer + 2 * config.vocab_size * config.hidden_size)
    return torch.float32 if dense <= _SMALL_DENSE_BYTES else torch.bfloat16


def _assembly(
    config: ModelConfig,
    computing: ExpertBackend,
    choice: ExpertChoice | ExpertBackend,
    device: Device,
    options: ExpertOptions,
) -> Assembly:
    if not isinstance(choice, str):
        return Assembly(computing, Inline())
    layers = [i for i in range(config.num_hidden_layers) if config.is_moe(i)]
    sizes = config.n_routed_experts, config.num_experts_per_tok, footprint(config).expert_bytes
    return assemble(computing, device, layers, sizes, options)


def _computing(
    config: ModelConfig,
    choice: ExpertChoice | ExpertBackend,
    threads: int,
    kernels: KernelOptions,
) -> ExpertBackend:
    if not isinstance(choice, str):
        return choice
    if choice == "reference":
        return ReferenceExperts()
    from engine.experts.native import NativeExperts

    mode = (
        ("exact" if footprint(config).exact else "fast") if kernels.mode == "auto" else kernels.mode
    )
    return NativeExperts(threads=threads, isa=kernels.isa, mode=mode)


def _dense(weights: Weights, computing: ExpertBackend | None, kernels: KernelOptions) -> Dense:
    from engine.experts.native import NativeExperts

    if not isinstance(computing, NativeExperts):
        return Dense(weights)
    precision = "published" if kernels.dense == "auto" else kernels.dense
    own = kernels.dense != "auto" or weights.dtype == torch.bfloat16
    return Dense(weights, computing, precision, own)


class _Loading:
    """One load: puts layers together from a checkpoint's weights."""

    def __init__(
        self,
        config: ModelConfig,
        dense: Dense,
        dtype: torch.dtype,
        assembly: Assembly,
        whole: bool = True,
        computing: ExpertBackend | None = None,
    ) -> None:
        self.config = config
        self.dense = dense
        self.whole = whole
        self.weights = dense.weights
        self.dtype = dtype
        # The native kernels compute in float32 whatever they read.
        self.computed = torch.float32 if dense.own else dtype
        self.assembly = assembly
        self.computing = computing or assembly.experts
        self.experts = assembly.experts
        self.rotary = RotaryTable(config)

    def run(
        self,
        pages: PageLimit,
        progress: Callable[[float], None],
        should_abort: Callable[[], bool],
    ) -> Model:
        config = self.config
        size = config.vocab_size, config.hidden_size
        embedding = self.weights.plain(f"{config.prefix}model.embed_tokens.weight", size)
        layers = []
        for i in range(config.num_hidden_layers):
            if should_abort():
                raise Aborted()
            layers.append(self._layer(i))
            progress((i + 1) / (config.num_hidden_layers + 1))
        name = "model.embed_tokens" if config.tie_word_embeddings else "lm_head"
        head = self.dense.linear(f"{config.prefix}{name}.weight", size)
        norm = self._norm(f"{config.prefix}model.norm", config.hidden_size)
        self.assembly.prepare()
        network = self._network(pages)
        progress(1.0)
        return Model(
            config,
            self.computed,
            embedding,
            layers,
            norm,
            head,
            self.rotary,
            self.experts,
            pages,
            self.assembly.device.place,
            self.dtype,
            network,
            self._predictor(embedding, head) if config.predicts else None,
        )

    def _predictor(self, embedding: Tensor, head: Linear) -> Predictor:
        """Its experts go straight to the kernels: nobody counts or moves them."""
        config, number = self.config, self.config.num_hidden_layers
        at, hidden = layer_prefix(config, number), config.hidden_size
        own = f"{at}shared_head.head.weight"
        if self.weights.has(own):
            head = self.dense.linear(own, (config.vocab_size, hidden))
        plain = Assembly(self.computing, self.assembly.device)
        inner = _Loading(config, self.dense, self.dtype, plain)
        return Predictor(
            PredictionLayer(
                number,
                embedding,
                self._norm(f"{at}enorm", hidden),
                self._norm(f"{at}hnorm", hidden),
                self.dense.linear(f"{at}eh_proj.weight", (hidden, 2 * hidden)),
                inner._layer(number),
                self._norm(f"{at}shared_head.norm", hidden),
                head,
            ),
            self.rotary,
        )

    def _network(self, pages: PageLimit) -> NativeNetwork | None:
        """Unless something has to happen between layers."""
        kernels, experts = self.dense.kernels, self.experts
        stepwise = pages.watched or not self.whole
        if kernels is None or stepwise or not isinstance(experts, ObservedExperts):
            return None
        from engine.model.network import build_network

        return build_network(self.config, self.dense, kernels, experts.note_all)

    def _layer(self, i: int) -> Layer:
        at, hidden = layer_prefix(self.config, i), self.config.hidden_size
        return Layer(
            attention_norm=self._norm(f"{at}input_layernorm", hidden),
            attention=self._attention(f"{at}self_attn."),
            mlp_norm=self._norm(f"{at}post_attention_layernorm", hidden),
            mlp=self._mixture(i, f"{at}mlp.")
            if self.config.is_moe(i)
            else self.dense.swiglu(f"{at}mlp.", hidden, self.config.intermediate_size),
        )

    def _attention(self, at: str) -> Attention:
        config, shapes = self.config, attention_shapes(self.config)

        def linear(name: str) -> Linear:
            rows, columns = shapes[f"{name}.weight"]
            return self.dense.linear(f"{at}{name}.weight", (rows, columns))

        def norm(name: str) -> RMSNorm:
            width = shapes[f"{name}.weight"][0]
            return self._norm(f"{at}{name}", width, LATENT_NORM_EPS)

        rows, columns = shapes["kv_b_proj.weight"]
        both = self.weights.matrix(f"{at}kv_b_proj.weight", (rows, columns))
        up = both.unflatten(0, (config.num_attention_heads, -1))  # [N, D+Vh, R]
        # Views: products of many heads take each head's rows where they lie.
        key_up, value_up = up.split((config.qk_nope_head_dim, config.v_head_dim), 1)
        lora = config.q_lora_rank is not None
        q_a = linear("q_a_proj") if lora else None
        q_b, kv_a = linear("q_b_proj" if lora else "q_proj"), linear("kv_a_proj_with_mqa")
        return Attention(
            config=config,
            rotary=self.rotary,
            q_a=q_a,
            q_a_norm=norm("q_a_layernorm") if lora else None,
            q_b=q_b,
            kv_a=kv_a,
            enter=beside(q_a or q_b, kv_a),
            kv_a_norm=norm("kv_a_layernorm"),
            kv_b=linear("kv_b_proj"),
            key_up=key_up,
            value_up=value_up,
            out=linear("o_proj"),
            kernels=self.dense.kernels,
        )

    def _mixture(self, layer: int, at: str) -> MixtureOfExperts:
        config = self.config
        count = config.n_routed_experts
        self.experts.add_layer(layer, self.weights.experts(layer))
        gate, bias = f"{at}gate.weight", f"{at}gate.e_score_correction_bias"
        router = Router(
            config,
            self.weights.plain(gate, (count, config.hidden_size), torch.float32),
            self.weights.plain(bias, (count,), torch.float32),
        )
        inner = config.moe_intermediate_size * config.n_shared_experts
        device = self.assembly.device
        shared = None
        if inner:
            shared = self.dense.swiglu(f"{at}shared_experts.", config.hidden_size, inner)
            if self.whole and isinstance(shared, NativeSwiGLU):
                shared.kernels.share(layer, shared.number)  # one job, one quantised input
                shared = None
        self.assembly.learn(layer, router)
        return MixtureOfExperts(
            router, device.static(shared) if shared else None, self.experts, device
        )

    def _norm(self, at: str, width: int, eps: float | None = None) -> RMSNorm:
        weight = self.weights.plain(f"{at}.weight", (width,), self.computed)
        return RMSNorm(weight, eps or self.config.rms_norm_eps)
