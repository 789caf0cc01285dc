"""Artefacts on screen: bytes of any kind, and a picture of their own."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QLabel, QPushButton
from pytestqt.qtbot import QtBot

from app import events as ev
from app.events import Event, RunSettings
from app.state import ConversationState, fold_all
from ui.chat.artefacts import Gallery, prepare
from ui.chat.changes import DiffText
from ui.chat.view import ChatView


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * width) * height if width < 1000 else b"")
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


MEDIA = st.sampled_from(["image/png", "image/jpeg", "text/csv", "text/html"])


@pytest.mark.qt_log_ignore("libpng", "JPEG", "QImage", "Corrupt", "Not a")
@given(MEDIA, st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes(media: str, data: bytes) -> None:
    for body in (data, png(4, 4)[: len(data)] + data):
        shown = prepare(media, body)
        assert isinstance(shown, QImage | str)
        if isinstance(shown, str):
            assert "<script" not in shown.lower() and "<img" not in shown.lower()


def test_what_is_shown() -> None:
    shown = prepare("image/png", png(30, 20))
    assert isinstance(shown, QImage) and (shown.width(), shown.height()) == (30, 20)
    assert prepare("image/png", png(60_000, 60_000)) == ""
    assert prepare("image/png", None) == ""
    assert prepare("text/csv", b'a,"<b>"\n1,2\n') == (
        "<table><tr><th>a</th><th>&lt;b&gt;</th></tr><tr><td>1</td><td>2</td></tr></table>"
    )
    html = (
        b"<style>x</style><script>go()</script><img src='http://x/y'>"
        b"<table onclick='go()' style='background:url(http://x)'><tr><td>1</td></tr></table>"
        b"<a href='http://x'>link</a>"
    )
    cleaned = prepare("text/html", html)
    assert isinstance(cleaned, str)
    assert "<td>1</td>" in cleaned and "http" not in cleaned and "go()" not in cleaned


def state_with(*bodies: ev.Body) -> ConversationState:
    begun: tuple[ev.Body, ...] = (
        ev.ConversationCreated("t"),
        ev.TurnBegin("turn", None, "go", RunSettings()),
        ev.StepBegin(0),
        ev.ToolProposed("call", "edit_file", '{"path": "f.txt"}'),
    )
    return fold_all(
        Event(n, float(n), "c", body, "turn", "step") for n, body in enumerate((*begun, *bodies), 1)
    )


CHANGE = ev.FileChanged("call", "id", "f.txt", "b", "a", "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y")


@pytest.fixture
def view(qtbot: QtBot) -> ChatView:
    made = ChatView()
    qtbot.addWidget(made)
    made.resize(600, 500)
    made.set_gallery(Gallery(lambda blob: png(30, 20), made))
    made.show()
    return made


def test_the_difference_is_shown_before_and_after(view: ChatView, qtbot: QtBot) -> None:
    asked = ev.ApprovalAsked("call", "Change f.txt?", "write", CHANGE.diff)
    view.set_state(state_with(asked))
    (diff,) = [one for one in view.findChildren(DiffText) if one.isVisible()]
    assert diff.toPlainText() == CHANGE.diff
    ended = ev.ToolEnded("call", "ok", "changed")
    view.set_state(state_with(CHANGE, ended))
    (undo,) = [b for b in view.findChildren(QPushButton, "undoChange") if b.isVisible()]
    with qtbot.waitSignal(view.undoAsked) as asked_for:
        undo.click()
    assert asked_for.args == ["id"]
    view.set_state(state_with(CHANGE, ended, ev.FileRestored("id", "f.txt")))
    assert not [b for b in view.findChildren(QPushButton, "undoChange") if b.isVisible()]


def test_a_picture_appears_when_it_is_ready(view: ChatView, qtbot: QtBot) -> None:
    made = ev.ArtefactMade("call", "blob", "image/png", "Plot", 10)
    view.set_state(state_with(made, ev.ToolEnded("call", "ok", "")))

    def shown() -> bool:
        pictures = view.findChildren(QLabel, "artefactPicture")
        return any(p.isVisible() and p.pixmap().width() == 30 for p in pictures)

    qtbot.waitUntil(shown, timeout=5000)
