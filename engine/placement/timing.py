"""How long a token and a prompt take on a machine: the planner's model of time.

Reading takes bytes over bandwidth, computing operations over rate, and the slower of the two is
what a piece of work takes. Pieces that wait for each other add up; pieces that overlap cost the
longer one. :class:`engine.placement.costs.Costs` says which share of each ceiling is reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil

from engine.placement.costs import Costs
from engine.placement.footprint import Footprint
from engine.placement.hardware import Accelerator, Hardware
from engine.protocol import Cause, WeightForm

TURN_PROMPT, TURN_REPLY = 1024, 512


@dataclass(frozen=True, slots=True)
class Split:
    """A way to put a model on a machine. The three counts of experts are totals over all layers."""

    threads: int
    dense_form: WeightForm
    device: Accelerator | None
    """What computes everything but routed experts; None: the processor."""
    gpu_experts: int
    ram_experts: int
    mapped_experts: int
    kv_tokens: int
    streams: bool
    """Whether the device has room for buffers through which experts can stream."""

    @property
    def experts(self) -> int:
        return self.gpu_experts + self.ram_experts + self.mapped_experts


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds, and what they go to. Of overlapping work only the longer is counted."""

    by: Mapping[Cause, float]

    @property
    def seconds(self) -> float:
        return sum(self.by.values())

    @property
    def cause(self) -> Cause:
        """What takes most."""
        return max(self.by, key=lambda cause: self.by[cause])

    def times(self, factor: float) -> Spent:
        return Spent({cause: factor * s for cause, s in self.by.items()})


def together(*work: Spent) -> Spent:
    """Of pieces that overlap."""
    return max(work, key=lambda spent: spent.seconds)


