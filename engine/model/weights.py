"""A checkpoint's tensors as the model wants them: views where the bytes allow it, else copies."""

from __future__ import annotations

from math import prod

import numpy as np
import psutil
import torch
from torch import Tensor

from engine.checkpoint.fp8_blocks import dequantise
from engine.checkpoint.mapped import DTYPES, MappedCheckpoint
from engine.checkpoint.names import block_grid, expected_tensors, expert_prefix, expert_shapes
from engine.config import ModelConfig
from engine.errors import CheckpointError, ResourceError
from engine.experts.base import ExpertMatrix, ExpertWeights, Fp8Matrix, PackedMatrix
from engine.placement.limits import memory_limit

ROOM = 256 << 20
"""Left for caches and activations when copies are weighed against free memory."""


class Weights:
    """Reads tensors by name and checks their shapes. `dtype` and `place` are the dense parts'.

    What is stored in `dtype` stays a view of the mapped file; everything else is converted,
    which for routed experts never happens.
    """

    def __init__(
        self,
        config: ModelConfig,
        source: MappedCheckpoint,
        dtype: torch.dtype,
        place: torch.device | None = None,
    ) -> None:
        self._config = config
        self._source = source
        self._dtype = dtype
        self._place = place or torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """Of dense parts."""
        return self._dtype

    def has(self, name: str) -> bool:
        """Whether the checkpoint holds a tensor of that name."""
        return name in self._source

    def plain(self, name: str, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> Tensor:
        """A tensor that is stored as floats. Raises CheckpointError."""
        return self._floats(name, shape).to(self._place, dtype or self._dtype)

    def matrix(self, name: str, shape: tuple[int, int]) -> Tensor:
        """A linear layer's [out, in], FP8 widened. Raises CheckpointError."""
        if self._source.entry(name).dtype != "F8_E4M3":
            return self.plain(name, shape)
        fp8 = self._fp8(name, shape)
        return dequantise(fp8.weight, fp8.scale, self._dtype).to(self._place)

    def stored(self, name: str, shape: tuple[int, int]) -> tuple[Tensor, ...]:
        """A matrix as the file has it: itself, or FP8 codes and their scales. Views only."""
        if self._source.entry(name).dtype != "F8_E4M3":
            return (self._source.tensor(name, shape),)
        fp8 = self._fp8(name, shape)
        return fp8.weight, fp8.scale

    def widened(self, name: str, shape: tuple[int, int]) -> Tensor:
        """A matrix in floats without loss: as stored, FP8 as float32."""
        if self._source.entry(name).dtype != "F8_E4M3":
            return self._source.tensor(name, shape)
        fp8 = self._fp8(name, shape)
        return dequantise(fp8.weight, fp8.scale, torch.float32)

    def experts(self, layer: int) -> list[ExpertWeights]:
        """A layer's routed experts, every one a view. Raises CheckpointError."""
        quant = self._config.quantisation
        if quant is not None and quant.format == "int4":
            self._check_shape_records(layer)
        return [self._expert(layer, e) for e in range(self._config.n_routed_experts)]

    def experts_suit_kernels(self) -> bool:
        """Whether routed experts are in one of the native kernels' formats: all but float32."""
        if self._config.quantisation is not None or not self._config.moe_layers:
            return True
        first = expert_prefix(self._config, self._config.first_k_dense_replace, 0)
        return self._source.entry(f"{first}gate_proj.weight").dtype == "BF16"

    def require_memory(self) -> None:
        """Raises ResourceError ``out_of_memory`` when the copies to be made do not fit."""
        needed, free = self._copied_bytes() + ROOM, free_memory()
        if needed > free:
            narrower = " or the dtype bfloat16" if self._dtype == torch.float32 else ""
            raise ResourceError(
                "out_of_memory",
                f"loading needs {needed:,} bytes of memory besides the mapped files, "
                f"{free:,} are free",
                f"close other programs, or choose a smaller model{narrower}",
            )

    # -- inside

    def _copied_bytes(self) -> int:
        """Bytes of everything that cannot be a view."""
        total = 0
        for item in expected_tensors(self._config):
            if item.part == "experts" or item.name.endswith("_scale_inv"):
                continue
            wanted = torch.float32 if item.part == "router" else self._dtype
            if item.name in self._source and DTYPES[self._source.entry(item.name).dtype] != wanted:
                total += prod(item.shape) * wanted.itemsize
        return total

    def _floats(self, name: str, shape: tuple[int, ...]) -> Tensor:
        tensor = self._source.tensor(name, shape)
        if not tensor.dtype.is_floating_point or tensor.dtype.itemsize < 2:
            raise CheckpointError(
                "wrong_dtype",
                f"{name} is {str(tensor.dtype).removeprefix('torch.')}",
                "supported here: bfloat16, float16, float32",
            )
        return tensor

    def _expert(self, layer: int, expert: int) -> ExpertWeights:
        at = expert_prefix(self._config, layer, expert)
        gate, up, down = (
            self._expert_matrix(f"{at}{name}.weight", shape)
            for name, shape in expert_shapes(self._config).items()
        )
        return ExpertWeights(gate, up, down)

    def _expert_matrix(self, name: str, shape: tuple[int, int]) -> ExpertMatrix:
        quant = self._config.quantisation
        if quant is None:
            return self._floats(name, shape)
        if quant.format == "fp8":
            return self._fp8(name, shape)
        rows, columns = shape
        if columns % quant.group_size:
            raise CheckpointError("wrong_shape", f"{name}: {columns} columns are no whole groups")
        packed = self._source.tensor(f"{name}_packed", (rows, columns // 8))
        scale = self._source.tensor(f"{name}_scale", (rows, columns // quant.group_size))
        if packed.dtype != torch.int32 or scale.dtype != torch.bfloat16:
            raise CheckpointError("wrong_dtype", f"{name} is not packed INT4 with bf16 scales")
        return PackedMatrix(packed.view(torch.uint8), scale)  # int32 [O, I/8] -> uint8 [O, I/2]

    def _fp8(self, name: str, shape: tuple[int, int]) -> Fp8Matrix:
        weight = self._source.tensor(name, shape)
        scale = self._source.tensor(f"{name}_scale_inv", block_grid(shape, 128))
        if weight.dtype != torch.float8_e4m3fn or scale.dtype != torch.float32:
            raise CheckpointError("wrong_dtype", f"{name} is not FP8 e4m3 with float32 scales")
        return Fp8Matrix(weight.view(torch.uint8), scale)

    def _check_shape_records(self, layer: int) -> None:
        """What each ``weight_shape`` says against config.json. Raises CheckpointError."""
        for name, shape in expert_shapes(self._config).items():
            entries = [
                self._source.entry(
                    f"{expert_prefix(self._config, layer, expert)}{name}.weight_shape"
                )
                for expert in range(self._config.n_routed_experts)
            ]
            for kind, stored in (("I32", np.int32), ("I64", np.int64)):
                some = [e for e in entries if e.dtype == kind and e.shape == (2,)]
                told = np.frombuffer(b"".join(self._source.read(some)), stored).reshape(-1, 2)
                wrong = (told != shape).any(1).nonzero()[0]
                if len(wrong):
                    first = wrong[0]
                    raise CheckpointError(
                        "wrong_shape",
                        f"{some[first].name} says {told[first].tolist()}, "
                        f"config.json wants {list(shape)}",
                        "config.json and weights are not of the same model",
                    )


def free_memory() -> int:
    """Bytes that this process may still take without displacing others."""
    available = int(psutil.virtual_memory().available)
    limit = memory_limit()
    return min(available, limit.free) if limit else available
