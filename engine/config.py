"""The shape of a model, read from a checkpoint's ``config.json``.

Families are told apart by what the file says, never by its folder's name: ``kimi_k2``,
``deepseek_v3`` (also Moonlight, which has no query down-projection), ``glm4_moe_lite``, and the
wrapper configs that keep the text model under ``text_config``.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine.errors import CheckpointError

Family = Literal["kimi_k2", "deepseek_v3", "glm4_moe_lite"]
SUPPORTED: tuple[Family, ...] = ("kimi_k2", "deepseek_v3", "glm4_moe_lite")
_MAX_CONFIG_BYTES = 4 << 20

_LIMITS: dict[str, tuple[int, int]] = {
    "hidden_size": (1, 65_536),
    "intermediate_size": (1, 1 << 20),
    "moe_intermediate_size": (1, 1 << 18),
    "num_hidden_layers": (1, 1_024),
    "num_attention_heads": (1, 1_024),
    "kv_lora_rank": (1, 16_384),
    "qk_nope_head_dim": (1, 4_096),
    "qk_rope_head_dim": (2, 4_096),
    "v_head_dim": (1, 4_096),
    "n_routed_experts": (1, 65_536),
    "num_experts_per_tok": (1, 1_024),
    "vocab_size": (1, 1 << 22),
    "max_position_embeddings": (1, 1 << 26),
}


@dataclass(frozen=True, slots=True)
class YarnScaling:
    """YaRN context extension (Peng et al. 2023, arXiv:2309.00071) as DeepSeek-V3 applies it."""

    factor: float
    original_positions: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float = 1.0
    mscale_all_dim: float = 0.0


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How weights are stored that are not plain floats.

    ``int4``: routed experts only, symmetric, one scale per `group_size` columns. ``fp8``: every
    linear layer but router and head in e4m3, one scale per square of `group_size` rows and columns.
    """

    format: Literal["int4", "fp8"]
    bits: int
    group_size: int

    def __str__(self) -> str:
        return f"{self.format} {'g' if self.format == 'int4' else 'b'}{self.group_size}"


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes and constants of one model; names follow the published configuration."""

    family: Family
    prefix: str
    """What stands before ``model.`` and ``lm_head`` in tensor names, e.g. ``language_model.``."""
    hidden_size: int
    intermediate_size: int
    moe_intermediate_size: int
    num_hidden_layers: int
    first_k_dense_replace: int
    num_attention_heads: int
    q_lora_rank: int | None
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    n_routed_experts: int
    n_shared_experts: int
    num_experts_per_tok: int
    n_group: int
    topk_group: int
    scoring: Literal["sigmoid"]
    norm_topk_prob: bool
    routed_scaling_factor: float
    rms_norm_eps: float
    rope_theta: float
    rope_interleaved: bool
    yarn: YarnScaling | None
    max_position_embeddings: int
    vocab_size: int
    tie_word_embeddings: bool
    eos_ids: tuple[int, ...]
    quantisation: Quantisation | None
    predicts: bool = False
    """Whether the layer for multi-token prediction after the last is loaded, too."""

    @property
    def latent_layers(self) -> int:
        """Layers that keep latents."""
        return self.num_hidden_layers + self.predicts

    @property
    def qk_head_dim(self) -> int:
        """Width of one query or key head, D + P."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    @property
    def latent_dim(self) -> int:
        """What the KV cache holds per token and layer, R + P values."""
        return self.kv_lora_rank + self.qk_rope_head_dim

    @property
    def moe_layers(self) -> int:
        """Number of layers with routed experts."""
        return self.num_hidden_layers - self.first_k_dense_replace

    @property
    def softmax_scale(self) -> float:
        """1/sqrt(D+P), times mscale squared under YaRN (DeepSeek-V3 reference)."""
        scale: float = 1.0 / math.sqrt(self.qk_head_dim)
        if self.yarn is not None and self.yarn.mscale_all_dim:
            scale *= yarn_mscale(self.yarn.factor, self.yarn.mscale_all_dim) ** 2
        return scale

    def is_moe(self, layer: int) -> bool:
        """Whether a layer has routed experts."""
        return layer >= self.first_k_dense_replace

    @classmethod
    def from_folder(cls, folder: Path) -> ModelConfig:
        """Read ``config.json``. Raises CheckpointError."""
        return cls.from_dict(read_json(folder / "config.json"))

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> ModelConfig:
        """Check every number before it is used. Raises CheckpointError."""
        text, prefix = _text_config(raw)
        family = _family(text)
        sizes = {name: _integer(text, name, low, high) for name, (low, high) in _LIMITS.items()}
        if sizes["qk_rope_head_dim"] % 2:
            raise _absurd("qk_rope_head_dim", sizes["qk_rope_head_dim"], "an even number")
        layers, experts = sizes["num_hidden_layers"], sizes["n_routed_experts"]
        top_k = sizes["num_experts_per_tok"]
        groups = _integer(text, "n_group", 1, experts, default=1)
        if experts % groups or top_k > experts:
            raise _absurd("n_group", groups, f"a divisor of {experts} experts, at least top-k")
        topk_group = _integer(text, "topk_group", 1, groups, default=1)
        if top_k > experts // groups * topk_group:
            raise _absurd("num_experts_per_tok", top_k, "no more than the chosen groups hold")
        _require_sigmoid(text)
        return cls(
            family=family,
            prefix=prefix,
            **sizes,
            first_k_dense_replace=_dense_layers(text, layers),
            q_lora_rank=_optional_integer(text, "q_lora_rank", 1, 65_536),
            n_shared_experts=_integer(text, "n_shared_experts", 0, 64, default=0),
            n_group=groups,
            topk_group=topk_group,
            scoring="sigmoid",
            norm_topk_prob=bool(text.get("norm_topk_prob", True)),
            routed_scaling_factor=_number(text, "routed_scaling_factor", 0.0, 1e4, 1.0),
            rms_norm_eps=_number(text, "rms_norm_eps", 1e-12, 1.0, 1e-6),
            rope_theta=_number(_rope(text), "rope_theta", 1.01, 1e12, text.get("rope_theta", 1e4)),
            rope_interleaved=bool(text.get("rope_interleave", True)),
            yarn=_yarn(text),
            tie_word_embeddings=bool(text.get("tie_word_embeddings", False)),
            eos_ids=_eos(text.get("eos_token_id"), sizes["vocab_size"]),
            quantisation=_quantisation(raw, text),
            predicts=False,
        )


