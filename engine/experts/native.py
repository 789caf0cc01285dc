"""Routed experts on our C++ kernels, read in place from the mapped checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np
import psutil
import torch
from torch import Tensor

from engine.cache.latent_pool import PagedCache
from engine.config import ModelConfig
from engine.errors import Aborted, CheckpointError, ResourceError
from engine.experts.base import (
    ExpertMatrix,
    ExpertWeights,
    Fp8Matrix,
    PackedMatrix,
    Ticket,
    check_submission,
)
from engine.experts.topology import memory_nodes
from engine.native import _kernels

Mode = Literal["exact", "fast"]


class NativeExperts:
    """Implements :class:`engine.experts.base.ExpertBackend` on a pool of sleeping threads.

    ``mode`` ``exact`` keeps activations in float32; ``fast`` takes INT4 experts with INT8
    activations (an expert's output is off by about 4e-3 of its size). ``threads`` 0 takes one per
    physical core; ``nodes`` lists the processors of each memory node, among which threads, rows
    and with them the experts' pages are divided; None asks the system.
    """

    def __init__(
        self,
        threads: int = 0,
        isa: str = "auto",
        mode: Mode = "exact",
        nodes: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """Raises ResourceError ``unsupported_isa`` for an instruction set this processor lacks."""
        known = _kernels.available_isas()
        if isa != "auto" and isa not in known:
            raise ResourceError(
                "unsupported_isa",
                f"this processor or build has no {isa!r} kernels",
                f"choose one of: auto, {', '.join(known)}",
            )
        count = threads or psutil.cpu_count(logical=False) or 1
        nodes = memory_nodes(count) if nodes is None else nodes
        self._gated = 0
        self._pool = _kernels.Experts(count, isa=isa, mode=mode, nodes=[list(n) for n in nodes])

    @property
    def name(self) -> str:
        return f"native {self._pool.isa}"

    def add_layer(self, layer: int, experts: list[ExpertWeights]) -> None:
        """Raises CheckpointError ``unsupported_experts`` for anything but INT4, FP8 and bf16."""
        try:
            self._pool.add_layer(layer, [_matrices(e) for e in experts])
        except _kernels.InputError as error:
            raise CheckpointError("wrong_shape", f"experts of layer {layer}: {error}") from error

    def move_expert(self, layer: int, which: int, expert: ExpertWeights) -> None:
        """Compute from these tensors from now on; a network that was built before does not."""
        try:
            self._pool.move_expert(layer, which, _matrices(expert))
        except _kernels.InputError as error:
            raise CheckpointError("wrong_shape", f"layer {layer}: {error}") from error

    def submit(self, layer: int, x: Tensor, ids: Tensor, weights: Tensor) -> Ticket:
        check_submission(x, ids, weights)
        return self._pool.submit(layer, x, ids, weights)

    def wait(self, ticket: Ticket) -> Tensor:
        assert isinstance(ticket, _kernels.Ticket)
        with _translated():
            return torch.from_numpy(self._pool.wait(ticket))

    def add_matrix(self, parts: tuple[Tensor, ...]) -> int:
        """A dense matrix's number for :meth:`linear`. Raises CheckpointError."""
        try:
            return self._pool.add_matrix(parts)
        except _kernels.InputError as error:
            raise CheckpointError("wrong_shape", str(error)) from error

    def linear(self, numbers: Sequence[int], x: Tensor) -> list[Tensor]:
        """float32 [T, O] of x [T, I] for each matrix. Sleeps meanwhile. Raises Aborted."""
        x = x if x.dtype in (torch.float32, torch.bfloat16) else x.float()
        with _translated():
            return [torch.from_numpy(y) for y in self._pool.linear(numbers, x.contiguous())]

    def add_swiglu(self, parts: tuple[tuple[Tensor, ...], ...]) -> int:
        """The number for :meth:`swiglu` of gate, up and down. Raises CheckpointError."""
        try:
            # The kernels take it for a layer with one expert, which all tokens choose.
            self._pool.add_layer(-1 - self._gated, [parts])
        except _kernels.InputError as error:
            raise CheckpointError("wrong_shape", str(error)) from error
        self._gated += 1
        return self._gated - 1

    def share(self, layer: int, number: int) -> None:
        """Compute a :meth:`swiglu` with the routed experts of `layer`, and add it to them."""
        self._pool.share(layer, -1 - number)

    def swiglu(self, number: int, x: Tensor) -> Tensor:
        """float32 [T, H] of x [T, H]. Sleeps until it is there. Raises Aborted."""
        x = x if x.dtype in (torch.float32, torch.bfloat16) else x.float()
        ids = torch.zeros(x.shape[0], 1, dtype=torch.int32)
        ticket = self._pool.submit(-1 - number, x.contiguous(), ids, torch.ones(ids.shape))
        return self.wait(ticket)

    def pack(self, matrix: Tensor, bits: int) -> tuple[Tensor, Tensor]:
        """bf16 [O, I] to INT4 (int32 [O, I/8]) or INT8 ([O, I]) and bf16 scales [O, I/32]."""
        with _translated():
            data, scales = self._pool.pack(matrix, bits)
        kind = torch.int32 if bits == 4 else torch.int8
        return torch.from_numpy(data).view(kind), torch.from_numpy(scales).view(torch.bfloat16)

    def attend(
        self,
        config: ModelConfig,
        query: Tensor,
        past: int,
        blocks: Iterable[tuple[Tensor, Tensor]],
    ) -> Tensor:
        """Attention of a sequence's last tokens, [t, N*(D+P)], to all of its positions.

        `blocks` are these in order: expanded keys and values [n, N*(D+Vh)], latents [n, R+P].
        float32 everywhere -> [t, N*Vh]. Raises Aborted.
        """
        with _translated():
            prefill = _kernels.Prefill(
                self._pool,
                query.contiguous(),
                past,
                heads=config.num_attention_heads,
                nope=config.qk_nope_head_dim,
                rope=config.qk_rope_head_dim,
                value=config.v_head_dim,
                rank=config.kv_lora_rank,
                softmax_scale=config.softmax_scale,
            )
            for up, latents in blocks:
                prefill.add(up, latents)
            return torch.from_numpy(prefill.result())

    def attend_latents(
        self,
        config: ModelConfig,
        layer: int,
        query: Tensor,
        parts: Sequence[tuple[PagedCache, int, int]],
    ) -> Tensor:
        """Absorbed attention of sequences' tokens to all positions up to their own.

        `parts`: a cache that has the tokens' latents, the positions before them, their number.
        Queries in the latent space, float32 [T, N*(R+P)] -> [T, N*R]. Raises Aborted.
        """
        with _translated():
            found = _kernels.attend_latents(
                self._pool,
                query.contiguous(),
                [(c.pool.data, np.asarray(c.pages, np.int32), past, n) for c, past, n in parts],
                layer,
                heads=config.num_attention_heads,
                rank=config.kv_lora_rank,
                rope=config.qk_rope_head_dim,
                softmax_scale=config.softmax_scale,
            )
        return torch.from_numpy(found)

    def new_network(self, config: ModelConfig, latent_eps: float) -> _kernels.Network:
        """An empty network on this object's threads; see :mod:`engine.model.network`."""
        return _kernels.Network(
            self._pool,
            hidden=config.hidden_size,
            heads=config.num_attention_heads,
            nope=config.qk_nope_head_dim,
            rope=config.qk_rope_head_dim,
            value=config.v_head_dim,
            rank=config.kv_lora_rank,
            top_k=config.num_experts_per_tok,
            groups=config.n_group,
            top_groups=config.topk_group,
            normalise=config.norm_topk_prob,
            interleaved=config.rope_interleaved,
            routed_scale=config.routed_scaling_factor,
            softmax_scale=config.softmax_scale,
            eps=config.rms_norm_eps,
            latent_eps=latent_eps,
        )

    def abort(self) -> None:
        self._pool.abort()

    def close(self) -> None:
        self._pool.close()


@contextmanager
def _translated() -> Iterator[None]:
    """The kernels' ways to end early as ours."""
    try:
        yield
    except _kernels.AbortedError:
        raise Aborted() from None
    except _kernels.ClosedError:
        raise ResourceError("model_unloaded", "the model was unloaded") from None


def _matrices(expert: ExpertWeights) -> tuple[tuple[Tensor, ...], ...]:
    return tuple(_parts(m) for m in (expert.gate, expert.up, expert.down))


def _parts(matrix: ExpertMatrix) -> tuple[Tensor, ...]:
    """Data and scales as the kernels take them: dtypes tell the format."""
    if isinstance(matrix, PackedMatrix):
        return matrix.packed.view(torch.int32), matrix.scale  # uint8 [O, I/2] -> int32 [O, I/8]
    if isinstance(matrix, Fp8Matrix):
        return matrix.weight, matrix.scale
    if matrix.dtype == torch.bfloat16:
        return (matrix,)
    raise CheckpointError(
        "unsupported_experts",
        f"the native kernels have no {str(matrix.dtype).removeprefix('torch.')} experts",
        "choose the reference experts for this checkpoint",
    )
