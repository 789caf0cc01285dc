"""What short answers have in common, and how far lanes agree."""

from __future__ import annotations

import pytest

from app.agent.agreement import compare, core_of, groups_of, verdict_of


@pytest.mark.parametrize(
    ("answer", "core"),
    [
        ("Answer: **1,234.50**", "1234.5"),
        ("It takes a while.\n\nThe final answer is \\boxed{ 42 }.", "42"),
        ("x = 7", "7"),
        ("17*23 + 4 = **395**.", "395"),
        ("**Paris**", "paris"),
        ("Answer: the north valve", "the north valve"),
        ("One line\nand another", ""),
        ("A long sentence that goes on and on, well beyond what can be compared by characters", ""),
        ("-0.50", "-0.5"),
        ("1" * 50, "1" * 50),
        ("", ""),
    ],
)
def test_the_answer_proper(answer: str, core: str) -> None:
    assert core_of(answer) == core


def test_groups_and_verdicts() -> None:
    answers = {1: "Answer: 12", 2: "\\boxed{12.0}", 4: "It is thirteen\nor so"}
    assert groups_of(answers) == ()
    assert [g.lanes for g in groups_of({1: "12", 2: "13", 5: "12.0"})] == [(1, 5), (2,)]
    assert verdict_of("Yes.\n**Agreeing trajectories:** 1, 4", (1, 2, 4)) == ("Yes.", (1, 4))
    assert verdict_of("Yes.\nAgreeing trajectories: none", (1, 2)) == ("Yes.", ())
    assert verdict_of("Yes.", (1, 2)) == ("Yes.", None)
    said = compare(answers, "Twelve or thirteen.\nAgreeing trajectories: 4, 9")
    assert (said.agree, said.of, said.by) == ((4,), 3, "model")
    assert compare(answers, "Twelve.").by == "nobody"
    # A longer final answer counts for the one short answer that it names.
    short = {1: "12", 2: "13", 3: "12"}
    assert compare(short, "After all it comes to 12 apples.\nWhy: a\nb").agree == (1, 3)
    assert compare(short, "It is 12 or 13.\nWho knows").by == "answers"
    assert compare(short, "It is 12 or 13.\nWho knows").agree == ()
    # So does what it makes bold, and a verdict within one group stands for the whole group.
    assert compare(short, "One said 13, but it is **12**.\nThe end").agree == (1, 3)
    said = compare(short, "Not 13 but 12.\nAgreeing trajectories: 3")
    assert (said.agree, said.by) == ((1, 3), "answers")