def yarn_mscale(factor: float, mscale: float) -> float:
    """0.1 m ln(s) + 1 for s > 1 (YaRN, section 3.4)."""
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def read_json(path: Path, limit: int = _MAX_CONFIG_BYTES) -> dict[str, Any]:
    """A JSON object from an untrusted file of bounded size. Raises CheckpointError."""
    text = read_bounded(path, limit)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            "config_damaged", f"{path.name} is not JSON: {error}", "download the file again"
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(
            "config_damaged", f"{path.name} does not hold an object", "download the file again"
        )
    return value


def read_bounded(path: Path, limit: int) -> bytes:
    """The bytes of a file that is not larger than `limit`. Raises CheckpointError."""
    try:
        if path.stat().st_size > limit:
            raise CheckpointError(
                "config_absurd",
                f"{path.name} is larger than {limit >> 20} MiB",
                "download the file again",
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(
            "file_missing",
            f"{path.name} is missing in {path.parent.name}",
            "choose a folder that holds a downloaded model",
        ) from None
    except OSError as error:
        raise CheckpointError("unreadable", f"{path.name}: {error.strerror or error}") from error


def _text_config(raw: dict[str, Any]) -> tuple[dict[str, Any], str]:
    inner = raw.get("text_config")
    if isinstance(inner, dict):
        return inner, "language_model."
    return raw, ""


def _family(text: dict[str, Any]) -> Family:
    kind = text.get("model_type")
    for family in SUPPORTED:
        if kind == family:
            return family
    raise CheckpointError(
        "unknown_architecture",
        f"the model type {kind!r} is not known",
        f"supported: {', '.join(SUPPORTED)} (also Moonlight)",
    )


def _require_sigmoid(text: dict[str, Any]) -> None:
    """A file may leave the function out: routing by a correction bias implies it."""
    method = text.get("topk_method", "noaux_tc")
    scoring = text.get("scoring_func", "sigmoid" if method == "noaux_tc" else None)
    if scoring != "sigmoid" or method != "noaux_tc":
        raise CheckpointError(
            "unsupported_config",
            f"the router's scoring function is {scoring!r}, its method {method!r}",
            "sigmoid scoring with a correction bias (noaux_tc) is supported",
        )


def _dense_layers(text: dict[str, Any], layers: int) -> int:
    """How many layers come before the first mixture, told in one of two ways."""
    kinds = text.get("mlp_layer_types")
    if kinds is None or "first_k_dense_replace" in text:
        return _integer(text, "first_k_dense_replace", 0, layers, default=0)
    if not isinstance(kinds, list) or len(kinds) != layers:
        raise _absurd("mlp_layer_types", kinds, f"a list of {layers} kinds")
    dense = kinds.index("sparse") if "sparse" in kinds else layers
    if kinds != ["dense"] * dense + ["sparse"] * (layers - dense):
        raise _absurd("mlp_layer_types", kinds, "dense layers, then sparse ones")
    return dense


def _absurd(name: str, value: object, want: str) -> CheckpointError:
    return CheckpointError(
        "config_absurd",
        f"config.json says {name} = {str(value)[:60]}, which should be {want}",
        "the file is damaged or not meant for this program",
    )


def _integer(
    raw: dict[str, Any], name: str, low: int, high: int, default: int | None = None
) -> int:
    value = raw.get(name)
    if value is None and default is not None:
        return default
    if type(value) is not int or not low <= value <= high:
        raise _absurd(name, value, f"a whole number from {low} to {high}")
    return value


def _optional_integer(raw: dict[str, Any], name: str, low: int, high: int) -> int | None:
    return None if raw.get(name) is None else _integer(raw, name, low, high)


def _number(raw: dict[str, Any], name: str, low: float, high: float, default: Any) -> float:
    value = raw.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise _absurd(name, value, f"a number from {low:g} to {high:g}")
    return float(value)


def _rope(text: dict[str, Any]) -> dict[str, Any]:
    """Rotary settings: ``rope_parameters`` in newer files, ``rope_scaling`` in published ones."""
    for name in ("rope_parameters", "rope_scaling"):
        value = text.get(name)
        if isinstance(value, dict):
            return value
    return {}


def _yarn(text: dict[str, Any]) -> YarnScaling | None:
    rope = _rope(text)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind != "yarn":
        raise CheckpointError("unsupported_config", f"rope scaling {kind!r} is not supported")
    return YarnScaling(
        factor=_number(rope, "factor", 1.0, 1e5, 1.0),
        original_positions=_integer(
            rope, "original_max_position_embeddings", 1, 1 << 26, default=4096
        ),
        beta_fast=_number(rope, "beta_fast", 1e-3, 1e4, 32.0),
        beta_slow=_number(rope, "beta_slow", 1e-3, 1e4, 1.0),
        mscale=_number(rope, "mscale", 0.0, 100.0, 1.0),
        mscale_all_dim=_number(rope, "mscale_all_dim", 0.0, 100.0, 0.0),
    )


def _eos(value: object, vocab: int) -> tuple[int, ...]:
    ids = value if isinstance(value, list) else [value]
    return tuple(i for i in ids if type(i) is int and 0 <= i < vocab)


def _quantisation(raw: dict[str, Any], text: dict[str, Any]) -> Quantisation | None:
    quant = raw.get("quantization_config") or text.get("quantization_config")
    if not isinstance(quant, dict):
        return None
    method = quant.get("quant_method")
    if method == "fp8":
        return _fp8(quant)
    if method == "compressed-tensors" and quant.get("format") in (None, "pack-quantized"):
        return _packed_int4(quant)
    raise CheckpointError(
        "unsupported_quantisation",
        f"weights are stored as {method} {quant.get('format') or ''}",
        "supported: compressed-tensors pack-quantized INT4, FP8 in blocks, bfloat16, float32",
    )


def _fp8(quant: dict[str, Any]) -> Quantisation:
    kind, block = quant.get("fmt", "e4m3"), quant.get("weight_block_size")
    if kind != "e4m3" or block != [128, 128]:
        raise CheckpointError(
            "unsupported_quantisation",
            f"weights are FP8 {str(kind)[:20]} with blocks of {str(block)[:40]}",
            "supported: FP8 e4m3 in blocks of 128 x 128",
        )
    return Quantisation("fp8", bits=8, group_size=128)


def _packed_int4(quant: dict[str, Any]) -> Quantisation:
    groups = quant.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, dict) and groups else None
    weights = first.get("weights") if isinstance(first, dict) else None
    if not isinstance(weights, dict):
        raise _absurd("quantization_config", quant.get("config_groups"), "a table of groups")
    bits, group = weights.get("num_bits"), weights.get("group_size")
    if bits != 4 or group != 32 or not weights.get("symmetric", True):
        raise CheckpointError(
            "unsupported_quantisation",
            f"experts have {bits} bits in groups of {group}",
            "supported: symmetric INT4 in groups of 32",
        )
    return Quantisation("int4", bits=4, group_size=32)
