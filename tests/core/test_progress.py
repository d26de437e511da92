"""Lines that tell how far long work is."""

import itertools
import sys
from types import SimpleNamespace

import keras
import pytest

from kserket.core import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that advances by one second each time it is read."""
    ticks = itertools.count()
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(ticks)))


def test_a_terminal_line_is_rewritten_and_taken_away(clock, capsys):
    line = progress.Line(shows_steps=True, rewrites=True)
    for done in range(1, 5):
        line.step("module001_vae", done, 100, "epoch")
    line.clear()
    out = capsys.readouterr().out
    assert "\n" not in out
    assert out.count("\r") > 3
    assert f"module001_vae {progress.bar(0.04)} epoch 4/100 - 1 min" in out and "left" in out


def test_a_log_file_gets_whole_lines_and_few(clock, capsys):
    line = progress.Line(shows_steps=True, rewrites=False)
    for done in range(1, 101):
        line.step("gmm", done, 100, "sweep")
    lines = capsys.readouterr().out.splitlines()
    assert 2 <= len(lines) <= 4
    assert all(text.startswith("gmm sweep ") and "\r" not in text for text in lines)


def test_one_short_update_is_silent_and_a_long_one_speaks(clock, capsys):
    class Module:
        on_step = None

        def get_name(self):
            return "module001_vae"

    module = Module()
    with progress.showing_steps(module):
        module.on_step(1, 200, "epoch")
    assert capsys.readouterr().out == ""
    with progress.showing_steps(module):
        for done in range(1, 60):
            module.on_step(done, 200, "epoch")
    assert "module001_vae epoch" in capsys.readouterr().out
    keras.utils.disable_interactive_logging()
    try:
        with progress.showing_steps(module):
            assert module.on_step is None
    finally:
        keras.utils.enable_interactive_logging()


def test_rounds_that_compile_are_not_extrapolated(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    rounds = progress.Progress(total=100)
    lines = []
    for index, seconds in enumerate([4.0, 3.0, 0.1, 0.1]):
        rounds.step(index, "vae", 1, 8, "epoch")
        now[0] += seconds
        rounds.end_round(index, {"vae/loss": 1.0})
        lines += capsys.readouterr().out.splitlines()
    assert [line.rpartition(" - ")[2] for line in lines] == [
        "vae/loss: 1",
        "vae/loss: 1",
        "10 s left",
        "10 s left",
    ]
    assert "4.0s" in lines[0] and "0.1s" in lines[2]


def test_steps_say_whose_time_is_left(clock, capsys):
    rounds = progress.Progress(total=4, verbose=1)
    for done in range(1, 60):
        rounds.step(0, "vae", done, 100, "epoch")
    shown = capsys.readouterr().out.splitlines()
    assert shown and all(line.endswith(" s left in this update") for line in shown)


def test_a_notebook_has_one_output_that_changes(clock, monkeypatch, capsys):
    shown = []

    class Handle:
        def update(self, content, raw):
            shown[-1] = content["text/plain"]

    def display(content, raw, display_id):
        shown.append(content["text/plain"])
        return Handle()

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    rounds = progress.Progress(total=2)
    for index in range(2):
        for done in range(1, 9):
            rounds.step(index, "vae", done, 8, "epoch")
        rounds.end_round(index, {"vae/loss": 1.0})
    assert len(shown) == 2 and shown[0].startswith("Round 1/2 - ") and "vae/loss: 1" in shown[0]
    assert shown[1].endswith("vae/loss: 1")
    assert capsys.readouterr().out == ""


def test_a_bar_is_as_long_as_its_share(monkeypatch):
    assert [progress.bar(share, 4).count("\u2501") for share in (0, 0.5, 1, 2)] == [0, 2, 4, 4]
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(encoding="ascii"))
    assert progress.bar(0.5, 4) == "##--"


def test_times_read_well():
    assert progress.format_seconds(3.4) == "3 s"
    assert progress.format_seconds(125) == "2 min 5 s"
    assert progress.format_seconds(3840) == "1 h 4 min"
