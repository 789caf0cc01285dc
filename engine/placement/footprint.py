"""What a model of a given shape weighs and computes: bytes and FLOPs per part.

Pure arithmetic on a :class:`engine.config.ModelConfig`; no file but ``config.json`` is needed.
One multiply-add counts as two FLOPs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.config import ModelConfig
from engine.protocol import WeightForm

_GROUP, _BLOCK = 32, 128
_EXACT_EXPERT_BYTES = 1 << 30
KV_BYTES = 2
"""Of one cached value: bfloat16."""


@dataclass(frozen=True, slots=True)
class Part:
    """Matrices, each (out, in), that are held and read together."""

    matrices: tuple[tuple[int, int], ...]

    @property
    def weights(self) -> int:
        """How many parameters."""
        return sum(rows * columns for rows, columns in self.matrices)

    @property
    def flops(self) -> int:
        """Of one token going through."""
        return 2 * self.weights

    def nbytes(self, form: WeightForm) -> int:
        """Bytes in memory, scales included."""
        return sum(matrix_bytes(rows, columns, form) for rows, columns in self.matrices)


def matrix_bytes(rows: int, columns: int, form: WeightForm) -> int:
    """Bytes of one matrix [rows, columns] in a form, scales included."""
    weights, groups = rows * columns, rows * -(-columns // _GROUP)
    match form:
        case "float32":
            return 4 * weights
        case "bf16":
            return 2 * weights
        case "fp8":
            return weights + 4 * -(-rows // _BLOCK) * -(-columns // _BLOCK)
        case "int8":
            return weights + 2 * groups
        case "int4":
            return rows * -(-columns // 2) + 2 * groups


@dataclass(frozen=True, slots=True)
class Footprint:
    """One model. ``attention`` is one layer's, ``dense_mlp`` one dense layer's, ``shared``,
    ``router`` and ``expert`` belong to one layer with routed experts (``expert`` is one of them).
    """

    name: str
    layers: int
    moe_layers: int
    experts: int
    """Routed experts a layer."""
    top_k: int
    hidden: int
    context_length: int
    expert_form: WeightForm
    dense_form: WeightForm
    """How everything but experts and embeddings is stored in the checkpoint."""
    embedding: Part
    """The input table: a token reads one row of it."""
    head: Part
    """The output matrix; with ``tied`` the same bytes as the embedding."""
    tied: bool
    attention: Part
    dense_mlp: Part
    shared: Part
    router: Part
    """Held in float32 whatever the rest is."""
    expert: Part
    norms: int
    """Values of all normalisations together."""
    kv_width: int
    """Values that the cache keeps per layer and token."""
    read_flops: int
    """Per layer, for a token attending to one position through the latents (decode)."""
    pair_flops: int
    """Per layer, for a token attending to one position with expanded heads (prefill)."""
    expand_flops: int
    """Per layer, to expand one cached position into keys and values (prefill)."""

    @property
    def dense_layers(self) -> int:
        return self.layers - self.moe_layers

    @property
    def expert_count(self) -> int:
        """Routed experts in all layers."""
        return self.experts * self.moe_layers

    @property
    def expert_bytes(self) -> int:
        """One routed expert as stored."""
        return self.expert.nbytes(self.expert_form)

    @property
    def exact(self) -> bool:
        """Whether the kernels keep activations in float unless told otherwise: it costs little."""
        return self.experts_bytes <= _EXACT_EXPERT_BYTES

    @property
    def experts_bytes(self) -> int:
        """All routed experts."""
        return self.expert_count * self.expert_bytes

    @property
    def embedding_bytes(self) -> int:
        """The input table; bfloat16 in every published checkpoint."""
        return self.embedding.nbytes("bf16")

    def dense_bytes(self, form: WeightForm) -> int:
        """Everything that each token reads whole, with its matrices in ``form``."""
        matrices = (
            self.layers * self.attention.nbytes(form)
            + self.dense_layers * self.dense_mlp.nbytes(form)
            + self.moe_layers * self.shared.nbytes(form)
            + self.head.nbytes(form)
        )
        return matrices + self.moe_layers * self.router.nbytes("float32") + 2 * self.norms

    @property
    def stored_bytes(self) -> int:
        """The checkpoint on disk: dense parts as stored, head and embedding in bfloat16."""
        head = 0 if self.tied else self.head.nbytes("bf16")
        dense = self.dense_bytes(self.dense_form) - self.head.nbytes(self.dense_form)
        routers = self.moe_layers * (self.router.nbytes("float32") - self.router.nbytes("bf16"))
        return dense - routers + head + self.embedding_bytes + self.experts_bytes

    @property
    def dense_flops(self) -> int:
        """Of one token through everything that is not a routed expert."""
        return (
            self.layers * self.attention.flops
            + self.dense_layers * self.dense_mlp.flops
            + self.moe_layers * (self.shared.flops + self.router.flops)
            + self.head.flops
        )

    @property
    def routed_flops(self) -> int:
        """Of one token through its routed experts."""
        return self.moe_layers * self.top_k * self.expert.flops

    @property
    def kv_bytes_per_token(self) -> int:
        return self.layers * self.kv_width * KV_BYTES

    def decode_bytes(self, form: WeightForm, context: int = 0) -> int:
        """What one decoded token must read: dense parts, its experts, the cache so far."""
        experts = self.moe_layers * self.top_k * self.expert_bytes
        return self.dense_bytes(form) + experts + context * self.kv_bytes_per_token

    def with_experts(self, form: WeightForm) -> Footprint:
        """The same model with its routed experts converted."""
        return replace(self, expert_form=form)


def footprint(config: ModelConfig, name: str = "") -> Footprint:
    """The footprint of a configuration; ``name`` is for people (default: the family)."""
    hidden, heads = config.hidden_size, config.num_attention_heads
    rank, width = config.kv_lora_rank, config.qk_nope_head_dim + config.v_head_dim
    expert_form, dense_form = _stored_forms(config)
    vocabulary = Part(((config.vocab_size, hidden),))
    shared_inner = config.moe_intermediate_size * config.n_shared_experts
    norms_per_layer = 2 * hidden + rank + (config.q_lora_rank or 0)
    return Footprint(
        name=name or config.family,
        layers=config.num_hidden_layers,
        moe_layers=config.moe_layers,
        experts=config.n_routed_experts,
        top_k=config.num_experts_per_tok,
        hidden=hidden,
        context_length=config.max_position_embeddings,
        expert_form=expert_form,
        dense_form=dense_form,
        embedding=vocabulary,
        head=vocabulary,
        tied=config.tie_word_embeddings,
        attention=_attention(config),
        dense_mlp=_swiglu(hidden, config.intermediate_size),
        shared=_swiglu(hidden, shared_inner) if shared_inner else Part(()),
        # The correction bias is one more value an expert.
        router=Part(((config.n_routed_experts, hidden + 1),)),
        expert=_swiglu(hidden, config.moe_intermediate_size),
        norms=config.num_hidden_layers * norms_per_layer + hidden,
        kv_width=config.latent_dim,
        read_flops=2 * heads * (config.latent_dim + rank),
        pair_flops=2 * heads * (config.qk_head_dim + config.v_head_dim),
        expand_flops=2 * heads * rank * width,
    )


def _swiglu(hidden: int, inner: int) -> Part:
    return Part(((inner, hidden), (inner, hidden), (hidden, inner)))


def _attention(config: ModelConfig) -> Part:
    hidden, heads, rank = config.hidden_size, config.num_attention_heads, config.kv_lora_rank
    queries = heads * config.qk_head_dim
    lora = config.q_lora_rank
    query = ((queries, hidden),) if lora is None else ((lora, hidden), (queries, lora))
    up = heads * (config.qk_nope_head_dim + config.v_head_dim)
    out = (hidden, heads * config.v_head_dim)
    return Part((*query, (config.latent_dim, hidden), (up, rank), out))


def _stored_forms(config: ModelConfig) -> tuple[WeightForm, WeightForm]:
    """(routed experts, the other matrices) as the checkpoint has them."""
    quantisation = config.quantisation
    if quantisation is None:
        return "bf16", "bf16"
    return quantisation.format, "fp8" if quantisation.format == "fp8" else "bf16"
