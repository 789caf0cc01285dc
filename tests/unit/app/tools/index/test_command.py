"""``selenograph index``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app import cli
from app.paths import Paths
from app.settings import Collection, load_settings


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    made = tmp_path / "My Docs"
    made.mkdir()
    (made / "a.md").write_text("# A\nfirst words")
    return made


def run(tmp_path: Path, *words: str) -> int:
    return cli.main(["--data", str(tmp_path / "data"), "index", *words])


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_collection_from_its_making_to_its_end(
    tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, str(docs), "--json") == cli.ANSWERED
    (made,) = told(capsys)
    assert (made["collection"], made["added"], made["complete"]) == ("my-docs", 1, True)
    settings, _ = load_settings(Paths.under(tmp_path / "data").settings)
    assert settings.collections == (Collection("my-docs", str(docs)),)
    (docs / "b.md").write_text("more")
    assert run(tmp_path, "--json") == cli.ANSWERED
    assert told(capsys)[0]["unchanged"] == 1
    assert run(tmp_path, "--list", "--json") == cli.ANSWERED
    assert told(capsys) == [
        {"collection": "my-docs", "folder": str(docs), "documents": 2, "passages": 2, "problems": 0}
    ]
    assert run(tmp_path, "--remove", "my-docs") == cli.ANSWERED
    assert run(tmp_path, "--list") == cli.ANSWERED
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["nowhere"], "no_folder"),
        (["--remove", "x"], "no_collection"),
        ([], "no_collection"),
        ([".", "--name", "a/b"], "bad_name"),
    ],
)
def test_wrong_uses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: str
) -> None:
    assert run(tmp_path, *words) == cli.FAILED
    assert capsys.readouterr().err.startswith(f"error: {code}: ")


def test_a_name_stands_for_one_folder(
    tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, str(docs), "--name", "x") == cli.ANSWERED
    assert run(tmp_path, str(tmp_path / "data"), "--name", "x") == cli.FAILED
    assert "name_taken" in capsys.readouterr().err
