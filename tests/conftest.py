"""What every test shares: options, skips, and the check that nothing is left running."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator

import psutil
import pytest

# Windows stay off the screen unless the caller names a platform, as the end-to-end run does.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run tests marked slow")
    parser.addoption("--third-party", action="store_true", help="also run those marked third_party")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow; run with --slow"))
    if not config.getoption("--third-party"):
        for item in items:
            if item.get_closest_marker("third_party"):
                reason = "another project's server; make test-third-party"
                item.add_marker(pytest.mark.skip(reason=reason))
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu and not _cuda():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session", autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Fail the session if a test leaves a thread that holds up the exit, or a process."""
    yield
    threads = [
        thread
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and not thread.daemon
    ]
    assert not threads, f"threads left behind: {threads}"
    helpers = {child.pid for child in multiprocessing.active_children()}
    left = [child for child in psutil.Process().children() if child.pid not in helpers]
    _, alive = psutil.wait_procs(left, timeout=5)
    assert not alive, f"processes left behind: {[(p.pid, p.cmdline()) for p in alive]}"
