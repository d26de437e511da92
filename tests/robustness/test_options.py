"""Odd values of every option: they work, or are refused by the name that the caller used."""

import zlib

import pytest
from matplotlib import pyplot
from robustness.options import VALUES, all_calls, verdict
from robustness.unmended import OPTIONS

CALLS = {f"{call.room}: {call.name}": call for call in all_calls()}
PARTS = 32


def in_part(*names):
    """Whether a value is tried in every run: one of 32, the same ones always."""
    return zlib.crc32(" ".join(names).encode()) % PARTS == 0


def check(name, is_tried):
    """Fails on faults that are not known; returns known ones that are mended."""
    call, faults, mended = CALLS[name], {}, []
    for option in call.options:
        known = OPTIONS.get(f"{name}({option})", ())
        for label, value in VALUES.items():
            if is_tried(name, option, label):
                fault = verdict(call, option, value)
                if fault and label not in known:
                    faults[f"{option}={label}"] = fault
                elif label in known and not fault:
                    mended.append(f"{option}={label}")
        pyplot.close("all")
    assert faults == {}
    return mended


@pytest.mark.xfail(reason="some options are being mended", strict=False)
@pytest.mark.parametrize("name", CALLS)
def test_odd_options(name):
    check(name, in_part)


@pytest.mark.fuzz
@pytest.mark.parametrize("name", CALLS)
def test_all_odd_options(name):
    mended = check(name, lambda *_: True)
    assert mended == [], "mended: take them off the list in unmended.py"
