"""Lines that tell how far long work is."""

import itertools

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
    assert "module001_vae epoch 4/100 - 1 min" in out and "left" in out


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


def test_times_read_well():
    assert progress.format_seconds(3.4) == "3 s"
    assert progress.format_seconds(125) == "2 min 5 s"
    assert progress.format_seconds(3840) == "1 h 4 min"
