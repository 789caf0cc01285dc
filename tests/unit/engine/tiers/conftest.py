"""A file of experts that is large enough for memory to be measured: 72 experts, 64 MB."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.checkpoint.mapped import MappedCheckpoint
from engine.experts.base import ExpertBackend, ExpertWeights, PackedMatrix, tensors_of
from engine.tiers.pages import FilePages

PAGE = mmap.PAGESIZE
LAYERS, EXPERTS, TOP_K, HIDDEN, INNER = 3, 24, 4, 1024, 512


@dataclass(frozen=True)
class ExpertFile:
    """Layers 0, 1, 2 of experts as views of a mapped file."""

    path: Path
    layers: list[list[ExpertWeights]]

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for layer in self.layers for e in layer for t in tensors_of(e))

    def resident(self) -> int:
        """Bytes of experts that are mapped into this process, by the kernel's page table."""
        tensors = [t for layer in self.layers for e in layer for t in tensors_of(e)]
        pages = {
            page
            for t in tensors
            for page in range(t.data_ptr() // PAGE, -(-(t.data_ptr() + t.nbytes) // PAGE))
        }
        first, last = min(pages), max(pages)
        with open("/proc/self/pagemap", "rb") as file:
            file.seek(first * 8)
            entries = memoryview(file.read((last - first + 1) * 8)).cast("Q")
        return PAGE * sum(entries[page - first] >> 63 for page in pages)

    def forget(self) -> None:
        """Take it out of this process's memory and out of the page cache."""
        pages = FilePages()
        for layer in self.layers:
            for expert in layer:
                for r in pages.ranges(tensors_of(expert)):
                    pages.unmap(r)
        pages.close()
        with self.path.open("rb") as file:
            os.fsync(file.fileno())  # what was not written yet would stay
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def expert_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experts")
    rng = torch.Generator().manual_seed(0)
    tensors = {}
    for key in range(LAYERS * EXPERTS):
        for name, (rows, columns) in _SHAPES.items():
            words = torch.randint(
                -(1 << 31), 1 << 31, (rows, columns // 8), generator=rng, dtype=torch.int64
            )
            spread = 1 / (4.6 * columns**0.5)  # a nibble - 8 has a mean square of 21.5
            tensors[f"{key}.{name}.weight_packed"] = words.to(torch.int32)
            tensors[f"{key}.{name}.weight_scale"] = torch.full(
                (rows, columns // 32), spread, dtype=torch.bfloat16
            )
    save_file(tensors, folder / "experts.safetensors")
    return folder


_SHAPES = {"gate": (INNER, HIDDEN), "up": (INNER, HIDDEN), "down": (HIDDEN, INNER)}


@pytest.fixture
def expert_file(expert_path: Path) -> ExpertFile:
    return experts_in(expert_path)


def experts_in(folder: Path) -> ExpertFile:
    """The file that is there, mapped anew."""
    source = MappedCheckpoint.open(folder)

    def matrix(key: int, name: str) -> PackedMatrix:
        packed = source.tensor(f"{key}.{name}.weight_packed")
        return PackedMatrix(packed.view(torch.uint8), source.tensor(f"{key}.{name}.weight_scale"))

    experts = [
        ExpertWeights(*(matrix(key, name) for name in _SHAPES)) for key in range(LAYERS * EXPERTS)
    ]
    layers = [experts[n * EXPERTS : (n + 1) * EXPERTS] for n in range(LAYERS)]
    return ExpertFile(folder / "experts.safetensors", layers)


Call = tuple[Tensor, Tensor, Tensor]
"""Tokens [T, H], their experts [T, K] and the weights of these."""


def random_call(tokens: int, seed: int) -> Call:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(tokens, HIDDEN, generator=rng)
    ids = torch.rand(tokens, EXPERTS, generator=rng).topk(TOP_K).indices.to(torch.int32)
    return x, ids, torch.rand(tokens, TOP_K, generator=rng)


def run(backend: ExpertBackend, layer: int, call: Call) -> Tensor:
    return backend.wait(backend.submit(layer, *call))
