"""Scripts as Serket users write them, run with their import lines changed and nothing else."""

import pathlib
import runpy
import warnings

import numpy as np
import pytest

import kserket as srk

SCRIPTS = sorted((pathlib.Path(__file__).parent / "scripts").glob("*.py"))


@pytest.fixture
def data_files():
    """Five classes of 20 rows, in cyclic order, as images, points and two kinds of counts."""
    rng = np.random.default_rng(0)
    labels = np.arange(100) % 5
    patterns = rng.random((5, 64)) < 0.4
    images = np.clip(0.9 * patterns[labels] + 0.1 * rng.random((100, 64)), 0, 1)
    centers = 6.0 * rng.normal(size=(5, 4))
    words = rng.poisson(0.3 + 4.0 * np.eye(5)[labels].repeat(2, axis=1))
    sounds = rng.poisson(0.3 + 4.0 * np.eye(5)[labels].repeat(3, axis=1))
    np.savetxt("images.txt", images)
    np.savetxt("points.txt", centers[labels] + rng.normal(size=(100, 4)))
    np.savetxt("words.txt", words)
    np.savetxt("sounds.txt", sounds)
    np.savetxt("category.txt", labels)


def test_scripts_are_found():
    assert len(SCRIPTS) >= 18


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_runs(script, data_files):
    srk.Module.reset_names()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runpy.run_path(str(script))
    for path in pathlib.Path().rglob("acc_learn.txt"):
        assert 0.2 < float(np.loadtxt(path)) <= 1.0
