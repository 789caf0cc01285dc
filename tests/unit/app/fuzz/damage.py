"""Streams and model outputs as no endpoint and no model should write them, drawn by a seed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.unit.app.backends import test_anthropic_http as anthropic
from tests.unit.app.backends import test_openai_http as openai

JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 2**70, 1e308, "", "x", "\ud800", "\x00", "ü🌍", [], {}, [[]], [None],
    {"a": {"b": []}}, "9" * 400, {"type": "text"}, ["tool_use"], "message_stop",
)  # fmt: skip
ERRORS: tuple[Any, ...] = (
    {"error": {"message": "boom"}}, {"error": "boom"}, {"error": {}}, {"error": [1]},
    {"error": {"type": "overloaded_error", "message": None}}, {"error": {"code": 1.5}},
    {"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}, {"detail": "no"},
    {"error": {"message": {"a": 1}, "code": "x"}}, {"error": True}, {"error": 0},
)  # fmt: skip
STATUS = (
    "400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found", "408 Timeout",
    "413 Too Large", "422 Odd", "429 Slow Down", "500 Oops", "502 Bad", "503 Busy", "529 Busy",
    "204 Nothing", "302 Elsewhere\r\nLocation: /v1/messages", "299 Odd",
    "429 Slow\r\nRetry-After: 0", "503 Busy\r\nRetry-After: soon", "429 x\r\nRetry-After: -1",
)  # fmt: skip
DEEP = b"[" * 3_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What a server sends: a head and a body in pieces, or nothing but signs of life."""

    kind: str
    head: bytes
    pieces: tuple[bytes, ...] = ()
    abort: bool = False
    sign: bytes | None = None
    """Sent again and again; empty: silence."""


def plan(chance: random.Random, form: str) -> Plan:
    """One damaged stream. ``form``: "openai" or "anthropic"."""
    kinds = list(KINDS)
    weights = [1.0 if kind == "slow" else 5.0 for kind in kinds]
    kind = chance.choices(kinds, weights)[0]
    return KINDS[kind](chance, _stream(form))


def _stream(form: str) -> list[Any]:
    source = openai.OURS if form == "openai" else anthropic.WHOLE
    lines = [line[6:] for line in source.decode().split("\r\n") if line]
    text = '"calculator"', '"echo"'
    return [json.loads(line.replace(*text)) for line in lines if line != "[DONE]"]


def _sse(events: list[Any], end: bytes = b"\n\n") -> bytes:
    lines = [json.dumps(e).encode() for e in events]
    return b"".join(b"data: " + line + end for line in lines) + b"data: [DONE]" + end


def _head(status: str = "200 OK", **more: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: text/event-stream", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _cut(chance: random.Random, body: bytes) -> tuple[bytes, ...]:
    """In pieces, at whatever byte."""
    places = sorted(chance.randrange(len(body) + 1) for _ in range(chance.randrange(6)))
    return tuple(body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True))


def _sent(kind: str, chance: random.Random, body: bytes, head: bytes | None = None) -> Plan:
    abort = chance.random() < 0.2
    return Plan(kind, head or _head(), _cut(chance, body), abort)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    pairs: Any = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    for key, inner in pairs:
        found += _places(inner, (*path, key))
    return found


def _truncated(chance: random.Random, events: list[Any]) -> Plan:
    body = _sse(events)
    return _sent("truncated", chance, body[: chance.randrange(len(body))])


def _wrong_types(chance: random.Random, events: list[Any]) -> Plan:
    events = copy.deepcopy(events)
    for _ in range(chance.randint(1, 3)):
        *way, last = chance.choice(_places(events))
        place = events
        for key in way:
            place = place[key]
        if chance.random() < 0.3:
            del place[last]
        else:
            place[last] = chance.choice(JUNK)
        if not events:
            break
    return _sent("wrong types", chance, _sse(events))


def _shuffled(chance: random.Random, events: list[Any]) -> Plan:
    events = [e for e in events for _ in range(chance.choice((0, 1, 1, 1, 2)))]
    if chance.random() < 0.5:
        chance.shuffle(events)
    return _sent("shuffled", chance, _sse(events))


def _error_inside(chance: random.Random, events: list[Any]) -> Plan:
    events.insert(chance.randrange(len(events) + 1), chance.choice(ERRORS))
    return _sent("error inside", chance, _sse(events))


def _whole_error(chance: random.Random, events: list[Any]) -> Plan:
    error = json.dumps(chance.choice(ERRORS)).encode()
    return _sent("error as JSON", chance, error, _head(chance.choice(("200 OK", *STATUS))))


def _status(chance: random.Random, events: list[Any]) -> Plan:
    bodies = (b"", b"<html>no</html>", b"\xff\xfe\x00", DEEP, b"null", b'"x"', _sse(events))
    return _sent("status", chance, chance.choice(bodies), _head(chance.choice(STATUS)))


def _huge(chance: random.Random, events: list[Any]) -> Plan:
    text = "x" * 200_000
    huge = (
        b"data: " + text.encode() * 3,
        _sse([*events[:2], {"choices": [{"delta": {"content": text}}]}] * 6),
        (b": still here\n\n" * 30_000),
        _sse([{"type": "ping"}] * 20_000),
        b"data: " + DEEP * 30 + b"\n\n",
    )
    return _sent("huge", chance, chance.choice(huge))


