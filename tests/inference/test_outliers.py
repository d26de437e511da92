"""Values that lie far out of their columns, and numbers such as -999 that stand for none.

They are found, warned of, and left out by the table recipe.
"""

import numpy as np
import pytest

import kserket as srk
from kserket import GaussianMixture
from kserket.inference import outliers

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


def with_stand_ins(values, share=0.1, others=None):
    """Three classes in three features, and a fourth in which some samples have a stand-in."""
    rng = np.random.default_rng(5)
    classes = np.arange(600) % 3
    x = rng.normal(size=(600, 4))
    x[:, :3] += 6 * np.eye(3)[classes]
    if others is not None:
        x[:, 3] = others(rng)
    is_one = rng.random(600) < share
    x[is_one, 3] = rng.choice(values, is_one.sum())
    return x, classes, is_one


@pytest.mark.parametrize(
    ("values", "share", "others"),
    [
        ([-999.0], 0.1, None),
        ([-999.0], 0.02, None),
        ([99.0], 0.4, None),
        ([-99.0, -98.0], 0.2, None),
        ([-1.0, 1e6], 0.2, lambda rng: rng.random(600)),
        ([0.0], 0.05, lambda rng: rng.normal(37, 1, 600)),
        ([999.0], 0.1, lambda rng: rng.integers(18, 90, 600)),
    ],
    ids=["-999", "rare", "many", "two codes", "both ends", "zero", "ages"],
)
def test_numbers_that_stand_for_what_was_not_observed_are_found(values, share, others):
    x, _, is_one = with_stand_ins(values, share, others)
    limits, text = outliers.find(x)
    np.testing.assert_array_equal(limits.exceeded(x)[:, 3], is_one)
    assert not limits.exceeded(x)[:, :3].any()
    assert f"many share one value far from all others: {is_one.sum()} of column 3" in text


@pytest.mark.parametrize(
    "column",
    [
        np.maximum(np.random.default_rng(0).normal(size=600), 0.0),
        np.minimum(np.random.default_rng(0).exponential(size=600), 3.0),
        np.random.default_rng(0).choice([1.0, 2.0, 9.0], 600),
        10.0 ** np.random.default_rng(0).integers(-1, 12, 600),
        np.random.default_rng(0).poisson(40, 600) * (np.random.default_rng(1).random(600) < 0.7),
        np.r_[np.random.default_rng(0).normal(size=590), np.full(4, -999.0)],
        np.r_[np.full(400, -999.0), np.random.default_rng(0).normal(size=200)],
    ],
    ids=["cut off below", "cut off above", "codes", "doses", "no sales", "few", "most"],
)
def test_ends_of_a_scale_codes_and_zeros_of_counts_stand_for_themselves(column):
    assert "many share" not in (outliers.find(column[:, None])[1] or "")


def test_a_number_that_another_feature_tells_is_a_class():
    x, classes, _ = with_stand_ins([0.0], share=0.0)
    x[classes == 2, 3] = -999.0
    limits, text = outliers.find(x)
    assert text is None and np.isinf(limits.low).all()


def test_a_mixture_warns_of_stand_ins_and_the_recipe_leaves_them_out():
    x, classes, is_one = with_stand_ins([-999.0])
    with pytest.warns(UserWarning, match="column 3, such as -999.*stand for what was not observed"):
        GaussianMixture(3, n_init=2, seed=0).fit(x, epochs=2, verbose=0)
    with pytest.warns(UserWarning, match="not observed where many share.*such as -999"):
        graph = srk.recipes.table(x, K=3, seed=0)
    np.testing.assert_array_equal(np.isnan(graph["table"].data[:, 3]), is_one)
    graph.fit(rounds=1, verbose=0)
    assert srk.metrics.clustering_accuracy(classes, graph.predict(x).argmax(axis=1)) > 0.99


def test_an_autoencoder_of_measurements_warns_of_both_kinds():
    x, _ = with_glitches()
    model = srk.VariationalAutoencoder(2, likelihood="gaussian", seed=0)
    model.compile("adam")
    with pytest.warns(UserWarning, match="3 of column 3.*next to equal"):
        model.fit(x, epochs=1, verbose=0)
    model.fit(x, epochs=1, verbose=0)  # says it once
    x, _, _ = with_stand_ins([-999.0])
    top = srk.vae.VAE(2, itr=1, likelihood="gaussian", save_dir=None)
    top.connect(srk.Observation(x))
    with pytest.warns(UserWarning, match="such as -999.*next to equal"):
        top.update()
