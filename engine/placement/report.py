"""A question about a model and a machine, answered whole: placement, advice, relatives."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.config import ModelConfig
from engine.errors import RequestError, SelenographError
from engine.making.shapes import read_shape, shape_names
from engine.placement.advice import helps, relatives
from engine.placement.fitting import Policy
from engine.placement.footprint import Footprint, footprint
from engine.placement.hardware import Hardware, described, read_hardware
from engine.placement.planner import plan
from engine.placement.probe import probe
from engine.protocol import ErrorBody, PlanAnswer, PlanQuestion, PlanReport, PlanRequest

_MACHINES = Path(__file__).parents[2] / "resources" / "hardware"
_MOST_CONTEXT = 1 << 26


def answer(request: PlanRequest) -> PlanReport:
    """Raises RequestError ``unknown_shape``, ``hardware_missing``, ``hardware_invalid``,
    ``context_absurd``; CheckpointError for a config that cannot be read."""
    return report_on(request, find_machine(request.hardware, request.model))


def answer_question(question: PlanQuestion) -> PlanAnswer:
    """The same for another program, which may have the machine from an earlier answer."""
    request = question.request
    try:
        if question.machine is None:
            machine = find_machine(request.hardware, request.model)
        else:
            machine = described(question.machine)
        report = report_on(request, machine)
    except SelenographError as error:
        body = ErrorBody(error.message, error.kind, error.code, error.hint, error.retryable)
        return PlanAnswer(error=body)
    return PlanAnswer(report, msgspec.to_builtins(machine, str_keys=True))


def report_on(request: PlanRequest, hardware: Hardware) -> PlanReport:
    """:func:`answer` with the machine found; what the request says of it does not count."""
    if not 0 <= request.context <= _MOST_CONTEXT:
        raise RequestError(
            "context_absurd",
            f"a context of {request.context:,} tokens",
            f"ask for 1 to {_MOST_CONTEXT:,}, or 0 for the usual",
        )
    model = find_model(request.model)
    if request.experts:
        model = model.with_experts(request.experts)
    policy = Policy(
        context=request.context,
        devices=request.device == "auto",
        dense=model.dense_form if request.dense == "published" else request.dense,
        threads=request.threads,
        expert_bytes=request.expert_memory_bytes,
    )
    placement = plan(model, hardware, policy)
    family = (
        relatives({n: f for n, f in shapes().items() if n != model.name}, hardware)
        if placement.verdict != "runs well"
        else ()
    )
    return PlanReport(
        model=model.name,
        machine=hardware.name,
        placement=placement,
        helps=helps(model, hardware, policy, placement),
        family=family,
    )


def find_model(model: str) -> Footprint:
    """The footprint of a folder, a config.json or a named shape."""
    name = model if model in shape_names() else Path(model).expanduser().absolute().name
    return footprint(ModelConfig.from_dict(read_shape(model)), name)


def find_machine(hardware: str, model: str = "") -> Hardware:
    """A described machine by file or name, or this one, with the disk that holds ``model``."""
    if not hardware:
        folder = Path(model).expanduser()
        return probe(folder if model and folder.is_dir() else None)
    path = Path(hardware).expanduser()
    named = _MACHINES / f"{hardware}.json"
    if path.is_file() or hardware not in machine_names():
        if not path.exists():
            raise RequestError(
                "hardware_missing",
                f"{hardware!r} is neither a file nor a described machine",
                f"described: {', '.join(machine_names())}",
            )
        return read_hardware(path)
    return read_hardware(named)


def machine_names() -> list[str]:
    """The machines that ship with the program."""
    return sorted(p.stem for p in _MACHINES.glob("*.json"))


def machines() -> dict[str, Hardware]:
    """All of them, the smallest memory first."""
    found = {name: read_hardware(_MACHINES / f"{name}.json") for name in machine_names()}
    return dict(sorted(found.items(), key=lambda pair: pair[1].memory_gib))


def shapes() -> dict[str, Footprint]:
    """All named shapes, the biggest first."""
    found = {name: find_model(name) for name in shape_names()}
    return dict(sorted(found.items(), key=lambda pair: -pair[1].stored_bytes))


def table() -> dict[str, list[PlanReport]]:
    """Every described machine with every named shape; those that are published in BF16 or FP8
    also with INT4 experts."""
    models = []
    for shape in shapes().values():
        models.append(shape)
        if shape.expert_form != "int4":
            models.append(shape.with_experts("int4"))
    return {
        name: [PlanReport(model.name, machine.name, plan(model, machine)) for model in models]
        for name, machine in machines().items()
    }
