"""Guards at work: in whole turns, and a person's own functions."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from app import events as ev
from app.backends.scripted import Reply
from app.errors import RequestError
from app.events import Event
from app.guard.guards import Guards
from app.guard.rules import DEFAULT, Action, GuardRule, Place
from app.state import fold_all
from app.tools.base import Target
from app.trust.call import Wanted
from tests.unit.app.agent.bench import DONE, Bench, assert_recorded
from tests.unit.app.guard.test_secrets import made

TOKEN = "ghp_" + made(36)
BLACKED = "[redacted: GitHub token]"
Make = Callable[..., Bench]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Make]:
    open_ones: list[Bench] = []

    def make(rules: tuple[GuardRule, ...], *replies: Reply) -> Bench:
        b = Bench(tmp_path, replies)
        b.conversations._guards = Guards(lambda: rules, tmp_path / "guards")
        open_ones.append(b)
        return b

    yield make
    for b in open_ones:
        await b.close()


def rule(action: Action, *on: Place, **more: Any) -> tuple[GuardRule, ...]:
    return (GuardRule("g", more.pop("find", "secrets"), on, action, **more),)


def stored(b: Bench) -> str:
    """Everything that is on the disk."""
    return repr(b.journal.events(b.id))


async def test_a_message_is_blacked_out_before_it_is_stored(bench: Make) -> None:
    b = bench(rule("redact", "input"), DONE)
    turn = await b.ask(f"my token is {TOKEN}, use it")
    assert turn.text == f"my token is {BLACKED}, use it"
    assert b.state.title.startswith("my token is [redacted")
    assert TOKEN not in stored(b) and TOKEN not in repr(b.model.requests)
    (hit,) = b.bodies(ev.GuardHit)
    assert (hit.where, hit.action) == ("input", "redact")
    assert hit.excerpt == "my token is [GitHub token], use it"
    assert any("blacked out" in one.text for one in turn.remarks)
    assert_recorded(b)


async def test_a_message_is_held_back(bench: Make) -> None:
    b = bench(rule("block", "input"), DONE)
    with pytest.raises(RequestError) as caught:
        b.send(f"my token is {TOKEN}")
    assert caught.value.code == "guard"
    assert b.state.turns == () and b.model.requests == []
    assert TOKEN not in stored(b)
    assert [hit.action for hit in b.bodies(ev.GuardHit)] == ["block"]


async def test_a_guard_that_asks_holds_the_run(bench: Make) -> None:
    b = bench(rule("ask", "input"), DONE)
    id = b.send(f"token {TOKEN}")
    paused = (await b.until(ev.Paused)).body
    assert isinstance(paused, ev.Paused)
    assert paused.reason == "guard g: GitHub token"
    assert b.model.requests == []
    b.conversations.proceed(b.id, "go")
    assert (await b.ended(id)).status == "answered"


async def test_with_nobody_there_a_guard_that_asks_blocks(bench: Make) -> None:
    b = bench(rule("ask", "input"), DONE)
    with pytest.raises(RequestError, match="holds this message back"):
        b.send(f"token {TOKEN}", unattended=ev.NOBODY)


@pytest.mark.parametrize(
    ("action", "answer"),
    [("redact", f"It is {BLACKED}."), ("block", "(held back by the guard “g”: GitHub token)")],
)
async def test_what_the_model_says(bench: Make, action: Action, answer: str) -> None:
    b = bench(rule(action, "output"), Reply(reasoning="hm", text=f"It is {TOKEN}."))
    turn = await b.ask()
    assert turn.answer == answer
    assert TOKEN not in stored(b)
    assert_recorded(b)


@pytest.mark.parametrize(("action", "seen"), [("redact", BLACKED), ("block", "(held back by")])
async def test_what_a_tool_returns(bench: Make, action: Action, seen: str) -> None:
    b = bench(rule(action, "result"), Reply(calls=(("write", f'{{"x": "{TOKEN}"}}'),)), DONE)
    turn = await b.ask(unattended=ev.Unattended(("*",)))
    tool = turn.steps[0].tools[0]
    assert seen in tool.result and TOKEN not in tool.result
    assert tool.output == ""
    last = b.model.requests[1].messages[-1]
    assert TOKEN not in str(last.content)


@pytest.mark.parametrize(
    ("action", "status", "by"), [("block", "denied", "guard"), ("ask", "ok", "person")]
)
async def test_what_a_call_sends(bench: Make, action: Action, status: str, by: str) -> None:
    b = bench(rule(action, "call"), Reply(calls=(("echo", f'{{"x": "{TOKEN}"}}'),)), DONE)
    id = b.send()
    if action == "ask":
        asked = (await b.until(ev.ApprovalAsked)).body
        assert isinstance(asked, ev.ApprovalAsked)
        assert "the guard “g” found: GitHub token" in asked.reason
        b.conversations.decide(b.id, asked.call, "once")
    tool = (await b.ended(id)).steps[0].tools[0]
    assert (tool.status, tool.decided_by) == (status, by)


async def test_no_rule_allows_what_a_guard_asks_about(bench: Make) -> None:
    b = bench(rule("ask", "call"), Reply(calls=(("write", f'{{"x": "{TOKEN}"}}'),)), DONE)
    turn = await b.ask(unattended=ev.Unattended(("*", "write")))
    assert turn.steps[0].tools[0].status == "denied"


def look(rules: tuple[GuardRule, ...], place: Place, text: str, **call: Any) -> list[str]:
    wanted = Wanted("get", "network", {}, **call) if call else None
    return [hit.message for hit in Guards(lambda: rules, Path("/none")).hits(place, text, wanted)]


def test_hosts_paths_and_expressions() -> None:
    hosts = rule("block", "call", "output", find="hosts", values=("*.evil.example",))
    assert look(hosts, "output", "see https://a.evil.example/x") == ["host a.evil.example"]
    assert look(hosts, "output", "see https://evil.example.org") == []
    there = (Target("host", "b.evil.example"),)
    assert look(hosts, "call", "{}", targets=there) == ["host b.evil.example"]
    paths = rule("block", "call", find="paths", values=("~/.ssh/*",))
    key = os.path.expanduser("~/.ssh/id_rsa")
    assert look(paths, "call", "{}", targets=(Target("path", key),)) == [f"path {key}"]
    words = rule("redact", "input", find="regex", values=(r"(?i)project \w+",), message="a name")
    assert look(words, "input", "about Project Lovelace") == ["a name"]
    broken = rule("block", "input", find="regex", values=("(",))
    assert "does not work" in look(broken, "input", "anything")[0]


def test_the_default_rules() -> None:
    def found(place: Place, risk: Any) -> list[str]:
        guards = Guards(lambda: DEFAULT, Path("/none"))
        return [h.rule.action for h in guards.hits(place, TOKEN, Wanted("x", risk, {}))]

    assert found("call", "network") == ["ask"]
    assert found("call", "read") == []
    assert found("result", "read") == ["note"]
    assert found("output", "read") == []


# -- a person's own functions ------------------------------------------------------------------

CODE = """
import time
def words(text, info):
    at = text.find("lovelace")
    return [(at, at + 8)] if at >= 0 else None
