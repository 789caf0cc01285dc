"""Which hosts pages may come from. The address that is checked is the one connected to.

A name is resolved once, every address it has is checked, and the connection goes to one of them
with the name kept for Host and TLS: a name that resolves differently the next time gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import cache

import httpx2

from app.errors import ToolError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_CONNECT_SECONDS = 10.0


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, as the system knows them. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def private(text: str) -> bool:
    """Whether an address belongs to this machine, a local network, or nobody."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return True
    inner = _embedded(address)
    if inner is not None and _private(inner):
        return True
    return _private(address) and inner is None


def _private(address: Address) -> bool:
    return not address.is_global or address.is_multicast or address.is_reserved


def _embedded(address: Address) -> Address | None:
    """The IPv4 address within an IPv6 one that leads to it."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


@cache
def _trusted() -> ssl.SSLContext:
    """Reading the system's certificates takes a tenth of a second; once is enough."""
    return httpx2.create_ssl_context(trust_env=False)


class Guard:
    """``allowed``: names, addresses and networks (``10.0.0.0/8``) that are let through anyway."""

    def __init__(self, allowed: Iterable[str] = (), resolve: Resolve = resolve) -> None:
        self._resolve = resolve
        self._names: set[str] = set()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for one in allowed:
            try:
                self._networks.append(ipaddress.ip_network(one, strict=False))
            except ValueError:
                self._names.add(one.lower())

    async def addresses(self, host: str, port: int) -> list[str]:
        """Where to connect. Raises ToolError ``unknown_host`` and ``private_address``."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                found = await self._resolve(host, port)
        except (OSError, UnicodeError, TimeoutError):
            raise ToolError("unknown_host", f"there is no host {host}") from None
        if host.lower().rstrip(".") not in self._names:
            for address in found:
                if private(address) and not self._in_networks(address):
                    raise ToolError(
                        "private_address",
                        f"{host} is on this machine or its local network ({address}); "
                        "such pages are opened only if the user allows it in the settings",
                    )
        if not found:
            raise ToolError("unknown_host", f"there is no host {host}")
        return found

    def _in_networks(self, text: str) -> bool:
        address = ipaddress.ip_address(text.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Connects only where the guard allows it. Connections are not kept: the next name that has
    the same address must not get one that was made for another."""

    def __init__(self, guard: Guard, verify: ssl.SSLContext | bool = True) -> None:
        self._guard = guard
        self._inner = httpx2.AsyncHTTPTransport(
            verify=_trusted() if verify is True else verify,
            trust_env=False,
            limits=httpx2.Limits(max_connections=8, max_keepalive_connections=0),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        trouble: httpx2.HTTPError | None = None
        for address in await self._guard.addresses(url.host, port):
            there = httpx2.Request(
                request.method,
                url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": url.host},
            )
            try:
                return await self._inner.handle_async_request(there)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                trouble = error
        assert trouble is not None
        raise trouble

    async def aclose(self) -> None:
        with suppress(RuntimeError):
            await self._inner.aclose()
