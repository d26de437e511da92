"""`GaussianMixture(power_transform=True)`: curves that it learns, and what they are good for."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk
from kserket import GaussianMixture, gmm
from kserket.gmm import tensors
from kserket.inference.power_transform import PowerTransform


@pytest.fixture(scope="module")
def skewed():
    """Two classes of 150 that are log-normal, (x, classes)."""
    rng = np.random.default_rng(0)
    classes = np.arange(300) % 2
    means = np.array([[0.0, 0.0], [1.1, 1.1]])[classes]
    noise = rng.normal(size=(300, 2)) @ np.array([[0.5, 0.3], [0.0, 0.3]])
    return 100.0 * np.exp(means + noise), classes


@pytest.fixture(scope="module")
def model(skewed):
    model = GaussianMixture(2, power_transform=True, seed=0)
    model.fit(skewed[0], verbose=0)
    return model


def accuracy(model, x, classes):
    return srk.metrics.clustering_accuracy(classes, model.predict(x).argmax(axis=1))


def test_skewed_classes_are_found(model, skewed):
    x, classes = skewed
    plain = GaussianMixture(2, seed=0)
    plain.fit(x, verbose=0)
    assert accuracy(model, x, classes) > accuracy(plain, x, classes) + 0.02
    assert (model.power_transform.power < 0.6).all()
    assert model.score_samples(x).mean() > plain.score_samples(x).mean()


def test_bounds_rise_and_are_those_of_the_data(model, skewed):
    other = GaussianMixture(2, power_transform=True, seed=0)
    history = other.fit(skewed[0], epochs=20, verbose=0).history["bound"]
    assert (np.diff(history) >= -1e-8).all()
    assert_allclose(other.lower_bound(skewed[0]), other.fit(skewed[0], epochs=1).history["bound"])
    plain = GaussianMixture(2, seed=0)
    plain.fit(skewed[0], verbose=0)
    assert other.lower_bound(skewed[0]) > plain.lower_bound(skewed[0])


@pytest.mark.parametrize("scale, shift", [(1e-6, 0.0), (1e6, 0.0), (1.0, 1e7)])
def test_units_and_origin_do_not_matter(model, skewed, scale, shift):
    x = skewed[0]
    other = GaussianMixture(2, power_transform=True, seed=0)
    other.fit(scale * x + shift, verbose=0)
    assert_allclose(other.predict(scale * x + shift), model.predict(x), atol=1e-4)
    scores = other.score_samples(scale * x + shift) + 2 * np.log(scale)
    assert_allclose(scores, model.score_samples(x), atol=1e-3)
    assert_allclose(other.means, scale * model.means + shift, rtol=1e-4)


def test_the_density_integrates_to_one(skewed):
    model = GaussianMixture(2, power_transform=True, n_init=2, seed=0)
    model.fit(skewed[0][:, :1], verbose=0)
    grid = np.linspace(-3000.0, 30000.0, 300_001)[:, None]
    density = np.exp(model.score_samples(grid))
    assert_allclose(density.sum() * (grid[1, 0] - grid[0, 0]), 1.0, atol=2e-3)


def test_means_are_medians_and_samples_are_data(model, skewed):
    x, classes = skewed
    samples, components = model.sample(4000, seed=0)
    for k in range(2):
        assert_allclose(np.median(samples[components == k], axis=0), model.means[k], rtol=0.05)
    order = model.means[:, 0].argsort()
    expected = np.stack([np.median(x[classes == k], axis=0) for k in range(2)])
    assert_allclose(model.means[order], expected, rtol=0.15)


def test_covariances_are_those_of_narrow_components():
    rng = np.random.default_rng(0)
    x = np.r_[rng.normal(size=(200, 2)), rng.normal(size=(200, 2)) + 30.0] + 100.0
    model = GaussianMixture(2, power_transform=True, n_init=3, seed=0)
    model.fit(x, verbose=0)
    order = model.means[:, 0].argsort()
    expected = [np.cov(part.T) for part in (x[:200], x[200:])]
    assert_allclose(model.covariances[order], expected, atol=0.25)


def test_uncertain_data_are_transformed_to_first_order(model, skewed):
    x = skewed[0]
    small = np.full(x.shape, 1e-8)
    assert_allclose(model.predict({"x": x, "variance": small}), model.predict(x), atol=1e-6)
    silent = np.where(np.arange(300)[:, None] < 10, np.inf, small)
    answer = model.predict({"x": x, "variance": silent})
    assert_allclose(answer[:10], np.broadcast_to(answer[0], (10, 2)))
    assert_allclose(model({"x": x, "variance": silent}).numpy(), answer, atol=1e-7)
    other = GaussianMixture(2, power_transform=True, seed=0)
    other.fit({"x": x, "variance": silent}, verbose=0)
    alone = GaussianMixture(2, power_transform=True, seed=0)
    alone.fit(x[10:], verbose=0)
    assert_allclose(other.power_transform.power, alone.power_transform.power, atol=1e-3)


def test_a_start_under_a_class_prior_learns_powers_too(skewed):
    x, classes = skewed
    model = GaussianMixture(2, power_transform=True, seed=0)
    model.fit({"x": x, "class_prior": np.eye(2)[classes] * 0.9 + 0.05}, verbose=0)
    assert (model.predict(x).argmax(axis=1) == classes).mean() > 0.85
    assert (model.power_transform.power < 0.6).all()


def test_sample_weight_is_how_often_a_datum_counts(skewed):
    x = skewed[0][:60]
    weight = np.arange(60) % 3
    options = {"power_transform": True, "n_init": 3, "seed": 0}
    weighted, repeated = GaussianMixture(2, **options), GaussianMixture(2, **options)
    weighted.fit(x, sample_weight=weight, verbose=0)
    repeated.fit(np.repeat(x, weight, axis=0), verbose=0)
    assert_allclose(weighted.power_transform.power, repeated.power_transform.power, atol=0.02)


def test_more_features_than_data(skewed):
    x = np.exp(np.random.default_rng(0).normal(size=(25, 40)))
    model = GaussianMixture(3, power_transform=True, n_init=2, seed=0)
    model.fit(x, epochs=5, verbose=0)
    assert np.isfinite(model.predict(x)).all() and np.isfinite(model.score_samples(x)).all()


def test_a_second_fit_keeps_powers_and_goes_on(skewed):
    whole = GaussianMixture(2, power_transform=True, n_init=3, tolerance=None, seed=0)
    parts = GaussianMixture(2, power_transform=True, n_init=3, tolerance=None, seed=0)
    bounds = whole.fit(skewed[0], epochs=6, verbose=0).history["bound"]
    first = parts.fit(skewed[0], epochs=2, verbose=0).history["bound"]
    rest = parts.fit(skewed[0], epochs=4, verbose=0).history["bound"]
    assert_allclose(first + rest, bounds, rtol=1e-12)


def test_parts_merge_to_the_whole(model, skewed):
    x = skewed[0]
    whole = model.statistics(x)
    merged = srk.inference.gaussian_mixture.merge(
        model.statistics(x[:90]), model.statistics(x[90:])
    )
    for a, b in zip(whole, merged, strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_in_a_graph(skewed, tmp_path):
    x, classes = skewed
    srk.Module.reset_names()
    obs = srk.Observation(x)
    mixture = gmm.GMM(2, category=classes, power_transform=True, save_dir=tmp_path, seed=0)
    mixture.connect(obs)
    graph = srk.Graph(mixture)
    graph.fit(1, verbose=0)
    assert mixture.logs["accuracy"] > 0.85
    expected = graph.predict(x)
    graph.export(tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served"))
    answers = [
        served.signatures[name](obs=tf.constant(x, "float32"))["gmm"]
        for name in ("classify", "encode")
    ]
    for answer in answers:
        assert_allclose(answer, expected, atol=1e-4)
    (drawn,) = mixture.tensor_generate(
        tf.eye(2, dtype="float64"), tf.constant([0, 1]), mixture.terms()
    )
    state, transform = mixture.model.state, mixture.model.power_transform
    noise = tf.random.stateless_normal((2, 2), [0, 1], dtype="float64").numpy()
    covariances = srk.inference.gaussian_mixture.covariances(state)
    expected = state.mean + np.einsum("kij,kj->ki", np.linalg.cholesky(covariances), noise)
    assert_allclose(drawn, transform.inverse(expected), rtol=1e-9)


def test_saved_and_loaded(model, skewed, tmp_path):
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert_array_equal(loaded.predict(skewed[0]), model.predict(skewed[0]))
    for a, b in zip(loaded.power_transform, model.power_transform, strict=True):
        assert_array_equal(a, b)


def test_without_it_nothing_is_transformed(skewed):
    model = GaussianMixture(2, n_init=1, seed=0)
    assert model.power_transform is None
    model.fit(skewed[0], epochs=2, verbose=0)
    assert model.power_transform is None


def test_few_labels_among_many_data_are_not_lost():
    rng = np.random.default_rng(0)
    classes = rng.permutation(np.arange(21_000) % 3)
    means = np.array([[0.0, 0.0], [1.5, 0.0], [0.0, 1.5]])[classes]
    x = np.exp(0.4 * rng.normal(size=(21_000, 2)) + means)
    prior = np.full((21_000, 3), 1 / 3)
    for k in range(3):
        prior[np.flatnonzero(classes == k)[:2]] = np.eye(3)[k]
    model = GaussianMixture(3, power_transform=True, seed=0)
    model.fit({"x": x, "class_prior": prior}, epochs=20, verbose=0)
    assert (model.predict(x).argmax(axis=1) == classes).mean() > 0.9


def test_where_nothing_of_the_sample_counts_there_are_no_powers():
    x = np.random.default_rng(0).normal(size=(40_000, 2))
    weight = np.zeros(40_000)
    weight[0] = 1.0
    for seed in range(3):
        model = GaussianMixture(2, power_transform=True, n_init=2, seed=seed)
        model.fit(x, sample_weight=weight, epochs=2, verbose=0)
        assert np.isfinite(model.predict(x)).all()


def test_the_bound_of_data_that_count_for_nothing(model, skewed):
    assert np.isfinite(model.lower_bound(skewed[0], sample_weight=np.zeros(300)))


def test_parameters_of_a_mixture_with_powers_are_refused_without(skewed, tmp_path):
    options = {"n_init": 2, "seed": 0}
    srk.Module.reset_names()
    learned = gmm.GMM(2, power_transform=True, save_dir=tmp_path, **options)
    learned.connect(srk.Observation(skewed[0]))
    learned.update()
    (folder,) = tmp_path.glob("*_gmm")
    for powers in (True, False):
        srk.Module.reset_names()
        other = gmm.GMM(
            2, mode="recog", load_dir=folder, save_dir=None, power_transform=powers, **options
        )
        other.connect(srk.Observation(skewed[0]))
        if powers:
            other.update()
            assert_allclose(other.posterior, learned.posterior)
        else:
            with pytest.raises(ValueError, match="power_transform=True"):
                other.update()


@pytest.mark.parametrize("power", [0.0, 2e-6, 1e-4, 1.0, 2.0 - 1e-5, 2.0])
def test_curves_in_tensorflow_are_those_in_numpy(power):
    x = np.random.default_rng(0).normal(size=(50, 1)) * 3.0
    transform = PowerTransform.standardizing(x, np.array([power]), np.ones(50))
    constants = PowerTransform(*(tf.constant(part) for part in transform))
    y, variance = tensors.transformed(constants, tf.constant(x), tf.ones_like(x))
    assert_allclose(y, transform.forward(x), rtol=1e-6, atol=1e-8)
    assert_allclose(variance, np.exp(2.0 * transform.log_slope(x)))
    assert_allclose(tensors.untransformed(constants, y), x, rtol=1e-5, atol=1e-6)
