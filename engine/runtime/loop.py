"""The engine thread: takes orders from a mailbox, loads models, and steps while there is work."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

from engine.cache.prefix_tree import prompt_too_large
from engine.errors import Aborted, RequestError, ResourceError, SelenographError, context_exceeded
from engine.experts.observed import ObservedExperts
from engine.grammar.rules import Grammars
from engine.model.loader import KernelOptions, load_model
from engine.placement.footprint import footprint
from engine.placement.limits import memory_limit
from engine.protocol import (
    PROTOCOL,
    EngineStatus,
    ErrorBody,
    ExpertReport,
    HeatWindow,
    LoadRequest,
    LoadState,
    RequestTrace,
)
from engine.runtime.bounds import Gauge
from engine.runtime.caching import context_of, new_tree
from engine.runtime.defaults import read_defaults
from engine.runtime.engine import Engine, TextEnds
from engine.runtime.expert_options import expert_options
from engine.runtime.heap import give_back_freed_memory, keep_freed_memory
from engine.runtime.loaded import Loaded
from engine.runtime.runner import Runner
from engine.scheduler.budget import Chunks
from engine.scheduler.scheduler import Scheduler, SchedulerLimits
from engine.speculation.mtp import new_drafters
from engine.text.chat_template import ChatTemplate
from engine.text.tokenizer import Tokenizer
from engine.types import Broke, LoadedText, Request
from engine.version import VERSION

log = logging.getLogger("engine")
_STATUS_EVERY = 1.0
_LIMIT = memory_limit()
_MEMORY_BYTES = _LIMIT.limit if _LIMIT else psutil.virtual_memory().total


class EngineThread:
    """Implements :class:`engine.types.EngineHandle`."""

    def __init__(self) -> None:
        self._mail: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="engine")
        self._lock = threading.Lock()
        self._listeners: list[Callable[[EngineStatus], None]] = []
        self._state: LoadState = "empty"
        self._error: ErrorBody | None = None
        self._progress: float | None = None
        self._model: Loaded | None = None
        self._arriving: dict[str, Request] = {}
        """Submitted and still in the mailbox; a long step keeps them there."""
        self._cancel_load = threading.Event()
        """Of the newest load, begun or not."""
        self._closing = False
        self._gauge = Gauge()
        self._measuring = False
        """Somebody looked at the experts; to be done when nothing else is."""
        self._began = time.monotonic()
        self._told = 0.0

    def start(self) -> None:
        """Start the thread."""
        keep_freed_memory()
        self._thread.start()

    def close(self) -> None:
        """Stop work at once, free the model, end the thread."""
        self._closing = True
        self._cancel_load.set()
        self._abort_all()
        self._mail.put(None)
        self._thread.join()

    # -- any thread

    def status(self) -> EngineStatus:
        model = self._model
        status = EngineStatus(
            protocol=PROTOCOL,
            version=VERSION,
            pid=os.getpid(),
            state=self._state,
            uptime_s=time.monotonic() - self._began,
            load_progress=self._progress,
            error=self._error,
            resident_bytes=psutil.Process().memory_info().rss,
            memory_total_bytes=_MEMORY_BYTES,
        )
        return model.status(status) if model is not None else status

    def experts(self, window: HeatWindow) -> ExpertReport:
        model = self._model
        if model is not None and not self._measuring and self._gauge.due(model.reading):
            self._measuring = True
            self._mail.put(lambda: None)  # an idle engine wakes up and measures
        return model.expert_report(window) if model is not None else ExpertReport(window)

    def trace(self, request_id: str) -> RequestTrace | None:
        model = self._model
        return model.trace(request_id) if model is not None else None

    def loaded(self) -> LoadedText | None:
        model = self._model
        return model.text if model is not None else None

    def submit(self, request: Request) -> None:
        model = self._model
        if model is None:
            raise _no_model(self._state)
        count, context = len(request.prompt.token_ids), model.text.context_length
        if count >= context:
            raise context_exceeded(count, context)
        if count > (capacity := model.engine.tree.capacity):
            raise prompt_too_large(count, capacity)
        scheduler = model.engine.scheduler
        waiting = len(scheduler.waiting) + len(self._arriving)
        if waiting >= scheduler.limits.waiting:
            raise scheduler.queue_full(waiting)
        if self._knows(model.engine, request.id):
            raise RequestError(
                "duplicate_id",
                f"a request with the id {request.id[:80]!r} is under way",
                "choose another x_engine.request_id, or none",
            )
        self._arriving[request.id] = request
        self._mail.put(lambda: self._accept(request))

    def abort(self, request_id: str) -> bool:
        model = self._model
        if model is None:
            return False
        known = self._knows(model.engine, request_id)
        sequence = model.engine.sequence(request_id)
        if sequence is not None:
            model.engine.cancels.ordered(request_id)
            sequence.aborted = True  # seen inside the running step
            if len(model.engine.scheduler.running) == 1:
                model.engine.abort_experts()
        # It may still lie in the mailbox, behind which this order queues.
        self._mail.put(lambda: self._drop(request_id))
        return known

    def load(self, request: LoadRequest) -> None:
        self._cancel_load.set()
        self._cancel_load = cancel = threading.Event()
        # At once, so that nobody takes the outcome of an earlier load for this one's.
        self._state, self._progress, self._error = "loading", 0.0, None
        self._mail.put(lambda: self._load(request, cancel))

    def unload(self) -> None:
        self._cancel_load.set()
        self._mail.put(self._unload)

    def subscribe(self, listener: Callable[[EngineStatus], None]) -> Callable[[], None]:
        with self._lock:
            self._listeners.append(listener)

        def leave() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return leave

    def _knows(self, engine: Engine, request_id: str) -> bool:
        return request_id in self._arriving or engine.sequence(request_id) is not None

    # -- engine thread

    def _run(self) -> None:
        while not self._closing:
            self._read_mail()
            engine = self._model.engine if self._model else None
            if engine is not None and engine.busy and not self._closing:
                self._step(engine)
            elif self._measuring and not self._closing:
                self._measure()
            self._tell(every=_STATUS_EVERY)
        self._unload()

    def _read_mail(self) -> None:
        """Everything that is there; with nothing to compute, wait for the next order."""
        wait = not (self._model and self._model.engine.busy)
        try:
            while True:
                order = self._mail.get(block=wait, timeout=_STATUS_EVERY if wait else None)
                wait = False
                if order is None:
                    return
                order()
        except queue.Empty:
            return

    def _step(self, engine: Engine) -> None:
        try:
            engine.step()
        except SelenographError as error:
            log.error("step failed: %s", error)
            engine.fail_all(error)
        except Exception as error:  # the engine loop is a boundary: one bad step ends no process
            log.exception("step failed")
            message = f"the engine failed: {type(error).__name__}: {error}"
            engine.fail_all(
                SelenographError("internal", message, "this is a bug; the log has the traceback")
            )

    def _measure(self) -> None:
        """How fast this machine is, while nobody waits for it."""
        self._measuring = False
        model = self._model
        if model is not None:
            self._gauge.measure(model.reading)
            self._model = model.with_rates(self._gauge.best(model.reading))

    def _accept(self, request: Request) -> None:
        del self._arriving[request.id]
        if self._model is None:
            request.sink(Broke(_no_model(self._state)))
            return
        try:
            self._model.engine.enqueue(request)
        except SelenographError as error:
            request.sink(Broke(error))

    def _drop(self, request_id: str) -> None:
        if self._model is not None:
            self._model.engine.drop(request_id)

    def _abort_all(self) -> None:
        if self._model is not None:
            scheduler = self._model.engine.scheduler
            for sequence in (*scheduler.running, *scheduler.waiting):
                sequence.aborted = True
            self._model.engine.abort_experts()

    def _load(self, request: LoadRequest, cancel: threading.Event) -> None:
        self._unload()
        self._set("loading", progress=0.0)
        state, error = self._try_to_open(request, cancel)
        if cancel is self._cancel_load:  # else a newer load is under way and sets the state
            self._set(state, error=error)

    def _try_to_open(
        self, request: LoadRequest, cancel: threading.Event
    ) -> tuple[LoadState, SelenographError | None]:
        try:
            self._model = self._open(request, cancel)
        except Aborted:
            return "empty", None
        except SelenographError as error:
            log.error("loading failed: %s", error)
            return "failed", error
        except MemoryError:
            return "failed", ResourceError(
                "out_of_memory",
                "there is not enough memory for this model",
                "close other programs or choose a smaller model",
            )
        except Exception as error:  # same boundary as in _step
            log.exception("loading failed")
            return "failed", SelenographError(
                "internal",
                f"loading failed: {type(error).__name__}: {error}",
                "this is a bug; the log has the traceback",
            )
        return "ready", None

    def _open(self, request: LoadRequest, cancel: threading.Event) -> Loaded:
        folder = Path(request.path).expanduser()
        threads = request.threads or psutil.cpu_count(logical=False) or 1
        torch.set_num_threads(threads)
        tokenizer = Tokenizer.from_folder(folder)
        template = ChatTemplate.from_folder(folder, tokenizer)
        dtype = {"auto": None, "float32": torch.float32, "bfloat16": torch.bfloat16}
        model = load_model(
            folder,
            dtype[request.dtype],
            request.experts,
            threads,
            progress=self._on_progress,
            should_abort=cancel.is_set,
            options=expert_options(request, folder),
            kernels=KernelOptions(request.isa, request.mode, request.dense),
            predict=request.speculation == "mtp",
        )
        config = model.config
        context = context_of(config, request)
        experts = model.experts
        streams = experts.stream_from if isinstance(experts, ObservedExperts) else 0
        defaults, end_ids = read_defaults(folder, config.vocab_size)
        ends = tokenizer.eos_ids | end_ids | frozenset(config.eos_ids)
        tree = new_tree(model, request, folder, context)
        engine = Engine(
            Runner(model),
            TextEnds(tokenizer, ends),
            context,
            Scheduler(tree, SchedulerLimits(chunks=Chunks(stream_from=streams))),
            new_drafters(model.predictor) if request.speculation != "off" else None,
        )
        text = LoadedText(
            name=folder.name,
            path=folder,
            tokenizer=tokenizer,
            template=template,
            context_length=context,
            defaults=defaults,
            created=int(time.time()),
            grammars=Grammars(tokenizer, ends),
        )
        dtype_name = str(model.dtype).removeprefix("torch.")
        loaded = Loaded(
            engine,
            text,
            config,
            dtype_name,
            model.experts.name,
            threads,
            footprint(config),
        )
        log.info("loaded %s: %s", folder.name, loaded.experts)
        return loaded.with_rates(self._gauge.best(loaded.reading))

    def _unload(self) -> None:
        model, self._model = self._model, None
        if model is not None:
            model.engine.fail_all(
                ResourceError(
                    "model_unloaded",
                    "the model was unloaded while this request ran",
                    "load a model and send it again",
                    retryable=True,
                )
            )
            model.engine.close()
            del model
            give_back_freed_memory()
        if self._state != "loading":
            self._set("empty")

    def _on_progress(self, share: float) -> None:
        self._progress = share
        self._tell(every=0.05)

    def _set(
        self,
        state: LoadState,
        *,
        progress: float | None = None,
        error: SelenographError | None = None,
    ) -> None:
        self._state, self._progress = state, progress
        self._error = (
            ErrorBody(error.message, error.kind, error.code, error.hint, error.retryable)
            if error
            else None
        )
        self._tell(every=0.0)

    def _tell(self, every: float) -> None:
        now = time.monotonic()
        if now - self._told < every:
            return
        self._told = now
        with self._lock:
            listeners = tuple(self._listeners)
        if listeners:
            status = self.status()
            for listener in listeners:
                listener(status)


def _no_model(state: LoadState) -> ResourceError:
    if state == "loading":
        return ResourceError(
            "loading", "the model is still loading", "try again when it is ready", retryable=True
        )
    return ResourceError("no_model", "no model is loaded", "load one first")
