"""The engine on its tree of pages, with a real small model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import torch

from engine.cache.latent_pool import LatentForm
from engine.cache.prefix_tree import PrefixTree
from engine.errors import ResourceError
from engine.model.deepseek import Model
from engine.model.loader import load_model
from engine.protocol import LoadRequest, SnapshotOptions
from engine.runtime.caching import cache_use, new_tree
from engine.runtime.engine import Engine, TextEnds
from engine.text.chat_template import Prompt
from engine.text.tokenizer import Tokenizer
from engine.tiny import TinyShape, write_tiny
from engine.types import Emission, Ended, Request, SamplingParams, Started, Wrote

from .engines import engine_of

CONTEXT = 512


@dataclass
class Bench:
    folder: Path
    model: Model
    text: TextEnds

    def engine(self, pages: int = 64, form: LatentForm = "float32") -> Engine:
        tree = PrefixTree(self.model.new_pool(pages, form))
        return engine_of(self.model, self.text, CONTEXT, tree=tree)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    shape = TinyShape(layers=3, experts=4, context=CONTEXT)
    folder = write_tiny(tmp_path_factory.mktemp("tiny") / "small", seed=1, shape=shape)
    model = load_model(folder, torch.float32, "native", threads=1)
    text = TextEnds(Tokenizer.from_folder(folder), frozenset())
    yield Bench(folder, model, text)
    model.close()


def ask(engine: Engine, *prompts: list[int], most: int = 12) -> list[list[Emission]]:
    """What each is answered; all are there at once."""
    heard: list[list[Emission]] = []
    for i, ids in enumerate(prompts):
        heard.append([])
        params = SamplingParams(0.0, max_tokens=most)
        prompt = Prompt("", tuple(ids), False, 0)
        request = Request(str(i), prompt, params, (), heard[-1].append, return_tokens=True)
        engine.enqueue(request)
    while engine.busy:
        engine.step()
        engine.tree.check_integrity()
    return heard


def tokens(heard: list[Emission]) -> list[int]:
    assert isinstance(heard[-1], Ended)
    return [t.id for e in heard if isinstance(e, Wrote) for t in e.tokens]


def cached(heard: list[Emission]) -> int:
    assert isinstance(heard[0], Started)
    assert isinstance(heard[-1], Ended)
    return heard[-1].usage.prompt_tokens_details.cached_tokens


PREFIX = [(3 + i * 7) % 250 for i in range(200)]
BRANCHES = [[*PREFIX, *range(k, k + 5)] for k in (20, 40, 60)]


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_branches_share_and_say_the_same_as_without_sharing(bench: Bench, form: LatentForm) -> None:
    alone = [tokens(ask(bench.engine(form=form), ids)[0]) for ids in BRANCHES]
    assert len({tuple(t) for t in alone}) == 3, "or the comparison would be blind"
    engine = bench.engine(form=form)
    heard = ask(engine, BRANCHES[0])[0]
    assert (cached(heard), tokens(heard)) == (0, alone[0])
    for ids, want in zip(BRANCHES[1:], alone[1:], strict=True):
        heard = ask(engine, ids)[0]
        assert (cached(heard), tokens(heard)) == (200, want), "within the fourth page"
    together = ask(bench.engine(form=form), *BRANCHES)
    assert [tokens(h) for h in together] == alone
    turn = [*BRANCHES[1], *alone[1], 7, 8, 9]
    heard = ask(engine, turn)[0]
    assert cached(heard) == len(turn) - 4, "all but the last that was sampled and what is new"


def test_what_the_cache_cannot_hold(bench: Bench) -> None:
    engine = bench.engine(pages=2)
    with pytest.raises(ResourceError) as caught:
        ask(engine, PREFIX)
    assert caught.value.code == "cache_full"
    assert caught.value.message == "the prompt has 200 tokens, the whole cache holds 128"
    heard = ask(engine, [5] * 120, most=50)[0]
    assert len(tokens(heard)) == 9, "the last needs no place"
    assert isinstance(end := heard[-1], Ended) and end.reason == "length"
    assert cached(ask(engine, [5] * 60)[0]) == 59


def test_a_load_request_decides_form_and_size(bench: Bench) -> None:
    path = str(bench.folder)
    tree = new_tree(bench.model, LoadRequest(path), bench.folder, CONTEXT)
    assert tree.pool.form == "float32"
    assert tree.capacity >= CONTEXT
    one = tree.pool.page_bytes
    tree = new_tree(bench.model, LoadRequest(path, cache_bytes=5 * one), bench.folder, CONTEXT)
    assert tree.pool.pages == 5
    tree = new_tree(bench.model, LoadRequest(path, cache_form="int8"), bench.folder, CONTEXT)
    assert (tree.pool.form, tree.pool.data.dtype) == ("int8", torch.uint8)
    with pytest.raises(ResourceError, match="cache_too_small"):
        new_tree(bench.model, LoadRequest(path, cache_bytes=one), bench.folder, CONTEXT)


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_a_restart_goes_on_from_disk_and_says_the_same(
    bench: Bench, tmp_path: Path, form: LatentForm
) -> None:
    turns = [BRANCHES[0], [*BRANCHES[0], 9, 8, 7, *range(100, 180)], BRANCHES[1]]
    cold = [tokens(ask(bench.engine(form=form), ids)[0]) for ids in turns]
    assert len({tuple(t) for t in cold}) == 3, "or the comparison would be blind"

    def start() -> Engine:
        snapshots = SnapshotOptions(str(tmp_path / "pages"), 1 << 30)
        request = LoadRequest(str(bench.folder), cache_form=form, snapshots=snapshots)
        tree = new_tree(bench.model, request, bench.folder, CONTEXT)
        return engine_of(bench.model, bench.text, CONTEXT, tree=tree)

    engine = start()
    assert tokens(ask(engine, turns[0])[0]) == cold[0]
    engine.tree.shut(30)
    facts = cache_use(engine.tree)
    assert (facts["cached_tokens"], facts["cache_pages_used"]) == (0, 0)
    assert (facts["snapshot_pages"], facts["snapshot_error"]) == (4, None)
    for i, known in enumerate((204, 205, 200)):  # all but the last; a longer one; a branch
        engine = start()
        heard = ask(engine, turns[i])[0]
        assert (cached(heard), tokens(heard)) == (known, cold[i])
        engine.tree.shut(30)
    for file in (tmp_path / "pages").iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    engine = start()
    heard = ask(engine, turns[1])[0]
    assert (cached(heard), tokens(heard)) == (0, cold[1]), "damaged ones are not believed"
    engine.tree.shut(30)


def test_another_way_of_computing_is_another_model(bench: Bench, tmp_path: Path) -> None:
    choices = [{}, {"dense": "int8"}, {"mode": "fast"}, {"deferred_experts": 1}, {}]
    for choice, known in zip(choices, (0, 0, 0, 0, 199), strict=True):
        raw = {"path": str(bench.folder), "snapshots": {"folder": str(tmp_path)}} | choice
        request = msgspec.convert(raw, LoadRequest)
        tree = new_tree(bench.model, request, bench.folder, CONTEXT)
        engine = engine_of(bench.model, bench.text, CONTEXT, tree=tree)
        assert cached(ask(engine, PREFIX)[0]) == known
        tree.shut(30)
