"""Memory nodes as the system lists them, and a layer whose rows are divided among them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from engine.experts.native import NativeExperts
from engine.experts.topology import memory_nodes, parse_processors

from .layers import HIDDEN, expert_layer, routing, tokens


def sysfs(root: Path, *lists: str) -> Path:
    for i, text in enumerate(lists):
        (root / f"node{i}").mkdir()
        (root / f"node{i}" / "cpulist").write_text(text + "\n")
    return root


def test_processors_of_each_node(tmp_path: Path) -> None:
    first = min(os.sched_getaffinity(0))
    root = sysfs(tmp_path, f"{first}", f"{first},900-903", "", "900")
    # Of the second node only the one that we may use; the third has memory only.
    assert memory_nodes(4, root) == ((first,), (first,))
    assert memory_nodes(1, root) == (), "fewer threads than nodes"


def test_one_node_or_none_is_nothing_to_divide(tmp_path: Path) -> None:
    assert memory_nodes(8, tmp_path) == ()
    assert memory_nodes(8, sysfs(tmp_path, f"{min(os.sched_getaffinity(0))}")) == ()
    (tmp_path / "node0" / "cpulist").write_text("x-y")
    assert memory_nodes(8, tmp_path) == ()


def test_lists_of_processors() -> None:
    assert parse_processors("0-3,8,10-11\n") == [0, 1, 2, 3, 8, 10, 11]
    assert parse_processors("\n") == []
    with pytest.raises(ValueError):
        parse_processors("a")


def test_a_simulated_topology_gives_the_same_bits() -> None:
    experts, x = expert_layer(), tokens(5)
    ids, weights = routing(5)
    results = []
    for nodes in ((), ((0,), (0,)), ((0,), (1,), (0, 1))):
        backend = NativeExperts(threads=3, nodes=nodes)
        backend.add_layer(0, experts)
        results.append(backend.wait(backend.submit(0, x, ids, weights)))
        backend.close()
    assert results[0].shape == (5, HIDDEN)
    assert all(torch.equal(r, results[0]) for r in results[1:])
