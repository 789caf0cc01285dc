"""Each weight format by itself: one matrix times one token, and times a prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import cycle

import numpy as np
import torch
from torch import Tensor

from engine.bench.ceilings import dot_products, streaming_read
from engine.bench.figures import Figure, figure
from engine.bench.options import Options
from engine.bench.turns import alternate, repeat
from engine.native import _kernels

_BYTES = 512 << 20
"""Of matrices that are used in turn, so that each comes from memory."""
_GROUP, _BLOCK = 32, 128

Parts = tuple[Tensor, ...]


def kernel_figures(options: Options) -> Iterator[Figure]:
    """``kernels.FORMAT.gemv`` and ``.gemm`` for every instruction set and thread count."""
    rows, columns = options.shape.inner, options.shape.hidden
    for name, make in _FORMATS.items():
        first = make(np.random.default_rng(0), rows, columns)
        size = sum(part.nbytes for part in first)
        count = max(2, min(3 * options.experts, _BYTES // size))
        options.tell(f"kernels.{name}: {count} matrices of {size / 1e6:.1f} MB")
        matrices = [make(np.random.default_rng(i), rows, columns) for i in range(count)]
        for isa in options.isas:
            for threads in options.threads:
                yield from _figures(options, name, matrices, isa, threads)


def _figures(
    options: Options, name: str, matrices: list[Parts], isa: str, threads: int
) -> Iterator[Figure]:
    options.tell(f"kernels.{name}, {isa}, {threads} threads")
    size = sum(part.nbytes for part in matrices[0])
    operations = 2 * options.prompt * options.shape.inner * options.shape.hidden
    with closing(_kernels.Experts(threads, isa=isa, mode=options.mode)) as pool:
        handles = [pool.add_matrix(parts) for parts in matrices]

        def turn(tokens: int) -> Callable[[], float]:
            x = torch.randn(tokens, options.shape.hidden)
            order = cycle(handles)
            return lambda: repeat(lambda: pool.linear([next(order)], x), options.turn)

        read = streaming_read(threads, options.turn, options.ceiling_mebibytes)
        ours, ceiling = alternate([turn(1), read], options.seconds / 2)
        yield figure(
            f"kernels.{name}.gemv",
            ours.median * size / 1e9,
            "GB/s",
            "read ceiling",
            ceiling.median / 1e9,
            isa=isa,
            threads=threads,
            best=ours.best * size / 1e9,
            against_best=ceiling.best / 1e9,
        )
        peak = dot_products(isa, threads, options.turn)
        ours, ceiling = alternate([turn(options.prompt), peak], options.seconds / 2)
        yield figure(
            f"kernels.{name}.gemm",
            ours.median * operations / 1e9,
            "GFLOP/s",
            "int8 peak",
            ceiling.median / 1e9,
            isa=isa,
            threads=threads,
            best=ours.best * operations / 1e9,
            against_best=ceiling.best / 1e9,
        )


def _int4(rng: np.random.Generator, rows: int, columns: int) -> Parts:
    words = rng.integers(-(2**31), 2**31, (rows, columns // 8), np.int32)
    return torch.from_numpy(words), _scales(rng, rows, columns, 4.6)


def _int8(rng: np.random.Generator, rows: int, columns: int) -> Parts:
    values = rng.integers(-127, 128, (rows, columns), np.int8)
    return torch.from_numpy(values), _scales(rng, rows, columns, 73.0)


def _bf16(rng: np.random.Generator, rows: int, columns: int) -> Parts:
    values = rng.standard_normal((rows, columns), np.float32) / np.float32(columns**0.5)
    return (torch.from_numpy(values).bfloat16(),)


def _fp8(rng: np.random.Generator, rows: int, columns: int) -> Parts:
    codes = rng.integers(0, 0x7F, (rows, columns), np.uint8)  # 0x7F and up is no number
    codes |= rng.integers(0, 2, (rows, columns), np.uint8) << 7
    grid = -(-rows // _BLOCK), -(-columns // _BLOCK)
    return torch.from_numpy(codes), torch.full(grid, 1 / (100 * columns**0.5))


def _scales(rng: np.random.Generator, rows: int, columns: int, spread: float) -> Tensor:
    """bf16, so that products keep the size of their input."""
    usual = 1 / (spread * columns**0.5)
    drawn = rng.uniform(0.5 * usual, 1.5 * usual, (rows, columns // _GROUP))
    return torch.from_numpy(drawn).bfloat16()


_FORMATS: dict[str, Callable[[np.random.Generator, int, int], Parts]] = {
    "int4": _int4,
    "int8": _int8,
    "bf16": _bf16,
    "fp8": _fp8,
}
