"""Answers: models and machines by name, advice that keeps its word, and the printed form."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.errors import CheckpointError, RequestError
from engine.placement.fitting import Policy
from engine.placement.hardware import as_json
from engine.placement.planner import plan
from engine.placement.report import (
    answer,
    answer_question,
    find_machine,
    find_model,
    machines,
    shapes,
    table,
)
from engine.placement.show import report_text, table_text
from engine.placement.words import amount, duration, rate
from engine.protocol import PlanAnswer, PlanQuestion, PlanReport, PlanRequest
from engine.tiny import write_tiny


def test_a_folder_and_a_described_file(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "tiny")
    file = tmp_path / "mine.json"
    file.write_text(as_json(find_machine("laptop-16gb")))
    report = answer(PlanRequest(str(folder), str(file)))
    assert report.model == "tiny"
    assert report.machine.startswith("Laptop")
    assert report.placement.verdict == "runs well" and report.family == ()


def test_a_report_survives_the_wire() -> None:
    report = answer(PlanRequest("k2-thinking", "laptop-16gb"))
    assert msgspec.json.decode(msgspec.json.encode(report), type=PlanReport) == report


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (PlanRequest("k3", "laptop-16gb"), "unknown_shape"),
        (PlanRequest("nano", "abacus"), "hardware_missing"),
        (PlanRequest("nano", "laptop-16gb", context=-1), "context_absurd"),
        (PlanRequest("nano", "laptop-16gb", context=1 << 40), "context_absurd"),
    ],
)
def test_wrong_questions(request_: PlanRequest, code: str) -> None:
    with pytest.raises(RequestError) as refused:
        answer(request_)
    assert refused.value.code == code and refused.value.hint


def test_a_broken_config_is_a_checkpoint_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "deepseek_v3"}')
    with pytest.raises(CheckpointError):
        answer(PlanRequest(str(tmp_path), "laptop-16gb"))


def test_a_laptops_owner_learns_what_runs_well() -> None:
    report = answer(PlanRequest("k2-thinking", "laptop-16gb"))
    assert report.placement.verdict == "does not fit"
    well = [f for f in report.family if f.verdict == "runs well"]
    assert [f.name for f in well] == ["moonlight-16b-a3b", "nano"]
    assert well[0].expert_form == "int4"
    assert [f.verdict for f in report.family] == sorted(
        (f.verdict for f in report.family),
        key=["runs well", "runs slowly", "does not fit"].index,
    )
    assert "k2-thinking" not in {f.name for f in report.family}


def test_another_program_asks_with_the_machine_of_an_earlier_answer() -> None:
    asked = PlanRequest("moonlight-16b-a3b", "threadripper-512gb-24gb")
    first = answer_question(PlanQuestion(asked))
    assert first.report == answer(asked) and first.machine is not None
    wire = msgspec.json.decode(msgspec.json.encode(first), type=PlanAnswer)
    again = answer_question(PlanQuestion(PlanRequest(asked.model), wire.machine))
    assert again.report == first.report
    smaller = answer_question(PlanQuestion(asked, {**first.machine, "available_gib": 16.0}))
    assert smaller.report is not None and smaller.report != first.report


@pytest.mark.parametrize(
    "machine",
    [{}, {"name": "x"}, {"cores": [[[]]]}],
    ids=["nothing", "a name", "lists"],
)
def test_a_machine_that_is_none_is_told(machine: dict[str, Any]) -> None:
    said = answer_question(PlanQuestion(PlanRequest("nano"), machine))
    assert said.error is not None and said.error.code == "hardware_invalid"
    assert said.report is None and said.machine is None


def test_what_a_person_limits_is_limited() -> None:
    asked = PlanRequest("moonlight-16b-a3b", "threadripper-512gb-24gb", experts="int4")
    free = answer(asked).placement
    limited = msgspec.structs.replace(
        asked, device="cpu", threads=4, expert_memory_bytes=2 << 30, dense="published"
    )
    held = answer(limited).placement
    assert free.dense_on == "gpu" and held.dense_on == "cpu"
    assert held.threads <= 4 < free.threads or free.threads <= 4
    assert held.dense_form == "bf16"
    tiers = {tier.tier: tier for tier in held.tiers}
    assert 1 << 30 < tiers["ram"].parts["experts"] <= 2 << 30
    assert tiers["mapped"].used > 4 << 30
    assert held.decode[0].tokens_per_s < free.decode[0].tokens_per_s
    # Fewer threads than any that were measured, and less memory than a token needs.
    least = msgspec.structs.replace(limited, threads=1, expert_memory_bytes=1)
    assert answer(least).placement.decode


def test_experts_can_be_planned_as_converted() -> None:
    plain = answer(PlanRequest("glm-4.7-flash", "laptop-32gb-8gb"))
    packed = answer(PlanRequest("glm-4.7-flash", "laptop-32gb-8gb", experts="int4"))
    assert (plain.placement.expert_form, packed.placement.expert_form) == ("bf16", "int4")
    assert packed.placement.turn_s < plain.placement.turn_s


def test_the_advised_memory_is_the_least_that_holds_all_experts() -> None:
    report = answer(PlanRequest("k2-thinking", "threadripper-512gb-24gb"))
    advised = re.match(r"([\d,]+) GiB of memory", report.helps[0])
    assert advised is not None
    size = int(advised[1].replace(",", ""))
    assert size == 640
    machine, model = find_machine("threadripper-512gb-24gb"), find_model("k2-thinking")
    for memory, all_held in ((size, True), (512, False)):
        other = msgspec.structs.replace(
            machine, memory_gib=memory, available_gib=0.98 * memory, limit_gib=None
        )
        held = plan(model, other, Policy())
        assert all(layer.mapped == 0 for layer in held.layers) is all_held


def test_helps_name_only_what_gains() -> None:
    for name, machine in machines().items():
        for model in shapes().values():
            report = answer(PlanRequest(model.name, name))
            now = report.placement
            for sentence in report.helps:
                speeds = [float(s) for s in re.findall(r"([\d.]+) tokens/s", sentence)]
                assert len(speeds) == (2 if now.decode else 1), sentence
            assert len(report.helps) <= 4 and machine.name == report.machine


def test_what_a_setting_gains_comes_before_what_money_does() -> None:
    wanted = PlanRequest("moonlight-16b-a3b", "laptop-32gb-8gb", experts="int4", device="cpu")
    published = answer(msgspec.structs.replace(wanted, dense="published"))
    settings = [one for one in published.helps if one.startswith("The dense part in")]
    assert [one.split()[4] for one in settings] == ["INT4,", "INT8:"]
    assert published.helps[: len(settings)] == tuple(settings)
    gained = float(re.findall(r"([\d.]+) tokens/s", settings[1])[0])
    packed = answer(msgspec.structs.replace(wanted, dense="int8"))
    assert gained == pytest.approx(packed.placement.decode[0].tokens_per_s, rel=0.06)
    assert not any("INT8" in one for one in packed.helps)


def test_text_has_every_tier_speed_and_reason() -> None:
    report = answer(PlanRequest("k2-thinking", "desktop-96gb-24gb"))
    text = report_text(report)
    flat = " ".join(text.split())
    for word in (
        "accelerator ",
        "memory ",
        "disk ",
        "decode ",
        "prompt ",
        "first token",
        "ceiling",
    ):
        assert f"\n  {word}" in text
    for sentence in (*report.placement.why, *report.helps):
        assert sentence in flat
    assert all(len(line) <= 100 for line in text.splitlines())


def test_text_of_what_cannot_be_placed_has_no_figures() -> None:
    text = report_text(answer(PlanRequest("deepseek-v3", "laptop-16gb")))
    assert "does not fit" in text.splitlines()[0]
    assert "decode" not in text and "Why" in text


def test_the_table_holds_every_machine_and_every_shape() -> None:
    rows = table()
    text = table_text(rows)
    assert set(rows) == set(machines())
    for reports in rows.values():
        assert {r.model for r in reports} == set(shapes())
    head, forms, *body = text.splitlines()
    assert all(shape in head for shape in shapes()) and "INT4" in forms
    assert [line.split()[0] for line in body[: len(rows)]] == list(rows)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0012, "1.2 ms"),
        (0.25, "250 ms"),
        (1.26, "1.3 s"),
        (9.96, "10 s"),
        (42.4, "42 s"),
        (600, "10 min"),
        (86_400, "24 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_amounts_and_rates() -> None:
    assert amount(1.5 * 2**30) == "1.5 GiB"
    assert amount(594.2e9) == "553 GiB"
    assert amount(3 << 20) == "3 MiB"
    assert [rate(v) for v in (0.0514, 9.4, 9.96, 1234.0)] == ["0.051", "9.4", "10", "1,234"]
