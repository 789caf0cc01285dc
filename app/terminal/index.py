"""``selenograph index``: folders of documents become searchable without a network."""

from __future__ import annotations

import argparse
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import msgspec

from app.cli import ANSWERED, INTERRUPTED
from app.errors import ConfigError, RequestError
from app.paths import Paths
from app.settings import Collection, Settings, load_settings, save_settings
from app.tools.documents.reader import Reader
from app.tools.index.build import Report, build
from app.tools.index.store import IndexStore


def index(arguments: argparse.Namespace) -> int:
    """The exit code. Raises SelenographError."""
    paths = Paths.under(arguments.data) if arguments.data else Paths.default()
    paths.make()
    settings, notice = load_settings(paths.settings)
    if notice:
        print(f"note: {notice.message} {notice.hint}", file=sys.stderr)
    if arguments.remove:
        return _remove(paths, settings, arguments.remove)
    if arguments.list:
        return _list(paths, settings, as_json=arguments.json)
    if arguments.folder is None:
        chosen = settings.collections
        if not chosen:
            raise RequestError(
                "no_collection", "nothing is indexed yet", "selenograph index FOLDER begins it"
            )
    else:
        chosen = (_collection(settings, arguments.folder, arguments.name),)
        if chosen[0] not in settings.collections:
            save_settings(
                paths.settings,
                msgspec.structs.replace(settings, collections=(*settings.collections, *chosen)),
            )
    return _update(paths, chosen, as_json=arguments.json)


def _update(paths: Paths, chosen: tuple[Collection, ...], *, as_json: bool) -> int:
    reader, stopped = Reader(), threading.Event()
    with _stops(reader, stopped):
        try:
            for one in chosen:
                report = build(
                    paths.index, one.name, Path(one.folder), reader, _progress(one), stopped
                )
                _say(one, report, as_json=as_json)
                if not report.complete:
                    return INTERRUPTED
        finally:
            reader.close()
    return ANSWERED


def _say(collection: Collection, report: Report, *, as_json: bool) -> None:
    if as_json:
        found = {"collection": collection.name, "folder": collection.folder, **asdict(report)}
        print(msgspec.json.encode(found).decode(), flush=True)
        return
    end = "" if report.complete else "; stopped, the next update goes on from here"
    print(
        f"{collection.name}: {report.files} documents ({report.added} new, {report.changed} "
        f"changed, {report.removed} removed, {report.unreadable} unreadable) "
        f"in {report.seconds:.1f} s{end}",
        flush=True,
    )
    for path, problem in report.problems:
        print(f"  {path}: {problem}")


def _progress(collection: Collection) -> Callable[[Report], None]:
    def show(report: Report) -> None:
        if sys.stderr.isatty():
            print(f"\r{collection.name}: {report.files} documents", end="\r", file=sys.stderr)

    return show


def _list(paths: Paths, settings: Settings, *, as_json: bool) -> int:
    with IndexStore.open(paths.index) as store:
        for one in settings.collections:
            size = store.size(one.name)
            if as_json:
                found = {"collection": one.name, "folder": one.folder, **asdict(size)}
                print(msgspec.json.encode(found).decode())
                continue
            print(f"{one.name}: {size.documents} documents, {size.passages} passages, {one.folder}")
    return ANSWERED


def _remove(paths: Paths, settings: Settings, name: str) -> int:
    left = tuple(one for one in settings.collections if one.name != name)
    if left == settings.collections:
        raise RequestError("no_collection", f"there is no collection {name!r}")
    with IndexStore.open(paths.index) as store, store.transaction():
        store.remove_unseen(name, store.next_walk())
    save_settings(paths.settings, msgspec.structs.replace(settings, collections=left))
    return ANSWERED


def _collection(settings: Settings, folder: Path, name: str | None) -> Collection:
    """The folder's collection, known or new. Raises RequestError and ConfigError."""
    full = folder.expanduser().resolve()
    if not full.is_dir():
        raise RequestError("no_folder", f"there is no folder {folder}")
    for one in settings.collections:
        if one.folder == str(full) and name in (None, one.name):
            return one
    name = name or re.sub(r"[^a-z0-9]+", "-", full.name.lower()).strip("-") or "documents"
    if not re.fullmatch(r"[\w.-]{1,64}", name):
        raise ConfigError("bad_name", f"{name!r} is no name for a collection", "letters, digits, -")
    if any(one.name == name for one in settings.collections):
        raise ConfigError(
            "name_taken", f"another folder is called {name!r} already", "choose one by --name"
        )
    return Collection(name, str(full))


@contextmanager
def _stops(reader: Reader, stopped: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM end the work after the document at hand."""

    def stop(*_: object) -> None:
        stopped.set()
        # Not here: the signal may have come while the reader's own lock was held.
        threading.Thread(target=reader.stop).start()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
