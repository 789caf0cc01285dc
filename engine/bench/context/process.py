"""A real engine process with a model loaded, as clients meet it: over HTTP, on loopback."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from engine.errors import ResourceError
from engine.protocol import EngineStatus, LoadRequest, Ready

_ROOT = Path(__file__).parents[3]
_LOAD_SECONDS = 120.0
_LEAVE_SECONDS = 120.0
"""A process that ends may have pages to write."""
_REPLY_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Served:
    """The process, and how to talk to it."""

    pid: int
    port: int
    token: str

    def client(self) -> httpx2.Client:
        """One that waits as long as a prompt takes."""
        return httpx2.Client(
            base_url=self.url, headers=self._headers, timeout=_REPLY_SECONDS, trust_env=False
        )

    def async_client(self) -> httpx2.AsyncClient:
        """The same for many connections at once."""
        return httpx2.AsyncClient(
            base_url=self.url,
            headers=self._headers,
            timeout=_REPLY_SECONDS,
            trust_env=False,
            limits=httpx2.Limits(max_connections=None),
        )

    def status(self) -> EngineStatus:
        """Now."""
        with self.client() as http:
            return msgspec.json.decode(http.get("/engine/status").content, type=EngineStatus)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}


@contextmanager
def served(folder: Path, threads: int = 0, **options: Any) -> Iterator[Served]:
    """Start, load with a load request's `options`, and end as the desktop does.

    Raises ResourceError ``bench_failed``.
    """
    order = LoadRequest(str(folder), threads=threads, **options)
    token = secrets.token_urlsafe(24)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "engine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "SELENOGRAPH_TOKEN": token},
            cwd=_ROOT,
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                log.seek(0)
                raise ResourceError("bench_failed", f"no engine: {log.read()[-500:].decode()}")
            engine = Served(process.pid, msgspec.json.decode(line, type=Ready).port, token)
            _load(engine, order)
            yield engine
        finally:
            process.stdin.close()
            try:
                process.wait(_LEAVE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def _load(engine: Served, order: LoadRequest) -> None:
    with engine.client() as http:
        http.post("/engine/load", content=msgspec.json.encode(order)).raise_for_status()
    until = time.monotonic() + _LOAD_SECONDS
    while time.monotonic() < until:
        status = engine.status()
        if status.state == "ready":
            return
        if status.error is not None:
            raise ResourceError("bench_failed", status.error.message, status.error.hint)
        time.sleep(0.05)
    raise ResourceError("bench_failed", f"the model did not load in {_LOAD_SECONDS:g} s")
