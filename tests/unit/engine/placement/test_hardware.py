"""Described machines: files that ship, round trips, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import RequestError
from engine.placement.hardware import Hardware, as_json, read_hardware
from engine.placement.report import machine_names, machines

from .machines import hardwares

GOOD: dict[str, Any] = {
    "name": "box",
    "isa": "avx2",
    "cores": 8,
    "memory_gib": 64,
    "available_gib": 60,
    "read_gb_per_s": {"1": 20, "4": 50, "8": 60},
    "int8_gops": {"1": 200, "8": 1600},
    "disk_gb_per_s": 3,
}


def described(folder: Path, value: object) -> Path:
    path = folder / "box.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@given(hardwares())
@settings(max_examples=50, deadline=None)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, hardware: Hardware) -> None:
    path = tmp_path_factory.mktemp("hardware") / "machine.json"
    path.write_text(as_json(hardware))
    assert read_hardware(path) == hardware


@pytest.mark.parametrize(
    "changes",
    [
        {"cores": 0},
        {"cores": "8"},
        {"memory_gib": -1},
        {"memory_gib": 1e300},
        {"available_gib": 65},
        {"read_gb_per_s": {}},
        {"read_gb_per_s": {"0": 5}},
        {"read_gb_per_s": {"one": 5}},
        {"read_gb_per_s": {"1": 0}},
        {"read_gb_per_s": {"999": 5}},
        {"int8_gops": [1, 2]},
        {"disk_gb_per_s": None},
        {"limit_gib": 0},
        {"name": ""},
        {"speed": 3},
        {"accelerators": [{"name": "card"}]},
        {
            "accelerators": [
                {
                    "name": "all of it",
                    "memory_gib": 65,
                    "read_gb_per_s": 1,
                    "bus_gb_per_s": 1,
                    "bf16_tflops": 1,
                    "unified": True,
                }
            ]
        },
    ],
)
def test_what_no_machine_can_be_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as refused:
        read_hardware(described(tmp_path, GOOD | changes))
    assert refused.value.code == "hardware_invalid"
    assert "box.json" in refused.value.message and refused.value.hint


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"', "NaN", "[" * 100_000])
def test_what_is_no_description_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RequestError) as refused:
        read_hardware(described(tmp_path, text))
    assert refused.value.code == "hardware_invalid"


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="larger than 1 MiB"):
        read_hardware(described(tmp_path, json.dumps(GOOD) + " " * (1 << 20)))


@pytest.mark.parametrize("name", ["nowhere.json", "."])
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError) as missing:
        read_hardware(tmp_path / name)
    assert missing.value.code == "hardware_missing"


def test_between_two_thread_counts_rates_are_in_proportion(tmp_path: Path) -> None:
    box = read_hardware(described(tmp_path, GOOD))
    assert box.threads == (1, 4, 8)
    assert [box.read_rate(n) / 1e9 for n in (1, 2, 4, 6, 8, 100)] == [20, 30, 50, 55, 60, 60]
    assert box.int8_rate(4) == pytest.approx(800e9)


def test_a_container_that_allows_less_counts() -> None:
    box = Hardware(**{**GOOD, "read_gb_per_s": {1: 9.0}, "int8_gops": {1: 9.0}}, limit_gib=4)
    assert box.usable_bytes == 4 << 30


def test_ten_machines_ship_and_say_where_their_numbers_are_from() -> None:
    found = machines()
    assert len(found) == 10 and list(found) != machine_names()
    sizes = [machine.memory_gib for machine in found.values()]
    assert sizes == sorted(sizes)
    for name, machine in found.items():
        assert len(machine.source) > 60, name
        assert max(machine.threads) <= 2 * machine.cores, name
        rates = [machine.read_gb_per_s[n] for n in machine.threads]
        assert rates == sorted(rates), f"{name}: more threads never read less"


@given(st.integers(1, 200), st.integers(1, 200), hardwares())
@settings(max_examples=50, deadline=None)
def test_rates_lie_within_the_measured(low: int, high: int, hardware: Hardware) -> None:
    for threads in (low, high):
        assert hardware.read_rate(threads) <= 1e9 * max(hardware.read_gb_per_s.values())
        assert hardware.read_rate(threads) > 0
