"""The engine panel with recorded engines: maps, meters, pointing, and what it asks for."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import msgspec
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QMouseEvent
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel
from pytestqt.qtbot import QtBot

from app.engines.view import EngineView
from tests.ui import engine_recordings as recordings
from tests.ui.engine_recordings import Recorded
from ui import words
from ui.engine_panel.cell_grid import CellGrid, fit
from ui.engine_panel.colours import heat_table, tier_table
from ui.engine_panel.panel import EnginePanel
from ui.theme import DARK, LIGHT, Theme, ThemeSource, current

RECORDINGS: dict[str, Callable[[], Recorded]] = {
    "k2": recordings.k2,
    "small": recordings.small,
    "unused": recordings.unused,
    "dense": recordings.dense,
}


@pytest.fixture
def open_panel(qtbot: QtBot) -> Callable[..., EnginePanel]:
    """A visible panel that is answered at once by a recording."""

    def make(recorded: Recorded, width: int = 460) -> EnginePanel:
        panel = EnginePanel()
        qtbot.addWidget(panel)
        panel.resize(width, 1200)
        panel.set_theme(current())
        panel.experts_wanted.connect(lambda window: panel.set_experts(recorded.answer(window)))
        panel.set_view(recorded.view)
        panel.show()
        return panel

    return make


def text(panel: EnginePanel, name: str) -> str:
    found = panel.findChild(QLabel, name)
    assert isinstance(found, QLabel)
    return found.text() if found.isVisible() else ""


def pixels(grid: CellGrid) -> Callable[[tuple[int, int]], int]:
    """The colour in the middle of each cell as it is painted now."""
    image, lies = grid.grab().toImage(), grid.fit()
    return lambda place: image.pixelColor(lies.rect_of(place).center()).rgba()


def move_mouse(grid: CellGrid, place: tuple[int, int]) -> None:
    """Without a real pointer, which would have to be on the screen's part of the map."""
    at = QPointF(grid.fit().rect_of(place).center())
    button, none = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
    event = QMouseEvent(QEvent.Type.MouseMove, at, grid.mapToGlobal(at), button, button, none)
    QApplication.sendEvent(grid, event)


@pytest.mark.parametrize("choice", ["light", "dark"])
def test_every_recording_is_drawn(
    open_panel: Callable[..., EnginePanel], qapp: QApplication, choice: str
) -> None:
    # One theme for all: to change it costs more than everything that is drawn here.
    ThemeSource(qapp, "dark" if choice == "dark" else "light")
    for make in RECORDINGS.values():
        panel = open_panel(make())
        page = panel.experts.parentWidget()
        assert page is not None
        for width in (320, 460, 1000):
            panel.resize(width, 1200)
            qapp.processEvents()
            assert not panel.grab().isNull()
            assert page.width() <= width, "nothing is cut off at the right"
            for grid in (panel.experts.placement, panel.experts.heat):
                assert not grid.isVisible() or grid.fit().area.right() < grid.width()
        panel.close()


def test_colours_are_those_of_the_counts(
    open_panel: Callable[..., EnginePanel], qapp: QApplication
) -> None:
    ThemeSource(qapp, "light")
    recorded = recordings.small()
    panel = open_panel(recorded)
    heat, shown = panel.experts.heat, panel.experts._map
    levels, table, seen = shown.levels(), heat_table(LIGHT), pixels(heat)
    for row in range(shown.rows):
        for expert in range(shown.experts):
            assert seen((row, expert)) == table[levels[row * shown.experts + expert]]
    assert pixels(panel.experts.placement)((2, 5)) == tier_table(LIGHT)[1]
    ThemeSource(qapp, "dark")
    panel.set_theme(current())
    assert pixels(panel.experts.placement)((2, 5)) == tier_table(DARK)[1]


def test_turned_maps_show_the_same_cells(open_panel: Callable[..., EnginePanel]) -> None:
    panel = open_panel(recordings.k2(), 340)
    grid, shown = panel.experts.heat, panel.experts._map
    assert grid.fit().turned
    levels, table, seen = shown.levels(), heat_table(current()), pixels(grid)
    for place in ((0, 0), (59, 383), (11, 301), (30, 7)):
        assert seen(place) == table[levels[place[0] * 384 + place[1]]]
        assert grid.fit().place_at(grid.fit().rect_of(place).center()) == place


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_the_ramp_only_rises_or_only_falls(theme: Theme) -> None:
    def luminance(rgba: int) -> float:
        colour = QColor.fromRgba(rgba)
        parts = (colour.redF(), colour.greenF(), colour.blueF())
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    ramp = [luminance(c) for c in heat_table(theme)]
    assert len(ramp) == 256
    assert ramp == sorted(ramp, reverse=not theme.dark)
    tiers = sorted(luminance(c) + 0.05 for c in tier_table(theme)[:3])
    assert all(b / a > 1.3 for a, b in itertools.pairwise(tiers))


