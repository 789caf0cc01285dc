"""The extension's contract besides numbers: bad input, tickets in flight, abort, close."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from engine.native import _kernels
from tests.parity.native.layers import (
    Call,
    RandomLayer,
    random_call,
    random_layer,
    random_matrix,
)

EXPERTS, HIDDEN, INTER, TOP_K = 6, 256, 128, 3


@pytest.fixture(scope="module")
def layer() -> RandomLayer:
    return random_layer(np.random.default_rng(1), EXPERTS, HIDDEN, INTER)


@pytest.fixture
def pool(layer: RandomLayer, threads: int) -> Iterator[_kernels.Experts]:
    pool = _kernels.Experts(threads)
    pool.add_layer(0, layer.arrays())
    yield pool
    pool.close()


@pytest.fixture
def threads() -> int:
    return 2


def some_call(tokens: int, seed: int = 2) -> Call:
    return random_call(np.random.default_rng(seed), EXPERTS, HIDDEN, tokens, TOP_K)


def submit(pool: _kernels.Experts, call: Call) -> _kernels.Ticket:
    return pool.submit(0, call.x, call.ids, call.weights)


def running_threads() -> set[int]:
    return {thread.id for thread in psutil.Process().threads()}


def all_end(threads: set[int]) -> bool:
    """A thread that has been joined is listed until the kernel has buried it, a moment longer."""
    end = time.monotonic() + 10
    while threads & running_threads() and time.monotonic() < end:
        time.sleep(0.01)
    return not threads & running_threads()


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_many_tickets_in_flight_keep_apart(pool: _kernels.Experts) -> None:
    calls = [some_call(tokens=n % 5, seed=n) for n in range(40)]
    one_by_one = [pool.wait(submit(pool, call)) for call in calls]
    tickets = [submit(pool, call) for call in calls]
    for ticket, want in reversed(list(zip(tickets, one_by_one, strict=True))):
        assert np.array_equal(pool.wait(ticket), want)
        assert ticket.done


def test_callers_on_several_threads(pool: _kernels.Experts) -> None:
    call = some_call(4)
    want = pool.wait(submit(pool, call))
    same: list[bool] = []

    def caller() -> None:
        same.extend(np.array_equal(pool.wait(submit(pool, call)), want) for _ in range(20))

    callers = [threading.Thread(target=caller) for _ in range(4)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(timeout=60)
    assert same == [True] * 80


def test_a_result_outlives_ticket_and_pool(layer: RandomLayer) -> None:
    call = some_call(3)
    pool = _kernels.Experts(1)
    pool.add_layer(0, layer.arrays())
    ticket = submit(pool, call)
    first, second = pool.wait(ticket), pool.wait(ticket)
    pool.close()
    want = layer.forward(call.x.astype(np.float64), call.ids, call.weights)
    del pool, ticket
    assert np.allclose(first, want, atol=1e-5)
    assert np.array_equal(first, second)


def test_the_pool_keeps_the_weights_alive() -> None:
    call = some_call(3)
    layer = random_layer(np.random.default_rng(3), EXPERTS, HIDDEN, INTER)
    want = layer.forward(call.x.astype(np.float64), call.ids, call.weights)
    pool = _kernels.Experts(2)
    pool.add_layer(0, layer.arrays())
    del layer
    assert np.allclose(pool.wait(submit(pool, call)), want, atol=1e-5)
    pool.close()


def test_an_expert_that_moved_is_read_where_it_is_now() -> None:
    call = some_call(3)
    layer, other = (random_layer(np.random.default_rng(s), EXPERTS, HIDDEN, INTER) for s in (3, 4))
    pool, want = _kernels.Experts(2), _kernels.Experts(2)
    pool.add_layer(0, other.arrays())
    want.add_layer(0, layer.arrays())
    for expert, parts in enumerate(layer.arrays()):
        pool.move_expert(0, expert, tuple(tuple(t.clone() for t in m) for m in parts))
    assert np.array_equal(pool.wait(submit(pool, call)), want.wait(submit(want, call)))
    pool.close()
    want.close()


def test_an_expert_moves_only_to_its_like(pool: _kernels.Experts, layer: RandomLayer) -> None:
    call = some_call(3)
    before = pool.wait(submit(pool, call))
    good = layer.arrays()[0]
    rng = np.random.default_rng(5)
    narrow = random_layer(rng, 1, HIDDEN, INTER - 32).arrays()[0]
    floats = tuple(random_matrix(rng, *m[0].shape, "bf16").parts for m in good)
    wide = random_matrix(rng, INTER, HIDDEN, "bf16").parts
    cases: dict[str, tuple[int, int, Any]] = {
        "no layer 9": (9, 0, good),
        r"expert id 6 is outside 0\.\.5": (0, EXPERTS, good),
        "expert id -1 is outside": (0, -1, good),
        "needs three matrices": (0, 0, good[:2]),
        "gate_proj has shape": (0, 0, narrow),
        "down_proj has shape|gate_proj has shape": (0, 0, floats),
        "another format": (0, 0, (wide, good[1], good[2])),
    }
    for message, arguments in cases.items():
        with pytest.raises(_kernels.InputError, match=message):
            pool.move_expert(*arguments)
    assert np.array_equal(pool.wait(submit(pool, call)), before)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_shared_expert_is_added_to_the_routed_ones(
    pool: _kernels.Experts, layer: RandomLayer
) -> None:
    call = some_call(7)
    gated = random_layer(np.random.default_rng(6), 1, HIDDEN, 2 * INTER)
    pool.add_layer(-1, gated.arrays())
    pool.share(0, -1)
    every = np.zeros((7, 1), np.int32), np.ones((7, 1), np.float32)
    x = call.x.astype(np.float64)
    want = layer.forward(x, call.ids, call.weights) + gated.forward(x, *every)
    assert np.allclose(pool.wait(submit(pool, call)), want, atol=1e-5)
    narrow = random_layer(np.random.default_rng(7), 1, HIDDEN - 32, INTER)
    pool.add_layer(-2, narrow.arrays())
    for message, arguments in {
        "no layer 9": (9, -1),
        "no layer -9": (0, -9),
        "one width": (0, -2),
        "shared expert is one": (0, 0),
    }.items():
        with pytest.raises(_kernels.InputError, match=message):
            pool.share(*arguments)


def test_abort_in_the_middle(pool: _kernels.Experts) -> None:
    """Work for seconds is given up at once, and the pool serves on."""
    call = some_call(20_000)
    short = some_call(2)
    want = pool.wait(submit(pool, short))
    tickets = [submit(pool, call) for _ in range(3)]
    assert not tickets[-1].done
    pool.abort()
    for ticket in tickets[:-1]:  # on a busy machine the first may be done by now
        with contextlib.suppress(_kernels.AbortedError):
            pool.wait(ticket)
    with pytest.raises(_kernels.AbortedError):
        pool.wait(tickets[-1])
    assert np.array_equal(pool.wait(submit(pool, short)), want)


def test_abort_wakes_a_waiting_thread(pool: _kernels.Experts) -> None:
    ticket = submit(pool, some_call(20_000))
    waiting = threading.Event()
    raised: list[type[BaseException]] = []

    def waiter() -> None:
        waiting.set()
        try:
            pool.wait(ticket)
        except _kernels.AbortedError as error:
            raised.append(type(error))

    thread = threading.Thread(target=waiter)
    thread.start()
    assert waiting.wait(timeout=10)  # waiting holds no lock: this thread still runs
    pool.abort()
    thread.join(timeout=30)
    assert raised == [_kernels.AbortedError]


def test_abort_leaves_finished_work_alone(pool: _kernels.Experts) -> None:
    ticket = submit(pool, some_call(2))
    want = pool.wait(ticket).copy()
    pool.abort()
    assert np.array_equal(pool.wait(ticket), want)


@pytest.mark.parametrize("threads", [1, 3])
def test_close_with_work_pending(layer: RandomLayer, threads: int) -> None:
    before = running_threads()
    pool = _kernels.Experts(threads)
    own = running_threads() - before
    assert len(own) == pool.threads == threads
    pool.add_layer(0, layer.arrays())
    calls = [
        some_call(20_000) for _ in range(2)
    ]  # made first: the pool is quicker at computing one
    tickets = [submit(pool, call) for call in calls]
    pool.close()
    assert all_end(own)
    for ticket in [*tickets, submit(pool, some_call(1))]:
        with pytest.raises(_kernels.ClosedError):
            pool.wait(ticket)
    pool.close()  # a second time is no error


def test_dropping_the_pool_ends_its_threads(layer: RandomLayer) -> None:
    before = running_threads()
    pool = _kernels.Experts(3)
    pool.add_layer(0, layer.arrays())
    ticket = submit(pool, some_call(20_000))
    own = running_threads() - before
    assert len(own) == 3
    del pool
    assert all_end(own)
    assert ticket.done


def test_a_pool_at_rest_uses_no_time(pool: _kernels.Experts) -> None:
    pool.wait(submit(pool, some_call(8)))
    process = psutil.Process()
    before = sum(process.cpu_times()[:2])
    threading.Event().wait(timeout=0.5)  # the span that is measured, not a wait for anything
    assert sum(process.cpu_times()[:2]) - before < 0.25


def test_bad_calls_are_refused(pool: _kernels.Experts) -> None:
    good = some_call(4)
    cases: dict[str, tuple[object, object, object]] = {
        "expert id 6 is outside": (good.x, np.full_like(good.ids, EXPERTS), good.weights),
        "expert id -1 is outside": (good.x, np.full_like(good.ids, -1), good.weights),
        "x has shape": (good.x[:, :-32].copy(), good.ids, good.weights),
        "x is not contiguous": (good.x[:, ::-1], good.ids, good.weights),
        "x must be float32 or": (good.x.astype(np.float64), good.ids, good.weights),
        "x must have two dim": (good.x[0].copy(), good.ids, good.weights),
        "x is no CPU array": ([[0.0] * HIDDEN] * 4, good.ids, good.weights),
        "ids has shape": (good.x, good.ids[:-1], good.weights),
        "ids must be int32": (good.x, good.ids.astype(np.int64), good.weights),
        "ids is not contiguous": (good.x, np.asfortranarray(good.ids), good.weights),
        "weights has shape": (good.x, good.ids, good.weights[:, :-1].copy()),
        "weights must be float32": (good.x, good.ids, good.weights.astype(np.float16)),
        "more experts per token": (good.x, np.zeros((4, 7), np.int32), np.ones((4, 7), np.float32)),
    }
    for message, (x, ids, weights) in cases.items():
        with pytest.raises(_kernels.InputError, match=message):
            pool.submit(0, x, ids, weights)
    with pytest.raises(_kernels.InputError, match="no layer 9"):
        pool.submit(9, good.x, good.ids, good.weights)
    assert pool.wait(submit(pool, good)).shape == good.x.shape


def test_bad_layers_are_refused(pool: _kernels.Experts, layer: RandomLayer) -> None:
    good = layer.arrays()[0]

    def with_part(place: int, *parts: torch.Tensor) -> list[list[tuple[torch.Tensor, ...]]]:
        return [[*good[:place], parts, *good[place + 1 :]]]

    words, scale = good[0]
    cases: dict[str, object] = {
        "at least one expert": [],
        "needs three matrices": [good[:2]],
        "gate_proj must be int32": with_part(0, words.to(torch.int64), scale),
        "gate_proj is not contiguous": with_part(0, words.t().contiguous().t(), scale),
        "gate_proj needs scales": with_part(0, words),
        "gate_proj holds floats and takes no scales": with_part(0, scale, scale),
        "gate_proj is empty": with_part(0, words[:0], scale[:0]),
        "gate_proj has 8 columns, which are no whole groups": with_part(
            0, words[:, :1].contiguous(), scale[:, :1].contiguous()
        ),
        "gate_proj's scale must be bfloat16": with_part(0, words, scale.to(torch.float16)),
        "gate_proj's scale has shape": with_part(0, words, scale[:, :-1].contiguous()),
        "up_proj has shape": with_part(1, words[:-32], scale[:-32]),
        r"down_proj has shape \[128, 256\], expected \[256, 128\]": with_part(2, words, scale),
        "gate_proj is no CPU array": with_part(0, torch.zeros(1, device="meta"), scale),
        "gate_proj must be a tuple": [[None, good[1], good[2]]],
    }
    for message, experts in cases.items():
        with pytest.raises(_kernels.InputError, match=message):
            pool.add_layer(1, experts)
    with pytest.raises(_kernels.InputError, match="is there already"):
        pool.add_layer(0, layer.arrays())
    with pytest.raises(_kernels.InputError, match=r"shared expert\.gate_proj has shape"):
        pool.add_layer(
            1, layer.arrays(), random_layer(np.random.default_rng(5), 1, 64, 32).arrays()
        )
    with pytest.raises(_kernels.InputError, match="no matrix 0"):
        pool.linear([0], np.zeros((1, 32), np.float32))
    with pytest.raises(_kernels.InputError, match="no matrix"):
        pool.linear([], np.zeros((1, 32), np.float32))
    wide, narrow = (
        pool.add_matrix((torch.zeros(2, columns, dtype=torch.bfloat16),)) for columns in (64, 32)
    )
    with pytest.raises(_kernels.InputError, match="as many columns"):
        pool.linear([wide, narrow], np.zeros((1, 64), np.float32))


def test_bad_options_are_refused() -> None:
    for threads in (0, -1, 5000):
        with pytest.raises(_kernels.InputError, match="threads"):
            _kernels.Experts(threads)
    with pytest.raises(_kernels.InputError, match="not available"):
        _kernels.Experts(1, isa="mmx")
    with pytest.raises(_kernels.InputError, match="mode"):
        _kernels.Experts(1, mode="quick")
    assert "scalar" in _kernels.available_isas()
    pool = _kernels.Experts(2, isa="scalar", mode="fast")
    assert (pool.threads, pool.isa, pool.mode) == (2, "scalar", "fast")
    pool.close()
