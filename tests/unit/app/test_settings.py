from __future__ import annotations

import stat
from pathlib import Path

import pytest

from app.endpoints.config import Endpoint
from app.errors import StoreError
from app.paths import Paths
from app.settings import Settings, load_settings, save_settings
from app.trust.policy import Rule


def test_saved_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    settings = Settings(
        theme="dark",
        approvals=(Rule("python"),),
        endpoints=(Endpoint("a", "http://x/v1", key="k"),),
    )
    save_settings(path, settings)
    assert load_settings(path) == (settings, None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["settings.json"]


def test_none_yet(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "settings.json") == (Settings(), None)


@pytest.mark.parametrize("text", ["{", '{"theme": "pink"}', "\x00\xff", "[]"])
def test_a_bad_file_is_kept_aside(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text, encoding="latin-1")
    settings, notice = load_settings(path)
    assert settings == Settings()
    assert notice is not None
    assert notice.code == "settings_damaged"
    (aside,) = tmp_path.iterdir()
    assert aside.name.startswith("settings.json.damaged-")
    assert aside.read_text(encoding="latin-1") == text


def test_a_newer_field_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"theme": "light", "invented_later": {"x": 1}}')
    assert load_settings(path) == (Settings(theme="light"), None)


def test_refused(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("x")
    with pytest.raises(StoreError):
        Paths.under(blocked).make()
    with pytest.raises(StoreError):
        save_settings(blocked / "settings.json", Settings())
    (tmp_path / "settings.json").mkdir()
    with pytest.raises(StoreError):
        save_settings(tmp_path / "settings.json", Settings())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "settings.json"]
