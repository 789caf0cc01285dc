"""Experts read directly into slots: the bits of the map, memory within the budget, slots used
again, files that shrink or cannot be read so."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import Aborted, CheckpointError, ResourceError
from engine.experts.base import ExpertBackend, tensors_of
from engine.experts.deferral import DeferringExperts
from engine.experts.native import NativeExperts
from engine.experts.reference import ReferenceExperts
from engine.experts.stats import MAPPED, RAM, ExpertStats
from engine.tiers import reading
from engine.tiers.direct import DirectSet, NotDirectError, open_direct
from engine.tiers.policies import DecayedLfu, Lru, PolicyMaker
from engine.tiers.readahead import ReadAhead
from engine.tiers.reading import Wish
from engine.tiers.residency import TieredExperts
from engine.tiers.resident import ResidentSet
from engine.tiers.slots import Slots

from .conftest import EXPERTS, HIDDEN, LAYERS, PAGE, TOP_K, ExpertFile, experts_in, random_call, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

BUDGET = 16 << 20


@pytest.fixture(scope="module")
def expert_path(expert_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of our own, for it leaves the page cache now and then."""
    folder = tmp_path_factory.mktemp("direct")
    shutil.copy(expert_path / "experts.safetensors", folder)
    return folder


@pytest.fixture(autouse=True)
def _direct(expert_path: Path) -> None:
    """The file system must have direct reading; where it has not, nothing here can be shown."""
    try:
        os.close(open_direct(str(expert_path / "experts.safetensors")))
    except NotDirectError as error:
        pytest.skip(f"no direct reading here: {error}")


def _tiered(
    file: ExpertFile,
    budget: int = BUDGET,
    way: Wish = "direct",
    policy: PolicyMaker = DecayedLfu,
    ahead: ReadAhead | None = None,
    inner: ExpertBackend | None = None,
) -> tuple[TieredExperts, ExpertStats]:
    stats = ExpertStats(range(LAYERS), EXPERTS, TOP_K)
    inner = inner or NativeExperts(threads=2)
    tiered = TieredExperts(inner, stats, budget, policy, ahead, way)
    for layer, experts in enumerate(file.layers):
        tiered.add_layer(layer, experts)
    return tiered, stats


