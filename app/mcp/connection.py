"""One MCP server: started when it is needed, called, begun again when it was lost, and ended."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

import httpx2
from mcp import Client, MCPError, types
from mcp.client import Transport
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from pydantic import ValidationError

from app.errors import ToolError
from app.mcp.config import McpServer
from app.mcp.results import as_text
from app.mcp.schema import MOST_TOOLS, Offered, offered, plain_form
from app.tools.base import AskForm
from app.tools.documents.document import plain
from app.tools.web.untrusted import one_line, untrusted

CONNECT_SECONDS = 90.0
"""Servers of npx and uvx are downloaded when they are first started."""
LIST_SECONDS = 15.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds after a loss before it is begun again; doubled with each loss in a row."""
LEAVE_SECONDS = 10.0
LARGEST_LOG = 2_000_000
_MOST_PROGRESS = 200
_LONGEST_QUESTION = 2_000

_log = logging.getLogger(__name__)


class Connection:
    """On the core's loop. A task of its own holds the session open, since whoever opened it must
    close it, too; calls may come from any task."""

    def __init__(self, name: str, server: McpServer, logs: Path) -> None:
        self.name = name
        self.server = server
        self.offers: dict[str, Offered] = {}
        """The tools, by our names; empty until it was first connected."""
        self._logs = logs
        self._client: Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._leave = asyncio.Event()
        self._stale = asyncio.Event()
        self._losses = 0
        self._not_before = 0.0
        self._askers: list[tuple[AskForm, asyncio.Timeout]] = []
        """Of the calls at work; the protocol does not say which of them a question belongs to."""

    @property
    def connected(self) -> bool:
        return self._client is not None

    async def connect(self) -> None:
        """Until it can be called. Raises ToolError ``mcp_unavailable``."""
        if self._client is not None:
            return
        if self._task is None:
            wait = self._not_before - time.monotonic()
            if wait > 0:
                raise self._unavailable(f"was lost; it is tried again in {wait:.0f} s")
            self._leave, self._stale = asyncio.Event(), asyncio.Event()
            self._ready = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._hold(self._ready), name=f"mcp {self.name}")
        assert self._ready is not None
        await asyncio.shield(self._ready)

    async def call(
        self,
        offer: Offered,
        arguments: dict[str, Any],
        output: Callable[[str], None],
        ask: AskForm | None = None,
    ) -> str:
        """The result as text. Raises ToolError; cancelling it tells the server to stop."""
        await self.connect()
        client = self._client
        if client is None:
            raise self._unavailable("was lost")

        async def show(progress: float, total: float | None, message: str | None) -> None:
            of = f" of {total:g}" if total else ""
            output(one_line(f"{progress:g}{of} {message or ''}", _MOST_PROGRESS) + "\n")

        try:
            async with asyncio.timeout(self.server.seconds) as limit:
                with self._asking(ask, limit):
                    result = await client.call_tool(offer.theirs, arguments, progress_callback=show)
        except TimeoutError:
            raise ToolError(
                "time", f"the server {self.name} took longer than {self.server.seconds:g} s"
            ) from None
        except MCPError as error:
            if error.code != types.CONNECTION_CLOSED:
                raise ToolError("mcp", f"{self.name}: {one_line(error.message, 1_000)}") from None
            await self._lost(client)
            raise self._unavailable("was lost while it worked") from None
        except (ValidationError, RuntimeError) as error:
            kind = type(error).__name__
            raise ToolError("mcp", f"{self.name} broke the protocol ({kind})") from error
        self._losses = 0
        text = as_text(result)
        if result.is_error:
            raise ToolError("mcp", text or "the tool failed without saying why")
        return untrusted(text) if text else "(no output)"

    async def close(self) -> None:
        """End the session and the process. Idempotent."""
        self._client = None
        task = self._task
        if task is None:
            return
        self._leave.set()
        done, _ = await asyncio.wait([task], timeout=LEAVE_SECONDS)
        if not done:
            task.cancel()
            await asyncio.wait([task])

    async def _lost(self, client: Client) -> None:
        """Clear away a session that the other side has left, and wait before the next."""
        if self._client is client:
            self._pause()
            await self.close()

    def _pause(self) -> None:
        pause = min(FIRST_PAUSE * 2**self._losses, LONGEST_PAUSE)
        self._not_before = time.monotonic() + pause
        self._losses += 1

    # -- the task that holds the session ------------------------------------------------------

    async def _hold(self, ready: asyncio.Future[None]) -> None:
        trouble: BaseException | None = None
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(CONNECT_SECONDS):
                    client = await stack.enter_async_context(await self._open(stack))
                    await self._list(client)
                self._client = client
                ready.set_result(None)
                await self._until_left(client)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            trouble = _first(error)
        finally:
            self._client = self._task = None
            if not ready.done():
                self._pause()
                ready.set_exception(self._unavailable(self._why(trouble)))
                ready.exception()  # whether anybody waits for it or not
            if trouble is not None:
                _log.warning("the MCP server %s: %r", self.name, trouble)

    async def _until_left(self, client: Client) -> None:
        """Keep the list of tools fresh until the session is to end."""
        leave = asyncio.create_task(self._leave.wait())
        watch = asyncio.create_task(self._watch(client))
        try:
            while not leave.done():
                stale = asyncio.create_task(self._stale.wait())
                await asyncio.wait([leave, stale], return_when=asyncio.FIRST_COMPLETED)
                stale.cancel()
                if self._stale.is_set() and not leave.done():
                    self._stale.clear()
                    with suppress(MCPError, ValidationError, TimeoutError):
                        await self._list(client)
        finally:
            leave.cancel()
            watch.cancel()
            await asyncio.wait([watch])

    async def _watch(self, client: Client) -> None:
        """Servers of the newer protocol tell of changes only where somebody listens."""
        with suppress(ListenNotSupportedError, SubscriptionLost, MCPError, TimeoutError):
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self._stale.set()

    async def _open(self, stack: AsyncExitStack) -> Client:
        server = self.server
        transport: Transport
        if server.url:
            http = httpx2.AsyncClient(
                headers=server.headers,
                timeout=httpx2.Timeout(30.0, read=max(server.seconds, 300.0)),
            )
            await stack.enter_async_context(http)
            transport = streamable_http_client(server.url, http_client=http)
        else:
            log = stack.enter_context(self._open_log())
            parameters = StdioServerParameters(
                command=server.command,
                args=list(server.args),
                env=dict(server.env),
                cwd=os.path.expanduser(server.cwd) if server.cwd else None,
                encoding_error_handler="replace",
            )
            transport = stdio_client(parameters, errlog=log)
        return Client(
            transport,
            client_info=types.Implementation(name="selenograph", version=version("selenograph")),
            message_handler=self._hear,
            elicitation_callback=self._elicit,
            cache=None,
        )

    async def _hear(self, message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._stale.set()

    @contextmanager
    def _asking(self, ask: AskForm | None, limit: asyncio.Timeout) -> Iterator[None]:
        """Meanwhile the server may ask the person behind this call."""
        if ask is None:
            yield
            return
        mine = ask, limit
        self._askers.append(mine)
        try:
            yield
        finally:
            self._askers.remove(mine)

    async def _elicit(self, context: object, params: types.ElicitRequestParams) -> Any:
        """Ask the person of the call that began last; the time that takes is not the server's."""
        _log.info("the MCP server %s asked: %s", self.name, one_line(params.message, 500))
        if not self._askers or not isinstance(params, types.ElicitRequestFormParams):
            return types.ElicitResult(action="decline")
        ask, limit = self._askers[-1]
        message = plain(params.message[:_LONGEST_QUESTION])
        schema = plain_form(dict(params.requested_schema))
        limit.reschedule(None)
        try:
            reply = await ask(self.name, message, schema)
        finally:
            if not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time() + self.server.seconds)
        content = reply.content if reply.action == "accept" else None
        return types.ElicitResult(action=reply.action, content=content)

    async def _list(self, client: Client) -> None:
        found: list[tuple[str, str, dict[str, Any]]] = []
        cursor: str | None = None
        async with asyncio.timeout(LIST_SECONDS):
            while len(found) < MOST_TOOLS:
                page = await client.list_tools(cursor=cursor)
                found += [(t.name, t.description or "", t.input_schema) for t in page.tools]
                cursor = page.next_cursor
                if not cursor or not page.tools:
                    break
        self.offers = offered(self.name, found)

    def _open_log(self) -> TextIO:
        self._logs.mkdir(parents=True, exist_ok=True)
        path = self._logs / f"mcp-{self.name}.log"
        with suppress(OSError):
            if path.stat().st_size > LARGEST_LOG:
                path.unlink()
        return open(path, "a", encoding="utf-8")

    def _why(self, trouble: BaseException | None) -> str:
        if isinstance(trouble, TimeoutError):
            return f"did not answer within {CONNECT_SECONDS:g} s"
        if isinstance(trouble, OSError):
            return f"cannot be started: {trouble.strerror or trouble}"
        if isinstance(trouble, MCPError):
            return f"ended or refused: {one_line(trouble.message, 300)}; its log may say more"
        return f"cannot be used: {one_line(str(trouble), 300)}" if trouble else "was stopped"

    def _unavailable(self, why: str) -> ToolError:
        return ToolError("mcp_unavailable", f"the MCP server {self.name} {why}")


def _first(error: BaseException) -> BaseException:
    """The innermost of a group, which the SDK's task groups make of everything."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
