"""`GaussianMixture` as a Keras model. Its equations are tested in tests/inference."""

import itertools
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk
from kserket import GaussianMixture
from kserket.inference import gaussian_mixture
from kserket.inference.gaussian_mixture import learning

K, D = 3, 2
KINDS = {
    "variational": {},
    "gibbs": {"inference": "gibbs"},
    "powers": {"power_transform": True},
}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    classes = np.arange(90) % K
    x = 6.0 * np.array([[0, 0], [1, 0], [0, 1]])[classes] + rng.normal(size=(90, D))
    return {
        "x": x,
        "variance": 0.1 + rng.random((90, D)),
        "class_prior": rng.dirichlet(np.ones(K), 90),
        "classes": classes,
    }


@pytest.fixture(scope="module", params=KINDS)
def fitted(request, data):
    model = GaussianMixture(K, n_init=3, seed=0, **KINDS[request.param])
    model.fit(data["x"], epochs=20, verbose=0)
    return model


def accuracy(model, data, **inputs):
    answer = model.predict({"x": data["x"], **inputs}).argmax(axis=1)
    return srk.metrics.clustering_accuracy(data["classes"], answer)


INPUTS = [("x",), ("x", "variance"), ("x", "class_prior"), ("x", "variance", "class_prior")]


def test_learns_the_classes(fitted, data):
    assert accuracy(fitted, data) == 1.0
    order = np.argsort(np.round(fitted.means) @ [1, 10])
    assert_allclose(fitted.means[order], [[0, 0], [6, 0], [0, 6]], atol=0.6)
    assert_allclose(fitted.covariances, np.stack([np.eye(D)] * K), atol=0.6)
    assert_allclose(fitted.mixing_weights, 1 / 3, atol=0.02)


@pytest.mark.parametrize("names", INPUTS, ids="+".join)
def test_call_in_tensorflow_equals_predict_in_numpy(fitted, data, names):
    inputs = {name: data[name] for name in names}
    # Points between the classes too, where responsibilities are not 0 and 1.
    inputs["x"] = 0.5 * (data["x"] + data["x"][::-1])
    expected = fitted.predict(inputs)
    assert ((expected > 0.01) & (expected < 0.99)).sum() > 20
    assert_allclose(expected.sum(axis=1), 1.0)
    assert_allclose(fitted(inputs).numpy(), expected, rtol=1e-7, atol=1e-12)
    if names == ("x",):
        assert_allclose(fitted(inputs["x"]).numpy(), expected, rtol=1e-7, atol=1e-12)


def test_predict_is_bayes_rule_on_log_likelihoods(fitted, data):
    log_likelihood = fitted.component_log_likelihood(data["x"])
    joint = np.exp(log_likelihood - log_likelihood.max(1, keepdims=True)) * data["class_prior"]
    got = fitted.predict({"x": data["x"], "class_prior": data["class_prior"]})
    assert_allclose(got, joint / joint.sum(axis=1, keepdims=True), rtol=1e-9, atol=1e-12)


def test_a_gaussian_message_is_mean_and_variance(data):
    models = [GaussianMixture(K, n_init=2, seed=0) for _ in range(2)]
    models[0].fit({"x": data["x"], "variance": data["variance"]}, epochs=10, verbose=0)
    models[1].fit(srk.Gaussian(data["x"], data["variance"]), epochs=10, verbose=0)
    for a, b in zip(models[0].state, models[1].state, strict=True):
        assert_array_equal(a, b)
    # Uncertainty of the data is no part of the classes' own spread, yet enters the statistics.
    plain = GaussianMixture(K, n_init=2, seed=0)
    plain.fit(data["x"], epochs=10, verbose=0)
    assert np.trace(models[0].covariances.mean(0)) > np.trace(plain.covariances.mean(0)) + 0.5


