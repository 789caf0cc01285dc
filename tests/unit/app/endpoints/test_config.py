"""What a description of an endpoint has to keep to."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.endpoints.config import PRESETS, Endpoint, caution, check_endpoint, new_id
from app.endpoints.serving import backend_of
from app.errors import ConfigError
from app.settings import Settings, load_settings, save_settings

FINE = Endpoint("it", "https://example.org/v1", "It", "m", "sk-1234567890", context=8_000)


def with_(**values: object) -> Endpoint:
    return msgspec.structs.replace(FINE, **values)


def test_what_is_fine() -> None:
    check_endpoint(FINE, (FINE,))
    check_endpoint(with_(base_url="http://[::1]:8080/v1", price_cached=0.0, key=""))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"base_url": "example.org/v1"}, "http://"),
        ({"base_url": "ftp://example.org"}, "http://"),
        ({"base_url": "https://"}, "names a host"),
        ({"base_url": "https://exa mple.org"}, "names a host"),
        ({"base_url": "https://example.org:port/"}, "no address"),
        ({"base_url": "https://me:secret@example.org/v1"}, "more than a place"),
        ({"base_url": "https://example.org/v1?key=abc"}, "more than a place"),
        ({"name": "x" * 61}, "60 letters"),
        ({"name": "two\nlines"}, "one line"),
        ({"key": "sk-12 34"}, "blanks"),
        ({"key": "“sk-1234”"}, "signs"),
        ({"key_env": "sk-123-456"}, "not the key itself"),
        ({"context": -1}, "number of tokens"),
        ({"max_tokens": -1}, "longest reply"),
        ({"price_prompt": -1.0}, "price"),
        ({"price_cached": float("nan")}, "price"),
        ({"price_completion": float("inf")}, "price"),
    ],
)
def test_what_is_wrong(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_endpoint(with_(**wrong))
    assert words in f"{caught.value.message} {caught.value.hint}"
    assert "secret" not in str(caught.value)


def test_names_are_apart() -> None:
    with pytest.raises(ConfigError, match="already"):
        check_endpoint(with_(id="new"), (FINE,))
    check_endpoint(with_(id="new", name="Other"), (FINE,))


@given(name=st.text(), taken=st.lists(st.text(alphabet="ab1-", max_size=4)))
def test_new_ids_are_new(name: str, taken: list[str]) -> None:
    made = new_id(name, taken)
    assert made not in taken and made != "local" and made


def test_presets_are_whole_but_for_what_only_the_person_knows() -> None:
    for preset in PRESETS:
        check_endpoint(preset.endpoint)
        assert not preset.endpoint.key and not caution(preset.endpoint)
    assert len({preset.title for preset in PRESETS}) == len(PRESETS)


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://192.168.1.7:8000/v1", True),
        ("http://gpu-box/v1", True),
        ("https://gpu-box/v1", False),
        ("http://127.0.0.1:8000/v1", False),
        ("http://[::1]:8000/v1", False),
        ("http://localhost:8000/v1", False),
    ],
)
def test_a_key_in_the_clear(url: str, warned: bool) -> None:
    assert bool(caution(with_(base_url=url))) == warned
    assert not caution(with_(base_url=url, key=""))


async def test_the_key_comes_from_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    named = with_(key="old", key_env="SELENOGRAPH_TRIAL_KEY")
    monkeypatch.delenv("SELENOGRAPH_TRIAL_KEY", raising=False)
    with pytest.raises(ConfigError, match="SELENOGRAPH_TRIAL_KEY is not set"):
        backend_of(named)
    monkeypatch.setenv("SELENOGRAPH_TRIAL_KEY", " sk-new\n")
    assert named.secret() == "sk-new"
    assert FINE.secret() == "sk-1234567890"


def test_settings_of_before_are_read(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"endpoints": [{"id": "a", "base_url": "http://x/v1", "key": "k"}]}')
    settings, notice = load_settings(path)
    assert notice is None and settings.endpoints == (Endpoint("a", "http://x/v1", key="k"),)
    save_settings(path, Settings(endpoints=(FINE,)))
    assert load_settings(path)[0].endpoints == (FINE,)
