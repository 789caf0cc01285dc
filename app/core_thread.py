"""The thread that owns the core's loop: its life, and work that is handed to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from app.errors import RequestError

Result = TypeVar("Result")


class CoreThread:
    """Every method may be called from any thread. Work is refused (RequestError ``closed``) before
    it has started and after it was closed.
    """

    def __init__(self, open_all: Callable[[AsyncExitStack], Awaitable[None]]) -> None:
        """``open_all`` runs first on the loop; what it puts on the stack is closed at the end, in
        the opposite order.
        """
        self._open_all = open_all
        self._started: Future[None] = Future()
        self._ready = False
        self._pending: set[Future[Any]] = set()
        self._tasks: dict[Future[Any], asyncio.Task[None]] = {}
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._closing: asyncio.Event

    def start(self) -> None:
        """Returns when everything is open. Raises what opening it raises. Idempotent."""
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._run, name="core")
        self._thread.start()
        try:
            self._started.result()
        except BaseException:
            self._thread.join()
            raise

    def close(self) -> None:
        """Returns when everything is closed and the thread is gone. Idempotent."""
        thread = self._thread
        if thread is None or not thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._closing.set)
        thread.join()

    def call(self, work: Callable[[], object]) -> None:
        """Soon, on the core thread; nobody hears how it ended. Raises RuntimeError when closed."""
        self._loop.call_soon_threadsafe(work)

    def do(self, work: Callable[[], Result]) -> Future[Result]:
        """Run ``work`` on the core thread; its result is set before anything else happens there."""
        future: Future[Result] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)

        self._hand_over(call, future)
        return future

    def wait_for(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Future[Result]:
        """Run a coroutine in a task of its own."""
        future: Future[Result] = Future()

        async def call() -> None:
            try:
                result = await work()
            except asyncio.CancelledError:
                _refuse(future, RequestError("cancelled", "it was cancelled"))
                raise
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        def begin() -> None:
            if future.set_running_or_notify_cancel():
                task = asyncio.create_task(call())
                self._tasks[future] = task
                task.add_done_callback(lambda _: self._tasks.pop(future))

        self._hand_over(begin, future)
        return future

    def cancel(self, future: Future[Any]) -> None:
        """Break off what :meth:`wait_for` runs; it ends as RequestError ``cancelled``."""

        def cancel() -> None:
            task = self._tasks.get(future)
            if task is not None:
                task.cancel()

        self.do(cancel)

    # -- inside -------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.run(self._serve())
        for future in tuple(self._pending):
            _refuse(future)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        async with AsyncExitStack() as stack:
            try:
                await self._open_all(stack)
            except BaseException as error:
                self._started.set_exception(error)
                return
            self._ready = True
            self._started.set_result(None)
            await self._closing.wait()
        # One by one and not by the loop, which would cancel what starts a process in its middle
        # too: Python 3.11 then waits for ever.
        left = tuple(self._tasks.values())
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    def _hand_over(self, call: Callable[[], None], future: Future[Result]) -> None:
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        try:
            if not self._ready or self._closing.is_set():
                raise RuntimeError
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop is closed
            _refuse(future)


def _refuse(future: Future[Any], why: RequestError | None = None) -> None:
    if not future.done():
        future.set_exception(why or RequestError("closed", "the core is not running"))
