"""All layers for a few tokens in one call of the native kernels.

Between kernels Python would cost as much as they do; here a step is one job, and Python is called
once a token. It computes what the layers of :mod:`engine.model.deepseek` compute, and serves where
everything is on the processor and in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.checkpoint.names import attention_shapes, layer_prefix
from engine.config import ModelConfig
from engine.errors import Aborted, ResourceError
from engine.experts.native import NativeExperts
from engine.model.dense import Dense
from engine.model.layers import LATENT_NORM_EPS
from engine.model.mla import Segment
from engine.native import _kernels

Chosen = Callable[[NDArray[np.int32]], None]
"""Told of a step's routing: ids [L, T, K] of the mixture layers in order."""
Parts = tuple[Tensor, ...]


class NativeNetwork:
    """A loaded network. Engine thread only."""

    def __init__(self, network: _kernels.Network, config: ModelConfig, note: Chosen) -> None:
        self._network = network
        self._mixtures = sum(map(config.is_moe, range(config.num_hidden_layers)))
        self._top_k = config.num_experts_per_tok
        self._note = note

    def step(
        self, x: Tensor, cos: Tensor, sin: Tensor, segments: Sequence[Segment]
    ) -> tuple[Tensor, Tensor]:
        """Embedded tokens [T, H], angles [T, P/2] -> logits [T, V], and hidden states after the
        final norm [T, H], which keep the whole step in memory. All float32.

        Writes the new latents into the segments' caches. Raises Aborted.
        """
        parts = [
            (s.cache.pool.data, np.asarray(s.cache.pages, np.int32), s.past, s.end - s.begin)
            for s in segments
        ]
        try:
            logits, hidden, chosen = self._network.step(x, cos, sin, parts)
        except _kernels.AbortedError:
            raise Aborted() from None
        except _kernels.ClosedError:
            raise ResourceError("model_unloaded", "the model was unloaded") from None
        self._note(np.asarray(chosen, np.int32).reshape(self._mixtures, -1, self._top_k))
        return torch.from_numpy(logits), torch.from_numpy(hidden)


def build_network(
    config: ModelConfig, dense: Dense, kernels: NativeExperts, note: Chosen
) -> NativeNetwork | None:
    """The network of a checkpoint whose experts `kernels` already has.

    None where a part is stored in a form that the kernels do not read.
    """
    network = kernels.new_network(config, LATENT_NORM_EPS)
    builder = _Builder(config, dense)
    for layer in range(config.num_hidden_layers):
        parts = builder.layer(layer)
        if parts is None:
            return None
        network.add_layer(parts)
    head = "model.embed_tokens" if config.tie_word_embeddings else "lm_head"
    matrix = dense.parts(f"{config.prefix}{head}.weight", (config.vocab_size, config.hidden_size))
    if matrix is None:
        return None
    network.finish(builder.vector(f"{config.prefix}model.norm.weight", config.hidden_size), matrix)
    return NativeNetwork(network, config, note)


class _Builder:
    """Collects each layer's matrices and vectors under the names that the kernels know."""

    def __init__(self, config: ModelConfig, dense: Dense) -> None:
        self._config = config
        self._dense = dense

    def vector(self, name: str, width: int) -> Tensor:
        """float32 [width]"""
        return self._dense.weights.plain(name, (width,), torch.float32).contiguous()

    def layer(self, layer: int) -> dict[str, object] | None:
        """None if a matrix has no native form."""
        config, at = self._config, layer_prefix(self._config, layer)
        hidden = config.hidden_size
        matrices = self._attention(f"{at}self_attn.")
        parts: dict[str, object] = {
            "attention_norm": self.vector(f"{at}input_layernorm.weight", hidden),
            "mlp_norm": self.vector(f"{at}post_attention_layernorm.weight", hidden),
            "kv_a_norm": self.vector(f"{at}self_attn.kv_a_layernorm.weight", config.kv_lora_rank),
        }
        if config.q_lora_rank is not None:
            parts["q_a_norm"] = self.vector(
                f"{at}self_attn.q_a_layernorm.weight", config.q_lora_rank
            )
        inner = config.intermediate_size
        shared = f"{at}mlp."
        if config.is_moe(layer):
            count = config.n_routed_experts
            matrices["router"] = self._router(f"{at}mlp.gate.weight", (count, hidden))
            parts["bias"] = self.vector(f"{at}mlp.gate.e_score_correction_bias", count)
            parts["experts"] = layer
            inner = config.moe_intermediate_size * config.n_shared_experts
            shared = f"{at}mlp.shared_experts."
        if any(m is None for m in matrices.values()):
            return None
        parts |= matrices
        if inner:
            gated = [
                self._dense.parts(f"{shared}gate_proj.weight", (inner, hidden)),
                self._dense.parts(f"{shared}up_proj.weight", (inner, hidden)),
                self._dense.parts(f"{shared}down_proj.weight", (hidden, inner)),
            ]
            if any(m is None for m in gated):
                return None
            parts["shared"] = tuple(gated)
        return parts

    def _attention(self, at: str) -> dict[str, Parts | None]:
        config = self._config
        names = {
            "q_b": "q_proj" if config.q_lora_rank is None else "q_b_proj",
            "kv_a": "kv_a_proj_with_mqa",
            "kv_b": "kv_b_proj",
            "out": "o_proj",
        }
        if config.q_lora_rank is not None:
            names["q_a"] = "q_a_proj"
        shapes = attention_shapes(config)
        found: dict[str, Parts | None] = {}
        for key, name in names.items():
            rows, columns = shapes[f"{name}.weight"]
            found[key] = self._dense.parts(f"{at}{name}.weight", (rows, columns))
        rows, columns = shapes["kv_b_proj.weight"]
        both = self._dense.weights.widened(f"{at}kv_b_proj.weight", (rows, columns))
        up = both.unflatten(0, (config.num_attention_heads, -1))  # [N, D+Vh, R]
        turned = up[:, : config.qk_nope_head_dim].transpose(1, 2)  # [N, D, R] -> [N, R, D]
        found["key_up"] = self._dense.packed(turned.flatten(0, 1).contiguous())
        return found

    def _router(self, name: str, shape: tuple[int, int]) -> Parts | None:
        """As published, never packed: a wrong choice of experts costs more than its bytes."""
        stored = self._dense.weights.stored(name, shape)
        return stored if stored[0].dtype in (torch.bfloat16, torch.float32) else None