def test_statistics_of_parts_merge_to_those_of_the_whole(data):
    model = GaussianMixture(K, n_init=2, seed=0)
    model.fit(data["x"], epochs=2, verbose=0)
    copy = GaussianMixture(K)
    copy.build((None, D))
    copy.set_weights(model.get_weights())
    weight = np.random.default_rng(1).random(90)
    parts = [slice(0, 7), slice(7, 50), slice(50, 90)]
    inputs = {name: data[name] for name in INPUTS[-1]}
    model.merge(model.statistics(inputs, sample_weight=weight))
    copy.merge(
        *(
            copy.statistics(
                {name: array[part] for name, array in inputs.items()}, sample_weight=weight[part]
            )
            for part in parts
        )
    )
    for whole, merged in zip(model.state, copy.state, strict=True):
        assert_allclose(merged, whole, rtol=1e-6, atol=1e-9)


def test_one_merge_is_one_sweep(data):
    one, other = (GaussianMixture(K, n_init=2, seed=0, tolerance=None) for _ in range(2))
    for model in (one, other):
        model.fit(data["x"], epochs=2, verbose=0)
    one.fit(data["x"], epochs=1, verbose=0)
    other.merge(other.statistics(data["x"]))
    for a, b in zip(one.state, other.state, strict=True):
        assert_allclose(a, b, rtol=1e-9)


def test_partial_fit_adds_to_what_was_learned(data):
    model = GaussianMixture(K, n_init=3, seed=0)
    for start in range(0, 90, 30):
        assert model.partial_fit(data["x"][start : start + 30]) is model
    counts = model.state.weight_concentration - model.prior.weight_concentration
    assert_allclose(counts.sum(), 90.0)
    assert accuracy(model, data) == 1.0


def test_a_second_fit_goes_on_from_the_first(data):
    whole, parts = (GaussianMixture(K, n_init=2, seed=0, tolerance=None) for _ in range(2))
    bounds = whole.fit(data["x"], epochs=8, verbose=0).history["bound"]
    first = parts.fit(data["x"], epochs=5, verbose=0).history["bound"]
    rest = parts.fit(data["x"], epochs=3, verbose=0).history["bound"]
    assert_allclose(first + rest, bounds, rtol=1e-12)
    assert (np.diff(bounds) >= -1e-8).all()
    assert_allclose(
        whole.lower_bound(data["x"]), whole.fit(data["x"], epochs=1).history["bound"][0]
    )


def test_the_sampler_goes_on_from_its_classes_and_from_a_saved_state(data):
    model = GaussianMixture(K, inference="gibbs", seed=0)
    model.fit(data["x"], epochs=20, verbose=0)
    ids = model.predict(data["x"]).argmax(axis=1)
    other = GaussianMixture(K, inference="gibbs", seed=5)
    other.build((None, D))
    other.set_weights(model.get_weights())  # without the classes of the data
    for sampler in (model, other):
        sampler.fit(data["x"], epochs=2, verbose=0)
        assert (sampler.predict(data["x"]).argmax(axis=1) == ids).mean() > 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_warm_start_a_fit_begins_afresh_and_numbers_stay(data, kind):
    options = {"n_init": 3, "seed": 0, **KINDS[kind]}
    model = GaussianMixture(K, warm_start=False, **options)
    model.fit(data["x"], epochs=20, verbose=0)
    classes = model.predict(data["x"]).argmax(axis=1)
    order = np.random.default_rng(1).permutation(90)
    for moved, expected in (
        (data["x"] + [0.0, 1.0], classes),
        (data["x"][order], classes[order]),  # known by the old components, not by their place
        (data["x"][:60], classes[:60]),
    ):
        model.fit(moved, epochs=20, verbose=0)
        assert_array_equal(model.predict(moved).argmax(axis=1), expected)
    other = GaussianMixture.from_config(model.get_config())
    assert other.warm_start is False


