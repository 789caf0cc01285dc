"""A loaded model and what is compared with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from engine.bench.ceilings import dot_products, streaming_read
from engine.bench.figures import Against, Figure, figure
from engine.bench.options import Options
from engine.bench.overhead import KernelClock
from engine.bench.session import Session
from engine.bench.turns import Speed, alternate
from engine.native import _kernels
from engine.placement.footprint import Footprint, footprint
from engine.protocol import WeightForm

_OVERHEAD_LIMIT = 0.05
_SHORT, TOKENS = 8, 24
"""A decode turn: a prompt to begin with, and tokens whose times count."""
_CONTEXTS = (512, 2048, 8192)


@dataclass(slots=True)
class ModelBench:
    """A loaded model, measured in turns."""

    options: Options
    name: str
    threads: int
    model: Session
    isa: str = field(init=False)
    weighs: Footprint = field(init=False)

    def __post_init__(self) -> None:
        words = (self.model.status.experts or "").split()
        # Others, e.g. the reference in torch, have no instruction set of their own.
        self.isa = next((w for w in words if w in _kernels.available_isas()), "scalar")
        self.weighs = footprint(self.model.config)

    def decode(self) -> Figure:
        """Against the tokens a second at which memory could deliver what each must read."""
        form = self._dense_form
        size = self.weighs.decode_bytes(form, _SHORT + TOKENS // 2)
        note = f"{size / 1e9:.2f} GB a token, all but experts in {form}"
        self._tell("decode")
        read = streaming_read(self.threads, self.options.turn, self.options.ceiling_mebibytes)
        ours, ceiling = alternate([self.writing(), read], self.options.seconds)
        return self.speed("decode", ours, "read ceiling", ceiling, 1 / size, note)

    @property
    def _dense_form(self) -> WeightForm:
        """Of what is not a routed expert, in memory."""
        match self.options.dense:
            case "int4" | "int8" as packed:
                return packed
            case _ if self.model.status.dtype == "float32":
                return "float32"
            case _:
                return self.weighs.dense_form

    def prefill(self) -> Figure:
        """Against the arithmetic peak over what each token must compute."""
        self._tell("prefill")
        peak = dot_products(self.isa, self.threads, self.options.turn)
        work = self._prompt_flops
        ours, ceiling = alternate([self.reading(), peak], self.options.seconds, 2)
        note = f"{self.options.prompt} tokens, {work / 1e9:.2f} GFLOP each"
        return self.speed("prefill", ours, "int8 peak", ceiling, 1 / work, note)

    @property
    def _prompt_flops(self) -> float:
        """Of one token of a prompt: all before it, half the prompt on average; no head."""
        weighs = self.weighs
        attended = weighs.layers * weighs.pair_flops * self.options.prompt / 2
        return weighs.dense_flops - weighs.head.flops + weighs.routed_flops + attended

    def overhead(self, clock: KernelClock) -> Figure:
        """Of a token's time, what passes outside the kernels."""
        self._tell("overhead")
        before = clock.seconds
        reply = self.model.reply(1, 2 * TOKENS)
        whole = reply.tokens[-1] - reply.sent
        return figure(
            f"{self.name}.overhead",
            1 - (clock.seconds - before) / whole,
            "of a token",
            "limit",
            _OVERHEAD_LIMIT,
            isa=self.isa,
            threads=self.threads,
            note=f"{1e3 * whole / len(reply.tokens):.1f} ms a token",
        )

    def contexts(self) -> Iterator[Figure]:
        """Decode after ever longer prompts, as long as reading them takes no longer than asked."""
        for context in _CONTEXTS:
            self._tell(f"decode after {context} tokens")
            if context + TOKENS > self.model.status.context_length:
                return
            reply = self.model.reply(context, TOKENS)
            yield self.speed(f"context{context}", Speed((reply.tokens_per_second,)))
            if 4 * reply.first_seconds > 5 * self.options.seconds:
                return

    def writing(self) -> Callable[[], float]:
        """A turn of decoding, in tokens a second."""
        return lambda: self.model.reply(_SHORT, TOKENS + 1).tokens_per_second

    def reading(self) -> Callable[[], float]:
        """A turn of prefill, in tokens a second."""
        prompt = self.options.prompt
        return lambda: prompt / self.model.reply(prompt, 1).first_seconds

    def speed(
        self,
        what: str,
        ours: Speed,
        against: Against | None = None,
        theirs: Speed | None = None,
        factor: float = 1.0,
        note: str = "",
    ) -> Figure:
        return figure(
            f"{self.name}.{what}",
            ours.median,
            "tokens/s",
            against,
            theirs.median * factor if theirs else None,
            isa=self.isa,
            threads=self.threads,
            best=ours.best,
            against_best=theirs.best * factor if theirs else None,
            note=note,
        )

    def _tell(self, what: str) -> None:
        self.options.tell(f"{self.name}.{what}, {self.threads} threads")
