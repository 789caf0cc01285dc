"""The generator: its tools, its split into known and unseen phrasings, its conversations."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from nano.corpus.dialogue import make, render
from nano.corpus.grammar import Speaker
from nano.corpus.tools import World, calculate, run_python, show

from app.eval_tasks import is_right


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("17*23+4", "395"),
        ("15/4", "3.75"),
        ("1/3", "about 0.3333333333"),
        ("0.1+0.2", "0.3"),
        ("7//2", "3"),
        ("-7%5", "3"),
        ("2**10", "1024"),
        ("sqrt(16)", "4"),
        ("sqrt(2)", "about 1.414213562"),
        ("max(3,9.5)", "9.5"),
        ("round(2.345,2)", "2.34"),
        ("5/0", "error: division by zero"),
        ("2+", "error: invalid expression"),
    ],
)
def test_calculator(expression: str, result: str) -> None:
    assert calculate(expression) == result


def test_shown_values_are_exact_or_marked() -> None:
    rng = random.Random(1)
    for _ in range(300):
        value = Fraction(rng.randint(-(10**6), 10**6), rng.randint(1, 10**4))
        text = show(value)
        if not text.startswith("about "):
            assert Fraction(text) == value


def test_python_keeps_its_names_and_shows_the_last_value() -> None:
    names: dict[str, object] = {}
    assert run_python("x = 3", names) == "(no output)"
    assert run_python("print('a')\nx + 1", names) == "a\n4"
    assert run_python("1/0", names) == "error: ZeroDivisionError: division by zero"
    assert run_python("__import__('os')", names).startswith("error")


def test_file_tools() -> None:
    tools = ("list_files", "read_file", "search_files")
    world = World({"b.txt": "Lamp: 3\n", "a/c.md": "the lamp\n\nx"}, tools)
    assert world.call("list_files", {}) == "a/\nb.txt"
    assert world.call("read_file", {"path": "b.txt"}) == "Lamp: 3"
    assert world.call("read_file", {"path": "z"}) == "error: no file named z"
    assert world.call("search_files", {"query": "LAMP"}) == "a/c.md:1: the lamp\nb.txt:1: Lamp: 3"
    assert world.call("search_files", {"query": "q"}) == "no matches"
    assert world.call("python", {"code": "1"}) == "error: unknown tool python"


def test_held_out_parts_are_never_taken_in_training() -> None:
    speaker = Speaker(random.Random(2), held=False)
    drawn = {speaker.pick(["{a|b|^c} {x|^y}", "^whole"]) for _ in range(200)}
    assert drawn == {"a x", "b x"}


def test_evaluation_always_takes_one() -> None:
    speaker = Speaker(random.Random(2), held=True)
    drawn = {speaker.pick(["{a|b|^c} {x|^y}", "^whole"]) for _ in range(300)}
    assert drawn == {"c x", "c y", "a y", "b y", "whole"}


def test_training_conversations_hold_no_unseen_phrasing() -> None:
    rng = random.Random(5)
    assert not [d for d in (make(rng) for _ in range(1500)) if any(t.unseen for t in d.turns)]


def test_conversations_end_in_an_answer_that_passes_their_own_check() -> None:
    rng = random.Random(6)
    for number in range(1000):
        turn = make(rng, held=number % 2 == 1).turns[-1]
        assert turn.expect
        assert is_right(turn.answer, turn.expect), turn


def test_only_the_last_turns_replies_are_learnt() -> None:
    rng = random.Random(7)
    for _ in range(200):
        dialogue = make(rng)
        learnt = [text for text, mine in render(dialogue) if mine]
        assert len(learnt) == len(dialogue.turns[-1].steps) + 1
        assert all(text.startswith("<think>") and text.endswith("<|im_end|>") for text in learnt)


def test_a_seed_makes_the_same_conversations() -> None:
    one, two = ([render(make(rng)) for _ in range(20)] for rng in map(random.Random, (8, 8)))
    assert one == two
