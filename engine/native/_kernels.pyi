"""Types of the compiled extension; its contract is in engine/native/README.md."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = Any  # anything with __dlpack__ or the buffer protocol, on the CPU

class InputError(ValueError): ...
class AbortedError(Exception): ...
class ClosedError(Exception): ...

def available_isas() -> list[str]: ...
def read_bandwidth(
    threads: int, mebibytes: int = 512, seconds: float = 0.3, typical: bool = False
) -> float: ...
def dot_peak(isa: str, threads: int, seconds: float = 0.1) -> float: ...
def fma_peak(isa: str, threads: int, seconds: float = 0.1) -> float: ...

class Ticket:
    @property
    def done(self) -> bool: ...

Matrix: TypeAlias = Sequence[
    Array
]  # (int32, bf16), (int8, bf16), (uint8, float32), (bf16,), (f32,)
Expert: TypeAlias = Sequence[Matrix]  # gate, up, down

class Experts:
    def __init__(
        self,
        threads: int,
        isa: str = "auto",
        mode: str = "exact",
        nodes: Sequence[Sequence[int]] = (),
    ) -> None: ...
    def add_layer(
        self, layer: int, experts: Sequence[Expert], shared: Sequence[Expert] = ()
    ) -> None: ...
    def move_expert(self, layer: int, expert: int, parts: Expert) -> None: ...
    def share(self, layer: int, gated: int) -> None: ...
    def submit(self, layer: int, x: Array, ids: Array, weights: Array) -> Ticket: ...
    def wait(self, ticket: Ticket) -> NDArray[np.float32]: ...
    def add_matrix(self, parts: tuple[Array, ...]) -> int: ...
    def pack(self, source: Array, bits: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]: ...
    def linear(self, matrices: Sequence[int], x: Array) -> list[NDArray[np.float32]]: ...
    def abort(self) -> None: ...
    def close(self) -> None: ...
    @property
    def threads(self) -> int: ...
    @property
    def isa(self) -> str: ...
    @property
    def mode(self) -> str: ...

class Prefill:
    def __init__(
        self,
        experts: Experts,
        query: Array,
        past: int,
        *,
        heads: int,
        nope: int,
        rope: int,
        value: int,
        rank: int,
        softmax_scale: float,
    ) -> None: ...
    def add(self, up: Array, latents: Array) -> None: ...
    def result(self) -> NDArray[np.float32]: ...

def attend_latents(
    experts: Experts,
    query: Array,
    parts: Sequence[tuple[Array, Array, int, int]],
    layer: int,
    *,
    heads: int,
    rank: int,
    rope: int,
    softmax_scale: float,
) -> NDArray[np.float32]: ...

class Network:
    def __init__(
        self,
        experts: Experts,
        *,
        hidden: int,
        heads: int,
        nope: int,
        rope: int,
        value: int,
        rank: int,
        top_k: int,
        groups: int,
        top_groups: int,
        normalise: bool,
        interleaved: bool,
        routed_scale: float,
        softmax_scale: float,
        eps: float,
        latent_eps: float,
    ) -> None: ...
    def add_layer(self, parts: dict[str, object]) -> None: ...
    def finish(self, norm: Array, head: tuple[Array, ...]) -> None: ...
    def step(
        self,
        x: Array,
        cosine: Array,
        sine: Array,
        parts: Sequence[tuple[Array, NDArray[np.int32], int, int]],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], list[int]]: ...

class NgramIndex:
    def __init__(self) -> None: ...
    def look(self, fresh: Sequence[int]) -> tuple[int, int, int, bool]: ...
    @property
    def nbytes(self) -> int: ...
