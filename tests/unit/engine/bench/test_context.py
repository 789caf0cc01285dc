"""The bench of long contexts on tiny sizes: form and counts, never speed."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bench.context.append import append_figure
from engine.bench.context.chat import Stream
from engine.bench.context.haystack import haystack
from engine.bench.context.mixed import percentile
from engine.bench.context.models import words
from engine.bench.context.needles import needle_figures
from engine.bench.context.recompute import TokenTree, recompute_figure
from engine.bench.context.snapshot import snapshot_figure
from engine.bench.context.soak import soak_figures
from engine.bench.context.work import context_figures
from engine.bench.figures import Figure
from engine.bench.options import Options
from engine.errors import RequestError, ResourceError
from engine.making.induction import write_induction
from engine.making.reciting import write_reciting
from engine.text.tokenizer import Tokenizer
from engine.tiny import TinyShape, write_tiny


def check(figures: list[Figure]) -> None:
    for f in figures:
        assert math.isfinite(f.value) and f.value >= 0
        if f.against_value:
            assert f.ratio == pytest.approx(f.value / f.against_value)


@given(st.lists(st.lists(st.integers(0, 2), max_size=6), max_size=6))
def test_the_token_tree_counts_prefixes(contexts: list[list[int]]) -> None:
    tree = TokenTree()
    for tokens in contexts:
        tree.add(tokens)
    assert len(tree) == len({tuple(c[: i + 1]) for c in contexts for i in range(len(c))})


def test_a_haystack_s_needles_are_where_it_says_and_nowhere_else() -> None:
    hay = haystack(500, (0.0, 0.5, 1.0), 2048, seed=3)
    assert len(hay.tokens) == 500
    for needle in hay.needles:
        ids = (*needle.key, *needle.value)
        assert hay.tokens[needle.at : needle.at + len(ids)] == ids
        assert all(hay.tokens.count(i) == 1 for i in ids)


def test_percentiles_want_enough_values() -> None:
    assert percentile([float(i) for i in range(1, 101)], 95) == 95
    assert percentile([1.0] * 20, 95) == 1
    with pytest.raises(ResourceError, match="only 19"):
        percentile([1.0] * 19, 95)


def test_a_stream_is_taken_apart() -> None:
    seen = Stream()
    head = '{"id":"a","created":1,"model":"m","object":"chat.completion.chunk",'
    for rest in (
        '"choices":[],"x_engine":{"progress":{"done":3,"total":9}}}',
        '"choices":[{"delta":{"content":"hi"},"index":0}],'
        '"x_engine":{"tokens":[{"id":1,"text":"hi"}]}}',
        '"choices":[{"delta":{},"index":0,"finish_reason":"stop"}]}',
    ):
        seen.take(f"data: {head}{rest}")
    assert not seen.done
    seen.take("")
    seen.take("data: [DONE]")
    assert (seen.text, seen.finish, len(seen.times), seen.done) == ("hi", "stop", 1, True)
    assert seen.progress is not None and seen.progress.done == 3


def test_words_are_one_token_each(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_folder(write_reciting(tmp_path / "model", " the of"))
    assert len(tokenizer.encode("".join(words()))) == len(words()) > 100


def test_a_reply_with_a_token_twice_cannot_be_recited(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="' of' stands twice"):
        write_reciting(tmp_path / "model", " of the of")


def test_names_are_checked_before_anything_is_measured() -> None:
    with pytest.raises(RequestError, match="nonesuch is no figure"):
        next(context_figures(Options((1,), ("scalar",), only=("nonesuch",))))


def test_appending_computes_what_is_new(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "tiny", shape=TinyShape(context=640))
    (found,) = append_figure(folder, depth=200, seconds=0.0, threads=1, more=10)
    check([found])
    assert found.name == "append200"
    assert "; 10 computed" in found.note


def test_an_agent_s_run_computes_each_token_once(tmp_path: Path) -> None:
    """The real engine process; see recompute.py for what is distinct."""
    (found,) = recompute_figure(tmp_path, steps=14, threads=1, turns=2)
    check([found])
    assert 1 <= found.value <= 1.02, found.note


def test_needles_in_a_small_window(tmp_path: Path) -> None:
    """All that is asked of the greatest length: going on, a branch, a restart."""
    figures = list(needle_figures(write_induction(tmp_path / "model", context=2048), [1024, 2048]))
    check(figures)
    names = [
        "needle1k",
        "needle2k",
        *(f"needle2k.{w}" for w in ("continued", "branch", "snapshot")),
    ]
    assert [f.name for f in figures] == names
    assert all(f.ratio == 1 for f in figures), figures


@pytest.mark.slow
def test_a_restart_begins_with_the_snapshot(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "tiny", shape=TinyShape(context=640))
    found, gap = snapshot_figure(folder, depth=300, threads=1)
    check([found])
    assert gap.name == "snapshot.gap" and gap.against_value == 100
    cached, prompt = map(int, re.findall(r"([0-9]+) of ([0-9]+) tokens", found.note)[0])
    assert cached == prompt - 1


def test_a_short_soak(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "tiny", shape=TinyShape(context=640))
    figures = list(soak_figures(folder, clients=8, minutes=0.03, threads=1))
    check(figures)
    found = {f.name: f for f in figures}
    assert found["soak.wrong"].value == 0, found["soak.wrong"].note
    assert found["soak.pages"].value == 0
    assert found["soak.cancel"].value <= 2