def says(text, info):
    return f"{info['place']} of {info['tool']}" if "x" in text else None
def fails(text, info):
    raise ValueError("oops")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made_here = tmp_path / "config" / "guards"
    made_here.mkdir(parents=True, mode=0o700)
    (made_here / "mine.py").write_text(CODE)
    (made_here / "mine.py").chmod(0o600)
    return made_here


def own(folder: Path, function: str, text: str, action: Action = "redact") -> list[Any]:
    rules = rule(action, "output", find="python", values=(f"mine.py:{function}",))
    return Guards(lambda: rules, folder).hits("output", text, Wanted("get", "network", {}))


def test_own_functions_find_places_and_say_why(folder: Path) -> None:
    assert own(folder, "words", "ada lovelace")[0].spans == ((4, 12, "g"),)
    assert own(folder, "words", "ada") == []
    assert own(folder, "says", "x")[0].message == "output of get"


@pytest.mark.parametrize("function", ["fails", "absent", "../mine", ""])
def test_a_function_that_fails_is_a_hit(folder: Path, function: str) -> None:
    assert len(own(folder, function, "anything")) == 1


@pytest.mark.parametrize("spoil", ["file", "folder", "link"])
def test_code_that_others_could_have_written_is_not_run(folder: Path, spoil: str) -> None:
    file = folder / "mine.py"
    if spoil == "file":
        file.chmod(0o666)
    elif spoil == "folder":
        folder.chmod(0o777)
    else:
        file.rename(folder.parent / "elsewhere.py")
        file.symlink_to(folder.parent / "elsewhere.py")
    (hit,) = own(folder, "words", "ada")
    assert "does not work" in hit.message


def test_older_events_have_no_guards() -> None:
    assert fold_all([Event(1, 0.0, "c", ev.ConversationCreated("t"))]).title == "t"
