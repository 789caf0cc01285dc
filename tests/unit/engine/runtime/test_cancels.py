"""Counting the steps that a cancelled request goes on to hold pages."""

from __future__ import annotations

from engine.runtime.cancels import Cancels


def test_steps_between_order_and_freedom_are_counted() -> None:
    cancels = Cancels()
    assert (cancels.total, cancels.p99) == (0, 0)
    cancels.steps = 5
    cancels.ordered("a")
    cancels.ordered("b")
    cancels.steps = 6
    cancels.ordered("a")  # an order repeated does not begin anew
    cancels.gone("a")
    cancels.gone("never asked for")
    assert (cancels.total, cancels.p99) == (1, 1)
    cancels.steps = 8
    cancels.gone("b")
    cancels.gone("b")
    assert (cancels.total, cancels.p99) == (2, 3)


def test_one_in_a_hundred_may_wait_longer() -> None:
    cancels = Cancels()
    for i in range(200):
        cancels.ordered(str(i))
        cancels.steps += 9 if i in (3, 70) else 1
        cancels.gone(str(i))
    assert cancels.p99 == 1
    cancels.ordered("more")
    cancels.steps += 9
    cancels.gone("more")
    assert cancels.p99 == 9


def test_old_ones_are_forgotten() -> None:
    cancels = Cancels()
    for i in range(3000):
        cancels.ordered(str(i))
        cancels.steps += 7 if i < 1500 else 0
        cancels.gone(str(i))
    assert (cancels.total, cancels.p99) == (3000, 0)