def test_a_fresh_start_that_fails_loses_nothing(data, monkeypatch):
    model = GaussianMixture(K, warm_start=False, n_init=3, seed=0)
    model.fit(data["x"], epochs=20, verbose=0)
    before = model.get_weights()

    def fail(**arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(learning, "start", fail)
    with pytest.raises(KeyboardInterrupt):
        model.fit(data["x"], epochs=20, verbose=0)
    for got, wanted in zip(model.get_weights(), before, strict=True):
        assert_array_equal(got, wanted)


@pytest.mark.parametrize("inference", ["variational", "gibbs"])
def test_a_start_under_a_class_prior_takes_its_ids_from_it(data, inference):
    meaning = np.array([2, 0, 1])[data["classes"]]
    rng = np.random.default_rng(0)
    wrong = rng.random(90) < 0.3
    named = np.where(wrong, rng.integers(K, size=90), meaning)
    prior = np.full((90, K), 0.15) + 0.55 * np.eye(K)[named]
    for seed in range(3):
        model = GaussianMixture(K, inference=inference, seed=seed)
        model.fit({"x": data["x"], "class_prior": prior}, epochs=20, verbose=0)
        assert (model.predict(data["x"]).argmax(axis=1) == meaning).mean() > 0.95


@pytest.mark.parametrize("rest", [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [1 / 3] * 3], ids=str)
def test_a_label_for_each_class_is_enough_whatever_frequencies_the_rest_have(rest):
    classes = np.arange(90) % 3
    x = np.random.default_rng(0).normal(size=(90, 3)) + 6 * np.eye(3)[classes]
    prior = np.tile(rest, (90, 1))
    prior[:3] = np.eye(3)
    model = GaussianMixture(3, n_init=4, seed=0)
    model.fit({"x": x, "class_prior": prior}, epochs=30, verbose=0)
    np.testing.assert_array_equal(model.predict(x).argmax(axis=1), classes)


def test_a_class_that_all_rows_rule_out_stays_empty_and_the_others_take_its_samples():
    classes = np.arange(90) % 3
    x = np.random.default_rng(0).normal(size=(90, 3)) + 6 * np.eye(3)[classes]
    inputs = {"x": x, "class_prior": np.tile([0.5, 0.5, 0], (90, 1))}
    model = GaussianMixture(3, n_init=4, seed=0)
    model.fit(inputs, epochs=30, verbose=0)
    found = model.predict(inputs).argmax(axis=1)
    assert sorted(np.bincount(found, minlength=3)) == [0, 30, 60]
    assert srk.metrics.clustering_accuracy(classes, found) == pytest.approx(2 / 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_do_not_matter(data, kind, scale):
    expected = GaussianMixture(K, n_init=2, seed=0, **KINDS[kind])
    expected.fit(data["x"], epochs=10, verbose=0)
    model = GaussianMixture(K, n_init=2, seed=0, **KINDS[kind])
    model.fit(scale * data["x"], epochs=10, verbose=0)
    assert_allclose(
        model.predict(scale * data["x"]), expected.predict(data["x"]), rtol=1e-4, atol=1e-7
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [[1e12, 1.0], [1.0, 1e-12], [1e-6, 1e6]], ids=str)
def test_each_feature_may_have_units_of_its_own(data, kind, scale):
    """Two classes that one feature tells apart, beside one that does not, as a time in seconds."""
    rng = np.random.default_rng(0)
    classes = np.arange(200) % 2
    x = np.c_[rng.uniform(-1, 1, 200), 10.0 * classes + rng.normal(size=200)]
    for columns in ([0, 1], [1, 0]):
        there = x[:, columns] * scale + [1e3 * scale[0], 0.0]
        model = GaussianMixture(2, n_init=4, seed=0, **KINDS[kind])
        model.fit(there, epochs=20, verbose=0)
        answer = model.predict(there).argmax(axis=1)
        assert srk.metrics.clustering_accuracy(classes, answer) == 1.0


@pytest.mark.parametrize("factor", [1e200, 1e149])
def test_data_whose_squares_overflow_leave_the_model_as_it_was(fitted, data, factor):
    before = fitted.get_weights()
    for learn in (fitted.partial_fit, lambda x: fitted.fit(x, epochs=2, verbose=0)):
        if fitted.inference == "gibbs" and learn == fitted.partial_fit:
            continue
        with warnings.catch_warnings(), pytest.raises(ValueError, match="Scale the data|squared"):
            warnings.simplefilter("ignore", RuntimeWarning)
            learn(np.full((90, D), factor) * (1 + np.arange(90)[:, None]))
        for got, wanted in zip(fitted.get_weights(), before, strict=True):
            assert_array_equal(got, wanted)


CASES = {
    "more classes than data": (lambda rng: rng.normal(size=(4, 2)), 7),
    "one datum": (lambda rng: rng.normal(size=(1, 3)), 2),
    "duplicates": (lambda rng: np.repeat(rng.normal(size=(2, 3)), 20, axis=0), 4),
    "all the same": (lambda rng: np.ones((10, 2)), 3),
    "a constant feature": (lambda rng: np.c_[rng.normal(size=30), np.full(30, 5.0)], 2),
    "many features": (lambda rng: rng.random((25, 784)), 3),
    "far apart": (lambda rng: np.r_[rng.normal(size=(9, 2)), rng.normal(size=(9, 2)) + 1e8], 2),
    "one feature, float32": (lambda rng: rng.normal(size=(20, 1)).astype("float32"), 2),
    "whole numbers": (lambda rng: rng.integers(0, 9, size=(20, 2)), 2),
}


@pytest.mark.parametrize(
    "case, kind",  # powers of 784 features take minutes
    [pair for pair in itertools.product(CASES, KINDS) if pair != ("many features", "powers")],
)
def test_is_never_singular_and_never_underflows(case, kind):
    make, num_components = CASES[case]
    x = make(np.random.default_rng(0))
    model = GaussianMixture(num_components, n_init=2, seed=0, **KINDS[kind])
    model.fit(x, epochs=5, verbose=0)
    answer = model.predict(x)
    assert np.isfinite(answer).all()
    assert_allclose(answer.sum(axis=1), 1.0)
    assert_allclose(model(x).numpy(), answer, atol=1e-5)
    assert np.isfinite(model.means).all() and np.isfinite(model.covariances).all()
    assert (np.linalg.eigvalsh(model.covariances) > 0).all()


def test_infinite_variance_counts_for_nothing(data):
    x, variance = data["x"].copy(), np.zeros((90, D))
    x[60:], variance[60:] = 1e4, np.inf
    model, expected = (GaussianMixture(K, n_init=2, seed=0) for _ in range(2))
    model.fit({"x": x, "variance": variance}, epochs=10, verbose=0)
    expected.fit(x[:60], epochs=10, verbose=0)
    assert_allclose(model.prior.mean, expected.prior.mean)
    assert np.abs(model.means).max() < 10
    assert_allclose(np.sort(model.mixing_weights), np.sort(expected.mixing_weights), rtol=1e-6)

    for answer in (model.predict, lambda inputs: model(inputs).numpy()):
        silent = answer({"x": x, "variance": variance})[60:]
        assert_allclose(silent, silent[:1].repeat(30, axis=0))
        assert_allclose(silent[0], model.mixing_weights, atol=0.01)


def test_what_a_class_prior_rules_out_stays_so_whatever_the_data_say(fitted, data):
    x = 1e3 * data["x"][:1]
    unlikely = fitted.component_log_likelihood(x).argmin()
    inputs = {"x": x, "class_prior": np.eye(K)[[unlikely]]}
    swept = fitted.statistics(inputs).counts
    for answer in (fitted.predict(inputs), fitted(inputs).numpy(), swept):
        assert_allclose(np.reshape(answer, K), np.eye(K)[unlikely], atol=1e-12)


def test_sample_weight_is_how_often_a_datum_counts(data):
    weight = np.where(np.arange(90) < 45, 2.0, 1.0)
    model, expected = (GaussianMixture(K, n_init=1, seed=0, tolerance=None) for _ in range(2))
    model.fit(data["x"], sample_weight=weight, epochs=30, verbose=0)
    expected.fit(np.r_[data["x"], data["x"][:45]], epochs=30, verbose=0)
    assert_allclose(np.sort(model.mixing_weights), np.sort(expected.mixing_weights), rtol=1e-6)


def test_callbacks_and_progress(data, capsys):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    model = GaussianMixture(K, n_init=1, seed=0, tolerance=None)
    capsys.readouterr()
    history = model.fit(data["x"], epochs=9, callbacks=[Stop()], verbose=0)
    assert history.epoch == [0, 1] and list(history.history) == ["bound"]
    assert capsys.readouterr().out == ""
    model.fit(data["x"], epochs=2, verbose=1)
    assert "bound" in capsys.readouterr().out


def test_score_samples_is_a_density():
    rng = np.random.default_rng(0)
    model = GaussianMixture(2, n_init=1, seed=0)
    model.fit(np.r_[rng.normal(size=(30, 1)), 5 + rng.normal(size=(30, 1))], epochs=10, verbose=0)
    grid = np.linspace(-60, 70, 20001)[:, None]
    density = np.exp(model.score_samples(grid))
    assert_allclose(density.sum() * (grid[1, 0] - grid[0, 0]), 1.0, rtol=1e-3)


def test_sample_draws_from_what_was_learned(fitted, data):
    x, components = fitted.sample(3000, seed=0)
    assert x.shape == (3000, D) and components.shape == (3000,)
    assert_allclose(np.bincount(components) / 3000, fitted.mixing_weights, atol=0.05)
    assert_allclose(x[components == 1].mean(axis=0), fitted.means[1], atol=0.2)
    x, components = fitted.sample(5, component=2, seed=0)
    assert (components == 2).all()


@pytest.mark.parametrize(
    "options, text",
    [
        ({"inference": "em"}, "inference='em'"),
        ({"n_init": 0}, "n_init"),
        ({"mean_precision": 0}, "mean_precision"),
        ({"weight_concentration": -1}, "weight_concentration"),
        ({"weight_concentration": [1.0, 2.0]}, "weight_concentration"),
        ({"degrees_of_freedom": np.inf}, "degrees_of_freedom"),
        ({"seed": -1}, "`seed` must be"),
        ({"seed": np.random.default_rng(0)}, "`seed` must be"),
        ({"num_components": 0}, "num_components"),
        ({"num_components": 2.5}, "num_components"),
        ({"num_component": 2}, "num_component"),
        ({"power_transform": True, "inference": "gibbs"}, "`power_transform` needs"),
    ],
)
def test_unknown_options_are_refused(options, text):
    with pytest.raises((ValueError, TypeError), match=text):
        GaussianMixture(**{"num_components": 2, **options})


@pytest.mark.parametrize(
    "inputs, options, text",
    [
        (np.zeros((5, 3)), {}, "fitted to 2 features"),
        (np.zeros(5), {}, r"\(N, D\)"),
        (np.full((5, 2), np.nan), {}, "finite"),
        (np.array([["a", "b"]]), {}, "numbers"),
        (np.zeros((0, 2)), {}, r"\(N, D\)"),
        ({"y": np.zeros((5, 2))}, {}, "Inputs must be"),
        ({"x": np.zeros((5, 2)), "variance": np.ones((5, 1))}, {}, "`variance`"),
        ({"x": np.zeros((5, 2)), "variance": -np.ones((5, 2))}, {}, "`variance`"),
        ({"x": np.zeros((5, 2)), "class_prior": np.ones((5, 3))}, {}, "Divide each row"),
        ({"x": np.zeros((5, 2)), "class_prior": np.full((5, 2), 0.5)}, {}, "3 classes"),
        ({"x": np.zeros((5, 2)), "class_prior": np.eye(3)}, {}, "one row per sample"),
        (np.zeros((5, 2)), {"sample_weight": np.ones(4)}, "sample_weight"),
        (np.zeros((5, 2)), {"sample_weight": -np.ones(5)}, "sample_weight"),
        (np.zeros((5, 2)), {"sample_weight": np.full(5, np.inf)}, "sample_weight"),
        (np.zeros((5, 2)), {"sample_weight": np.zeros(5)}, "No datum counts"),
        ({"x": np.zeros((5, 2)), "variance": np.full((5, 2), np.inf)}, {}, "No datum counts"),
    ],
)
def test_bad_inputs_are_refused_and_the_state_stays(data, inputs, options, text):
    model = GaussianMixture(K, n_init=1, seed=0)
    model.fit(data["x"], epochs=1, verbose=0)
    before = model.get_weights()
    with pytest.raises((TypeError, ValueError), match=text):
        model.fit(inputs, epochs=1, verbose=0, **options)
    for a, b in zip(model.get_weights(), before, strict=True):
        assert_array_equal(a, b)


@pytest.mark.parametrize("use", ["predict", "log_likelihood", "component_log_likelihood"])
@pytest.mark.parametrize(
    "x, text",
    [
        (np.zeros((5, 1)), "fitted to 2 features"),
        (np.zeros(2), r"\(N, D\)"),
        (np.full((5, 2), np.nan), "finite"),
    ],
)
def test_bad_inputs_are_not_scored(fitted, use, x, text):
    with pytest.raises(ValueError, match=text):
        getattr(fitted, use)(x)


def test_what_comes_with_inputs_is_checked_too(fitted):
    x = np.zeros((5, 2))
    with pytest.raises(ValueError, match="`variance` must"):
        fitted.component_log_likelihood(x, np.ones((5, 1)))
    with pytest.raises(ValueError, match="one row per sample"):
        fitted.score_samples(x, np.eye(K))
    message = srk.Gaussian(x, np.ones((5, 2)))
    assert_array_equal(
        fitted.component_log_likelihood(message),
        fitted.component_log_likelihood(x, np.ones((5, 2))),
    )


def test_what_needs_a_fit_says_so(tmp_path):
    model = GaussianMixture(K)
    for use in (
        lambda: model.predict(np.zeros((2, 2))),
        lambda: model.means,
        lambda: model.statistics(np.zeros((2, 2))),
        lambda: model.export(tmp_path / "m"),
        lambda: model.sample(1),
        lambda: model.score_samples(np.zeros((2, 2))),
        lambda: model.component_log_likelihood(np.zeros((2, 2))),
    ):
        with pytest.raises(RuntimeError, match="not been fitted"):
            use()
    assert model.state is None


def test_one_component_is_called_without_a_warning(data):
    model = GaussianMixture(1).partial_fit(data["x"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert_array_equal(model(data["x"]), np.ones((90, 1)))


def test_a_second_build_for_other_data_changes_nothing(fitted, data):
    expected = fitted.predict(data["x"])
    with pytest.raises(ValueError, match="already built"):
        fitted.build((None, D + 1))
    assert_array_equal(fitted.predict(data["x"]), expected)


def test_saved_and_exported(fitted, data, tmp_path):
    fitted.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert_array_equal(loaded.predict(data["x"]), fitted.predict(data["x"]))
    assert loaded.get_config() == fitted.get_config()
    loaded.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    answer = served.serve(tf.constant(data["x"], "float32"))
    assert_allclose(answer, fitted.predict(data["x"].astype("float32")), rtol=1e-5, atol=1e-9)


GO_ON = """
import sys
import keras, numpy as np
import kserket

x = np.load(sys.argv[1])
for kind in ("variational", "gibbs", "powers"):
    model = keras.saving.load_model(f"{sys.argv[2]}/{kind}.keras")
    model.fit(x, epochs=3, verbose=0)
    np.save(f"{sys.argv[2]}/{kind}.npy", model.predict(x))
"""


@pytest.mark.slow
def test_learning_goes_on_in_another_process_as_if_nothing_had_been(data, tmp_path):
    np.save(tmp_path / "x.npy", data["x"])
    models = {}
    for kind, options in KINDS.items():
        model = models[kind] = GaussianMixture(K, n_init=1, seed=0, **options)
        model.fit(data["x"], epochs=2, verbose=0)
        model.save(tmp_path / f"{kind}.keras")
        model.fit(data["x"], epochs=3, verbose=0)
    command = [sys.executable, "-c", GO_ON, str(tmp_path / "x.npy"), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    for kind, model in models.items():
        answer = np.load(tmp_path / f"{kind}.npy")
        assert_array_equal(answer, model.predict(data["x"]))


def test_default_hyper_parameters_can_be_replaced(data):
    options = {"weight_concentration": 3.0, "mean_precision": 0.5, "degrees_of_freedom": 9.0}
    model = GaussianMixture(K, n_init=1, seed=0, **options)
    model.fit(data["x"], epochs=1, verbose=0)
    for name, value in options.items():
        assert getattr(model.prior, name) == value
    expected = gaussian_mixture.default_prior(data["x"].mean(0), data["x"].var(0), K)
    assert_allclose(model.prior.scatter, expected.scatter)
    with pytest.raises(ValueError, match="D - 1"):
        GaussianMixture(K, degrees_of_freedom=0.5).fit(data["x"], verbose=0)
