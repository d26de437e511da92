"""Odd values of every option: they work, or are refused by the name that the caller used."""

import zlib

import pytest
from matplotlib import pyplot
from robustness.options import VALUES, all_calls, verdict

CALLS = {f"{call.room}: {call.name}": call for call in all_calls()}
PARTS = 32


def in_part(*names):
    """Whether a value is tried in every run: one of 32, the same ones always."""
    return zlib.crc32(" ".join(names).encode()) % PARTS == 0


def faults(name, is_tried):
    """What is wrong, by option and value."""
    call, found = CALLS[name], {}
    for option in call.options:
        for label, value in VALUES.items():
            fault = verdict(call, option, value) if is_tried(name, option, label) else None
            if fault:
                found[f"{option}={label}"] = fault
    pyplot.close("all")
    return found


@pytest.mark.parametrize("name", CALLS)
def test_odd_options(name):
    assert faults(name, in_part) == {}


@pytest.mark.fuzz
@pytest.mark.parametrize("name", CALLS)
def test_all_odd_options(name):
    assert faults(name, lambda *_: True) == {}
