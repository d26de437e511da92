"""Values that lie far out of their columns: found, warned of, and left out by the table recipe."""

import numpy as np
import pytest

import kserket as srk
from kserket import GaussianMixture
from kserket.core import outliers

NORMAL = np.random.default_rng(0).normal(size=(600, 2))


def with_glitches(unit=1.0, origin=0.0):
    """Three classes in three features, and a fourth in which a sensor failed for three samples."""
    rng = np.random.default_rng(3)
    classes = np.arange(600) % 3
    x = rng.normal(size=(600, 4))
    x[:, :3] += 6 * np.eye(3)[classes]
    x[[7, 207, 407], 3] = 1e6
    return unit * x + origin, classes


@pytest.mark.parametrize(("unit", "origin"), [(1.0, 0.0), (1e-9, 0.0), (3600.0, 1.7e9)])
def test_limits_are_those_of_the_column_whatever_its_unit(unit, origin):
    x, _ = with_glitches(unit, origin)
    limits, text = outliers.find(x)
    np.testing.assert_array_equal(np.argwhere(limits.exceeded(x)), [[7, 3], [207, 3], [407, 3]])
    assert "3 of column 3" in text
    x[7, 3] = np.nan
    assert "2 of column 'height'" in outliers.find(x, ["length", "width", "depth", "height"])[1]


@pytest.mark.parametrize(
    "column",
    [
        np.random.default_rng(0).exponential(size=600),
        np.exp(np.random.default_rng(0).normal(size=600)),
        np.random.default_rng(0).random(600) < 0.005,
        np.r_[np.zeros(580), np.full(20, 1000.0)],
        np.full(600, np.nan),
        np.r_[np.arange(18.0), 1e9],
    ],
    ids=["exponential", "lognormal", "rare", "a class far away", "missing", "few"],
)
def test_tails_rare_things_and_classes_are_no_outliers(column):
    limits, text = outliers.find(np.asarray(column, np.float64)[:, None])
    assert text is None and np.isinf(limits.low) and np.isinf(limits.high)


def test_values_that_others_hide_are_found():
    x = NORMAL.copy()
    x[:3, 0] = 1e3, 1e6, 1e9
    limits, text = outliers.find(x)
    assert "3 of column 0, such as 1e+09" in text
    np.testing.assert_array_equal(np.flatnonzero(limits.exceeded(x)[:, 0]), [0, 1, 2])


def test_a_mixture_warns_of_them_once_and_reads_them_all_the_same():
    x, _ = with_glitches()
    model = GaussianMixture(3, n_init=2, seed=0)
    with pytest.warns(UserWarning, match=r"3 of column 3, such as 1e\+06.*set them to NaN"):
        model.fit(x, epochs=2, verbose=0)
    model.fit(x, epochs=1, verbose=0)


@pytest.mark.parametrize("kind", ["array", "file"])
def test_the_recipe_of_tables_leaves_them_out(kind, tmp_path):
    x, classes = with_glitches()
    if kind == "file":
        np.save(tmp_path / "x.npy", x)
        x = np.load(tmp_path / "x.npy", mmap_mode="r")
    with pytest.warns(UserWarning, match="not observed where.*3 of column 3"):
        graph = srk.recipes.table(x, K=3, seed=0)
    assert np.isnan(graph["table"].data).sum() == 3 and not np.isnan(x).any()
    graph.fit(rounds=1, verbose=0)
    assert srk.metrics.clustering_accuracy(classes, graph.predict(x).argmax(axis=1)) > 0.99
