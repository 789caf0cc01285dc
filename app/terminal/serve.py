"""``selenograph serve``: the engine alone, for other programs to use."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from typing import Any

import msgspec

from app.cli import ANSWERED, INTERRUPTED
from app.engines.models import default_model, key_of
from app.engines.options import EngineOptions, load_request, options_with
from app.engines.supervisor import Supervisor
from app.engines.view import EngineView
from app.errors import EngineLost
from app.paths import Paths
from app.settings import load_settings
from engine.protocol import SnapshotOptions


def serve(arguments: argparse.Namespace) -> int:
    """Until SIGINT (130) or SIGTERM (0). Raises SelenographError when the engine ends itself."""
    paths = Paths.under(arguments.data) if arguments.data else Paths.default()
    paths.make()
    return asyncio.run(_serve(arguments, paths))


async def _serve(arguments: argparse.Namespace, paths: Paths) -> int:
    loop = asyncio.get_running_loop()
    over: asyncio.Future[int] = loop.create_future()

    def end(code: int) -> None:
        if not over.done():
            over.set_result(code)

    def watch(view: EngineView) -> None:
        if view.phase == "lost" and not over.done():
            over.set_exception(EngineLost("engine_lost", view.message, "\n".join(view.log_tail)))

    loop.add_signal_handler(signal.SIGINT, end, INTERRUPTED)
    loop.add_signal_handler(signal.SIGTERM, end, ANSWERED)
    keep = None if arguments.no_snapshots else SnapshotOptions(str(paths.snapshots))
    model = arguments.model or default_model()
    settings, notice = load_settings(paths.settings)
    if notice is not None:
        print(f"{notice.message} {notice.hint}", file=sys.stderr)
    options = options_with(settings.models.get(key_of(model), EngineOptions()), arguments.set)
    supervisor = Supervisor(paths.logs, watch, lambda model: load_request(model, options, keep))
    starting = asyncio.create_task(supervisor.start(model, port=arguments.port))
    try:
        both: list[asyncio.Future[Any]] = [starting, over]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if over.done():
            return over.result()
        starting.result()
        _announce(supervisor, as_json=arguments.json)
        return await over
    finally:
        if not starting.done():
            starting.cancel()
            await asyncio.wait([starting])
        await supervisor.stop()


def _announce(supervisor: Supervisor, *, as_json: bool) -> None:
    url, token = f"{supervisor.url}/v1", supervisor.token
    if as_json:
        print(msgspec.json.encode({"url": url, "token": token}).decode(), flush=True)
        return
    status = supervisor.view.status
    print(f"{status.model if status else 'the engine'} at {url}\nkey: {token}", flush=True)
    print("Ctrl-C ends it.", file=sys.stderr, flush=True)
