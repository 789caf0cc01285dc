"""Turns: what is compared alternates, warm-up is not counted, medians and bests are of the rest."""

from __future__ import annotations

from engine.bench.turns import Speed, alternate, repeat


def test_turns_alternate_and_the_first_round_is_not_counted() -> None:
    calls: list[str] = []

    def turn(name: str, speeds: list[float]) -> float:
        calls.append(name)
        return speeds.pop(0)

    a, b = [100.0, 1.0, 2.0, 3.0], [200.0, 4.0, 5.0, 9.0]
    first, second = alternate([lambda: turn("a", a), lambda: turn("b", b)], 0.0)
    assert calls == ["a", "b"] * 4
    assert first == Speed((1.0, 2.0, 3.0)) and (first.median, first.best) == (2.0, 3.0)
    assert second == Speed((4.0, 5.0, 9.0))


def test_work_longer_than_its_turn_is_done_once() -> None:
    calls: list[int] = []
    assert repeat(lambda: calls.append(1), 0.0) > 0
    assert calls == [1]
