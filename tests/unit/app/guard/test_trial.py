"""Rules that are written, checked and tried before they guard anything."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.errors import ConfigError
from app.guard import trial
from app.guard.custom import TrustedFolder
from app.guard.guards import Guards
from app.guard.rules import DEFAULT, GuardRule, Place, check_rule
from app.guard.trial import Tried, try_rule
from tests.unit.app.guard.test_secrets import made

TOKEN = "ghp_" + made(36)
CODE = """
def check(text, info):
    print("noise")
    return [(0, 3)] if "bad" in text else None

def sleeps(text, info):
    import time
    time.sleep(60)

def _hidden(text, info):
    return "hidden"

async def no(text):
    pass

other = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "config" / "guards"
    made.mkdir(parents=True)
    for place in (made.parent, made):
        place.chmod(0o700)
    (made / "mine.py").write_text(CODE)
    (made / "mine.py").chmod(0o600)
    return made


def rule(find: Any, *values: str, on: tuple[Place, ...] = ("input",), **more: Any) -> GuardRule:
    return GuardRule("g", find, on, values=values, **more)


async def test_what_each_kind_finds(folder: Path) -> None:
    text = f"x {TOKEN} y"
    found = await try_rule(rule("secrets"), text, folder)
    assert found.spans == ((2, 2 + len(TOKEN)),) and "GitHub" in found.message
    found = await try_rule(rule("regex", r"\bb\w+", "z"), "a bad bug z", folder)
    assert found.spans == ((2, 5), (6, 9), (10, 11)) and not found.slow
    assert await try_rule(rule("regex", "nothing"), "a bad bug", folder) == Tried()
    found = await try_rule(rule("hosts", "*.example.org"), "see https://a.example.org/x", folder)
    assert found == Tried("host a.example.org")
    found = await try_rule(rule("python", "mine.py:check"), "bad thing", folder)
    assert found.spans == ((0, 3),), "what it prints disturbs nothing"
    found = await try_rule(rule("python", "mine.py:gone"), "bad thing", folder)
    assert "has no function" in found.message
    off = rule("regex", "b", off=True)
    assert (await try_rule(off, "b", folder)).spans == ((0, 1),)


async def test_an_expression_that_does_not_end_ends_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "SECONDS", 1.0)
    began = time.monotonic()
    found = await try_rule(rule("regex", r"(a+)+$"), "a" * 40 + "!", folder)
    assert "longer than 1 s" in found.problem and found.slow
    assert time.monotonic() - began < 5


async def test_a_slow_expression_is_told_even_where_the_text_is_harmless(folder: Path) -> None:
    found = await try_rule(rule("regex", r"(a+)+$"), "b", folder)
    assert found.slow and not found.problem
    assert not (await try_rule(rule("regex", r"\d{4}"), "1234", folder)).slow


async def test_cancelling_ends_the_process(folder: Path) -> None:
    before = {one.pid for one in psutil.Process().children()}
    task = asyncio.create_task(try_rule(rule("python", "mine.py:sleeps"), "x", folder))
    while not (begun := {one.pid for one in psutil.Process().children()} - before):
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert not begun & {one.pid for one in psutil.Process().children()}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (GuardRule("", "secrets", ("input",)), "a name"),
        (GuardRule("x" * 61, "secrets", ("input",)), "60 letters"),
        (GuardRule("taken", "secrets", ("input",)), "already"),
        (GuardRule("g", "secrets", ()), "where it looks"),
        (GuardRule("g", "regex", ("input",)), "which expressions"),
        (GuardRule("g", "regex", ("input",), values=("(",)), "no regular expression"),
        (GuardRule("g", "hosts", ("input",)), "which hosts"),
        (GuardRule("g", "python", ("input",), values=("/etc/x.py:f",)), "FILE.py:FUNCTION"),
        (GuardRule("g", "secrets", ("call",), calls=("(",)), "no pattern"),
        (GuardRule("g", "secrets", ("call",), calls=()), "which calls"),
    ],
)
def test_what_could_not_work(wrong: GuardRule, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_rule(wrong, (GuardRule("taken", "secrets", ("input",)),))
    assert words in caught.value.message


def test_the_default_rules_are_fine() -> None:
    for one in DEFAULT:
        check_rule(one, (other for other in DEFAULT if other is not one))


def test_a_rule_that_is_off_guards_nothing(folder: Path) -> None:
    on = rule("regex", "b", action="block", on=("input", "result"))
    off = GuardRule("off", "regex", ("input", "result"), "block", ("b",), off=True)
    assert Guards(lambda: (on,), folder).hits("input", "b")
    assert not Guards(lambda: (off,), folder).hits("input", "b")
    assert Guards(lambda: (on,), folder).holds_output("result")
    assert not Guards(lambda: (off,), folder).holds_output("result")


def test_functions_are_listed_and_not_run(folder: Path) -> None:
    (folder / "boom.py").write_text("raise SystemExit(open('/tmp/never', 'w'))\ndef f(t, i): ...\n")
    (folder / "broken.py").write_text("def f(:\n")
    (folder / "shared.py").write_text("def f(t, i): ...\n")
    (folder / "shared.py").chmod(0o666)
    os.symlink(folder / "mine.py", folder / "link.py")
    (folder / "note.txt").write_text("def f(): ...")
    found = {one.name: one.problem for one in TrustedFolder(folder).listed()}
    assert set(found) == {"boom.py:f", "broken.py", "link.py", "mine.py:check", "mine.py:sleeps",
                          "shared.py"}  # fmt: skip
    assert "SyntaxError" in found["broken.py"] and "others may write" in found["shared.py"]
    assert "not what it should be" in found["link.py"]
    assert not found["mine.py:check"]
    assert TrustedFolder(folder / "none").listed() == ()
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match="others may write"):
        TrustedFolder(folder).listed()
