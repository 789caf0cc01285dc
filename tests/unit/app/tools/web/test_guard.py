"""Which hosts are refused, and that the address checked is the one connected to."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ToolError
from app.tools.web.fetch import fetch
from app.tools.web.guard import Guard, GuardedTransport, private
from tests.unit.app.tools.web.server import Request, Response, serving


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
        "2002:a00:1::1", "2001:db8::1", "nonsense",
    ],
)  # fmt: skip
def test_private_addresses(address: str) -> None:
    assert private(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses(address: str) -> None:
    assert not private(address)


@given(st.ip_addresses(v=4))
def test_an_address_within_another_is_no_way_in(address: ipaddress.IPv4Address) -> None:
    if private(str(address)):
        packed = int(address)
        assert private(f"::ffff:{address}")
        assert private(str(ipaddress.IPv6Address((0x64FF9B << 96) | packed)))
        assert private(str(ipaddress.IPv6Address((0x2002 << 112) | packed << 80)))


class Names:
    """A resolver that may answer differently each time."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def refused(url: str, names: Names, allowed: tuple[str, ...] = ()) -> str:
    transport = GuardedTransport(Guard(allowed, names))
    try:
        with pytest.raises(ToolError) as caught:
            await fetch(transport, url, seconds=5)
    finally:
        await transport.aclose()
    return caught.value.code


async def test_one_private_address_is_enough_to_refuse() -> None:
    assert await refused("http://x.org/", Names(["8.8.8.8", "127.0.0.1"])) == "private_address"
    assert await refused("http://x.org/", Names([])) == "unknown_host"


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/", "http://localhost:1/", "http://[::1]:1/", "http://127.1:1/",
     "http://2130706433:1/", "http://0x7f.1:1/", "http://LOCALHOST.:1/", "http://0:1/"],
)  # fmt: skip
async def test_every_way_to_write_this_machine(url: str) -> None:
    transport = GuardedTransport(Guard())
    with pytest.raises(ToolError) as caught:
        await fetch(transport, url, seconds=5)
    await transport.aclose()
    assert caught.value.code in ("private_address", "unknown_host", "bad_address")


async def test_a_name_that_changes_its_mind_gains_nothing() -> None:
    """The classic rebinding: public when checked, private when connected to."""
    names = Names(["192.0.2.99"], ["127.0.0.1"])
    transport = GuardedTransport(Guard(("192.0.2.0/24",), names))
    async with serving(lambda request: Response(b"inner")) as server:
        with pytest.raises(ToolError) as caught:
            await fetch(transport, f"http://rebind.org:{server.port}/", seconds=0.5)
        await transport.aclose()
        assert caught.value.code in ("time", "unreachable")
        assert server.requests == []
    assert names.asked == ["rebind.org"]


async def test_the_name_is_kept_for_the_server() -> None:
    names = Names(["127.0.0.1"])
    transport = GuardedTransport(Guard(("x.org",), names))
    async with serving(lambda request: Response(b"hello")) as server:
        found = await fetch(transport, f"http://x.org:{server.port}/a")
        await transport.aclose()
        assert found.data == b"hello"
        assert server.requests[0].headers["host"] == f"x.org:{server.port}"
        assert "cookie" not in server.requests[0].headers


def always(answer: Response) -> Callable[[Request], Response]:
    return lambda request: answer


async def test_a_redirect_is_checked_like_an_address() -> None:
    for target in ("http://127.0.0.1:9/", "file:///etc/passwd", "http://a:b@x.org/", "//[x"):
        names = Names(["127.0.0.1"])
        answer = Response(status=302, headers={"Location": target, "Set-Cookie": "a=b"})
        transport = GuardedTransport(Guard(("x.org",), names))
        async with serving(always(answer)) as server:
            with pytest.raises(ToolError) as caught:
                await fetch(transport, f"http://x.org:{server.port}/")
        await transport.aclose()
        assert caught.value.code in ("private_address", "bad_address", "bad_response")


async def test_dead_addresses_are_passed_over() -> None:
    names = Names(["127.0.0.2", "127.0.0.1"])
    transport = GuardedTransport(Guard(("127.0.0.0/8",), names))
    async with serving(lambda request: Response(b"hello")) as server:
        assert (await fetch(transport, f"http://x.org:{server.port}/")).data == b"hello"
    await transport.aclose()


async def test_tls_is_spoken_with_the_name(tmp_path: Path) -> None:
    server_side, client_side = certificate(tmp_path, "x.org")
    names = Names(["127.0.0.1"])
    async with serving(lambda request: Response(b"hello"), server_side) as server:
        transport = GuardedTransport(Guard(("127.0.0.1",), names), verify=client_side)
        found = await fetch(transport, f"https://x.org:{server.port}/")
        assert found.data == b"hello"
        with pytest.raises(ToolError) as caught:
            await fetch(transport, f"https://y.org:{server.port}/")
        await transport.aclose()
    assert caught.value.code == "unreachable"
    assert "certificate" in caught.value.message


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server with that name and of a client that trusts it alone."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    private_key = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    (folder / "cert.pem").write_bytes(made.public_bytes(pem) + private_key)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(folder / "cert.pem")
    client_side = ssl.create_default_context(cadata=made.public_bytes(pem).decode())
    return server_side, client_side
