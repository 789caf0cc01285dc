"""Numbers and names as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.words import count, new_name, sentence, took


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "<1 ms"),
        (0.0004, "<1 ms"),
        (0.0006, "1 ms"),
        (0.0514, "51 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_how_long_something_took(seconds: float, words: str) -> None:
    assert took(seconds) == words


def test_one_and_many() -> None:
    assert [count(n, "token") for n in (0, 1, 2300)] == ["0 tokens", "1 token", "2,300 tokens"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ""),
        ("the endpoint is gone", "The endpoint is gone."),
        ("vLLM: connection refused", "vLLM: connection refused."),
        ("'no good' is no name", "'no good' is no name."),
        ("a.md is not there", "a.md is not there."),
        ("Is it?", "Is it?"),
    ],
)
def test_messages_as_sentences(text: str, said: str) -> None:
    assert sentence(text) == said == sentence(said)


@given(name=st.text(), taken=st.lists(st.text(alphabet="ab1 ", max_size=4)))
def test_new_names_are_new(name: str, taken: list[str]) -> None:
    assert new_name(name, taken) not in taken
