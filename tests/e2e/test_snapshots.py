"""An engine that is killed, and the next that goes on from what it left on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.protocol import EngineStatus
from engine.tiny import write_tiny

from .engine_process import EngineProcess

TURN = "Tell me about the harbour. " * 12


def cached(engine: EngineProcess, content: str) -> tuple[int, int, str | None]:
    """Cached and all tokens of the prompt, and the reply."""
    messages: Any = [{"role": "user", "content": content}]
    with engine.sdk() as client:
        reply = client.chat.completions.create(
            model="", messages=messages, temperature=0, max_tokens=6
        )
    assert reply.usage is not None and reply.usage.prompt_tokens_details is not None
    known = reply.usage.prompt_tokens_details.cached_tokens or 0
    return known, reply.usage.prompt_tokens, reply.choices[0].message.content


def written(status: EngineStatus) -> bool:
    return status.cache_pages_used > 0 and status.snapshot_pages == status.cache_pages_used


def test_nothing_is_computed_again_after_a_kill(tmp_path: Path) -> None:
    model = write_tiny(tmp_path / "model", seed=4)
    options = {"snapshots": {"folder": str(tmp_path / "data" / "snapshots")}}
    with EngineProcess.started(tmp_path / "log") as engine:
        assert engine.load(model, **options).snapshot_pages == 0
        known, prompt, first = cached(engine, TURN)
        assert (known, prompt > 128) == (0, True)
        engine.until(written)
        engine.process.kill()
    with EngineProcess.started(tmp_path / "log") as engine:
        engine.load(model, **options)
        assert cached(engine, TURN) == (prompt - 1, prompt, first)
        status = engine.status()
        assert (status.snapshot_error, status.cache_form) == (None, "float32")
        assert status.snapshot_bytes == sum(
            f.stat().st_size for f in (tmp_path / "data" / "snapshots").iterdir()
        )
        engine.load(model)
        assert cached(engine, TURN)[0] == 0, "nobody asked for snapshots"
