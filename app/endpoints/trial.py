"""Trying an endpoint: what it lists, how fast it answers, whether it thinks and calls tools."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.backends import base
from app.endpoints.config import Endpoint, check_endpoint
from app.endpoints.serving import backend_of
from app.errors import BackendError, ConfigError
from engine.protocol import ChatMessage, FunctionSpec, ToolSpec

SECONDS = 90.0
"""A large model on a processor takes its time to begin."""
_TOKENS = 2_048
_THINKING = 1_024
_WORD = "selene"
_TOOL = ToolSpec(
    FunctionSpec(
        "ping",
        "Answers with the same word.",
        {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    )
)
_CALL_MARKS = ("<tool_call", "[TOOL_CALL", "<function=")
"""Of other models' formats; markers of K2's are read wherever they come through."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The models that an endpoint says it has. ``told`` False: it has no such list."""

    models: tuple[str, ...]
    milliseconds: float
    """There and back."""
    told: bool = True


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one small request. ``reasoning``: it thought, and told it from the answer;
    ``streams``: piece by piece; ``called``: the tool, with arguments that fit.
    """

    model: str
    first_ms: float
    seconds: float
    reasoning: bool
    streams: bool
    called: bool
    advice: str = ""
    """What to change at the server where something does not work."""


async def list_models(endpoint: Endpoint) -> Listing:
    """Raises ConfigError ``endpoint``, ``no_key``; BackendError."""
    async with _opened(endpoint) as backend:
        began = time.monotonic()
        try:
            models = await backend.models()
        except BackendError as error:
            if error.code not in ("http_404", "http_405", "404", "405", "not_found_error"):
                raise
            return Listing((), (time.monotonic() - began) * 1000, told=False)
        return Listing(models, (time.monotonic() - began) * 1000)


async def try_model(endpoint: Endpoint) -> Trial:
    """Ask the endpoint's model to call a tool; a few hundred tokens, which may cost something.

    Raises as :func:`list_models`, and BackendError ``too_slow``.
    """
    if not endpoint.model:
        raise ConfigError("endpoint", "say which model is to be asked", "choose one that it lists")
    async with _opened(endpoint) as backend:
        try:
            async with asyncio.timeout(SECONDS):
                return await _ask(backend, endpoint.model)
        except TimeoutError:
            message = f"{endpoint.title} did not finish a small request within {SECONDS:g} s"
            raise BackendError("too_slow", message, "look at what the server is doing") from None


@asynccontextmanager
async def _opened(endpoint: Endpoint) -> AsyncIterator[base.Listed]:
    check_endpoint(endpoint)
    backend = backend_of(endpoint)
    try:
        yield backend
    finally:
        await backend.close()


async def _ask(backend: base.Backend, model: str) -> Trial:
    asked = f"Call the tool ping with the word {_WORD}. Say nothing else."
    request = base.ModelRequest(
        (ChatMessage("user", asked),),
        (_TOOL,),
        model,
        base.Sampling(max_tokens=_TOKENS),
        thinking=_THINKING,
    )
    began = time.monotonic()
    first = 0.0
    thoughts: list[str] = []
    said: list[str] = []
    name, arguments = "", ""
    pieces, leaked = 0, False
    async for event in backend.stream(request):
        if isinstance(event, base.Finished):
            break
        if isinstance(event, base.Problem):
            leaked = leaked or event.code == "leaked_markers"
            continue
        first = first or time.monotonic()
        pieces += 1
        if isinstance(event, base.ReasoningDelta):
            thoughts.append(event.text)
        elif isinstance(event, base.TextDelta):
            said.append(event.text)
        elif isinstance(event, base.CallBegin):
            name = name or event.name
        elif isinstance(event, base.CallDelta):
            arguments += event.text
    text = "".join(said)
    thought, called = bool("".join(thoughts).strip()), name == "ping" and _fits(arguments)
    return Trial(
        model,
        ((first or time.monotonic()) - began) * 1000,
        time.monotonic() - began,
        thought,
        pieces > 2,
        called,
        _advice(text, leaked, called),
    )


def _fits(arguments: str) -> bool:
    try:
        found = json.loads(arguments)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and isinstance(found.get("word"), str)


def _advice(text: str, leaked: bool, called: bool) -> str:
    """What to change at the server: what should stand apart stood in the answer's text."""
    found = []
    if leaked:
        found.append(
            "Markers of the model's format come through as text. They are read, but give the "
            "server a reasoning parser and a tool-call parser."
        )
    if not called and any(mark in text for mark in _CALL_MARKS):
        found.append("The model calls within its answer: give the server a tool-call parser.")
    return " ".join(found)
