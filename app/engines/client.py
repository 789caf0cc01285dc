"""The engine's control routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeVar

import msgspec

from app.backends import wire
from app.engines.experts import check
from app.errors import BackendError
from engine.protocol import (
    EngineEvent,
    EngineStatus,
    ExpertReport,
    FolderReport,
    HeatWindow,
    InspectRequest,
    LoadRequest,
    RequestTrace,
)

_NAME = "the engine"
Reply = TypeVar("Reply")


class EngineClient:
    """Raises EngineLost when the engine does not answer, else what its error reply says."""

    def __init__(self, url: str, token: str) -> None:
        """``url`` without a path, e.g. ``http://127.0.0.1:4711``."""
        self._client = wire.client(url, token, ours=True)

    async def status(self) -> EngineStatus:
        return await self._call("GET", "/engine/status", EngineStatus)

    async def load(self, request: LoadRequest) -> EngineStatus:
        """Begin to load; progress comes as :meth:`events`."""
        return await self._call("POST", "/engine/load", EngineStatus, request)

    async def unload(self) -> EngineStatus:
        return await self._call("POST", "/engine/unload", EngineStatus)

    async def abort(self, id: str) -> None:
        """Stop a request, if it is still at work."""
        await self._call("POST", f"/engine/requests/{id}/abort", dict, accept=(404,))

    async def inspect(self, path: str) -> FolderReport:
        return await self._call("POST", "/engine/inspect", FolderReport, InspectRequest(path))

    async def experts(self, window: HeatWindow = "start") -> ExpertReport:
        """Where the experts are, and how often each was chosen since the load or of late."""
        return check(await self._call("GET", f"/engine/experts?window={window}", ExpertReport))

    async def trace(self, id: str) -> RequestTrace:
        """The experts that a request chose. Raises RequestError ``no_trace`` if it is not known."""
        return await self._call("GET", f"/engine/trace/{id}", RequestTrace)

    async def events(self) -> AsyncIterator[EngineStatus]:
        """The status now and on every change, until the engine ends."""
        with wire.typed(_NAME, ours=True):
            async with self._client.stream("GET", "/engine/events") as response:
                await wire.check(response, _NAME, ours=True)
                async with aclosing(wire.events(response)) as data:
                    async for datum in data:
                        yield _decode(datum, EngineEvent).status

    async def close(self) -> None:
        await self._client.aclose()

    async def _call(
        self,
        method: str,
        path: str,
        reply: type[Reply],
        body: Any = None,
        accept: tuple[int, ...] = (),
    ) -> Reply:
        with wire.typed(_NAME, ours=True):
            response = await self._client.request(
                method, path, content=None if body is None else msgspec.json.encode(body)
            )
            if response.status_code not in accept:
                await wire.check(response, _NAME, ours=True)
            return _decode(response.content, reply)


def _decode(data: bytes, kind: type[Reply]) -> Reply:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise BackendError("bad_reply", f"the engine's reply is not understood: {error}") from error
