"""The map of experts: zero points, levels, tiers, and replies that do not fit together."""

from __future__ import annotations

from array import array

import msgspec
import pytest

from app.engines.experts import TIERS, UNKNOWN, ExpertMap, check, level_of
from app.errors import BackendError
from engine.protocol import EngineStatus, ExpertHeat, ExpertReport, PlacementMap


def heat(*rows: list[int], tokens: int = 10, top_k: int = 2) -> ExpertHeat:
    counts = array("I", [n for row in rows for n in row]).tobytes()
    return ExpertHeat(tuple(range(1, len(rows) + 1)), len(rows[0]), top_k, tokens, 5.0, counts)


HEAT = heat([12, 8, 0, 0], [5, 5, 5, 5])
PLACED = PlacementMap((1, 2), 4, ("1G2R1M", "4R"))


def test_a_report_survives_the_wire() -> None:
    report = ExpertReport("minute", 17.5, HEAT, PLACED)
    again = msgspec.json.decode(msgspec.json.encode(report), type=ExpertReport)
    assert again == report
    assert array("I", again.heat.counts if again.heat else b"").tolist() == [12, 8, 0, 0] + 4 * [5]


def test_an_older_engines_status_is_understood() -> None:
    """New fields have defaults: an engine that does not know them is of the same protocol."""
    old = b'{"protocol": 1, "version": "0.1.0", "pid": 1, "state": "ready"}'
    status = msgspec.json.decode(old, type=EngineStatus)
    assert (status.tiers, status.routed_tokens, status.bound_decode_tokens_per_s) == ((), 0, 0.0)


def test_what_a_cell_says() -> None:
    shown = ExpertMap()
    shown.take(check(ExpertReport("start", 1.0, HEAT, PLACED)))
    first = shown.cell(0, 0)
    assert (first.layer, first.expert, first.hits, first.tier) == (1, 0, 12, "gpu")
    assert first.share == pytest.approx(0.6)
    assert [shown.cell(0, e).tier for e in range(4)] == ["gpu", "ram", "ram", "mapped"]
    assert shown.cell(1, 3).tier == "ram"
    assert shown.even == pytest.approx(5.0)
    assert shown.peak == 12


def test_without_a_placement_tiers_are_unknown() -> None:
    shown = ExpertMap()
    shown.take(ExpertReport("start", 1.0, HEAT))
    assert set(shown.tiers) == {UNKNOWN}
    assert shown.cell(0, 0).tier is None


def test_levels_rise_with_hits() -> None:
    shown = ExpertMap()
    shown.take(ExpertReport("start", 1.0, HEAT, PLACED))
    levels = shown.levels()
    assert levels[2] == levels[3] == 0
    assert levels[0] == 255 > levels[1] > levels[4] > 0
    for even, peak in ((5.0, 12), (0.3, 900), (32.0, 32)):
        scale = [level_of(hits, even, peak) for hits in range(peak + 1)]
        assert scale == sorted(scale)
        assert (scale[0], scale[-1]) == (0, 255)
        assert min(scale[1:]) >= 1


def test_reset_counts_from_there_until_another_load() -> None:
    shown = ExpertMap()
    shown.take(ExpertReport("start", 1.0, HEAT, PLACED))
    shown.reset()
    assert (sum(shown.counts), shown.tokens, shown.peak) == (0, 0, 0)
    assert shown.levels() == bytes(8)
    more = heat([13, 8, 1, 0], [5, 6, 5, 6], tokens=11)
    shown.take(ExpertReport("start", 1.0, more, PLACED))
    assert shown.counts.tolist() == [1, 0, 1, 0, 0, 1, 0, 1]
    assert shown.tokens == 1
    assert shown.cell(0, 2).share == pytest.approx(0.5)
    shown.take(ExpertReport("minute", 1.0, HEAT, PLACED))
    assert shown.tokens == 10, "the last minute knows no reset"
    shown.take(ExpertReport("start", 2.0, HEAT, PLACED))
    assert shown.tokens == 10
    assert shown.reset_at == 0


@pytest.mark.parametrize(
    ("counts", "placed"),
    [
        (HEAT.counts[:-4], PLACED),
        (HEAT.counts, PlacementMap((1, 2), 4, ("4R", "3R"))),
        (HEAT.counts, PlacementMap((1, 2), 4, ("4R",))),
        (HEAT.counts, PlacementMap((1, 2), 4, ("4R", "2R2X"))),
        (HEAT.counts, PlacementMap((0, 1), 4, ("4R", "4R"))),
        (HEAT.counts, PlacementMap((1, 2), 5, ("5R", "5R"))),
    ],
)
def test_parts_that_do_not_fit_are_refused(counts: bytes, placed: PlacementMap) -> None:
    broken = msgspec.structs.replace(HEAT, counts=counts)
    with pytest.raises(BackendError) as caught:
        check(ExpertReport("start", 1.0, broken, placed))
    assert caught.value.code == "bad_reply"


def test_no_model_is_no_map() -> None:
    shown = ExpertMap()
    shown.take(check(ExpertReport("start", 1.0, HEAT, PLACED)))
    shown.take(check(ExpertReport()))
    assert (shown.rows, shown.experts, shown.levels(), shown.tiers) == (0, 0, b"", b"")
    assert TIERS[0] == "gpu"
