"""Data recorded on a grid, and values that very many share."""

import numpy as np
import pytest

import kserket as srk
from kserket import GaussianMixture, gmm
from kserket.inference import resolution

rng = np.random.default_rng(0)
COLUMNS = {
    "0/1": (rng.integers(0, 2, 300), 1.0),
    "-100/100": (rng.choice([-100, 100], 300), 200.0),
    "one of 300": (np.arange(300) == 7, 1.0),
    "two in a hundred": (rng.random(300) < 0.02, 1.0),
    "halves": (rng.integers(0, 4, 300) / 2, 0.5),
    "tenths of float32": ((rng.integers(0, 9, 300) / 10).astype("float32"), 0.1),
    "sums of tenths": (rng.integers(0, 9, 300) * 0.1 + 0.2, 0.1),
    "thousands": (1000 * rng.integers(0, 3, 300), 1000.0),
    "counts": (rng.poisson(2, 300), 1.0),
    "a mean among them": (np.where(np.arange(300) < 9, 0.37, rng.integers(0, 2, 300)), 1.0),
    "unix days": (1.7e9 + 86400 * rng.integers(0, 7, 300), 86400.0),
    "constant": (np.full(300, 5.1), 0.0),
    "continuous": (rng.normal(size=300), 0.0),
    "continuous float32": (rng.normal(size=300).astype("float32"), 0.0),
    "whole numbers that hardly repeat": (rng.integers(0, 10_000, 300), 0.0),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_the_grid_of_a_feature_is_found(name):
    values, gap = COLUMNS[name]
    found = resolution.find(np.asarray(values).reshape(-1, 1))
    np.testing.assert_allclose(found, [gap], rtol=1e-5)


CODES = {
    "1, 2, 9": ([1, 2, 9], None, 7),
    "0, 1, 10": ([0, 1, 10], None, 9),
    "1, 1000, 1003": ([1, 1000, 1003], None, 999),
    "rare codes": ([0, 1, 10], [0.8, 0.1, 0.1], 9),
    "doses": ([1, 2, 5, 10, 20, 50], None, 30),
    "two pairs": ([0, 1, 100, 101], None, 99),
    "a gap in a grid": ([0, 1, 2, 4, 5], None, 1),
    "two clusters": ([0, 1, 2, 3, 4, 100, 101, 102, 103], None, 1),
    "clusters, and few far away": ([0, 1, 2, 3, 100], [0.3, 0.3, 0.2, 0.18, 0.02], 1),
}


@pytest.mark.parametrize("name", CODES)
def test_values_that_stand_alone_are_as_wide_as_the_gaps_between_them(name):
    values, shares, gap = CODES[name]
    x = np.random.default_rng(0).choice(values, (300, 1), p=shares)
    for unit in (1.0, 1e-9, 86400.0):
        np.testing.assert_allclose(resolution.find(unit * x), [unit * gap], rtol=1e-5)


@pytest.mark.parametrize("spread", [1, 3, 8, 16])
def test_rounded_numbers_lie_on_their_grid_however_many_are_missing_at_the_ends(spread):
    for seed in range(10):
        x = np.random.default_rng(seed).normal(size=(300, 1))
        np.testing.assert_array_equal(resolution.find(np.round(spread * x)), 1.0)


AMOUNTS = np.random.default_rng(3).gamma(2.0, size=300)
SHARED = {
    "absent in most": np.where(np.arange(300) < 250, 0.0, AMOUNTS),
    "absent in few": np.where(np.arange(300) < 20, 0.0, AMOUNTS),
    "beyond a limit": np.minimum(AMOUNTS, 2.0),
    "beyond two": np.clip(AMOUNTS, 1.0, 3.0).astype("float32"),
    "to cents": np.where(np.arange(300) < 150, 0.0, np.round(30 * AMOUNTS, 2)),
}


@pytest.mark.parametrize("name", SHARED)
def test_a_value_that_many_share_is_as_wide_as_the_others_vary(name):
    x = SHARED[name]
    values, counts = np.unique(x, return_counts=True)
    others = x[~np.isin(x, values[counts >= 15])]
    for unit, origin in ((1.0, 0.0), (1e-9, 0.0), (86400.0, 1.7e9)):
        found = resolution.find((unit * x + origin)[:, None])
        np.testing.assert_allclose(found, 2.0 * unit * others.std(), rtol=1e-4)


PEAKS = {
    "zeros": np.where(np.arange(300) < 200, 0, rng.poisson(6, 300)),
    "best marks": np.where(np.arange(300) < 200, 5, rng.integers(1, 6, 300)),
    "in units": np.where(np.arange(300) < 200, 0.0, 86400.0 * rng.poisson(6, 300)),
}


@pytest.mark.parametrize("name", PEAKS)
def test_a_count_that_stands_out_is_as_wide_as_the_others_vary_where_nothing_else_tells(name):
    values = PEAKS[name].astype(np.float64)
    others = values[values != values[0]]
    noise = np.random.default_rng(5).normal(size=(300, 3))
    noise[7, 1], noise[:, 2] = np.nan, np.nan
    found = resolution.find(np.c_[noise, values])
    np.testing.assert_allclose(found, [0.0, 0.0, 0.0, 2.0 * others.std()])
    knows = noise[:, 0] + 1.5 * (values == values[0])
    gap = np.diff(np.unique(others)).min()
    np.testing.assert_allclose(resolution.find(np.c_[knows, values]), [0.0, gap])


def test_each_of_two_values_that_stand_out_may_be_told_by_another_feature():
    values = np.clip(np.round(np.random.default_rng(0).normal(5, 6, 400)), 0, 10)
    knows = np.random.default_rng(1).normal(size=400) + 0.2 * values
    np.testing.assert_array_equal(resolution.find(np.c_[knows, values]), [0.0, 1.0])


def test_counts_that_fall_off_and_values_that_few_have_keep_their_grid():
    rng = np.random.default_rng(2)
    few = np.where(np.arange(1000) < 60, 20, rng.integers(0, 40, 1000))
    x = np.c_[rng.poisson(0.5, 1000), rng.poisson(2, 1000), rng.integers(0, 2, 1000), few]
    np.testing.assert_array_equal(resolution.find(x), 1.0)


def test_rows_drawn_again_make_no_difference():
    x = np.repeat(np.random.default_rng(1).normal(size=(100, 1)), 5, axis=0)
    assert np.square(resolution.find(x)) / 12 < 0.001 * x.var()


def test_rows_that_do_not_count_and_those_of_a_file_are_not_looked_at(tmp_path):
    x = np.random.default_rng(0).integers(0, 2, (30_000, 2)).astype("float64")
    x[:10_000] += np.random.default_rng(1).normal(size=(10_000, 2))
    counted = np.arange(30_000) >= 10_000
    np.testing.assert_array_equal(resolution.find(x, counted), 1.0)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(resolution.find(mapped, counted), 1.0)


def beside(columns, num_samples, seed=1):
    """Three classes in two features, and columns of which they know nothing."""
    rng = np.random.default_rng(seed)
    classes = np.arange(num_samples) % 3
    x = rng.normal(size=(num_samples, 2)) + 6 * np.array([[0, 0], [1, 0], [0, 1]])[classes]
    return np.c_[x, columns(rng, num_samples)], classes


BESIDE = {
    "coin": lambda rng, n: rng.integers(0, 2, n),
    "rare": lambda rng, n: rng.random(n) < 0.05,
    "one row": lambda rng, n: np.arange(n) == 3,
    "-100/100": lambda rng, n: rng.choice([-100, 100], n),
    "three coins": lambda rng, n: rng.integers(0, 2, (n, 3)),
    "dummies": lambda rng, n: np.eye(3)[rng.integers(0, 3, n)],
    "codes": lambda rng, n: rng.choice([1, 1000, 1003], n),
    "rare codes": lambda rng, n: rng.choice([0, 1, 10], n, p=[0.1, 0.1, 0.8]),
    "absent": lambda rng, n: np.where(rng.random(n) < 0.8, 0.0, rng.gamma(2.0, size=n)),
    "two absent": lambda rng, n: np.where(rng.random((n, 2)) < 0.8, 0, rng.gamma(2, size=(n, 2))),
    "counts of zeros": lambda rng, n: np.where(rng.random(n) < 0.7, 0, rng.poisson(10, n)),
    "two of them": lambda rng, n: np.where(rng.random((n, 2)) < 0.6, 0, rng.poisson(5, (n, 2))),
    "negative binomial": lambda rng, n: rng.negative_binomial(0.3, 0.1, n),
    "beyond a limit": lambda rng, n: np.minimum(rng.normal(size=n), -0.8),
    "beyond two": lambda rng, n: np.clip(rng.normal(size=n), -0.1, 0.1),
}


@pytest.mark.parametrize("name", BESIDE)
def test_columns_of_values_that_repeat_do_not_take_a_mixture_over(name):
    x, classes = beside(BESIDE[name], 300)
    model = GaussianMixture(3, n_init=6, seed=0)
    model.fit(x, epochs=30, verbose=0)
    assert srk.metrics.clustering_accuracy(classes, model.predict(x).argmax(axis=1)) > 0.99


@pytest.mark.parametrize("options", [{"inference": "gibbs"}, {"power_transform": True}], ids=str)
def test_nor_the_sampler_nor_one_with_power_transforms(options):
    x, classes = beside(BESIDE["coin"], 300)
    model = GaussianMixture(3, n_init=6, seed=0, **options)
    model.fit(x.astype("float32"), epochs=30, verbose=0)
    assert srk.metrics.clustering_accuracy(classes, model.predict(x).argmax(axis=1)) > 0.99


def test_the_resolution_belongs_to_the_model(tmp_path):
    """It is saved, exported, and in use for new data, in which nothing repeats."""
    import keras
    import tensorflow as tf

    x, _ = beside(BESIDE["coin"], 90)
    source = srk.Observation(x, name="obs")
    module = gmm.GMM(3, 10, n_init=3, save_dir=tmp_path, seed=0)
    module.connect(source)
    module.update()
    model = module.model
    np.testing.assert_array_equal(model.found.resolution, [0, 0, 1])
    variance = np.tile([0, 0, 1 / 12], (5, 1))
    new = np.random.default_rng(2).normal(size=(5, 3))
    expected = model.predict({"x": new, "variance": variance})
    np.testing.assert_allclose(model.predict(new), expected, rtol=1e-12)
    np.testing.assert_allclose(model(new), expected, rtol=1e-9)
    exact = model.predict({"x": new, "variance": 0.0 * variance})
    assert np.abs(exact - expected).max() > 1e-9

    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict(new), model.predict(new))
    graph = srk.Graph(module, seed=0)
    graph.export(tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served"))
    answer = served.signatures["classify"](obs=tf.constant(new, "float32"))["gmm"]
    np.testing.assert_allclose(answer, expected, atol=1e-5)
    recognizer = gmm.GMM(3, mode="recog", load_dir=module.folder, save_dir=None, n_init=3, seed=0)
    recognizer.connect(source)
    recognizer.update()
    np.testing.assert_allclose(recognizer.posterior, module.posterior, rtol=1e-9, atol=1e-12)


def test_exact_data_uncertain_data_and_a_given_resolution():
    x, _ = beside(BESIDE["coin"], 90)
    inputs = {"x": x, "variance": np.zeros(x.shape)}
    for options, data, expected in (
        ({"resolution": 0}, x, 0),
        ({"resolution": [0, 0, 2.0]}, x, [0, 0, 2]),
        ({}, inputs, 0),
    ):
        model = GaussianMixture(3, n_init=1, seed=0, **options)
        model.fit(data, epochs=1, verbose=0)
        np.testing.assert_array_equal(model.found.resolution, np.broadcast_to(expected, 3))
        assert GaussianMixture.from_config(model.get_config()).resolution == model.resolution
    for wrong in (-1.0, np.nan, [[1.0]]):
        with pytest.raises(ValueError, match="`resolution` must"):
            GaussianMixture(3, resolution=wrong)
    with pytest.raises(ValueError, match="one for each of 3 features"):
        GaussianMixture(3, resolution=[1.0]).fit(x, verbose=0)


def test_files_from_before_resolutions_still_load():
    x, _ = beside(BESIDE["coin"], 90)
    model = GaussianMixture(3, n_init=1, seed=0)
    model.fit(x, epochs=1, verbose=0)
    store = {}
    model.save_own_variables(store)
    store.pop(str(len(model.weights) - 1))
    store |= {"assignments": np.zeros(90, int), "groups": np.zeros(90, int)}
    old = GaussianMixture(3)
    old.build((None, 3))
    old.load_own_variables(store)
    np.testing.assert_array_equal(old.state.mean, model.state.mean)
    np.testing.assert_array_equal(old.found.resolution, 0.0)
