"""How many pages a pool gets."""

from __future__ import annotations

from engine.cache.latent_pool import PAGE_TOKENS, LatentForm, page_bytes, page_count
from engine.config import ModelConfig
from engine.errors import ResourceError

_ONE_SEQUENCE = 256
"""Tokens of the shortest sequence that is worth loading a model for."""
_MODEST = 8192
"""Tokens that are taken even where memory is short; it is used only as it fills."""
_USUAL_BYTES = 1 << 30


def pool_pages(config: ModelConfig, form: LatentForm, context: int, asked: int, free: int) -> int:
    """Pages for `asked` bytes; for 0: one full context, or 1 GiB if that is more, if memory allows.

    `free` bytes are there beside the model; half of them are for caches. Raises ResourceError
    ``cache_too_small`` where `asked` does not hold one short sequence.
    """
    one = page_bytes(config, form)
    if asked:
        least = page_count(min(context, _ONE_SEQUENCE))
        if asked < least * one:
            raise ResourceError(
                "cache_too_small",
                f"a cache of {asked:,} bytes holds {asked // one * PAGE_TOKENS:,} tokens of this "
                f"model; one short sequence takes {least * one:,} bytes",
                "load with a larger cache, or without a size for it",
            )
        return asked // one
    wanted = max(page_count(context), _USUAL_BYTES // one)
    return max(min(wanted, free // 2 // one), page_count(min(context, _MODEST)))
