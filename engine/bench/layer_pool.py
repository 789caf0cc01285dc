"""A pool of our kernels on one layer, as a thing that has speeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from engine.bench.figures import Against, Figure, figure
from engine.bench.options import Options
from engine.bench.shapes import Routing
from engine.bench.turns import Speed, repeat
from engine.experts.base import ExpertWeights
from engine.experts.native import NativeExperts


@dataclass(frozen=True, slots=True)
class Unit:
    """Turns calls per second into a figure's unit."""

    name: str
    per_call: float


@dataclass(frozen=True, slots=True)
class LayerPool:
    """The layer in `pool`, on one instruction set with a number of threads."""

    options: Options
    experts: int
    isa: str
    threads: int
    pool: NativeExperts

    def turn(self, tokens: int, *, coincide: bool = False) -> Callable[[], float]:
        """Returns calls per second, each over `tokens` tokens with random experts."""
        pool, seconds = self.pool, self.options.turn
        routing = Routing(self.options.shape, self.experts, tokens, coincide=coincide)

        def call() -> None:
            pool.wait(pool.submit(0, *routing.next()))

        return lambda: repeat(call, seconds)

    @property
    def reading(self) -> Unit:
        """Of one token."""
        return Unit("GB/s", self.options.shape.token_bytes / 1e9)

    @property
    def computing(self) -> Unit:
        """Of one prompt."""
        return Unit("GFLOP/s", self.options.prompt * self.options.shape.token_operations / 1e9)

    def speed(
        self,
        name: str,
        ours: Speed,
        unit: Unit,
        against: Against | None = None,
        theirs: Speed | None = None,
        their_factor: float = 1e-9,
        note: str = "",
    ) -> Figure:
        """A figure of calls per second beside another speed. Tells of it."""
        factor = unit.per_call
        return figure(
            name,
            ours.median * factor,
            unit.name,
            against,
            theirs.median * their_factor if theirs else None,
            isa=self.isa,
            threads=self.threads,
            best=ours.best * factor,
            against_best=theirs.best * their_factor if theirs else None,
            note=note,
        )

    def tell(self, what: str) -> None:
        """Say what is measured now."""
        self.options.tell(f"{what}, {self.isa}, {self.threads} threads")


@contextmanager
def layer_pool(
    options: Options, experts: list[ExpertWeights], isa: str, threads: int
) -> Iterator[LayerPool]:
    """A pool with the experts as its layer 0, closed afterwards."""
    with closing(NativeExperts(threads, isa, options.mode)) as pool:
        pool.add_layer(0, experts)
        yield LayerPool(options, len(experts), isa, threads, pool)
