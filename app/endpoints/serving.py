"""Which model endpoint serves a run: our engine, started when it is first needed, or another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from app.backends.anthropic_http import AnthropicBackend
from app.backends.base import Backend, Prices, Traits
from app.backends.openai_http import OpenAIBackend
from app.endpoints.config import Endpoint
from app.engines.forecast import Forecaster
from app.engines.models import default_model, key_of, model_of
from app.engines.options import EngineOptions, load_request
from app.engines.supervisor import Supervisor
from app.engines.view import EngineView
from app.errors import ConfigError, EngineLost, SelenographError
from app.events import RunSettings
from app.paths import Paths
from app.settings import Settings
from engine.protocol import ExpertReport, HeatWindow, LoadRequest, PlanReport, SnapshotOptions

_RESTART = "restart the engine, then resume"


class Endpoints:
    """Owns the engine process and the connections. On the core's loop."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        paths: Paths,
        on_change: Callable[[EngineView], None],
        backend: Backend | None = None,
    ) -> None:
        """``backend``: serves every run instead (tests, pictures)."""
        self._settings = settings
        self._paths = paths
        self._supervisor = Supervisor(paths.logs, on_change, self._request)
        self._fixed = backend
        self._ours: OpenAIBackend | None = None
        self._ours_at = ("", "")
        self._others: dict[Endpoint, OpenAIBackend | AnthropicBackend] = {}
        self._starting: asyncio.Task[None] | None = None
        self._given: dict[str, EngineOptions] = {}
        """Options that hold instead of the settings', by model."""
        self._forecaster = Forecaster()

    @property
    def view(self) -> EngineView:
        return self._supervisor.view

    def _request(self, model: Path) -> LoadRequest:
        settings, key = self._settings(), key_of(model)
        options = self._given.get(key) or settings.models.get(key, EngineOptions())
        keep = None
        if settings.snapshots:
            keep = SnapshotOptions(str(self._paths.snapshots), max(settings.snapshot_bytes, 0))
        return load_request(model, options, keep)

    def log(self) -> tuple[str, ...]:
        """The engine's last lines."""
        return self._supervisor.log()

    async def experts(self, window: HeatWindow) -> ExpertReport | None:
        """Our engine's experts; None when it does not answer."""
        return await self._supervisor.experts(window)

    async def find(self, run: RunSettings) -> Backend:
        """Raises ConfigError ``no_endpoint``, EngineLost, and what starting the engine raises."""
        if self._fixed is not None:
            return self._fixed
        if run.backend == "local":
            await self._ready()
            status = self.view.status
            backend = await self._engine((status.model if status else None) or "local")
            context = status.context_length if status else 0
            embedded = status is not None and status.model == default_model().name
            backend.traits = replace(backend.traits, context=context, marks=not embedded)
            return backend
        for endpoint in self._settings().endpoints:
            if endpoint.id == run.backend:
                return self._other(endpoint)
        raise ConfigError(
            "no_endpoint",
            f"there is no model endpoint {run.backend!r}",
            "choose another in the settings",
        )

    async def at_hand(self, run: RunSettings) -> Backend | None:
        """Whoever would serve a run, if nothing has to be started for it. Raises nothing."""
        if self._fixed is None and run.backend == "local" and self.view.phase != "ready":
            return None
        try:
            return await self.find(run)
        except SelenographError:
            return None

    async def start_engine(
        self, model: Path | None = None, options: EngineOptions | None = None
    ) -> None:
        """Start and load ``model`` (None: the chosen one); returns when it is ready.

        ``options``: hold for it from now on instead of the settings'. Raises what the supervisor
        does, EngineLost ``load_given_up`` when it was stopped meanwhile or another was wanted.
        """
        if self._fixed is not None:
            return
        model = model or model_of(self._settings().model)
        if options is not None:
            self._given[key_of(model)] = options
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._supervisor.start(model))
        starting = self._starting
        try:
            # The engine goes on starting when whoever waits for it is stopped.
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            if not starting.cancelled():
                raise
            raise EngineLost("load_given_up", "loading the model was given up", _RESTART) from None

    async def open_model(self) -> None:
        """Load the chosen model as the settings say now, in a new process; what ran is ended."""
        if self._fixed is not None:
            return
        await self._leave_off()
        await self._supervisor.stop()
        self._given.pop(key_of(model_of(self._settings().model)), None)
        await self.start_engine()

    async def foretell(
        self, model: Path, options: EngineOptions, *, afresh: bool = False
    ) -> PlanReport:
        """What a model would do on this machine if it were loaded so; ``afresh``: as the machine is
        now. Raises SelenographError.
        """
        status = self.view.status
        engine = status.pid if status else None
        return await self._forecaster.foretell(model, options, engine, afresh=afresh)

    async def restart_engine(self) -> None:
        if self._fixed is None:
            await self._supervisor.restart()

    async def stop_engine(self) -> None:
        """End it, also while it starts or loads, which is then given up."""
        await self._leave_off()
        await self._supervisor.stop()

    async def close(self) -> None:
        await self._leave_off()
        for backend in (*self._others.values(), *([self._ours] if self._ours else ())):
            await backend.close()
        if self._fixed is not None:
            await self._fixed.close()
        await self._supervisor.stop()

    async def _leave_off(self) -> None:
        """Starting is given up."""
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
            await asyncio.wait([self._starting])

    async def _ready(self) -> None:
        view = self.view
        if view.phase in ("lost", "failed"):
            raise EngineLost("engine_lost", view.message or "the engine is not running", _RESTART)
        if view.phase != "ready":
            await self.start_engine()
        if self.view.phase != "ready":
            message = self.view.message or "the engine did not become ready"
            raise EngineLost("engine_lost", message, self.view.hint or _RESTART)

    async def _engine(self, name: str) -> OpenAIBackend:
        """The connection to our engine, which has another address after each start."""
        root = self._supervisor.url.rstrip("/").removesuffix("/v1")
        at = (root, self._supervisor.token)
        if self._ours is None or self._ours_at != at:
            old = self._ours
            self._ours, self._ours_at = OpenAIBackend(f"{root}/v1", at[1], name, True), at
            if old is not None:
                await old.close()
        return self._ours

    def _other(self, endpoint: Endpoint) -> Backend:
        if endpoint not in self._others:
            self._others[endpoint] = backend_of(endpoint)
        return self._others[endpoint]


def backend_of(endpoint: Endpoint) -> OpenAIBackend | AnthropicBackend:
    """Speaks the endpoint's protocol. Raises ConfigError ``no_key``."""
    name, key = endpoint.title, endpoint.secret()
    made: OpenAIBackend | AnthropicBackend
    if endpoint.form == "anthropic":
        made = AnthropicBackend(
            endpoint.base_url, key, name, endpoint.thinking, endpoint.max_tokens
        )
    else:
        made = OpenAIBackend(endpoint.base_url, key, name, False)
    prices = Prices(endpoint.price_prompt, endpoint.price_completion, endpoint.price_cached)
    made.traits = Traits(context=endpoint.context, prices=prices, model=endpoint.model)
    return made
