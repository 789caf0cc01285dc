"""Patterns over calls: what they cover, what they must not, and how they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ConfigError
from app.tools.base import Risk, Target, TargetKind
from app.trust.call import Wanted
from app.trust.pattern import KINDS, Pattern
from app.trust.policy import Reason, Rule, allowing, denied, suggestions


def call(tool: str, risk: Risk, *targets: tuple[TargetKind, str], **arguments: object) -> Wanted:
    made = tuple(Target(kind, value) for kind, value in targets)
    return Wanted(tool, risk, dict(arguments), made, "/data/notes")


def shell(line: str) -> Wanted:
    return call("shell", "execute", ("command", line), command=line)


@pytest.mark.parametrize(
    ("pattern", "wanted", "covered"),
    [
        ("python", call("python", "execute"), True),
        ("python", call("python3", "execute"), False),
        ("fs__*", call("fs__write", "foreign"), True),
        ("@network", call("open_page", "network"), True),
        ("@network", call("network", "write"), False),
        (
            "open_page(host=*.example.org)",
            call("open_page", "network", ("host", "a.example.org")),
            True,
        ),
        (
            "open_page(host=*.example.org)",
            call("open_page", "network", ("host", "example.org")),
            False,
        ),
        (
            "open_page(host=*.example.org)",
            call("open_page", "network", ("host", "example.org.evil.com")),
            False,
        ),
        (
            "open_page(host=EXAMPLE.org)",
            call("open_page", "network", ("host", "example.org")),
            True,
        ),
        ("open_page(host=*)", call("open_page", "network"), False),
        ("get(host=a.org)", call("get", "network", ("host", "a.org"), ("host", "b.org")), False),
        (
            "write_file(path=src/*)",
            call("write_file", "write", ("path", "/data/notes/src/a.py")),
            True,
        ),
        (
            "write_file(path=src/*)",
            call("write_file", "write", ("path", "/data/src/a.py")),
            False,
        ),
        ("write_file(path=/tmp/?.txt)", call("write_file", "write", ("path", "/tmp/a.txt")), True),
        ("shell(command=git status)", shell("git  status "), True),
        ("shell(command=git *)", shell("git log -3"), True),
        ("shell(command=git *)", shell("git log; rm -rf ~"), False),
        ("shell(command=git *)", shell("git log && curl evil.com"), False),
        ("shell(command=git *)", shell("git log $(curl evil.com)"), False),
        ("shell(command=git *)", shell("git log\ncurl evil.com"), False),
        ("shell(command=git *)", shell("git log > ~/.bashrc"), False),
        ("shell(command=git *)", shell("gitx"), False),
        ('send(to="a, b", subject=*)', call("send", "foreign", to="a, b", subject="hi"), True),
        ('send(to="a, b", subject=*)', call("send", "foreign", to="a, b"), False),
        ("add(n=3)", call("add", "none", n=3), True),
    ],
)
def test_what_a_pattern_covers(pattern: str, wanted: Wanted, covered: bool) -> None:
    assert Pattern.parse(pattern).covers(wanted) is covered


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "x(",
        "x()",
        "x(host)",
        "x(host=a",
        "x(a=b)c",
        'x(a="b)',
        "(a=b)",
        "x" * 300,
        "x(=a)",
    ],
)
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Pattern.parse(text)
    assert caught.value.code == "bad_pattern"


@given(
    st.from_regex(r"@?[a-z_*]{1,12}", fullmatch=True),
    st.lists(st.tuples(st.sampled_from([*KINDS, "query"]), st.text(max_size=30)), max_size=3).map(
        tuple
    ),
)
def test_patterns_are_read_as_they_are_written(
    tool: str, where: tuple[tuple[str, str], ...]
) -> None:
    made = Pattern(tool, where)
    assert Pattern.parse(str(made)) == made


def test_one_rule_that_denies_is_enough_and_one_target_of_it() -> None:
    wanted = call("get", "network", ("host", "a.org"), ("host", "bad.org"))
    rules = (Rule("get"), Rule("@network(host=bad.org)", "deny", "not there"))
    found = denied(wanted, rules)
    assert found is not None and found.reason == "not there"
    assert denied(call("get", "network", ("host", "a.org")), rules) is None
    assert denied(shell("git log; curl x"), (Rule("shell(command=*curl*)", "deny"),)) is not None


def test_a_damaged_rule_is_no_rule() -> None:
    assert denied(call("get", "network"), (Rule("get(", "deny"), Rule("*", "deny"))) is not None
    assert denied(call("get", "network"), (Rule("get(", "deny"),)) is None


def test_a_bare_tool_does_not_answer_for_a_strange_target() -> None:
    wanted = call("open_page", "network", ("host", "evil.com"))
    asks = Reason("tool", "open_page wants to fetch")
    strange = Reason("target", "not named", wanted.targets)
    assert allowing(wanted, (asks,), ("open_page",)) == "open_page"
    assert allowing(wanted, (asks, strange), ("open_page", "*")) == ""
    assert allowing(wanted, (asks, strange), ("open_page(host=*)",)) == "open_page(host=*)"
    assert allowing(wanted, (Reason("bare", "no sandbox"),), ("*", "open_page(host=*)")) == ""


@pytest.mark.parametrize(
    "wanted",
    [
        call("python", "execute", code="1+1"),
        call("open_page", "network", ("host", "www.example.org")),
        call("write_file", "write", ("path", "/data/notes/a (1), b.txt")),
        call("mail__send", "foreign", ("address", "a@b.org"), to="a@b.org"),
        shell("git log -3"),
        shell("make && make test"),
    ],
)
@pytest.mark.parametrize("strange", [False, True])
def test_every_suggestion_answers_the_call_it_was_made_for(wanted: Wanted, strange: bool) -> None:
    reasons = [Reason("tool", "asks")]
    if strange and wanted.targets:
        reasons.append(Reason("target", "strange", wanted.targets))
    offered = suggestions(wanted, reasons)
    assert offered
    for text in offered:
        assert allowing(wanted, reasons, (text,)) == text
