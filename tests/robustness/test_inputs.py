"""Odd data at every door: the answer of a float64 array, or an error that names the argument."""

import zlib

import pytest
from robustness.doors import all_doors
from robustness.judging import Judge
from robustness.kinds import KINDS

DOORS = {f"{door.room}: {door.name}": door for door in all_doors()}
PARTS = 12


def in_part(name, kind):
    """Whether a pair of door and kind is tried in every run: one of 12, the same ones always."""
    return zlib.crc32(f"{name} {kind}".encode()) % PARTS == 0


def faults(name, kinds):
    """What is not as it should be, by kind."""
    judge = Judge(DOORS[name])
    verdicts = {kind: judge.verdict(kind) for kind in kinds}
    return {kind: told for kind, told in verdicts.items() if told}


@pytest.mark.parametrize("name", DOORS)
def test_odd_data(name):
    assert faults(name, [kind for kind in KINDS if in_part(name, kind)]) == {}


@pytest.mark.fuzz
@pytest.mark.parametrize("name", DOORS)
def test_all_odd_data(name):
    assert faults(name, list(KINDS)) == {}