def _anonymous() -> int:
    """Bytes of this process that are no file's."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no such line")


class _Routers:
    """Guesses what the next call will be."""

    def __init__(self) -> None:
        self.ahead = ReadAhead(share=1.0)
        self.ids = torch.zeros(1, TOP_K, dtype=torch.int32)
        for layer in range(LAYERS):
            self.ahead.add_layer(layer, lambda x: (self.ids, torch.ones(self.ids.shape)))


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_bits_of_the_map(data: st.DataObject, whole_file: ExpertFile) -> None:
    budget = data.draw(st.integers(1, 80)) * 903_168  # of one expert: its tensors in whole pages
    policy = data.draw(st.sampled_from([Lru, DecayedLfu]))
    guesses = [_Routers(), _Routers()] if data.draw(st.booleans()) else []
    both = [
        _tiered(whole_file, budget, way, policy, guesses[n].ahead if guesses else None)
        for n, way in enumerate(("map", "direct"))
    ]
    calls = st.tuples(st.integers(0, LAYERS - 1), st.integers(0, 9), st.integers(0, 1000))
    for layer, tokens, seed in data.draw(st.lists(calls, min_size=1, max_size=12)):
        call = random_call(tokens, seed)
        for routers in guesses:
            routers.ids = random_call(1, seed + 1)[1]
        results = [run(tiered, layer, call) for tiered, _ in both]
        assert torch.equal(*results)
    if not guesses:  # how far ahead there is room to read depends on what has arrived
        snapshots = [stats.snapshot() for _, stats in both]
        assert snapshots[0].tier_hits == snapshots[1].tier_hits
        assert snapshots[0].placement == snapshots[1].placement
    for tiered, _ in both:
        tiered.close()


@pytest.fixture(scope="module")
def whole_file(expert_path: Path) -> ExpertFile:
    return experts_in(expert_path)


def test_memory_of_our_own_stays_within_the_budget_and_is_given_back(
    expert_file: ExpertFile,
) -> None:
    plain = NativeExperts(threads=2)
    for layer, experts in enumerate(expert_file.layers):
        plain.add_layer(layer, experts)
    calls = [(step % LAYERS, random_call(1 + step % 6, step)) for step in range(30)]
    want = [run(plain, layer, call) for layer, call in calls]  # and all that computing allocates
    plain.close()
    tiered, stats = _tiered(expert_file)
    # Results, stacks of threads and torch's own are in it, too.
    allowed = BUDGET + (3 << 20)
    expert_file.forget()
    before, most = _anonymous(), 0
    for (layer, call), right in zip(calls, want, strict=True):
        got = run(tiered, layer, call)
        tiered.settle()
        assert (got - right).abs().max() <= 1e-5
        assert expert_file.resident() == 0, "the map stays out of use"
        most = max(most, _anonymous() - before)
        assert most <= allowed
    assert most > BUDGET * 0.8, "a budget that is not used would make this test blind"
    assert (stats.placement == RAM).sum() == BUDGET // 903_168
    tiered.close()
    assert _anonymous() - before < 4 << 20


def test_a_slot_is_used_again_and_the_expert_before_reads_the_map() -> None:
    slots = Slots(PAGE, 3)
    taken = [slots.take() for _ in range(3)]
    assert sorted(taken) == [0, 1, 2]
    slots.bytes_of(1)[:5] = b"hello"
    view = slots.tensor(1, 0, torch.zeros(5, dtype=torch.uint8))
    assert bytes(view.tolist()) == b"hello"
    slots.give(1)
    assert slots.take() == 1
    slots.close()
    assert view.tolist() == [0] * 5


def test_what_came_is_what_is_in_the_file(expert_file: ExpertFile) -> None:
    mapped, moved = ResidentSet(), {}
    experts = dict(enumerate(e for layer in expert_file.layers for e in layer))
    for key, expert in experts.items():
        mapped.add(key, tensors_of(expert))
    slots = Slots(mapped.largest, 4)
    direct = DirectSet(mapped, experts, slots, moved.__setitem__)
    direct.open()
    for key in (0, 5, len(experts) - 1, 3, 7):  # the last one ends where the file ends
        direct.begin(key)
        direct.read(key)
        direct.arrive(key)
        for there, here in zip(tensors_of(experts[key]), tensors_of(moved[key]), strict=True):
            assert torch.equal(there, here)
            assert there.data_ptr() != here.data_ptr()
        direct.drop(key)
        assert moved[key] is experts[key]
    direct.close()
    mapped.close()


@pytest.fixture
def own_file(expert_path: Path, tmp_path: Path) -> ExpertFile:
    """A copy that a test may spoil."""
    shutil.copy(expert_path / "experts.safetensors", tmp_path / "experts.safetensors")
    return experts_in(tmp_path)


def test_what_the_page_cache_has_is_copied_and_leaves_it(own_file: ExpertFile) -> None:
    mapped = ResidentSet()
    experts = dict(enumerate(own_file.layers[0]))
    for key, expert in experts.items():
        mapped.add(key, tensors_of(expert))
    moved: dict[int, object] = {}
    direct = DirectSet(mapped, experts, Slots(mapped.largest, 2), moved.__setitem__)
    direct.open()
    own_file.forget()
    assert not mapped.pages.cached(mapped.places(9))
    with own_file.path.open("rb") as file:
        for r in mapped.places(9):
            os.pread(file.fileno(), r.nbytes, r.offset)
    assert mapped.pages.cached(mapped.places(9))
    direct.begin(9)
    direct.read(9)
    assert not mapped.pages.cached(mapped.places(9))
    direct.close()
    mapped.close()


def test_a_file_that_shrinks_is_the_same_typed_error_again_and_again(own_file: ExpertFile) -> None:
    tiered, _ = _tiered(own_file)
    good = random_call(1, 0)
    right = run(tiered, 0, good)
    own_file.forget()
    os.truncate(own_file.path, own_file.path.stat().st_size // 3)
    ids = torch.arange(TOP_K, dtype=torch.int32)[None]
    for _ in range(3):
        with pytest.raises(CheckpointError) as caught:
            run(tiered, LAYERS - 1, (good[0], ids, good[2]))
        assert caught.value.code == "shard_truncated"
    assert torch.equal(run(tiered, 0, good), right), "what is in memory serves on"
    tiered.close()


def test_one_that_could_not_be_read_is_tried_again(own_file: ExpertFile) -> None:
    tiered, _ = _tiered(own_file)
    whole = own_file.path.read_bytes()
    call = random_call(1, 3)
    tiered.prepare()
    os.truncate(own_file.path, PAGE)
    with pytest.raises(CheckpointError):
        run(tiered, 1, call)
    own_file.path.write_bytes(whole)
    got = run(tiered, 1, call)
    plain = NativeExperts(threads=1)
    plain.add_layer(1, own_file.layers[1])
    assert torch.equal(got, run(plain, 1, call))
    plain.close()
    tiered.close()


def test_a_file_system_without_direct_reading_is_told() -> None:
    with pytest.raises(NotDirectError, match="file system says"):
        open_direct("/proc/version")


def test_a_file_that_is_gone_or_was_replaced_is_read_through_the_map(own_file: ExpertFile) -> None:
    other = own_file.path.with_name("other")
    other.write_bytes(bytes(own_file.path.stat().st_size))
    other.rename(own_file.path)
    tiered, stats = _tiered(own_file, way="direct")
    with pytest.raises(ResourceError, match="cannot be read directly") as caught:
        tiered.prepare()
    assert caught.value.code == "unsupported"
    tiered.close()
    own_file.path.unlink()
    tiered, stats = _tiered(own_file, way="auto")
    assert run(tiered, 0, random_call(2, 1)).shape == (2, HIDDEN)
    assert tiered.reading is not None and not tiered.reading.direct
    assert "read through the map" in tiered.name
    assert stats.placement[0].max() == MAPPED
    tiered.close()


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no memory file system")
def test_files_in_memory_are_read_through_the_map(expert_path: Path) -> None:
    folder = Path("/dev/shm") / f"selenograph-test-{os.getpid()}"
    folder.mkdir()
    try:
        shutil.copy(expert_path / "experts.safetensors", folder)
        tiered, _ = _tiered(experts_in(folder), way="auto")
        tiered.prepare()
        assert tiered.reading is not None and not tiered.reading.direct
        tiered.close()
    finally:
        shutil.rmtree(folder)


def test_backends_whose_experts_cannot_move_keep_the_map(expert_file: ExpertFile) -> None:
    inner = DeferringExperts(ReferenceExperts(), 1)
    tiered, _ = _tiered(expert_file, way="auto", inner=inner)
    tiered.prepare()
    assert str(tiered.reading) == "read through the map (they are computed where they are)"
    tiered.close()


def test_more_than_the_system_has_addresses_for_is_told(expert_file: ExpertFile) -> None:
    with pytest.raises(OSError):
        Slots(1 << 40, 1 << 10)  # 2^50 bytes: no processor of ours has so many
    tiered, _ = _tiered(expert_file, budget=1 << 60)
    tiered.prepare()  # no more than all experts
    assert str(tiered.reading) == "read directly (as asked)"
    tiered.close()


def test_memory_that_is_short_stays_the_systems(
    expert_file: ExpertFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_SHARE", 0.0)
    tiered, _ = _tiered(expert_file, way="auto")
    tiered.prepare()
    assert str(tiered.reading) == "read through the map (memory is short)"
    tiered.close()


def test_the_faster_way_is_taken_and_said(
    own_file: ExpertFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways are really read; which one wins is the disk's business, so the bar is moved."""
    for gain, direct in ((0.0, True), (1e9, False)):
        monkeypatch.setattr(reading, "_GAIN", gain)
        own_file.forget()
        tiered, _ = _tiered(own_file, way="auto")
        tiered.prepare()
        assert tiered.reading is not None and tiered.reading.direct == direct
        assert "GB/s" in tiered.name
        assert own_file.resident() == 0, "measuring leaves nothing behind"
        call = random_call(3, 1)
        plain = NativeExperts(threads=2)
        plain.add_layer(1, own_file.layers[1])
        assert torch.equal(run(tiered, 1, call), run(plain, 1, call))
        plain.close()
        tiered.close()


