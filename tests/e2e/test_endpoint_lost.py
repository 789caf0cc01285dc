"""A process that is killed while its run waits for an endpoint; the terminal's key meanwhile."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app import events as ev
from app.agent.patience import Patience
from app.core import Core
from app.endpoints.config import Endpoint
from app.paths import Paths
from app.settings import Settings, save_settings
from app.terminal.printer import TextPrinter
from app.terminal.run import _follow
from tests.wavering import HALF, Wavering, calls, says

SUM = calls("calculator", '{"expression": "17*23 + 4"}')
SOON = Patience(attempts=2, first=0.001, first_look=0.05, most=0.1)
SELDOM = Patience(attempts=2, first=0.001, first_look=60.0, most=60.0)
RUN = ev.RunSettings(backend="there", tools=("calculator",))
DIES = """
import sys, time
from pathlib import Path
from app import events as ev
from app.agent.patience import Patience
from app.core import Core
from app.paths import Paths
core = Core(Paths.under(Path(sys.argv[1])), patience=Patience(2, 0.001, first_look=0.2))
core.start()
core.subscribe(lambda e: isinstance(e.body, ev.EndpointLost) and print("lost", flush=True))
id = core.create_conversation("t").result()
core.send(id, "What is 17*23 + 4?").result()
time.sleep(600)
"""


@pytest.fixture
def server() -> Iterator[Wavering]:
    made = Wavering([SUM, HALF, says("It is 395.")])
    yield made
    made.go()


def core_at(folder: Path, server: Wavering, patience: Patience) -> Core:
    there = Endpoint("there", server.url, model="m")
    paths = Paths.under(folder)
    paths.make()
    save_settings(paths.settings, Settings(run=RUN, endpoints=(there,)))
    return Core(paths, patience=patience)


def test_a_process_killed_while_waiting_goes_on_where_it_was(
    tmp_path: Path, server: Wavering
) -> None:
    core = core_at(tmp_path, server, SOON)
    with subprocess.Popen(
        [sys.executable, "-c", DIES, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "lost\n"
        child.send_signal(signal.SIGKILL)
    core.start()
    try:
        (found,) = core.conversations().result()
        assert found.interrupted and not found.running
        (turn,) = core.open(found.id).result().turns
        assert turn.status == "stopped" and turn.away is None
        waits, ends = threading.Event(), threading.Event()
        core.subscribe(
            lambda e: (
                waits.set() if isinstance(e.body, ev.EndpointLost)
                else ends.set() if isinstance(e.body, ev.TurnEnd) else None
            )
        )  # fmt: skip
        core.resume(found.id, turn.id).result()
        assert waits.wait(20), "it waits again"
        server.come()
        assert ends.wait(20)
        (turn,) = core.open(found.id).result().turns
        assert (turn.status, turn.answer) == ("answered", "It is 395.")
        bodies = [event.body for event in core.events(found.id).result()]
        assert sum(isinstance(body, ev.ToolStarted) for body in bodies) == 1
        assert sum(isinstance(body, ev.EndpointLost) for body in bodies) == 2
        assert [request["model"] for request in server.asked] == ["m"] * 3
    finally:
        core.close()


def test_enter_tries_it_at_once(
    tmp_path: Path,
    server: Wavering,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    reading, writing = os.pipe()
    core = core_at(tmp_path, server, SELDOM)
    core.start()
    with closing(core), os.fdopen(reading) as keys:
        monkeypatch.setattr(sys, "stdin", keys)
        events: queue.SimpleQueue[ev.Event] = queue.SimpleQueue()
        core.subscribe(events.put)

        def press(event: ev.Event) -> None:
            if isinstance(event.body, ev.EndpointLost):
                server.come()
                os.write(writing, b"\n")

        core.subscribe(press)
        id = core.create_conversation("t").result()
        turn = core.send(id, "What is 17*23 + 4?").result()
        _follow(core, events, id, turn, TextPrinter(), watched=True)
        (found,) = core.open(id).result().turns
        assert (found.status, found.answer) == ("answered", "It is 395.")
    os.close(writing)
    said = capsys.readouterr().err
    assert "Waiting for" in said and "Enter: try it now" in said
    assert "the step begins anew" in said
