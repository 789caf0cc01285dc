"""kt-kernel on one layer of random experts, driven over standard input.

Run by the Python that has kt-kernel and numpy; nothing else of this project is imported. It says
``{"ready": ...}``, then answers each line ``{"tokens": T, "seconds": S}`` with
``{"calls": N, "seconds": S}``: N forward passes over T tokens with fresh random routing. The
compiled extension is used directly: its Python wrapper needs pinned memory, that is, a GPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GROUP = 32
_MOST_TOKENS = 1024
_GGML = {"Q4_0": (2, 32, 18), "Q4_K": (12, 256, 144)}
"""Type number, weights a block, bytes a block."""

Bytes = NDArray[np.uint8]


def main() -> int:
    """Serve requests until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--method", choices=("RAWINT4", *_GGML), required=True)
    for name in ("experts", "hidden", "inner", "top-k", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--variant", default="avx2", help="which compiled extension to load")
    args = parser.parse_args()
    # The library writes to standard output itself; that goes where logs go.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")

    layer = _Layer(args, _extension(args.variant))
    layer.run(1)
    size = float(np.abs(_narrow(layer.output[0])).mean())
    if not 0 < size < np.inf:
        raise SystemExit(f"{args.method} computes nothing here: mean output {size}")
    say({"ready": args.method, "version": version("kt-kernel")})
    for line in sys.stdin:
        order = json.loads(line)
        say(_repeat(partial(layer.run, order["tokens"]), order["seconds"]))
    return 0


def _repeat(work: Callable[[], None], seconds: float) -> dict[str, float]:
    began, calls = time.perf_counter(), 0
    while True:
        work()
        calls += 1
        spent = time.perf_counter() - began
        if spent >= seconds:
            return {"calls": calls, "seconds": spent}


def _extension(variant: str) -> Any:
    """The compiled module alone. The package's own import would want torch."""
    package = importlib.util.find_spec("kt_kernel")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("kt-kernel is not installed here")
    found = sorted(
        Path(package.submodule_search_locations[0]).glob(f"_kt_kernel_ext_{variant}.*.so")
    )
    if not found:
        raise SystemExit(f"this kt-kernel has no variant {variant}")
    spec = importlib.util.spec_from_file_location("kt_kernel_ext", found[0])
    assert isinstance(spec, ModuleSpec) and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Layer:
    """A layer of random experts, and buffers that stay alive as long as it."""

    def __init__(self, args: argparse.Namespace, ext: Any) -> None:
        self._rng = np.random.default_rng(0)
        self._args = args
        workers = ext.WorkerPoolConfig()
        workers.subpool_count, workers.subpool_numa_map = 1, [0]
        workers.subpool_thread_count = [args.threads]
        self._pool = ext.CPUInfer(workers)
        self._on_gpu = np.zeros(args.experts, np.uint8)
        config = ext.moe.MOEConfig(
            args.experts, args.top_k, args.hidden, args.inner, self._on_gpu.ctypes.data
        )
        config.layer_idx, config.pool, config.max_len = 0, self._pool.backend_, _MOST_TOKENS
        # The library reads weights by address after this returns: they are kept for good.
        raw = args.method == "RAWINT4"
        self._weights = self._native(config) if raw else self._ggml(config, ext)
        self._moe = (_raw_kernel(ext) if raw else ext.moe.MOE)(config)
        order = np.arange(args.experts, dtype=np.int64)
        self._do(self._moe.load_weights_task(order.ctypes.data))
        tokens = _MOST_TOKENS
        self._x = _bf16(self._rng.standard_normal((tokens, args.hidden), np.float32))
        self._share = np.full((tokens, args.top_k), 1 / args.top_k, np.float32)
        self.output = np.zeros((tokens, args.hidden), np.uint16)
        self._count = np.zeros(1, np.int32)

    def run(self, tokens: int) -> None:
        """One forward pass over the first `tokens` rows, fresh experts for each."""
        args = self._args
        keys = self._rng.random((tokens, args.experts), np.float32)
        ids = np.ascontiguousarray(keys.argpartition(args.top_k, 1)[:, : args.top_k])
        self._count[0] = tokens
        self._do(
            self._moe.forward_task(
                self._count.ctypes.data,
                args.top_k,
                ids.ctypes.data,
                self._share.ctypes.data,
                self._x.ctypes.data,
                self.output.ctypes.data,
                False,
            )
        )

    def _do(self, task: Any) -> None:
        self._pool.submit(task)
        self._pool.sync()

    def _native(self, config: Any) -> list[Bytes]:
        """The published INT4 layout, each expert by its own address."""
        args, kept = self._args, []
        shapes = {
            "gate": (args.inner, args.hidden),
            "up": (args.inner, args.hidden),
            "down": (args.hidden, args.inner),
        }
        for name, (rows, columns) in shapes.items():
            packed = self._random_bytes(args.experts * rows * columns // 2)
            scale = self._scales(args.experts * rows * columns // _GROUP, columns)
            kept += [packed, scale.view(np.uint8)]
            setattr(config, f"{name}_projs", [_addresses(packed, args.experts)])
            setattr(config, f"{name}_scales", [_addresses(scale.view(np.uint8), args.experts)])
        config.quant_config.bits = 4
        config.quant_config.group_size = _GROUP
        config.quant_config.zero_point = False
        return kept

    def _ggml(self, config: Any, ext: Any) -> list[Bytes]:
        """Blocks of the GGUF type; the scale fields hold small halves, the rest is random."""
        args, kept = self._args, []
        _, weights, size = _GGML[self._args.method]
        kind = getattr(ext.kvcache.ggml_type, args.method)
        for name in ("gate", "up", "down"):
            blocks = self._random_bytes(args.experts * args.inner * args.hidden // weights * size)
            fields = blocks.reshape(-1, size)
            for at in range(0, 2 if args.method == "Q4_0" else 4, 2):
                half = self._rng.uniform(1e-4, 1e-3, len(fields)).astype(np.float16)
                fields[:, at : at + 2] = half.view(np.uint8).reshape(-1, 2)
            kept.append(blocks)
            setattr(config, f"{name}_proj", blocks.ctypes.data)
            setattr(config, f"{name}_type", kind)
        config.hidden_type = ext.kvcache.ggml_type.BF16
        config.m_block, config.group_min_len, config.group_max_len = 32, 10, _MOST_TOKENS
        return kept

    def _random_bytes(self, count: int) -> Bytes:
        return self._rng.integers(0, 256, count, np.uint8)

    def _scales(self, count: int, columns: int) -> NDArray[np.uint16]:
        usual = 1 / (4.64 * columns**0.5)
        return _bf16(self._rng.uniform(0.5 * usual, 1.5 * usual, count).astype(np.float32))


def _raw_kernel(ext: Any) -> Any:
    """The best kernel for native INT4 that this build has and this processor can run."""
    flags = Path("/proc/cpuinfo").read_text()
    names = [
        *(["AMXInt4_KGroup_MOE"] if "avx512f" in flags else []),
        *(["AVXVNNI256RawInt4_MOE"] if "avx_vnni" in flags else []),
        "AVX2RawInt4_MOE",
    ]
    return next(getattr(ext.moe, name) for name in names if hasattr(ext.moe, name))


def _addresses(flat: Bytes, count: int) -> list[int]:
    step = flat.nbytes // count
    return [flat.ctypes.data + i * step for i in range(count)]


def _bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def _narrow(values: NDArray[np.uint16]) -> NDArray[np.float32]:
    return (values.astype(np.uint32) << 16).view(np.float32)


if __name__ == "__main__":
    sys.exit(main())
