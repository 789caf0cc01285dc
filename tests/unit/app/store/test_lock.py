from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.errors import ResourceError, StoreError
from app.store.lock import WindowLock

_CHILD = """
import sys
from pathlib import Path
from app.store.lock import WindowLock
lock = WindowLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_one_window_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "window.lock"
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(ResourceError) as caught:
            WindowLock(path)
        assert caught.value.code == "second_instance"
        assert str(child.pid) in caught.value.message
        child.kill()
    lock = WindowLock(path)
    assert path.read_text() == str(os.getpid())
    lock.release()
    lock.release()
    WindowLock(path).release()


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        WindowLock(tmp_path / "missing" / "window.lock")
