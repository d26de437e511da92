"""The model of multinomial latent variables, against closed forms and enumeration."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax, softmax
from scipy.stats import multinomial

from kserket import MultinomialVAE
from kserket.core.autoencoder.model import Autoencoder
from kserket.mnvae.objective import as_counts, kl_divergence, relaxed_counts

L, DRAWS, D = 3, 4, 2
COUNTS = np.array([z for z in itertools.product(range(DRAWS + 1), repeat=L) if sum(z) == DRAWS])
X = np.array([[0.0, 1.0], [1.0, 1.0], [0.2, 0.7]])
PRIOR = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8], [0.6, 0.3, 0.1]])


def make(**options):
    options = {"num_draws": DRAWS, "encoder_units": 5, "decoder_units": 5, "seed": 0, **options}
    model = MultinomialVAE(L, kernel_stddev=0.7, **options)
    model.compile(keras.optimizers.Adam(0.05))
    model.build((None, D))
    return model


def log_likelihood(model, x):
    """log p(x | z) of every count vector: (N, number of them)."""
    probs = model.decode(COUNTS).astype("float64")
    return x @ np.log(probs).T + (1 - x) @ np.log1p(-probs).T


def log_probabilities(probs):
    """log Multinomial(z; N, p) of every count vector: (N, number of them)."""
    return np.stack([multinomial.logpmf(COUNTS, DRAWS, row / np.sum(row)) for row in probs])


def test_divergence_is_that_of_the_counts():
    logits = np.array([[0.3, -1.0, 2.0], [0.0, 0.0, 0.0]], "float32")
    prior = PRIOR[:2]
    log_q = log_probabilities(softmax(logits.astype("float64"), axis=1))
    for given, log_p in (
        (prior, log_probabilities(prior)),
        (None, log_probabilities([[1 / L] * L])),
    ):
        exact = (np.exp(log_q) * (log_q - log_p)).sum(axis=1)
        assert_allclose(kl_divergence(logits, DRAWS, given), exact, rtol=1e-5, atol=1e-5)


def test_a_prior_that_excludes_a_word_costs_much_and_never_infinity():
    logits = np.zeros((1, L), "float32")
    cost = kl_divergence(logits, DRAWS, np.array([[0.5, 0.5, 0.0]]))
    assert 100 < float(cost[0]) < 1000


def test_no_gradient_flows_into_the_prior():
    prior = tf.constant(PRIOR, "float32")
    with tf.GradientTape() as tape:
        tape.watch(prior)
        cost = kl_divergence(tf.zeros((3, L)), DRAWS, prior)
    assert tape.gradient(cost, prior) is None


@pytest.mark.parametrize("temperature", [1e-4, 0.5, 3.0])
def test_relaxed_counts_sum_to_the_draws(temperature):
    logits = np.random.default_rng(0).normal(size=(6, L)).astype("float32")
    noise = np.random.default_rng(1).gumbel(size=(6, DRAWS, L)).astype("float32")
    counts = np.asarray(relaxed_counts(logits, noise, temperature))
    assert_allclose(counts.sum(axis=1), DRAWS, rtol=1e-5)
    words = (logits[:, None] + noise).argmax(axis=2)  # where the limit is
    whole = (words[..., None] == np.arange(L)).sum(axis=1)
    distance = np.abs(counts - whole).max()
    assert distance < 0.2 if temperature < 0.1 else distance > 0.2


def test_cold_draws_have_the_probabilities_of_the_logits():
    logits = np.array([[0.0, 1.0, -1.0]], "float32")
    model = make(num_draws=20_000)
    counts = np.asarray(relaxed_counts(logits, model._noise(1), 0.001))[0]
    expected = softmax(logits[0])
    error = np.sqrt(expected * (1 - expected) / 20_000)
    assert (np.abs(counts / 20_000 - expected) < 5 * error).all()


def test_counts_of_anything():
    values = np.array([[2.0, 1.0, 1.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0], [np.nan] * 3])
    expected = [[4, 2, 2], [4, 4, 0], [8 / 3] * 3, [8 / 3] * 3]
    assert_allclose(as_counts(values, 8), expected)
    assert_allclose(as_counts(tf.constant(values), 8, keras.ops), expected)


def test_bound_is_that_of_enumeration_and_below_the_likelihood():
    model, copies = make(), 3000
    log_q = log_probabilities(model.encode(X).astype("float64"))
    log_p, likelihood = log_probabilities(PRIOR), log_likelihood(model, X)
    values = likelihood + log_p - log_q
    exact = (np.exp(log_q) * values).sum(axis=1)
    evidence = np.logaddexp.reduce(log_p + likelihood, axis=1)
    assert (exact < evidence).all()
    found = model.bound(X.repeat(copies, axis=0), PRIOR.repeat(copies, axis=0), seed=0)
    found = found.reshape(3, copies)
    error = found.std(axis=1) / np.sqrt(copies)
    assert (np.abs(found.mean(axis=1) - exact) < 5 * error).all()
    assert (error > 0).all()


def test_bound_weighs_the_divergence():
    model = make()
    before = model.bound(X, PRIOR, num_samples=3, seed=0)
    model.kl_weight = 3.0
    q = model.encode(X).astype("float64")
    divergence = DRAWS * (q * np.log(q / PRIOR)).sum(axis=1)
    after = model.bound(X, PRIOR, num_samples=3, seed=0)
    assert_allclose(before - after, 2 * divergence, rtol=1e-4)


def test_evaluate_decodes_expected_counts():
    model = make()
    figures = model.evaluate({"x": X, "class_prior": PRIOR}, verbose=0, return_dict=True)
    q = model.encode(X).astype("float64")
    probs = model.decode(DRAWS * q).astype("float64")
    cost = -(X * np.log(probs) + (1 - X) * np.log1p(-probs)).sum(axis=1)
    divergence = DRAWS * (q * np.log(q / PRIOR)).sum(axis=1)
    assert figures["reconstruction"] == pytest.approx(cost.mean(), rel=1e-4)
    assert figures["kl"] == pytest.approx(divergence.mean(), rel=1e-4)
    assert figures["loss"] == pytest.approx((cost + divergence).mean(), rel=1e-4)
    parts = model.predict(X, verbose=0)
    assert_allclose(parts["z_probs"], q, rtol=1e-5)
    assert_allclose(parts["reconstruction"], probs, rtol=1e-4)


def test_codes_follow_the_prior_and_pictures_stay():
    classes = np.arange(60) % 3
    x, prior = 0.9 * np.eye(3)[classes][:, :D] + 0.05, 0.1 + 0.7 * np.eye(L)[classes]
    model = make(num_draws=30)
    options = {"epochs": 60, "batch_size": 20, "verbose": 0}
    history = model.fit({"x": x, "class_prior": prior}, **options).history
    assert history["loss"][-1] < history["loss"][0]
    assert (model.encode(x).argmax(axis=1) == classes).all()
    assert np.abs(model.encode(x) - prior).max() < 0.2
    assert np.abs(model.decode(30 * prior) - x).mean() < 0.2  # what is expected of the words alone


def test_without_a_prior_words_are_equally_likely():
    figures = [
        make().evaluate(x, verbose=0)
        for x in (X, {"x": X, "class_prior": np.full((3, L), 1 / L)}, [X, np.full((3, L), 1 / L)])
    ]
    assert_allclose(figures[1], figures[0], rtol=1e-6)
    assert_allclose(figures[2], figures[0], rtol=1e-6)


def test_both_loops_and_datasets_learn_the_same_figures():
    data = {"x": X.astype("float32"), "class_prior": PRIOR.astype("float32")}
    compiled, batches = make(), make()
    batches.fit(tf.data.Dataset.from_tensors((data,)), epochs=2, verbose=0)
    compiled.fit(data, batch_size=3, epochs=2, shuffle=False, verbose=0)
    for one, other in zip(compiled.get_weights(), batches.get_weights(), strict=True):
        assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_temperature_is_a_variable():
    model = make(temperature=2.0)
    model.temperature = 0.5
    assert float(model.temperature.numpy()) == 0.5
    assert MultinomialVAE.from_config(model.get_config()).get_config() == model.get_config()


def test_sample_draws_whole_counts():
    model = make()
    probs = np.eye(L)[[0, 2]]
    assert_allclose(model.sample(2, probs, seed=0), model.decode(DRAWS * probs), rtol=1e-6)
    drawn = model.sample(500, seed=0)
    possible = model.decode(COUNTS)
    distance = np.abs(drawn[:, None] - possible).max(axis=2).min(axis=1)
    assert drawn.shape == (500, D) and distance.max() < 1e-5
    assert model.sample(0).shape == (0, D)


def test_the_users_encoder_returns_logits_or_features():
    for width in (L, 7):
        x = keras.Input((D,))
        encoder = keras.Model(x, keras.layers.Dense(width, name="own")(x))
        model = make(encoder=encoder)
        assert model.encode(X).shape == (3, L)
        own = encoder(X.astype("float32")).numpy()
        same = width == L and np.allclose(
            np.log(model.encode(X)), log_softmax(own, axis=1), atol=1e-5
        )
        assert same == (width == L)
    with pytest.raises(ValueError, match=r"`encoder` must return \[logits\].*\(None, 3\)"):
        x = keras.Input((D,))
        make(encoder=keras.Model(x, [keras.layers.Dense(L)(x), keras.layers.Dense(L)(x)]))


def test_gaussian_data_in_any_units():
    x = np.random.default_rng(0).normal(size=(40, D))
    bounds = []
    for scale in (1.0, 1000.0):
        model = make(likelihood="gaussian")
        model.fit(scale * x + 5 * scale, epochs=2, batch_size=20, verbose=0)
        bounds.append(model.bound(scale * x + 5 * scale, seed=0) + D * np.log(scale))
    assert_allclose(bounds[1], bounds[0], rtol=1e-3, atol=1e-3)


def test_save_and_export(tmp_path):
    model = make()
    model.fit({"x": X, "class_prior": PRIOR}, epochs=2, verbose=0)
    model.temperature = 0.7
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        one.fit({"x": X, "class_prior": PRIOR}, epochs=2, verbose=0)
    for one, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
        assert_array_equal(one, other)
    model.export(tmp_path / "served", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "served"))  # holds the variables of its functions
    served = loaded.serve(tf.constant(X, "float32"))
    expected = model.predict(X, verbose=0)
    for name, part in expected.items():
        assert_allclose(served[name], part, rtol=1e-5)


ERRORS = {
    "options": (lambda: MultinomialVAE(3, num_draws=0), ValueError, "num_draws"),
    "temperature": (lambda: MultinomialVAE(3, temperature=-1.0), ValueError, "temperature"),
    "unknown": (lambda: MultinomialVAE(3, draws=4), TypeError, "Did you mean `num_draws`"),
    "columns": (lambda: make().fit({"x": X, "class_prior": PRIOR[:, :2]}), ValueError, r"\(N, 3\)"),
    "rows": (lambda: make().fit({"x": X, "class_prior": PRIOR[:2]}), ValueError, "same number"),
    "sums": (lambda: make().fit({"x": X, "class_prior": 2 * PRIOR}), ValueError, "summing to 1"),
    "names": (lambda: make().fit({"x": X, "mu": PRIOR}), ValueError, "x and class_prior"),
    "target": (lambda: make().fit(X, PRIOR), ValueError, "Give class_prior among the inputs"),
    "loss": (lambda: make().fit({"x": X + 1}), ValueError, r"\[0, 1\]"),
    "sample": (lambda: make().sample(2, PRIOR), ValueError, "one row per sample, 2"),
    "decode": (lambda: make().decode(PRIOR[:, :2]), ValueError, r"\(N, 3\)"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    call, kind, text = ERRORS[case]
    with pytest.raises(kind, match=text):
        call()


def test_an_error_changes_nothing():
    model = make()
    before = model.get_weights()
    batches = tf.data.Dataset.from_tensors(({"x": X, "class_prior": 2 * PRIOR},))
    with pytest.raises(ValueError, match="cannot be used.*summing to 1"):
        model.fit(batches, verbose=0)
    for one, other in zip(model.get_weights(), before, strict=True):
        assert_array_equal(one, other)


def test_a_family_states_its_latent_variables():
    class Half(Autoencoder):
        """A family that says nothing of them."""

    with pytest.raises(TypeError, match="abstract.*_divergence.*_latent.*_noise"):
        Half(2)
