"""Our own MCP server: other programs run tasks of the agent and search the conversations.

A task runs unattended within a scope that the person chose when the server was started: its tools,
its folder, and whether calls that would be asked about are allowed (by default they are denied).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from app import events as ev
from app.core import Core
from app.errors import SelenographError
from app.events import Event, RunSettings
from app.state import Turn
from app.store.search import MOST, search_conversations

LONGEST_TASK = 200_000
LONGEST_ANSWER = 200_000
MOST_TASKS = 4
"""At once."""
_LONGEST_NEWS = 200

_INSTRUCTIONS = (
    "run_agent_task gives a task to a thinking agent with tools of its own on the user's computer; "
    "it may take minutes. search_conversations finds what the user asked it before."
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What tasks may do. ``unattended``: the calls that may run though they would ask."""

    settings: RunSettings
    folder: str = ""
    unattended: ev.Unattended = ev.NOBODY


@dataclass(frozen=True, slots=True)
class TaskResult:
    """``status``: answered, budget (an answer from what there was), stopped or failed."""

    answer: str
    status: str
    steps: int
    tool_calls: int
    conversation: str


def make_server(core: Core, scope: Scope) -> MCPServer[Any]:
    """The server over a started core; it does not close the core."""
    server: MCPServer[Any] = MCPServer("selenograph", instructions=_INSTRUCTIONS)
    places = asyncio.Semaphore(MOST_TASKS)

    async def run_agent_task(
        ctx: Context[Any, Any],
        text: Annotated[str, Field(min_length=1, max_length=LONGEST_TASK)],
        effort: Literal["fast", "standard", "deep"] = "standard",
    ) -> dict[str, Any]:
        """Give a task to the agent and wait for its answer."""
        if places.locked():
            raise ToolError(f"{MOST_TASKS} tasks are running already; wait for one of them")
        async with places:
            try:
                return asdict(await _run(core, scope, ctx, text, effort))
            except SelenographError as error:
                raise ToolError(str(error)) from error

    async def search(
        query: Annotated[str, Field(min_length=1, max_length=400)],
        limit: Annotated[int, Field(ge=1, le=MOST)] = 10,
    ) -> list[dict[str, Any]]:
        """Find earlier conversations by words: what was asked and answered, the newest first."""
        try:
            found = await asyncio.to_thread(search_conversations, core.paths.database, query, limit)
        except SelenographError as error:
            raise ToolError(str(error)) from error
        return [asdict(one) for one in found]

    server.add_tool(run_agent_task, annotations=ToolAnnotations(read_only_hint=False))
    server.add_tool(
        search, "search_conversations", annotations=ToolAnnotations(read_only_hint=True)
    )
    return server


async def _run(
    core: Core, scope: Scope, ctx: Context[Any, Any], text: str, effort: ev.Effort
) -> TaskResult:
    settings = msgspec.structs.replace(scope.settings, effort=effort)
    conversation = await _of(core.create_conversation("", scope.folder))
    async with _heard(core, conversation) as events:
        turn = await _of(core.send(conversation, text, settings, unattended=scope.unattended))
        try:
            await _tell(ctx, events, turn)
        except asyncio.CancelledError:
            await asyncio.shield(_of(core.stop(conversation)))
            raise
    found = (await _of(core.open(conversation))).turn(turn)
    assert found is not None
    if found.failure is not None and not found.answer:
        raise ToolError(f"{found.failure.code}: {found.failure.message}")
    return _result(conversation, found)


def _result(conversation: str, turn: Turn) -> TaskResult:
    answer = turn.answer
    if len(answer) > LONGEST_ANSWER:
        answer = answer[:LONGEST_ANSWER] + "\n(the rest is left out)"
    calls = sum(len(step.tools) for step in turn.steps)
    return TaskResult(answer, turn.status, len(turn.steps), calls, conversation)


async def _tell(ctx: Context[Any, Any], events: asyncio.Queue[ev.Body], turn: str) -> None:
    """Report progress until the turn ends."""
    count = 0
    while True:
        body = await events.get()
        if isinstance(body, ev.TurnEnd) and body.turn == turn:
            return
        news = _news(body)
        if news:
            count += 1
            await ctx.report_progress(count, None, news[:_LONGEST_NEWS])


def _news(body: ev.Body) -> str:
    match body:
        case ev.StepBegin(index):
            return f"step {index + 1}"
        case ev.ToolProposed(name=name):
            return f"calls {name}"
        case ev.ToolEnded(status=status) if status != "ok":
            return f"a call ended: {status}"
        case ev.Concluding(message=message):
            return f"concludes: {message}"
    return ""


@asynccontextmanager
async def _heard(core: Core, conversation: str) -> AsyncIterator[asyncio.Queue[ev.Body]]:
    """The conversation's stored events, from the core's thread to this loop."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[ev.Body] = asyncio.Queue()

    def hear(event: Event) -> None:
        if event.conversation == conversation and not isinstance(event.body, ev.PartDelta):
            loop.call_soon_threadsafe(partial(queue.put_nowait, event.body))

    leave = core.subscribe(hear)
    try:
        yield queue
    finally:
        leave()


async def _of(future: Any) -> Any:
    return await asyncio.wrap_future(future)