def _encoding(chance: random.Random, events: list[Any]) -> Plan:
    raw = [json.dumps(e, ensure_ascii=False) for e in events]
    text = "".join(f"data: {line}\n\n" for line in raw)
    name = chance.choice(("utf-16", "utf-16-le", "latin-1", "utf-8-sig", "cp500", "shift-jis"))
    return _sent("encoding", chance, text.encode(name, "replace"))


def _flipped(chance: random.Random, events: list[Any]) -> Plan:
    body = bytearray(_sse(events))
    for _ in range(chance.randint(1, 12)):
        body[chance.randrange(len(body))] = chance.randrange(256)
    return _sent("flipped", chance, bytes(body))


def _noise(chance: random.Random, events: list[Any]) -> Plan:
    body = chance.randbytes(chance.randrange(2_000))
    return _sent("noise", chance, body if chance.random() < 0.5 else b"data: " + body + b"\n\n")


def _framing(chance: random.Random, events: list[Any]) -> Plan:
    body = _sse(events)
    chunked = b"%x\r\n%s\r\n" % (len(body), body)
    frames = (
        (_head(Content_Encoding="gzip"), body),
        (_head(Content_Encoding="br, gzip"), body),
        (_head(Content_Length=str(len(body) + 9)), body),
        (_head(Content_Length="7"), body),
        (_head(Content_Length="-7"), body),
        (_head(Transfer_Encoding="chunked"), body),
        (_head(Transfer_Encoding="chunked"), chunked),
        (_head(Transfer_Encoding="chunked"), b"fffffffff\r\n" + body),
        (b"HTTP/9.9 what\r\n\r\n", body),
        (b"", body),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n", body),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b""),
        (_head(Content_Type="text/event-stream; charset=utf-7"), body),
    )
    head, sent = chance.choice(frames)
    return _sent("framing", chance, sent, head)


def _lines(chance: random.Random, events: list[Any]) -> Plan:
    end = chance.choice((b"\n", b"\r\n\r\n", b"\r\r", b"\n\n\n\n", b"", b" \n"))
    body = _sse(events, end)
    if chance.random() < 0.5:
        body = body.replace(b"data: ", chance.choice((b"data:", b" data: ", b"DATA: ", b"event: ")))
    return _sent("lines", chance, body)


def _slow(chance: random.Random, events: list[Any]) -> Plan:
    signs = (
        b"",
        b": alive\n\n",
        b'data: {"type": "ping"}\n\n',
        b"\n",
        b'data: {"choices": []}\n\n',
    )
    return Plan("slow", _head(), (), False, chance.choice(signs))


KINDS: dict[str, Callable[[random.Random, list[Any]], Plan]] = {
    "truncated": _truncated,
    "wrong types": _wrong_types,
    "shuffled": _shuffled,
    "error inside": _error_inside,
    "error as JSON": _whole_error,
    "status": _status,
    "huge": _huge,
    "encoding": _encoding,
    "flipped": _flipped,
    "noise": _noise,
    "framing": _framing,
    "lines": _lines,
    "slow": _slow,
}

# -- model outputs -----------------------------------------------------------------------------

MARKERS = (
    "<think>", "</think>", "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>",
    "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>", "<|im_end|>",
    "<|im_user|>", "<|im_middle|>", "[EOS]", "[BOS]",
)  # fmt: skip
WORDS = (
    "functions.echo:0", "functions.echo:0", "functions.nothing:7", "functions.echo", "echo:1",
    "functions.:0", ":", '{"x": "12"}', '{"x": 12}', '{"x": ', "{}", "[]", "null", '"x"', "{'x'",
    '{"x": "a", "x": "b"}', '{"x": NaN}', '{"x": "\\ud800"}', "[" * 200, '{"x": ' * 60, "so", " ",
    "\n", "é", "<|tool_call_section_begin|>", "<|tool", "_call_begin|>", "It is 12.", "\x00", "🌍",
    "functions.fail:2", '{"x": "no such file"}', "functions.echo:999999999999", "9" * 400,
)  # fmt: skip
VALID = (
    "so it is</think>", "<|tool_calls_section_begin|>", "<|tool_call_begin|>", "functions.echo:0",
    "<|tool_call_argument_begin|>", '{"x": "12"}', "<|tool_call_end|>",
    "<|tool_calls_section_end|>", "<|im_end|>",
)  # fmt: skip


def output(chance: random.Random) -> str:
    """One damaged model output, markers and all."""
    if chance.random() < 0.5:
        parts = list(VALID)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(parts))
            match chance.randrange(5):
                case 0:
                    del parts[at]
                case 1:
                    parts.insert(at, chance.choice((*MARKERS, *WORDS)))
                case 2:
                    parts[at] = parts[at][: chance.randrange(len(parts[at]) + 1)]
                case 3:
                    parts[at : at + 1] = parts[max(0, at - 3) : at + 1] * 2
                case 4:
                    other = chance.randrange(len(parts))
                    parts[at], parts[other] = parts[other], parts[at]
            if not parts:
                break
        return "".join(parts)
    return "".join(chance.choice((*MARKERS, *WORDS)) for _ in range(chance.randrange(40)))
