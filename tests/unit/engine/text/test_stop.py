import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.text.stop import StopMatcher


def run(stops: list[str], chunks: list[str]) -> tuple[str, str | None]:
    matcher = StopMatcher(stops)
    shown = "".join(matcher.feed(chunk) for chunk in chunks) + matcher.flush()
    return shown, matcher.matched


@settings(max_examples=300)
@given(
    st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
    st.lists(st.text("abc", max_size=5), max_size=8),
)
def test_the_text_before_the_first_stop_string_and_no_more(
    stops: list[str], chunks: list[str]
) -> None:
    text = "".join(chunks)
    first = min((text.find(stop) for stop in stops if stop in text), default=len(text))
    shown, matched = run(stops, chunks)
    assert shown == text[:first]
    assert (matched is not None) == any(stop in text for stop in stops)


@pytest.mark.parametrize(
    ("chunks", "shown"),
    [
        (["one END two"], ["one "]),
        (["one E", "N", "D two"], ["one ", "", ""]),
        (["one E", "N", "ough"], ["one ", "", "ENough"]),
    ],
)
def test_only_a_possible_beginning_is_held_back(chunks: list[str], shown: list[str]) -> None:
    matcher = StopMatcher(["END"])
    assert [matcher.feed(chunk) for chunk in chunks] == shown


def test_an_earlier_longer_stop_string_may_still_be_under_way() -> None:
    assert run(["bcd", "c"], ["abc", "d"]) == ("a", "bcd")
    assert run(["bcd", "c"], ["abc", "x"]) == ("ab", "c")
    assert run(["bcd", "c"], ["abc"]) == ("ab", "c")


def test_empty_stop_strings_mean_nothing() -> None:
    assert run([""], ["a", "b"]) == ("ab", None)
