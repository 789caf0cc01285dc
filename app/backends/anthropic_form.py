"""Our messages and tools in the form of Anthropic's messages API."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from engine.protocol import ChatMessage, ToolCall, ToolSpec

_EMPTY = "(empty)"
"""The protocol takes no text without a character."""
_CACHED = {"type": "ephemeral"}
_ID = re.compile(r"[A-Za-z0-9_-]+")


def system_and_messages(
    messages: Sequence[ChatMessage], seals: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], bool]:
    """(system blocks, messages, whether thinking may be asked for).

    ``seals``: the endpoint whose seals are good here; empty: nothing thought is shown again. A
    thought is shown only under the seal it came with, and where the last calls' is missing, the
    protocol allows no thinking. What system messages say later becomes a user's words; neighbours
    of one role become one message.
    """
    first = 0
    while first < len(messages) and messages[first].role == "system":
        first += 1
    system = [_text(m.content) for m in messages[:first] if (m.content or "").strip()]
    made: list[dict[str, Any]] = []
    whole = True
    for message in messages[first:]:
        role, blocks = _blocks(message, seals)
        if role == "assistant":
            whole = blocks[0]["type"] == "thinking" or not message.tool_calls
        elif message.role == "user" and made and made[-1]["role"] == "assistant":
            whole = True
        if made and made[-1]["role"] == role:
            made[-1]["content"] += blocks
        else:
            made.append({"role": role, "content": blocks})
    if not made or made[0]["role"] != "user":
        made.insert(0, {"role": "user", "content": [_text(_EMPTY)]})
    _mark(system[-1:])
    _mark(made[-1]["content"][-1:])
    return system, made, whole


def tool_list(tools: Sequence[ToolSpec]) -> list[dict[str, Any]]:
    """The tools' names, descriptions and schemas."""
    return [
        {
            "name": tool.function.name,
            "description": tool.function.description,
            "input_schema": {"type": "object", **tool.function.parameters},
        }
        for tool in tools
    ]


def safe_id(id: str) -> str:
    """A call's id with the signs that the protocol allows; different for different ids."""
    if _ID.fullmatch(id):
        return id
    return "x_" + re.sub(r"[^A-Za-z0-9-]", lambda sign: f"_{ord(sign[0]):x}_", id)


def _mark(blocks: list[dict[str, Any]]) -> None:
    """Everything up to here may be kept for the next request."""
    for block in blocks:
        if block["type"] != "thinking":
            block["cache_control"] = _CACHED


def _blocks(message: ChatMessage, seals: str) -> tuple[str, list[dict[str, Any]]]:
    if message.role == "tool":
        result = {
            "type": "tool_result",
            "tool_use_id": safe_id(message.tool_call_id or ""),
            "content": message.content or _EMPTY,
        }
        return "user", [result]
    if message.role != "assistant":
        return "user", [_text(message.content)]
    blocks: list[dict[str, Any]] = []
    origin, _, signature = (message.reasoning_seal or "").partition(" ")
    if message.reasoning_content and origin and origin == seals:
        thinking = {"type": "thinking", "thinking": message.reasoning_content}
        blocks.append({**thinking, "signature": signature} if signature else thinking)
    if (message.content or "").strip():
        blocks.append(_text(message.content))
    blocks += [_call(call) for call in message.tool_calls]
    return "assistant", blocks or [_text(_EMPTY)]


def _text(text: str | None) -> dict[str, Any]:
    return {"type": "text", "text": text if (text or "").strip() else _EMPTY}


def _call(call: ToolCall) -> dict[str, Any]:
    try:
        arguments = json.loads(call.function.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        # As it was refused; the protocol takes objects alone.
        arguments = {"malformed": call.function.arguments}
    name, id = call.function.name, safe_id(call.id)
    return {"type": "tool_use", "id": id, "name": name, "input": arguments}
