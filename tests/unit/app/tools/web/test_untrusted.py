"""Marks around texts of others, for models, and their absence for people."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.tools.web.untrusted import briefly_untrusted, for_people, untrusted


@given(
    st.text() | st.lists(st.sampled_from(["【begin】", "【end】", "\n", "data:", "a"])).map("".join)
)
def test_people_see_the_text_alone(text: str) -> None:
    shown = text.replace("【begin】", "[begin]").replace("【end】", "[end]")
    assert for_people(untrusted(text)) == shown
    assert for_people(briefly_untrusted(text)) == text


def test_what_is_more_than_a_text_stays_as_it_is() -> None:
    two = f"{untrusted('one')}\n{untrusted('two')}"
    assert for_people(two) == two
    assert for_people("error: no such file") == "error: no such file"
    assert for_people(f"page 1\n{untrusted('one')}") == f"page 1\n{untrusted('one')}"
