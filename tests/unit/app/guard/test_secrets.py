"""What is a secret, and what only looks like one. The secrets are made up here and open nothing."""

from __future__ import annotations

import base64
import random
import re
import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.guard import secrets
from app.guard.secrets import find_secrets, redact_secrets

_WORDS = string.ascii_letters + string.digits


def made(size: int, alphabet: str = _WORDS, seed: int = 7) -> str:
    """Made at run time, so that no scanner takes this file for a leak."""
    return "".join(random.Random(f"{seed}{size}{alphabet}").choices(alphabet, k=size))


def pem() -> str:
    body = base64.b64encode(random.Random(3).randbytes(700)).decode()
    lines = "\n".join(body[i : i + 64] for i in range(0, len(body), 64))
    return f"-----BEGIN RSA PRIVATE KEY-----\n{lines}\n-----END RSA PRIVATE KEY-----"


SECRETS = {
    "private key": pem(),
    "AWS access key": "AKIA" + made(16, string.ascii_uppercase + "234567"),
    "GitHub token": "ghp_" + made(36),
    "GitLab token": "glpat-" + made(20),
    "Anthropic key": "sk-ant-api03-" + made(93),
    "OpenAI key": "sk-proj-" + made(48),
    "Google key": "AIza" + made(35),
    "Slack token": "xoxb-271828182845-314159265358-" + made(24),
    "Stripe key": "sk_live_" + made(24),
    "npm token": "npm_" + made(36),
    "PyPI token": "pypi-AgEIcHlwaS5vcmc" + made(70),
    "Hugging Face token": "hf_" + made(34),
    "Telegram token": "7201938465:AA" + made(33),
    "SendGrid key": f"SG.{made(22)}.{made(43)}",
    "signed token": f"eyJhbGciOiJIUzI1NiJ9.eyJ{made(40)}.{made(43)}",
}


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize(
    "around", ["{}", "key: {}\n", '{{"k": "{}"}}', "export X='{}'; ls", "({})"]
)
def test_secrets_are_found_wherever_they_stand(kind: str, around: str) -> None:
    text = around.format(SECRETS[kind])
    found = find_secrets(text)
    assert [one.kind for one in found] == [kind]
    assert text[found[0].begin : found[0].end] == SECRETS[kind]
    assert SECRETS[kind] not in redact_secrets(text)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("postgres://app:Tr0ub4dor_3x@db.internal/main", "app:Tr0ub4dor_3x"),
        ('password = "c0rrect-H0rse-9battery"', "c0rrect-H0rse-9battery"),
        ("API_KEY=9f8a7c6b5d4e3f2a1b0c9d8e7f6a5b4c", "9f8a7c6b5d4e3f2a1b0c9d8e7f6a5b4c"),
        ("client_secret: 'Zk7~pQ2.xV9_nL4'", "Zk7~pQ2.xV9_nL4"),
        ("Authorization: Bearer " + made(40), made(40)),
    ],
)
def test_passwords_beside_their_names(text: str, secret: str) -> None:
    (found,) = find_secrets(text)
    assert text[found.begin : found.end] == secret


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "password: yourpassword123",
        "password = os.environ['PASSWORD_2']",
        "api_key = settings.api_key2",
        "api_key=${API_KEY_2}",
        "password: ********",
        "const token = getToken();",
        "passwords are stored as bcrypt hashes",
        "secret santa is on 24.12.",
        "The secret: practise 10000 hours",
        "Authorization: Bearer <token>",
        "https://user:password@example.org/",
        "sk-learn-contrib-is-a-python-package",
        "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----",
        "commit 9f8a7c6b5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0a",
        "sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "id 123e4567-e89b-12d3-a456-426614174000",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
        "http://example.org:8080/path?token=short",
        "functions.python:3",
        "eyJhbGciOiJIUzI1NiJ9",
        "max_tokens = 4096, stop_token: 163586",
    ],
)
def test_what_only_looks_like_one_is_let_through(text: str) -> None:
    assert find_secrets(text) == ()


def test_our_own_sources_hold_none() -> None:
    from pathlib import Path

    root = Path(__file__).parents[4]
    found = {
        str(path.relative_to(root)): [one.kind for one in find_secrets(path.read_text("utf-8"))]
        for folder in ("app", "ui", "docs", "engine")
        for path in (root / folder).rglob("*")
        if path.suffix in (".py", ".md", ".json", ".cpp", ".hpp", ".toml")
    }
    assert {name: kinds for name, kinds in found.items() if kinds} == {}
    assert len(found) > 200


@given(st.text(alphabet=st.sampled_from("ghp_-sk:=/@.AIza eyJ\n\"'0aZ"), max_size=300))
def test_spans_are_in_order_and_within(text: str) -> None:
    at = 0
    for one in find_secrets(text):
        assert at <= one.begin < one.end <= len(text)
        at = one.end
    assert redact_secrets(redact_secrets(text)) == redact_secrets(text)


SHAPES = [shape for shape, _ in secrets._PATTERNS]
_TOGETHER = re.compile("|".join(f"(?P<s{i}>{one.pattern})" for i, one in enumerate(SHAPES)))


BESIDE = (
    "password: ", "key=", "Token ", "ſecret=", "sk-", "API-KEY: ", "apı_\u212aey='", "key:=",
    "client_secret =", "auth-token=>", "passwd\u2003=", "authorızation: Bearer ", "tokens=",
    "AUTHORIZATION: token ", "https://", "secretkey", "access_token: ", 'AuthToken "', ":AA",
    "secret_key", "k_live_", "hooks.slack.com", "xox", "gh", "private key",
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.sampled_from((*SECRETS.values(), *BESIDE, " ", "\n", "ß", "İ"))
        | st.text(alphabet="aZ9-_.:=/@", max_size=30),
        max_size=12,
    )
)
def test_hints_find_what_the_patterns_do_everywhere(pieces: list[str]) -> None:
    text = "".join(pieces)
    want = []
    for match in _TOGETHER.finditer(text):
        (index,) = (i for i in range(len(SHAPES)) if match[f"s{i}"] is not None)
        begin, end = match.span("value") if match["value"] is not None else match.span()
        if secrets._looks_real(text[begin:end], SHAPES[index]):
            want.append(secrets.Found(begin, end, SHAPES[index].kind))
    assert find_secrets(text) == tuple(want)


def test_a_long_text_takes_little() -> None:
    """By the processor's time, several times what it takes."""
    line = "Some keys are secret: a token of {n} and https://example.org/{n}?key={n} – task-{n}\n"
    text = "".join(line.format(n=n) for n in range(2000))[:96_000]
    took = []
    for _ in range(15):
        began = time.process_time()
        assert find_secrets(text) == ()
        took.append(time.process_time() - began)
    assert min(took) < 0.01
