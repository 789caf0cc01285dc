"""``python -m engine``: the engine process.

Prints one JSON ready line on stdout, logs to stderr, ends when stdin does. The token comes in the
environment (``SELENOGRAPH_TOKEN``), where other users cannot read it, unlike the command line.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable

import msgspec
import uvicorn

from engine.errors import RequestError, ResourceError, SelenographError
from engine.protocol import LoadRequest, Ready, SnapshotOptions


def main() -> int:
    """Run until stdin ends or a signal comes. Exit code 1 with one line on stderr on failure."""
    args = _parser().parse_args()
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    token = os.environ.pop("SELENOGRAPH_TOKEN", "")
    try:
        if len(token) < 16:
            raise RequestError(
                "no_token", "SELENOGRAPH_TOKEN is not set to at least 16 characters",
                "start the engine through `selenograph serve`",
            )  # fmt: skip
        listener = _listen(args.port)
    except SelenographError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    _serve(listener, token, args)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine", description="The Selenograph engine.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--model", help="checkpoint folder to load at start")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--experts", choices=("auto", "native", "reference"), default="auto")
    parser.add_argument("--threads", type=int, default=0, help="0: one per physical core")
    parser.add_argument("--isa", default="auto", help="instruction set of the kernels, e.g. avx2")
    parser.add_argument("--mode", choices=("auto", "exact", "fast"), default="auto")
    parser.add_argument("--dense", choices=("auto", "published", "int8", "int4"), default="auto")
    parser.add_argument(
        "--expert-memory-bytes",
        type=int,
        help="0: the system decides what stays in memory; without a word: by the free memory",
    )
    parser.add_argument("--cache-bytes", type=int, default=0, help="0: by the free memory")
    parser.add_argument("--cache-form", choices=("auto", "float32", "bf16", "int8"), default="auto")
    parser.add_argument("--snapshots", metavar="DIR", help="keep pages of the cache on disk")
    return parser


def _listen(port: int) -> socket.socket:
    """A listening socket on loopback. Raises ResourceError ``port_taken``."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ResourceError(
            "port_taken",
            f"cannot listen on port {port}: {error}",
            "choose another port, or 0 for a free one",
        ) from error
    return listener


def _serve(listener: socket.socket, token: str, args: argparse.Namespace) -> None:
    # Threads that wait for each other must sleep: spinning ones starve the expert workers and
    # everybody else on the machine. OpenMP reads this once, when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Imported late: argument and port errors should not wait for torch.
    from engine.checkpoint.report import inspect_folder
    from engine.placement.report import answer
    from engine.runtime.loop import EngineThread
    from engine.server.http import build_app

    port = listener.getsockname()[1]
    engine = EngineThread()
    engine.start()
    app = build_app(engine, inspect_folder, answer, token, port)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    if args.model:
        room = args.expert_memory_bytes
        engine.load(
            LoadRequest(
                args.model,
                dtype=args.dtype,
                experts=args.experts,
                threads=args.threads,
                expert_memory_bytes=room if room is None else max(room, 0),
                isa=args.isa,
                mode=args.mode,
                dense=args.dense,
                cache_bytes=max(args.cache_bytes, 0),
                cache_form=args.cache_form,
                snapshots=SnapshotOptions(args.snapshots) if args.snapshots else None,
            )
        )
    print(msgspec.json.encode(Ready(port, os.getpid())).decode(), flush=True)

    def leave() -> None:
        # Replies in flight end now, so that open streams do not hold up the shutdown.
        engine.unload()
        server.should_exit = True

    threading.Thread(target=_wait_for_eof, args=(leave,), name="stdin", daemon=True).start()
    try:
        server.run(sockets=[listener])
    finally:
        engine.close()


def _wait_for_eof(leave: Callable[[], None]) -> None:
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    leave()


if __name__ == "__main__":
    sys.exit(main())
