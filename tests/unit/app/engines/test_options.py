"""What a person chooses of a load, in the settings, in the terminal and for the planner."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args, get_origin

import msgspec
import pytest

from app.engines.models import default_model, key_of, model_of
from app.engines.options import EngineOptions, load_request, options_with, plan_request
from app.errors import ConfigError
from app.settings import Settings, load_settings, save_settings
from engine.protocol import LoadRequest, Natural, SnapshotOptions

MODEL = Path("/models/k2")


def test_what_is_not_chosen_is_what_the_engine_would_take() -> None:
    plain = LoadRequest(str(MODEL))
    assert load_request(MODEL, EngineOptions()) == plain
    types = {field.name: field.type for field in msgspec.structs.fields(LoadRequest)}
    for field in msgspec.structs.fields(EngineOptions):
        asked = types[field.name]
        if get_origin(field.type) is Literal:
            assert set(get_args(field.type)) <= set(get_args(asked)), field.name
        else:
            assert field.type == asked or (asked is int and field.type == Natural), field.name


def test_what_is_chosen_is_asked_for() -> None:
    options = EngineOptions(dense="int8", expert_memory_bytes=7, hot_experts=0, max_context=4096)
    keep = SnapshotOptions("/snapshots")
    made = load_request(MODEL, options, keep)
    assert (made.dense, made.expert_memory_bytes, made.hot_experts) == ("int8", 7, 0)
    assert (made.max_context, made.snapshots) == (4096, keep)
    assert msgspec.json.decode(msgspec.json.encode(made), type=LoadRequest) == made


def test_the_planner_is_asked_about_the_same_load() -> None:
    plain = plan_request(MODEL, EngineOptions())
    assert (plain.dense, plain.context, plain.expert_memory_bytes) == ("published", 0, 0)
    asked = plan_request(MODEL, EngineOptions(dense="int4", threads=3, expert_memory_bytes=0))
    assert (asked.dense, asked.threads, asked.expert_memory_bytes) == ("int4", 3, 0)


def test_options_are_set_by_name() -> None:
    before = EngineOptions(threads=2)
    made = options_with(before, ["dense=int4", "max_context=32768", "expert_memory_bytes=4096"])
    assert made == EngineOptions(
        threads=2, dense="int4", max_context=32768, expert_memory_bytes=4096
    )
    assert options_with(made, ["expert_memory_bytes=null"]).expert_memory_bytes is None
    assert options_with(before, []) == before


@pytest.mark.parametrize(
    "assignment", ["dense", "dense=int3", "threads=-1", "threads=many", "path=/etc", "=", ""]
)
def test_what_cannot_be_set_is_named(assignment: str) -> None:
    with pytest.raises(ConfigError) as refused:
        options_with(EngineOptions(), [assignment])
    assert refused.value.code == "bad_option"
    assert assignment.partition("=")[0] in str(refused.value)


def test_models_have_names_in_the_settings(tmp_path: Path) -> None:
    assert key_of(default_model()) == "" and model_of("") == default_model()
    assert model_of(key_of(MODEL)) == MODEL
    settings = Settings(model=str(MODEL), models={str(MODEL): EngineOptions(dense="int4")})
    save_settings(tmp_path / "settings.json", settings)
    assert load_settings(tmp_path / "settings.json") == (settings, None)
