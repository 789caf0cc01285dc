"""Messages and tools as clients send them, checked and brought into one form for templates.

Templates differ in what they forgive: ``None`` as content prints "None" in one and nothing in
another. So every message that reaches a template has ``role`` and a string ``content``, and
``reasoning_content``, ``name``, ``tool_calls``, ``tool_call_id`` only where they hold something.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from engine.errors import RequestError

ROLES = ("system", "user", "assistant", "tool")
MAX_MESSAGES = 20_000
MAX_TOOLS = 2_000

Message = dict[str, Any]


def plain_messages(messages: Sequence[Any]) -> list[Message]:
    """Checked copies of OpenAI-form messages (dicts, or ``protocol.ChatMessage`` values).

    Calls without an id get ``functions.NAME:N``, N counting the conversation's calls from 0;
    results without one answer the oldest call still open. Raises RequestError ``bad_messages``.
    """
    if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence):
        raise _bad("messages is not a list")
    if not 0 < len(messages) <= MAX_MESSAGES:
        raise _bad(f"{len(messages)} messages: at least 1, at most {MAX_MESSAGES}")
    plain: list[Message] = []
    calls = 0
    open_ids: list[str] = []
    for index, given in enumerate(messages):
        where = f"messages[{index}]"
        source = _as_mapping(given, where)
        message = _message(source, where)
        if message["role"] == "assistant" and source.get("tool_calls"):
            message["tool_calls"] = _tool_calls(source["tool_calls"], calls, where)
            calls += len(message["tool_calls"])
            open_ids += [call["id"] for call in message["tool_calls"]]
        if message["role"] == "tool":
            message["tool_call_id"] = _answered_id(source, open_ids, where)
        plain.append(message)
    return plain


def plain_tools(tools: Sequence[Any]) -> list[dict[str, Any]]:
    """Tools in the key order the models were shown: type, then name, description, parameters."""
    if isinstance(tools, str | Mapping) or not isinstance(tools, Sequence):
        raise _bad("tools is not a list")
    if len(tools) > MAX_TOOLS:
        raise _bad(f"{len(tools)} tools: at most {MAX_TOOLS}")
    return [_tool(tool, f"tools[{index}]") for index, tool in enumerate(tools)]


def count_calls(messages: Sequence[Message]) -> int:
    """The number the next call's id ends in: past every call so far and every number used."""
    ids = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    tails = [call_id.rpartition(":")[2] for call_id in ids]
    used = [int(tail) for tail in tails if tail.isascii() and tail.isdigit() and len(tail) < 9]
    return max(len(ids), max(used, default=-1) + 1)


def _message(source: Mapping[str, Any], where: str) -> Message:
    role = source.get("role")
    if role not in ROLES:
        raise _bad(f"{where}: role {str(role)[:40]!r} is none of {', '.join(ROLES)}")
    message: Message = {"role": role, "content": _content(source.get("content"), where)}
    for field in ("reasoning_content", "name"):
        value = source.get(field)
        if value is not None:
            message[field] = _text(value, f"{where}.{field}")
    if role != "assistant":
        message.pop("reasoning_content", None)
    return message


def _content(value: object, where: str) -> str:
    """Plain text, or OpenAI's list of text parts joined."""
    if value is None:
        return ""
    if not isinstance(value, list | tuple):
        return _text(value, f"{where}.content")
    texts: list[str] = []
    for part in value:
        if not isinstance(part, Mapping) or part.get("type") != "text":
            raise _bad(f"{where}.content holds a part that is not text")
        texts.append(_text(part.get("text"), f"{where}.content text"))
    return "".join(texts)


def _tool_calls(value: object, first: int, where: str) -> list[dict[str, Any]]:
    if not isinstance(value, list | tuple):
        raise _bad(f"{where}.tool_calls is not a list")
    calls: list[dict[str, Any]] = []
    for offset, given in enumerate(value):
        at = f"{where}.tool_calls[{offset}]"
        source = _as_mapping(given, at)
        function = _as_mapping(source.get("function"), f"{at}.function")
        name = _text(function.get("name"), f"{at}.function.name")
        arguments = function.get("arguments", "")
        if isinstance(arguments, Mapping):
            arguments = json.dumps(arguments, ensure_ascii=False)
        call_id = source.get("id") or f"functions.{name}:{first + offset}"
        calls.append(
            {
                "id": _text(call_id, f"{at}.id"),
                "type": "function",
                "function": {
                    "name": name,
                    "arguments": _text(arguments, f"{at}.function.arguments"),
                },
            }
        )
    return calls


def _answered_id(source: Mapping[str, Any], open_ids: list[str], where: str) -> str:
    call_id = source.get("tool_call_id")
    if call_id is None:
        if not open_ids:
            raise _bad(f"{where}: a tool result that answers no call")
        return open_ids.pop(0)
    call_id = _text(call_id, f"{where}.tool_call_id")
    if call_id in open_ids:
        open_ids.remove(call_id)
    return call_id


def _tool(given: object, where: str) -> dict[str, Any]:
    source = _as_mapping(given, where)
    function = _as_mapping(source.get("function"), f"{where}.function")
    _text(function.get("name"), f"{where}.function.name")
    known = ("name", "description", "parameters")
    ordered = {key: function[key] for key in known if key in function}
    others = {key: value for key, value in function.items() if key not in (*known, "strict")}
    ordered |= others
    return {"type": "function", "function": ordered}


def _as_mapping(value: object, where: str) -> Mapping[str, Any]:
    if isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value)
    if not isinstance(value, Mapping):
        raise _bad(f"{where} is not an object")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise _bad(f"{where} is not a string")
    return value


def _bad(what: str) -> RequestError:
    return RequestError("bad_messages", what)