def test_pointing_says_what_is_there(open_panel: Callable[..., EnginePanel]) -> None:
    recorded = recordings.k2()
    panel = open_panel(recorded, 1000)
    view = panel.experts
    grid = view.heat
    move_mouse(grid, (11, 301))
    assert grid.place == (11, 301)
    cell = view._map.cell(11, 301)
    expected = f"Layer 12, expert 301: {cell.hits:,} hits, {100 * cell.share:.1f} % of this layer's"
    assert text(panel, "expertReadout").startswith(expected)
    assert text(panel, "expertReadout").endswith(", on disk")
    assert view.placement.place == (11, 301), "the other map marks the same expert"


def test_arrow_keys_walk_the_map(open_panel: Callable[..., EnginePanel], qtbot: QtBot) -> None:
    panel = open_panel(recordings.small())
    panel.activateWindow()
    grid = panel.experts.heat
    grid.setFocus()
    qtbot.waitUntil(lambda: grid.place == (0, 0))
    keys = Qt.Key
    for key, place in (
        (keys.Key_Right, (0, 1)),
        (keys.Key_Down, (1, 1)),
        (keys.Key_End, (1, 7)),
        (keys.Key_Right, (1, 7)),
        (keys.Key_PageDown, (2, 7)),
        (keys.Key_Left, (2, 6)),
        (keys.Key_Up, (1, 6)),
        (keys.Key_Home, (1, 0)),
        (keys.Key_PageUp, (0, 0)),
    ):
        qtbot.keyClick(grid, key)
        assert grid.place == place
        assert grid.accessibleDescription().startswith(f"Layer {place[0] + 1}, expert {place[1]}: ")
    panel.experts.placement.setFocus()
    assert panel.experts.placement.place == (0, 0)


def test_keys_follow_the_picture_when_it_is_turned(
    open_panel: Callable[..., EnginePanel], qtbot: QtBot
) -> None:
    grid = open_panel(recordings.k2(), 340).experts.heat
    grid.mark((5, 5))
    qtbot.keyClick(grid, Qt.Key.Key_Right)
    assert grid.place == (6, 5)
    qtbot.keyClick(grid, Qt.Key.Key_Down)
    assert grid.place == (6, 6)


def test_windows_and_reset(open_panel: Callable[..., EnginePanel], qtbot: QtBot) -> None:
    panel = open_panel(recordings.k2())
    shown = panel.experts._map

    def click(name: str) -> None:
        found = panel.findChild(QAbstractButton, name)
        assert found is not None
        qtbot.mouseClick(found, Qt.MouseButton.LeftButton)

    assert text(panel, "heatCovered") == "1,523 tokens in 2 min 13 s"
    click("heatMinute")
    assert shown.tokens == 212
    assert sum(shown.counts) == 212 * 8 * 60
    assert text(panel, "heatCovered") == "212 tokens in the last minute"
    click("heatStart")
    assert sum(shown.counts) == 1523 * 8 * 60
    click("heatReset")
    assert sum(shown.counts) == 0
    assert "No token yet" in text(panel, "heatCovered")


def test_it_asks_only_while_there_is_something_to_see(qtbot: QtBot) -> None:
    recorded = recordings.small()
    panel = EnginePanel()
    qtbot.addWidget(panel)
    asked: list[str] = []
    panel.experts_wanted.connect(asked.append)
    panel.set_view(recorded.view)
    assert asked == [], "nobody looks"
    panel.show()
    assert asked == ["start"]
    panel.experts._poll()
    assert asked == ["start"], "the answer is on its way"
    panel.set_experts(recorded.answer("start"))
    panel.experts._poll()
    assert asked == ["start"], "nothing can have changed"
    assert recorded.view.status is not None
    panel.set_experts(None)
    panel.set_view(recordings.small(tokens=641).view)
    panel.experts._poll()
    assert asked == ["start", "start"]
    panel.hide()
    assert not panel.experts._timer.isActive()


def test_an_answer_to_the_other_question_is_not_shown(
    open_panel: Callable[..., EnginePanel],
) -> None:
    recorded = recordings.k2()
    panel = open_panel(recorded)
    panel.set_experts(recorded.answer("minute"))
    assert panel.experts._map.tokens == 1523


@pytest.mark.parametrize(
    ("view", "elsewhere", "words_"),
    [
        (EngineView(), "", "No model is loaded"),
        (EngineView(), "Moonshot", "Answers come from Moonshot"),
        (EngineView("loading"), "", "when the model is loaded"),
        (recordings.dense().view, "", "no routed experts"),
    ],
)
def test_why_there_is_nothing_to_see(
    open_panel: Callable[..., EnginePanel], view: EngineView, elsewhere: str, words_: str
) -> None:
    panel = open_panel(recordings.dense())
    panel.set_view(view)
    panel.set_elsewhere(elsewhere)
    assert words_ in text(panel, "expertsEmpty")
    assert not panel.experts.heat.isVisible()


