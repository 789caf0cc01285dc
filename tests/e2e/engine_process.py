"""A real engine process for tests, and small checkpoints whose replies are known beforehand."""

from __future__ import annotations

import json
import os
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
import msgspec
import openai
from safetensors.torch import load_file, save_file

from engine.protocol import EngineEvent, EngineStatus, ErrorBody, ErrorReply, Ready
from engine.text.tokenizer import Tokenizer
from engine.tiny import TinyShape, write_tiny

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds after which something that should have happened counts as not happening."""


class EngineProcess:
    """``python -m engine`` as the desktop starts it; ends with its standard input."""

    def __init__(self, log: Path, *arguments: str, token: str | None = None) -> None:
        self.token = secrets.token_urlsafe(24) if token is None else token
        self._log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "engine", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "SELENOGRAPH_TOKEN": self.token},
                cwd=ROOT,
            )
        self.port = 0

    @classmethod
    def started(cls, log: Path, model: Path | None = None) -> Self:
        """A process that listens, with the model loaded if one is given."""
        arguments = ("--model", str(model)) if model else ()
        engine = cls(log, "--threads", "1", *arguments)
        try:
            engine.port = engine.ready().port
            if model:
                status = engine.until(lambda s: s.state not in ("empty", "loading"))
                assert status.state == "ready", status.error
        except BaseException:
            engine.close()
            raise
        return engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ready(self) -> Ready:
        """The ready line."""
        stdout = self.process.stdout
        assert stdout is not None
        assert select.select([stdout], [], [], PATIENCE)[0], "no ready line"
        return msgspec.json.decode(stdout.readline(), type=Ready)

    def end_input(self) -> None:
        """What happens to the engine when its parent is gone."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def wait(self, timeout: float = PATIENCE) -> int:
        """The exit code."""
        return self.process.wait(timeout)

    def close(self) -> None:
        """End it, the hard way if it does not go by itself."""
        self.end_input()
        try:
            self.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        finally:
            assert self.process.stdout is not None
            self.process.stdout.close()

    # -- talking to it

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def http(self, token: str | None = None) -> httpx2.Client:
        """A plain client that holds the token."""
        bearer = f"Bearer {self.token if token is None else token}"
        return httpx2.Client(
            base_url=self.url, headers={"authorization": bearer}, timeout=PATIENCE, trust_env=False
        )

    def sdk(self) -> openai.OpenAI:
        """OpenAI's own client, without retries that would hide a refusal."""
        return openai.OpenAI(
            base_url=f"{self.url}/v1", api_key=self.token, max_retries=0, timeout=PATIENCE
        )

    def status(self) -> EngineStatus:
        with self.http() as http:
            return msgspec.json.decode(http.get("/engine/status").content, type=EngineStatus)

    def until(self, wanted: Callable[[EngineStatus], bool]) -> EngineStatus:
        """The first status of ``/engine/events`` that is as wanted."""
        deadline = time.monotonic() + PATIENCE
        with self.http() as http, statuses(http) as told:
            for status in told:
                if wanted(status):
                    return status
                assert time.monotonic() < deadline, f"still {status}"
        raise AssertionError(f"the events ended; log:\n{self._log.read_text()[-2000:]}")

    def load(self, model: Path, **fields: Any) -> EngineStatus:
        """Load a folder and wait for the outcome, which may be a failure."""
        with self.http() as http:
            reply = http.post("/engine/load", json={"path": str(model), **fields})
        assert reply.status_code == 202, reply.text
        status = msgspec.json.decode(reply.content, type=EngineStatus)
        assert status.state == "loading"
        return self.until(lambda s: s.state in ("ready", "failed"))


@contextmanager
def statuses(http: httpx2.Client) -> Iterator[Iterator[EngineStatus]]:
    """The statuses that ``/engine/events`` tells, beginning with the present one."""
    with http.stream("GET", "/engine/events") as reply:
        assert reply.status_code == 200

        def told() -> Iterator[EngineStatus]:
            for line in reply.iter_lines():
                if line:
                    assert line.startswith("data: ")
                    yield msgspec.json.decode(line[6:], type=EngineEvent).status

        yield told()


def error_of(reply: httpx2.Response) -> ErrorBody:
    """The typed error in a reply that has been read."""
    return msgspec.json.decode(reply.content, type=ErrorReply).error


def data_of(reply: httpx2.Response) -> Iterator[dict[str, Any]]:
    """The chunks of a completion stream up to ``[DONE]``."""
    for line in reply.iter_lines():
        if line == "data: [DONE]":
            return
        if line:
            yield json.loads(line.removeprefix("data: "))


def write_reciting(
    folder: Path, reply: str, *, loop_from: int | None = None, context: int = 4096
) -> Path:
    """A checkpoint that answers every prompt with ``reply``, control names included.

    Its layers add nothing to the embedding of the last token, and its head maps each token of the
    reply to the next, so no token may occur twice. The last one is followed by the end of the
    reply, or with ``loop_from`` by the token of that index, and then it never ends by itself.
    All the work of a real model is done all the same.
    """
    write_tiny(folder, seed=7, shape=TinyShape(context=context))
    tokenizer = Tokenizer.from_folder(folder)
    ids = tokenizer.encode_template(reply)
    assert len(set(ids)) == len(ids), "a token occurs twice"
    last = tokenizer.special["<|im_end|>"] if loop_from is None else ids[loop_from]
    before = [tokenizer.special["<|im_middle|>"], *ids]
    after = [*ids, last]
    first, second = (folder / f"model-0000{i}-of-00002.safetensors" for i in (1, 2))
    shards = {path: load_file(path) for path in (first, second)}
    embedding = shards[first]["model.embed_tokens.weight"].float()  # [V, H]
    head = shards[second]["lm_head.weight"].zero_()  # [V, H]
    for token, following in zip(before, after, strict=True):
        head[following] += (4 * embedding[token] / embedding[token].norm()).bfloat16()
    for path, tensors in shards.items():
        for name, tensor in tensors.items():
            if "o_proj" in name or ("down_proj" in name and "packed" not in name):
                tensor.mul_(0) if "shape" not in name else None
        save_file(tensors, path, metadata={"format": "pt"})
    return folder
