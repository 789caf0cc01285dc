"""``selenograph approvals`` and ``export``: over conversations made by a scripted model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.backends.scripted import Reply, ScriptedBackend
from app.cli import main
from app.core import Core
from app.events import RunSettings, Unattended
from app.paths import Paths
from app.settings import load_settings
from app.trust.policy import Rule
from tests.unit.app.guard.test_secrets import made

TOKEN = "ghp_" + made(36)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    call = Reply(calls=(("python", json.dumps({"code": f"print('{TOKEN}')"})),))
    core = Core(
        Paths.under(tmp_path), backend=ScriptedBackend([call, Reply(text=f"```\n{TOKEN}\n```")])
    )
    core.start()
    try:
        conversation = core.create_conversation("Tokens").result(10)
        run = RunSettings(tools=("python",))
        core.send(conversation, "go", run, unattended=Unattended(("calculator",))).result(10)
        core.wait(conversation).result(60)
    finally:
        core.close()
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_rules_are_listed_changed_and_forgotten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("--data", str(tmp_path))
    said(capsys, "approvals", *at, "--allow", "open_page(host=*.example.org)")
    out = said(capsys, "approvals", *at, "--deny", "shell(command=*sudo*)", "--reason", "never")
    assert out.splitlines() == [
        "allow  open_page(host=*.example.org)",
        "deny   shell(command=*sudo*)  (never)",
    ]
    said(capsys, "approvals", *at, "--remove", "open_page(host=*.example.org)")
    (rule,) = load_settings(tmp_path / "settings.json")[0].approvals
    assert isinstance(rule, Rule) and (rule.decision, rule.reason) == ("deny", "never")
    assert main(("approvals", *at, "--remove", "nothing")) == 1
    assert main(("approvals", *at, "--allow", "x(")) == 1


def test_the_log_says_who_allowed_what(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "approvals", "--data", str(data), "--log", "--json").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(row["what"], row["by"]) for row in rows] == [
        ("unattended", "person"),
        ("guard ask", "guard"),
        ("denied", "unattended"),
    ]
    assert rows[2]["tool"] == "python" and rows[0]["rule"] == "calculator"
    assert "nobody is there" in said(capsys, "approvals", "--data", str(data), "--log")
    assert TOKEN not in "".join(lines)


@pytest.mark.parametrize("format", ["markdown", "json"])
def test_exports_black_secrets_out(
    data: Path, capsys: pytest.CaptureFixture[str], format: str
) -> None:
    core = Core(Paths.under(data), backend=ScriptedBackend([Reply(text="x")]))
    core.start()
    (summary,) = core.conversations().result(10)
    core.close()
    at = ("export", "--data", str(data), summary.id, "--format", format)
    text = said(capsys, *at)
    assert TOKEN not in text and "[redacted: GitHub token]" in text
    whole = said(capsys, *at, "--with-secrets")
    assert TOKEN in whole
    if format == "json":
        assert json.loads(text.splitlines()[0])["body"]["type"] == "conversation.created"
    else:
        assert text.startswith("# Tokens") and "**python** (denied" in text
    assert main(("export", "--data", str(data), "nothing")) == 1