def test_a_model_without_use_shows_where_its_experts_are(
    open_panel: Callable[..., EnginePanel],
) -> None:
    panel = open_panel(recordings.unused())
    assert panel.experts.placement.isVisible()
    assert "No token yet" in text(panel, "heatCovered")
    assert not panel.experts.legend.isVisible()


def test_meters_stand_beside_their_bounds(open_panel: Callable[..., EnginePanel]) -> None:
    panel = open_panel(recordings.k2())
    assert text(panel, "engineDecodeValue") == "7.4 tokens/s"
    assert text(panel, "engineDecodeNote").startswith("62% of the 11.9 tokens/s that")
    assert panel.decode.bar.share == pytest.approx(7.4 / 11.9)
    assert "187 tokens/s" in panel.prefill.accessibleName()
    assert panel.gpu.isVisible()
    panel.decode.bar.set_share(0)
    status = recordings.k2().view.status
    assert status is not None
    quick = msgspec.structs.replace(status, decode_tokens_per_s=23.8)
    panel.set_view(EngineView("ready", quick))
    assert panel.decode.bar.share == 1.0
    assert text(panel, "engineDecodeNote").startswith("200% of the 11.9 tokens/s")
    small = open_panel(recordings.small())
    assert not small.gpu.isVisible()
    assert text(small, "engineMemoryValue") == "412 MB / 24.6 GB"
    unknown = open_panel(recordings.dense())
    assert not unknown.decode.bar.isVisible()
    assert text(unknown, "engineDecodeValue") == "–"


def test_the_cache_says_what_is_kept_and_where(open_panel: Callable[..., EnginePanel]) -> None:
    panel = open_panel(recordings.k2())
    assert text(panel, "engineCacheValue") == "1.49 GB / 18.4 GB"
    note = text(panel, "engineCacheNote")
    assert note == "18,211 tokens need not be read again; 5.80 GB on disk for the next start"
    status = recordings.k2().view.status
    assert status is not None
    full = msgspec.structs.replace(status, spilled_pages=100, snapshot_error="the disk is full")
    panel.set_view(EngineView("ready", full))
    note = text(panel, "engineCacheNote")
    assert "449 MB moved to memory" in note
    assert note.endswith("Nothing more is written to disk: the disk is full")
    assert not open_panel(recordings.small()).cache.isVisible()


def test_tiers_say_what_they_hold(open_panel: Callable[..., EnginePanel]) -> None:
    recorded = recordings.k2()
    panel = open_panel(recorded)
    status = recorded.view.status
    assert status is not None
    hits = sum(use.hits for use in status.tiers)
    assert hits == 1523 * 8 * 60
    name = panel.experts.tiers.accessibleName()
    assert name.startswith(f"GPU: 360 experts, 8.92 GB, {status.tiers[0].hits / hits:.1%}")
    assert "Disk: 17,400 experts, 431 GB" in name
    assert text(panel, "readAhead").startswith("71%")


@pytest.mark.parametrize("width", [60, 200, 320, 480, 900, 2000])
@pytest.mark.parametrize(("rows", "columns"), [(3, 8), (1, 1), (26, 64), (61, 384)])
def test_maps_fit_every_width(rows: int, columns: int, width: int) -> None:
    lies = fit(rows, columns, width, 30, 14)
    assert 30 + lies.area.width() <= max(width, 31)
    assert lies.area.height() <= 500
    corners = ((0, 0), (rows - 1, columns - 1))
    for place in corners:
        assert lies.area.contains(lies.rect_of(place).topLeft())
    assert lies.place_at(lies.area.topLeft()) == corners[0]
    if lies.cell[0] >= 1:
        assert lies.place_at(lies.area.bottomRight()) == corners[1]
    assert lies.place_at(lies.area.topLeft() - QPoint(1, 0)) is None


def test_sizes_speeds_and_times_in_words() -> None:
    assert [words.size(n) for n in (0, 999, 70_000, 4_310_000_000, 594e9)] == [
        "0 B", "999 B", "70.0 kB", "4.31 GB", "594 GB"
    ]  # fmt: skip
    assert [words.speed(n) for n in (7.41, 312.4, 21_000)] == [
        "7.4 tokens/s", "312 tokens/s", "21,000 tokens/s"
    ]  # fmt: skip
    assert [words.span(n) for n in (9, 133, 7500)] == ["9 s", "2 min 13 s", "2 h 05 min"]
