"""An MCP server of the older protocol by hand, with the standard library alone: quick to start."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

TOOLS = ["add", "ask", "slow", "crash", "grow", "garbage", "environment", "nonsense"]
_lock = threading.Lock()


def send(**message: Any) -> None:
    with _lock:
        print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def log(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def main() -> None:
    waiting: dict[Any, Any] = {}
    for line in sys.stdin:
        message = json.loads(line)
        method, id = message.get("method"), message.get("id")
        if method == "initialize":
            info = {"name": "plain", "version": "1"}
            capabilities = {"tools": {"listChanged": True}}
            version = message["params"]["protocolVersion"]
            result = {"protocolVersion": version, "capabilities": capabilities, "serverInfo": info}
            send(id=id, result=result)
        elif method == "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
            send(id=id, result={"tools": tools})
        elif method == "tools/call":
            waiting[id] = message["params"]
            call(id, message["params"]["name"], message["params"].get("arguments") or {})
        elif method == "notifications/cancelled":
            log(f"cancelled {waiting[message['params']['requestId']]['name']}")
        elif method is None:
            name = (message["result"].get("content") or {}).get("name", "")
            said(message["id"].removeprefix("ask-"), f"{message['result']['action']} {name}")
        elif id is not None:
            send(id=id, error={"code": -32601, "message": f"no method {method}"})


def said(id: str, text: str) -> None:
    send(id=int(id), result={"content": [{"type": "text", "text": text}]})


def call(id: int, name: str, arguments: dict[str, Any]) -> None:
    match name:
        case "add":
            said(str(id), str(arguments["a"] + arguments["b"]))
        case "ask":
            schema = {"type": "object", "properties": {"name": {"type": "string"}}}
            params = {"message": "Your name?", "requestedSchema": schema}
            send(id=f"ask-{id}", method="elicitation/create", params=params)
        case "slow":
            log("slow began")
        case "crash":
            log("crashing")
            os._exit(3)
        case "grow":
            TOOLS.append("grown")
            send(method="notifications/tools/list_changed")
            said(str(id), "grew")
        case "garbage":
            print(
                "not JSON\n{}\n[]\n" + '{"jsonrpc": "2.0", "id": 99999, "result": {}}', flush=True
            )
            said(str(id), "after garbage")
        case "environment":
            said(str(id), " ".join(sorted(os.environ)))
        case "nonsense":
            send(id=id, result={"content": "no list"})
        case _:
            said(str(id), name)


if __name__ == "__main__":
    main()
    if "--stubborn" in sys.argv:
        time.sleep(600)
