"""The engine as a client meets it: load a folder, send a prompt, note when each token comes."""

from __future__ import annotations

import itertools
import queue
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.config import ModelConfig
from engine.errors import ResourceError
from engine.model.loader import KernelOptions
from engine.protocol import EngineStatus, LoadRequest
from engine.runtime.loop import EngineThread
from engine.text.chat_template import Prompt
from engine.types import Broke, Emission, Ended, Request, SamplingParams, Wrote

_BEST = KernelOptions()
_GREEDY = SamplingParams(temperature=0.0)
ENGINE_THREAD = "engine"
"""The name of the thread that steps the model."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Times in seconds of time.perf_counter."""

    sent: float
    tokens: tuple[float, ...]
    """When each token was written."""
    ids: tuple[int, ...] = ()
    """The tokens themselves."""
    logprobs: tuple[float, ...] = ()
    """Of each, if they were asked for."""
    cached: int = 0
    """Tokens of the prompt that needed no computing."""
    accepted: int = 0
    rejected: int = 0
    """Drafts."""

    @property
    def first_seconds(self) -> float:
        """From sending to the first token."""
        return self.tokens[0] - self.sent

    @property
    def tokens_per_second(self) -> float:
        """After the first."""
        return (len(self.tokens) - 1) / (self.tokens[-1] - self.tokens[0])


class Session:
    """A loaded model."""

    def __init__(self, engine: EngineThread, config: ModelConfig) -> None:
        self.config = config
        self._engine = engine
        self._numbers = itertools.count()

    @property
    def status(self) -> EngineStatus:
        """Of the engine, now."""
        return self._engine.status()

    def reply(self, prompt: int, tokens: int) -> Reply:
        """Greedy tokens after random ones, new each time, so that no cache knows them, and without
        drafts, so that a token is a step."""
        draw = random.Random(next(self._numbers))
        # Control tokens come last in every vocabulary of the family.
        ids = [draw.randrange(self.config.vocab_size // 2) for _ in range(prompt)]
        return self.send(ids, tokens, speculate=False)

    def send(
        self,
        ids: Sequence[int],
        tokens: int,
        sampling: SamplingParams = _GREEDY,
        speculate: bool = True,
    ) -> Reply:
        """So many tokens after `ids`. Raises ResourceError ``bench_failed``."""
        heard: queue.SimpleQueue[tuple[float, Emission]] = queue.SimpleQueue()
        request = Request(
            id=f"bench-{next(self._numbers)}",
            prompt=Prompt("", tuple(ids), starts_in_reasoning=False, next_call_index=0),
            sampling=replace(sampling, max_tokens=tokens),
            tools=(),
            sink=lambda emission: heard.put((time.perf_counter(), emission)),
            return_tokens=True,
            speculate=speculate,
        )
        sent = time.perf_counter()
        self._engine.submit(request)
        written: list[tuple[float, int, float]] = []
        while True:
            at, emission = heard.get()
            if isinstance(emission, Wrote):
                written += [(at, t.id, t.logprob or 0.0) for t in emission.tokens]
            elif isinstance(emission, Broke):
                raise ResourceError("bench_failed", f"a reply broke off: {emission.error}")
            elif isinstance(emission, Ended):
                times, chosen, sure = zip(*written, strict=True) if written else ((), (), ())
                cached = emission.usage.prompt_tokens_details.cached_tokens
                drafts = emission.usage.completion_tokens_details
                return Reply(
                    sent,
                    times,
                    chosen,
                    sure,
                    cached,
                    drafts.accepted_prediction_tokens,
                    drafts.rejected_prediction_tokens,
                )


@contextmanager
def session(
    folder: Path, threads: int = 0, kernels: KernelOptions = _BEST, **options: Any
) -> Iterator[Session]:
    """Load a folder as the engine does, with a load request's other `options`.

    Raises what the engine says, as ResourceError.
    """
    config = ModelConfig.from_folder(folder)
    engine = EngineThread()
    engine.start()
    try:
        ready = threading.Event()

        def hear(status: EngineStatus) -> None:
            if status.state in ("ready", "failed"):
                ready.set()

        leave = engine.subscribe(hear)
        engine.load(
            LoadRequest(
                path=str(folder),
                threads=threads,
                isa=kernels.isa,
                mode=kernels.mode,
                dense=kernels.dense,
                **options,
            )
        )
        ready.wait()
        leave()
        error = engine.status().error
        if error is not None:
            raise ResourceError(error.code or "load_failed", error.message, error.hint)
        yield Session(engine, config)
    finally:
        engine.close()
