"""Endpoints as a person describes them, and what such a description has to keep to."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from app.errors import ConfigError

Form = Literal["openai", "anthropic"]
Thinking = Literal["budget", "adaptive", "off"]

LARGEST_CONTEXT = 100_000_000
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_LONGEST_NAME = 60


class Endpoint(msgspec.Struct, frozen=True):
    """A remote endpoint; ``id`` is what ``RunSettings.backend`` names."""

    id: str
    base_url: str
    name: str = ""
    model: str = ""
    key: str = ""
    """The file is readable by its owner alone."""
    key_env: str = ""
    """An environment variable that holds the key; then ``key`` is not looked at."""
    context: int = 0
    """Tokens that its model's context holds; 0: not known."""
    price_prompt: float = 0.0
    """Per million tokens, as the other two; 0: free, or nobody counts."""
    price_completion: float = 0.0
    price_cached: float | None = None
    """Of prompt tokens that were in the endpoint's cache; None: as the others."""
    form: Form = "openai"
    """The protocol: OpenAI's chat completions or Anthropic's messages."""
    thinking: Thinking = "budget"
    """Anthropic's form: how thinking is asked for; newer models want ``adaptive``."""
    max_tokens: int = 0
    """Anthropic's form: tokens of a reply that a run leaves open; 0: 32,000."""

    @property
    def title(self) -> str:
        """For people and for the record; never holds a secret."""
        return self.name or self.base_url.rpartition("@")[2] or self.id

    def secret(self) -> str:
        """The key; empty: none is sent. Raises ConfigError ``no_key``."""
        if not self.key_env:
            return self.key
        found = os.environ.get(self.key_env, "").strip()
        if not found:
            raise ConfigError(
                "no_key",
                f"{self.title}: the environment variable {self.key_env} is not set",
                "set it and start the program again, or keep the key in the settings",
            )
        return found


@dataclass(frozen=True, slots=True)
class Preset:
    """What is known of a server or service; ``advice`` is for whoever starts the server."""

    title: str
    endpoint: Endpoint
    advice: str = ""


def _local(title: str, port: int, advice: str) -> Preset:
    return Preset(title, Endpoint("", f"http://127.0.0.1:{port}/v1", title), advice)


_PARSERS = "--tool-call-parser kimi_k2 --reasoning-parser kimi_k2"
PRESETS = (
    _local(
        "vLLM",
        8000,
        f"For Kimi K2 Thinking, start it with --enable-auto-tool-choice {_PARSERS}.",
    ),
    _local("SGLang", 30000, f"For Kimi K2 Thinking, start it with {_PARSERS}."),
    _local(
        "KTransformers",
        30000,
        f"It serves through SGLang: start it with {_PARSERS}, and put its --port here.",
    ),
    _local("llama.cpp", 8080, "Start llama-server with --jinja, or it calls no tools."),
    Preset(
        "Moonshot",
        Endpoint(
            "",
            "https://api.moonshot.ai/v1",
            "Moonshot",
            "kimi-k2-thinking",
            key_env="MOONSHOT_API_KEY",
            context=262_144,
        ),
    ),
    Preset(
        "OpenRouter",
        Endpoint(
            "",
            "https://openrouter.ai/api/v1",
            "OpenRouter",
            "moonshotai/kimi-k2-thinking",
            key_env="OPENROUTER_API_KEY",
        ),
    ),
    Preset(
        "Anthropic",
        Endpoint(
            "",
            "https://api.anthropic.com",
            "Anthropic",
            key_env="ANTHROPIC_API_KEY",
            form="anthropic",
        ),
        "Newer models want their thinking asked for as “adaptive”.",
    ),
)


def check_endpoint(endpoint: Endpoint, others: Iterable[Endpoint] = ()) -> None:
    """Raises ConfigError ``endpoint`` where nothing good can come of it; reaches nobody."""
    _check_address(endpoint.base_url)
    name = endpoint.name
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise _wrong(f"a name has at most {_LONGEST_NAME} letters, on one line")
    if any(one.title == endpoint.title for one in others if one.id != endpoint.id):
        raise _wrong(f"there is an endpoint called “{endpoint.title}” already")
    if endpoint.key_env and not _VARIABLE.fullmatch(endpoint.key_env):
        raise _wrong(
            "this is no name of an environment variable",
            "its name belongs here, as in MOONSHOT_API_KEY, not the key itself",
        )
    if not endpoint.key.isascii() or any(sign.isspace() for sign in endpoint.key):
        raise _wrong("the key holds blanks or signs that no key has", "paste it again")
    if not 0 <= endpoint.context <= LARGEST_CONTEXT:
        raise _wrong("the context window is a number of tokens, or 0 where it is not known")
    if not 0 <= endpoint.max_tokens <= LARGEST_CONTEXT:
        raise _wrong("the longest reply is a number of tokens, or 0")
    prices = (endpoint.price_prompt, endpoint.price_completion, endpoint.price_cached or 0.0)
    if not all(math.isfinite(price) and 0 <= price <= 1e6 for price in prices):
        raise _wrong("a price is a number from 0 on, per million tokens")


def _check_address(address: str) -> None:
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise _wrong(f"this is no address: {error}") from None
    if parts.scheme not in ("http", "https") or not host or any(map(str.isspace, address)):
        raise _wrong("an address begins with http:// or https:// and names a host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise _wrong("the address holds more than a place", "keys belong into their own field")


def caution(endpoint: Endpoint) -> str:
    """What a person may want to think over; empty: nothing."""
    parts = urlsplit(endpoint.base_url)
    if parts.scheme == "http" and (endpoint.key or endpoint.key_env) and not _near(parts.hostname):
        return "The key goes over the network unencrypted: use https:// if the server has it."
    return ""


def _near(host: str | None) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def new_id(name: str, taken: Iterable[str]) -> str:
    """An id like the name that is not taken and not that of our own engine."""
    known = {"local", *taken}
    base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:32] or "endpoint"
    found, number = base, 1
    while found in known:
        number += 1
        found = f"{base}-{number}"
    return found


def _wrong(message: str, hint: str = "") -> ConfigError:
    return ConfigError("endpoint", message, hint)