def test_calls_that_nobody_waits_for_keep_their_slots(expert_file: ExpertFile) -> None:
    routers = _Routers()
    tiered, _ = _tiered(expert_file, ahead=routers.ahead)
    plain = NativeExperts(threads=2)
    for layer, experts in enumerate(expert_file.layers):
        plain.add_layer(layer, experts)
    for n in range(30):
        routers.ids = random_call(1, n + 7)[1]
        tiered.submit(n % LAYERS, *random_call(1, seed=n))
    kept = [tiered.submit(n % LAYERS, *random_call(1, seed=n)) for n in range(30)]
    for n, ticket in enumerate(kept):
        right = run(plain, n % LAYERS, random_call(1, seed=n))
        assert torch.equal(tiered.wait(ticket), right)
    plain.close()
    tiered.close()


def test_abort_while_others_read(expert_file: ExpertFile) -> None:
    tiered, _ = _tiered(expert_file, budget=4 << 20)
    right = run(tiered, 0, random_call(8, 1))
    over = threading.Event()

    def disturb() -> None:
        while not over.wait(0.001):
            tiered.abort()

    thread = threading.Thread(target=disturb)
    thread.start()
    ends = 0
    for n in range(20):
        try:
            run(tiered, n % LAYERS, random_call(8, n))
        except Aborted:
            ends += 1
    over.set()
    thread.join()
    assert ends, "nothing was aborted: this test would be blind"
    assert torch.equal(run(tiered, 0, random_call(8, 1)), right)
    tiered.close()
