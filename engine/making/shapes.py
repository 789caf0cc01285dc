"""Named shapes: the sizes of published models, as their own config.json tells them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from engine.config import read_json
from engine.errors import RequestError

_FOLDER = Path(__file__).parents[2] / "resources" / "shapes"
ExpertChoice = Literal["published", "int4"]

INT4: dict[str, Any] = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {
                "num_bits": 4,
                "group_size": 32,
                "strategy": "group",
                "symmetric": True,
                "type": "int",
            },
        }
    },
    "ignore": [
        "lm_head",
        "re:.*self_attn.*",
        "re:.*shared_experts.*",
        r"re:.*mlp\.(gate|up|gate_up|down)_proj.*",
    ],
}
"""How K2's config.json says that its routed experts, and nothing else, are INT4."""


def shape_names() -> list[str]:
    """The shapes that ship with the program."""
    return sorted(p.stem for p in _FOLDER.glob("*.json"))


def read_shape(
    shape: str, layers: int | None = None, experts: ExpertChoice = "published"
) -> dict[str, Any]:
    """The config of a named shape, a config.json or a model's folder, adapted as asked.

    Raises RequestError ``unknown_shape``, CheckpointError when the file cannot be read.
    """
    raw = read_json(_shape_file(shape))
    inner = raw.get("text_config")
    text = inner if isinstance(inner, dict) else raw
    # Layers for multi-token prediction are not written.
    text["num_nextn_predict_layers"] = 0
    if layers is not None:
        _set_layers(text, layers)
    if experts == "int4":
        raw["quantization_config"] = INT4
    return raw


def set_token_ids(raw: dict[str, Any], control: dict[str, int]) -> None:
    """Make a config speak of the vocabulary that is written beside it."""
    inner = raw.get("text_config")
    for table in (raw, inner):
        if isinstance(table, dict):
            table["bos_token_id"] = control["[BOS]"]
            table["eos_token_id"] = control["<|im_end|>"]
            table["pad_token_id"] = control["[PAD]"]


def _shape_file(shape: str) -> Path:
    if shape in shape_names():
        return _FOLDER / f"{shape}.json"
    path = Path(shape).expanduser()
    if path.is_dir():
        path /= "config.json"
    if not path.is_file():
        raise RequestError(
            "unknown_shape",
            f"{shape!r} is neither a shape nor a config.json",
            f"shapes: {', '.join(shape_names())}",
        )
    return path


def _set_layers(text: dict[str, Any], layers: int) -> None:
    text["num_hidden_layers"] = layers
    dense = text.get("first_k_dense_replace")
    if isinstance(dense, int):
        text["first_k_dense_replace"] = min(dense, layers)
    kinds = text.get("mlp_layer_types")
    if isinstance(kinds, list) and kinds:
        text["mlp_layer_types"] = (kinds + kinds[-1:] * layers)[:layers]
