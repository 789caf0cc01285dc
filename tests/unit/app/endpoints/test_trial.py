"""Trying an endpoint, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app import events as ev
from app.agent.patience import Patience
from app.core import Core
from app.endpoints import trial
from app.endpoints.config import Endpoint
from app.errors import BackendError, ConfigError, RequestError, SelenographError
from app.paths import Paths
from app.settings import Settings
from tests.unit.app.backends.served import reply, serving
from tests.wavering import Wavering, calls, chunk, says

PING = calls("ping", '{"word": "selene"}')
KEY = "sk-very-secret-4711"


@pytest.fixture
def server() -> Iterator[Wavering]:
    made = Wavering([PING])
    yield made
    made.go()


def at(server: Wavering, **values: Any) -> Endpoint:
    made = Endpoint("it", server.url, "It", "m", KEY)
    return msgspec.structs.replace(made, **values)


async def test_it_lists_and_calls(server: Wavering) -> None:
    server.models = b'{"data": [{"id": "m"}, {"id": "n", "more": 1}, {"id": "m"}, {}]}'
    listing = await trial.list_models(at(server))
    assert listing.models == ("m", "n") and listing.told
    assert 0 < listing.milliseconds < 5_000
    found = await trial.try_model(at(server))
    assert (found.model, found.reasoning, found.streams, found.called) == ("m", True, True, True)
    assert 0 < found.first_ms <= found.seconds * 1000
    (asked,) = server.asked
    assert asked["model"] == "m" and asked["tools"][0]["function"]["name"] == "ping"
    assert server.heads[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("sent", "reasoning", "streams", "called", "advice"),
    [
        (says("pong"), True, False, False, ""),
        (chunk("stop", content="pong"), False, False, False, ""),
        (chunk("stop", content="<think>hm</think>pong"), True, False, False, "reasoning parser"),
        (chunk("stop", content="<|tool_calls_section_begin|>"), False, False, False, "tool-call"),
        (chunk("stop", content="<tool_call>ping</tool_call>"), False, False, False, "tool-call"),
        (calls("ping", '{"world": 1}'), True, True, False, ""),
        (calls("pong", '{"word": "x"}'), True, True, False, ""),
        (calls("ping", "{nonsense"), True, True, False, ""),
        (calls("ping", '{"word": ' + "[" * 100_000), True, True, False, ""),
    ],
)
async def test_what_does_not_work_is_told(
    server: Wavering, sent: bytes, reasoning: bool, streams: bool, called: bool, advice: str
) -> None:
    server.replies = [sent]
    found = await trial.try_model(at(server))
    assert (found.reasoning, found.streams, found.called) == (reasoning, streams, called)
    assert advice in found.advice and bool(advice) == bool(found.advice)


async def test_an_endpoint_without_a_list(server: Wavering) -> None:
    server.models = 404
    listing = await trial.list_models(at(server))
    assert listing.models == () and not listing.told


@pytest.mark.parametrize(
    ("models", "code", "hint"),
    [(401, "http_401", "key"), (b"<html>hello</html>", "bad_models", "/v1"),
     (b'{"models": []}', "bad_models", "/v1"), (b"\xff\xfe", "bad_models", "/v1")],
)  # fmt: skip
async def test_lists_that_are_none(
    server: Wavering, models: bytes | int, code: str, hint: str
) -> None:
    server.models = models
    with pytest.raises(BackendError) as caught:
        await trial.list_models(at(server))
    assert caught.value.code == code and hint in caught.value.hint
    assert KEY not in str(caught.value)


async def test_what_cannot_even_be_tried(server: Wavering) -> None:
    with pytest.raises(ConfigError, match="which model"):
        await trial.try_model(at(server, model=""))
    with pytest.raises(ConfigError, match="http://"):
        await trial.list_models(at(server, base_url="nowhere"))
    await asyncio.to_thread(server.go)
    with pytest.raises(BackendError, match="connection refused"):
        await trial.list_models(at(server))


async def test_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.endpoints.trial.SECONDS", 0.1)

    async def silent(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with serving(silent) as server:
        endpoint = Endpoint("it", f"http://127.0.0.1:{server.port}/v1", model="m")
        with pytest.raises(BackendError, match=r"within 0\.1 s"):
            await trial.try_model(endpoint)


async def test_anthropics_form() -> None:
    listed = reply(b'{"data": [{"id": "c", "type": "model"}], "has_more": false}')
    heads: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        await listed(writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        endpoint = Endpoint("it", f"http://127.0.0.1:{port}", key=KEY, form="anthropic")
        assert (await trial.list_models(endpoint)).models == ("c",)
    assert heads[0].startswith("GET /v1/models?limit=1000 ")
    assert f"x-api-key: {KEY}" in heads[0]


def test_a_trial_can_be_broken_off(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        endpoint = Endpoint("it", f"http://127.0.0.1:{deaf.getsockname()[1]}/v1", model="m")
        core = Core(Paths.under(tmp_path))
        core.start()
        try:
            future = core.try_model(endpoint)
            connection, _ = deaf.accept()
            connection.recv(1)
            core.cancel(future)
            with pytest.raises(RequestError, match="cancelled"):
                future.result(10)
            while connection.recv(65_536):  # until it is hung up
                pass
            connection.close()
            core.cancel(future)  # nothing happens
        finally:
            core.close()


def test_keys_are_in_no_journal_and_no_log(tmp_path: Path, server: Wavering) -> None:
    server.replies = [calls("calculator", '{"expression": "1+1"}'), 401]
    run = ev.RunSettings(backend="it", tools=("calculator",))
    settings = Settings(run=run, endpoints=(at(server),))
    paths = Paths.under(tmp_path)
    core = Core(paths, settings, patience=Patience(attempts=1))
    core.start()
    try:
        id = core.create_conversation("t").result()
        core.send(id, "go").result()
        core.wait(id).result(20)
        (turn,) = core.open(id).result().turns
        assert turn.failure is not None
        assert turn.failure.message == "It: it says no to Bearer [key]"
        server.models = 401
        with pytest.raises(SelenographError, match=r"\[key\]"):
            core.list_models(at(server)).result(20)
    finally:
        core.close()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
