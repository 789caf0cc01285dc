"""A loaded model with all that is said about it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import torch

from engine.config import ModelConfig
from engine.experts.accelerator import find_accelerator
from engine.placement.footprint import Footprint
from engine.protocol import EngineStatus, ExpertReport, HeatWindow, RequestTrace, WeightForm
from engine.runtime.bounds import Bounds, Rates, Reading, bounds
from engine.runtime.caching import cache_use
from engine.runtime.engine import Engine
from engine.runtime.routes import expert_report, tier_uses
from engine.types import LoadedText


@dataclass(frozen=True, slots=True)
class Loaded:
    """Made on the engine thread; what it says may be asked for from any."""

    engine: Engine
    text: LoadedText
    config: ModelConfig
    dtype: str
    experts: str
    """The name of the expert backend."""
    threads: int
    footprint: Footprint
    bounds: Bounds = Bounds()  # noqa: RUF009 (frozen)

    @property
    def reading(self) -> Reading:
        """For which the machine is measured."""
        return Reading.of(self.threads, self.footprint, self._dense_form)

    def with_rates(self, rates: Rates | None) -> Loaded:
        """With bounds, if it is known what the machine can do."""
        if rates is None:
            return replace(self, bounds=Bounds())
        return replace(self, bounds=bounds(self.footprint, self._dense_form, rates))

    @property
    def _dense_form(self) -> WeightForm:
        return "float32" if self.dtype == "float32" else "bf16"

    def status(self, of_process: EngineStatus) -> EngineStatus:
        """What is so without a model, completed."""
        scheduler, meter = self.engine.scheduler, self.engine.meter
        running, waiting = tuple(scheduler.running), tuple(scheduler.waiting)
        stats = self.engine.stats.snapshot() if self.engine.stats is not None else None
        gpu_used, gpu_total = _device_memory()
        return msgspec.structs.replace(
            of_process,
            load_progress=None,
            error=None,
            model=self.text.name,
            model_path=str(self.text.path),
            family=self.config.family,
            dtype=self.dtype,
            experts=self.experts,
            threads=self.threads,
            context_length=self.text.context_length,
            running=len(running),
            waiting=len(waiting),
            running_background=sum(s.request.priority == "background" for s in running),
            waiting_background=sum(s.request.priority == "background" for s in waiting),
            prefilling=sum(s.pending > 1 for s in running),
            counters=meter.counters(scheduler.preemptions),
            prefill_tokens_per_s=meter.prefill_tokens_per_s,
            decode_tokens_per_s=meter.decode_tokens_per_s,
            held_pages=self.engine.tree.pool.pages - self.engine.tree.room,
            cancelled=self.engine.cancels.total,
            cancel_steps_p99=self.engine.cancels.p99,
            **cache_use(self.engine.tree),
            gpu_bytes=gpu_used,
            gpu_total_bytes=gpu_total,
            bound_prefill_tokens_per_s=self.bounds.prefill,
            bound_decode_tokens_per_s=self.bounds.decode,
            routed_tokens=stats.tokens if stats else 0,
            tiers=tier_uses(stats, self.footprint.expert_bytes) if stats else (),
            prediction_hit_rate=stats.prediction_hit_rate if stats else None,
        )

    def expert_report(self, window: HeatWindow) -> ExpertReport:
        """The maps of its experts, empty if it has none."""
        stats = self.engine.stats
        return expert_report(stats, window) if stats is not None else ExpertReport(window)

    def trace(self, request_id: str) -> RequestTrace | None:
        """The experts of one of the last requests."""
        routes = self.engine.routes
        heat = routes.heat(request_id) if routes is not None else None
        if heat is None:
            return None
        return RequestTrace(request_id, self.engine.running(request_id), heat)


def _device_memory() -> tuple[int, int]:
    """Used, by whomever, and in all; (0, 0) without an accelerator or where torch cannot tell."""
    if find_accelerator() is None:
        return 0, 0
    try:
        free, total = torch.accelerator.get_memory_info()
    except (AttributeError, RuntimeError, NotImplementedError):
        return 0, 0
    return int(total - free), int(total)