def after(work: Iterable[Spent]) -> Spent:
    """Of pieces that wait for each other."""
    total: dict[Cause, float] = {}
    for spent in work:
        for cause, seconds in spent.by.items():
            total[cause] = total.get(cause, 0.0) + seconds
    return Spent(total)


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of one model on one machine in one split."""

    footprint: Footprint
    hardware: Hardware
    split: Split
    costs: Costs

    # -- decode

    def decode(self, context: int) -> Spent:
        """One token of one sequence that has ``context`` tokens."""
        f, split = self.footprint, self.split
        gpu, ram, mapped = self.chosen()
        routed = after((self._routed((ram + mapped) * f.top_k), self._missed(mapped * f.top_k)))
        shared = self._dense(f.moe_layers * f.shared.weights, 1)
        rest = self._dense(f.dense_flops // 2 - f.moe_layers * f.shared.weights, 1)
        attention = self._attend(context, context * f.layers * f.read_flops)
        if split.device is not None:
            hot = self._on_device(gpu * f.top_k * f.moe_layers, 1.0)
            middle = together(routed, after((shared, hot)))
        else:
            middle = after((routed, shared))
        return after((rest, attention, middle, self._overhead()))

    # -- prefill

    def prefill(self, tokens: int) -> Spent:
        """A prompt of ``tokens``, nothing of it cached, by the faster way."""
        computed = self.prefill_in_place(tokens)
        if not self.split.streams:
            return computed
        streamed = self.prefill_streamed(tokens)
        return streamed if streamed.seconds < computed.seconds else computed

    def prefill_in_place(self, tokens: int) -> Spent:
        """Experts computed where they are, chunk by chunk."""
        f, costs = self.footprint, self.costs
        chunk = min(tokens, costs.chunk_tokens)
        chunks = tokens / chunk
        gpu, ram, mapped = self._touched(chunk)
        host = after((self._routed(*ram), self._routed(*mapped), self._missed(mapped[0])))
        shared = self._dense(f.moe_layers * f.shared.weights, chunk)
        rest = self._dense(
            f.layers * f.attention.weights
            + f.dense_layers * f.dense_mlp.weights
            + f.moe_layers * f.router.weights,
            chunk,
        )
        if self.split.device is not None:
            hot = self._on_device(gpu[0] * f.moe_layers, gpu[1])
            middle = together(host, after((shared, hot)))
        else:
            middle = after((host, shared))
        step = after((rest, middle, self._overhead(chunk)))
        return after((step.times(chunks), self._prompt_attention(tokens, chunk), self._head()))

    def prefill_streamed(self, tokens: int) -> Spent:
        """All experts cross the bus once per big chunk while the device computes."""
        f, split, costs = self.footprint, self.split, self.costs
        assert split.device is not None
        chunk = min(tokens, costs.stream_chunk_tokens)
        passes = ceil(tokens / chunk)
        bus = split.device.bus_gb_per_s * 1e9 * costs.bus_read
        crossing = Spent({"bus": (split.ram_experts + split.mapped_experts) * f.expert_bytes / bus})
        missing = self._missed(split.mapped_experts / max(1, f.moe_layers))
        flops = tokens * (f.dense_flops - f.head.flops + f.routed_flops)
        rate = split.device.bf16_tflops * 1e12 * costs.device_peak
        widened = passes * f.expert_count * f.expert.weights * self._moved_per_weight
        moving = widened / (split.device.read_gb_per_s * 1e9 * costs.device_read)
        computing = Spent({"accelerator": flops / rate + moving})
        # The first layer's crossing has nothing to hide behind.
        filling = crossing.times(1 / max(1, f.moe_layers))
        work = together(after((crossing, missing)).times(passes), computing)
        overhead = self._overhead().times(passes)
        return after((filling, work, overhead, self._prompt_attention(tokens, chunk), self._head()))

    def crossover(self, longest: int) -> int | None:
        """The shortest prompt, up to ``longest``, that is faster streamed; None: there is none."""
        if not self.split.streams or not self.footprint.expert_count:
            return None

        def streams(tokens: int) -> bool:
            streamed = self.prefill_streamed(tokens).seconds
            return streamed < self.prefill_in_place(tokens).seconds

        high = 1
        while not streams(high):
            if high >= longest:
                return None
            high = min(2 * high, longest)
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if streams(middle) else (middle, high)
        return high

    def turn(self) -> Spent:
        """A typical turn: a prompt of ``TURN_PROMPT`` tokens and a reply of ``TURN_REPLY``."""
        return after((self.prefill(TURN_PROMPT), self.decode(TURN_PROMPT).times(TURN_REPLY)))

    # -- load

    def load(self) -> tuple[float, float]:
        """(until it can answer, until every expert that fits is in memory) from a cold disk."""
        f, split = self.footprint, self.split
        tensors = f.expert_count * 9 + f.layers * 12
        dense = f.stored_bytes - f.experts_bytes + split.gpu_experts * f.expert_bytes
        disk = self.hardware.disk_rate
        ready = tensors * self.costs.tensor_s + dense / disk
        if split.dense_form != f.dense_form:
            ready += f.dense_bytes("bf16") / self.costs.convert_rate
        return ready, ready + split.ram_experts * f.expert_bytes / disk

    # -- parts

    def chosen(self) -> tuple[float, float, float]:
        """Of a token's routed experts the expected shares on the device, in memory, on disk."""
        split, costs = self.split, self.costs
        gpu = _covered(split.gpu_experts, split.experts, costs.hot_skew)
        rest = split.ram_experts + split.mapped_experts
        ram = (1 - gpu) * _covered(split.ram_experts, rest, costs.cached_skew)
        # Rounding must not leave a sliver of disk where there is none.
        return gpu, ram, (1 - gpu - ram if split.mapped_experts else 0.0)

    def _touched(self, chunk: int) -> list[tuple[float, float]]:
        """Per tier, of one layer: experts chosen by any token of a chunk, and tokens for each."""
        f, split = self.footprint, self.split
        held = (split.gpu_experts, split.ram_experts, split.mapped_experts)
        touched = []
        for total, share in zip(held, self.chosen(), strict=True):
            count = total / max(1, f.moe_layers)
            chance = min(1.0, f.top_k * share / count) if count else 0.0
            experts = count * (1 - (1 - chance) ** chunk)
            touched.append((experts, chunk * f.top_k * share / experts if experts else 0.0))
        return touched

    def _routed(self, experts: float, rows: float = 1.0) -> Spent:
        """``experts`` of every layer on the processor, ``rows`` tokens each."""
        f = self.footprint
        return self._on_processor(
            f.moe_layers * experts * f.expert_bytes,
            self.costs.expert_read,
            f.moe_layers * experts * rows * f.expert.flops,
            self._rate(f.expert_form, rows),
        )

    def _dense(self, weights: int, rows: int) -> Spent:
        """Matrices that every token goes through, ``rows`` tokens at once."""
        costs, form = self.costs, self.split.dense_form
        size = _bytes_per_weight(form) * weights
        device = self.split.device
        if device is not None:
            return _on_device(device, costs, size, 2.0 * weights * rows)
        operations = 2.0 * weights * rows
        return self._on_processor(size, costs.dense_read, operations, self._rate(form, rows))

    def _rate(self, form: WeightForm, rows: float) -> float:
        """Operations a second of a matrix product with so many rows."""
        costs = self.costs
        if form != "int4" or self.footprint.exact:
            return self._float_rate * costs.float_peak
        most = costs.gemm_peak.get(self.hardware.isa, costs.other_gemm_peak)
        few = min(costs.gemv_peak, most)
        peak = max(few, most * rows / (rows + costs.gemm_half_rows))
        if self.hardware.isa.startswith("amx"):
            peak = costs.tile_peak
        return self.hardware.int8_rate(self.split.threads) * peak

    def _on_processor(self, size: float, read: float, operations: float, rate: float) -> Spent:
        reading = size / (self.hardware.read_rate(self.split.threads) * read)
        computing = operations / rate
        return Spent({"processor": computing} if computing > reading else {"memory": reading})

    def _on_device(self, experts: float, rows: float) -> Spent:
        """``experts`` in all layers together, ``rows`` tokens each."""
        f, device = self.footprint, self.split.device
        assert device is not None
        moved = experts * f.expert.weights * self._moved_per_weight
        return _on_device(device, self.costs, moved, experts * rows * f.expert.flops)

    def _missed(self, experts: float) -> Spent:
        """``experts`` of every layer that come from disk."""
        f = self.footprint
        rate = self.hardware.disk_rate * self.costs.disk_read
        return Spent({"disk": f.moe_layers * experts * f.expert_bytes / rate})

    def _attend(self, cached: float, flops: float) -> Spent:
        """Read ``cached`` tokens' latents in every layer and compute scores and sums."""
        size = cached * self.footprint.kv_bytes_per_token
        device = self.split.device
        if device is not None:
            return _on_device(device, self.costs, size, flops)
        costs = self.costs
        rate = self._float_rate * costs.attention_peak
        return self._on_processor(size, costs.dense_read, flops, rate)

    def _prompt_attention(self, tokens: int, chunk: int) -> Spent:
        """Causal scores over the prompt, and each chunk's expansion of what is cached."""
        f = self.footprint
        before = tokens * max(0.0, tokens / chunk - 1) / 2  # cached positions, over all chunks
        flops = f.layers * (f.pair_flops * tokens * tokens / 2 + f.expand_flops * before)
        return self._attend(before, flops)

    def _head(self) -> Spent:
        """The last token's logits."""
        return self._dense(self.footprint.head.weights, 1)

    def _overhead(self, tokens: float = 0) -> Spent:
        """Of a step, and of ``tokens`` of a prompt in it."""
        costs, f = self.costs, self.footprint
        slower = (self.hardware.loop_us or costs.loop_us) / costs.loop_us
        layer = costs.device_layer_s
        prompt = 0.0
        if self.split.device is None:
            layer = costs.layer_s + f.hidden * costs.layer_value_s
            prompt = tokens * (costs.token_s + f.hidden * costs.value_s)
        step = slower * (costs.step_s + f.layers * layer)
        return Spent({"overhead": step + f.layers * prompt})

    @property
    def _moved_per_weight(self) -> float:
        """Bytes that pass through the accelerator's memory for each weight of an expert."""
        form = self.footprint.expert_form
        return self.costs.widened_bytes.get(form, _bytes_per_weight(form))

    @property
    def _float_rate(self) -> float:
        """Operations a second of fused multiply-adds."""
        share = self.costs.float_share.get(self.hardware.isa, self.costs.other_float_share)
        return self.hardware.int8_rate(self.split.threads) * share


def _on_device(device: Accelerator, costs: Costs, size: float, flops: float) -> Spent:
    reading = size / (device.read_gb_per_s * 1e9 * costs.device_read)
    return Spent(
        {"accelerator": max(reading, flops / (device.bf16_tflops * 1e12 * costs.device_peak))}
    )


def _covered(held: int, of: int, skew: float) -> float:
    """Share of the choices that fall on the ``held`` hottest of ``of`` experts."""
    return (held / of) ** skew if of else 0.0


def _bytes_per_weight(form: WeightForm) -> float:
    return {"float32": 4.0, "bf16": 2.0, "fp8": 1.0, "int8": 1.0625, "int4": 0.5625}[form]
