"""The held-out tasks and the answer check."""

from __future__ import annotations

from collections import Counter

import pytest
from nano.eval_set import draw

from app.eval_tasks import is_right, load_tasks


def test_enough_tasks_in_every_family_all_with_unseen_phrasings() -> None:
    tasks = load_tasks("nano").tasks
    assert len(tasks) >= 300
    assert all(task.unseen for task in tasks)
    assert len({task.prompt for task in tasks}) == len(tasks)
    groups = Counter(task.family.split()[0] for task in tasks)
    assert groups["calculator"] > 0.3 * len(tasks)
    assert groups["data"] > 0.2 * len(tasks)
    assert groups["notes"] > 0.25 * len(tasks)
    assert groups["refusal"] + groups["greeting"] >= 0.08 * len(tasks)
    assert all(not task.calls for task in tasks if task.family in ("refusal", "greeting"))


def test_the_file_is_what_its_seed_draws() -> None:
    stored = load_tasks("nano")
    drawn = [d.turns[-1] for d in draw(stored.seed, len(stored.tasks))]
    assert [t.user for t in drawn] == [t.prompt for t in stored.tasks]
    assert [t.expect for t in drawn] == [t.expect for t in stored.tasks]


@pytest.mark.parametrize(
    ("expected", "answer", "right"),
    [
        ("395", "17*23+4 = 395.", True),
        ("395", "3957", False),
        ("3.5", "It is 3.50.", True),
        ("3", "It is 3.5", False),
        ("1234", "In total 1,234.", True),
        ("can't", "I can’t do that.", True),
        ("5", "is -5.", False),
        ("-5", "is -5.", True),
        ("5", "23-5 = 18", True),
        ("0427", "The code is 0427.", True),
        ("0427", "The code is 427.", False),
        ("218000.8", "= 218000.80000000002.", True),
        ("hello|hi", "Hi! How can I help?", True),
        ("hi", "This is it.", False),
        ("14 March", "On 14 march.", True),
        ("14 March", "On 14 May.", False),
    ],
)
def test_answer_check(expected: str, answer: str, right: bool) -> None:
    assert is_right(answer, (expected,)) is right
