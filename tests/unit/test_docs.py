"""The documents name only what exists: files, folders, pictures and make targets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    p
    for pattern in ("*.md", "docs/*.md", "engine/**/*.md", "resources/**/*.md")
    for p in ROOT.glob(pattern)
)
TOP_LEVEL = ("app/", "engine/", "ui/", "resources/", "tests/", "packaging/", "docs/")


def _named_paths(text: str) -> set[str]:
    spans = re.findall(r"`([^`\n]+)`", text)
    paths = {s for s in spans if s.startswith(TOP_LEVEL) and re.fullmatch(r"[\w./-]+", s)}
    links = {
        t
        for t in re.findall(r"\]\(([^)#\s]+)", text)
        if not t.startswith(("http:", "https:", "mailto:"))
    }
    return paths | links


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_path_a_document_names_exists(document: Path) -> None:
    missing = [
        name
        for name in sorted(_named_paths(document.read_text("utf-8")))
        if not (ROOT / name).exists() and not (document.parent / name).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_make_target_a_document_names_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    named = set(re.findall(r"`make ([a-z][\w-]*)`", document.read_text("utf-8")))
    assert named <= targets


def test_the_check_itself_sees_a_wrong_path() -> None:
    assert _named_paths("see `engine/nowhere.py` and [x](docs/none.md)") == {
        "engine/nowhere.py",
        "docs/none.md",
    }
