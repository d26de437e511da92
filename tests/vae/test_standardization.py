"""The Gaussian likelihood in any units, and what a model keeps of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk
from kserket import VariationalAutoencoder, vae
from kserket.core.autoencoder.standardization import Standardization, array_batches

N, D, L = 60, 4, 2
RNG = np.random.default_rng(0)
LABELS = np.arange(N) % 3
X = (RNG.normal(size=(N, L)) + 4 * np.eye(3, L)[LABELS]) @ RNG.normal(size=(L, D))
PER_COLUMN = np.array([1e-6, 1.0, 1e3, 1e6])
UNITS = {
    "tiny": (0.0, 1e-6),
    "huge": (0.0, 1e6),
    "kelvin": (293.15, 5.0),
    "far": (1e9, 1.0),
    "each its own": (7 * PER_COLUMN, PER_COLUMN),
}


def make(**options):
    options = {
        "likelihood": "gaussian",
        "encoder_units": 6,
        "decoder_units": 6,
        "seed": 0,
    } | options
    model = VariationalAutoencoder(L, **options)
    model.compile(keras.optimizers.Adam(0.01))
    return model


def fitted(x, **options):
    model = make(**options)
    model.fit(x, epochs=2, batch_size=20, verbose=0)
    return model


@pytest.fixture(scope="module")
def reference():
    return fitted(X)


@pytest.mark.parametrize("unit", UNITS)
def test_nothing_but_the_jacobian_depends_on_units(unit, reference):
    location, scale = UNITS[unit]
    x = location + scale * X
    model = fitted(x)
    tolerance = {"rtol": 1e-3, "atol": 1e-3}
    assert_allclose(model.encode(x)[0], reference.encode(X)[0], **tolerance)
    predicted = model.predict(x, verbose=0)
    assert_allclose(predicted["z_mean"], reference.encode(X)[0], **tolerance)
    jacobian = np.log(np.broadcast_to(scale, D)).sum()
    noise = RNG.normal(size=(1, N, L))
    assert_allclose(
        model.bound(x, noise=noise) + jacobian, reference.bound(X, noise=noise), **tolerance
    )
    figures = [
        m.evaluate(part, verbose=0, return_dict=True) for m, part in [(model, x), (reference, X)]
    ]
    assert_allclose(figures[0]["loss"] - jacobian, figures[1]["loss"], **tolerance)
    z = RNG.normal(size=(5, L))
    assert_allclose((model.decode(z) - location) / scale, reference.decode(z), **tolerance)
    assert_allclose(
        (model.sample(3, seed=1) - location) / scale, reference.sample(3, seed=1), **tolerance
    )


def test_the_bound_is_that_of_the_density_in_the_datas_units():
    x = 5 + 3 * X
    model = fitted(x)
    mean, variance = model.encode(x)
    noise = RNG.normal(size=(1, N, L)).astype("float32")
    decoded = model.decode(mean + np.sqrt(variance) * noise[0])
    spread = np.exp(float(model.log_variance)) * model.standardization.scale.numpy() ** 2
    log_density = -0.5 * (np.log(2 * np.pi * spread) + (x - decoded) ** 2 / spread).sum(axis=1)
    kl = 0.5 * (variance + mean**2 - 1 - np.log(variance)).sum(axis=1)
    assert_allclose(model.bound(x, noise=noise), log_density - kl, rtol=1e-4)


def test_location_and_scale_are_found_once_and_saved(tmp_path):
    model = fitted(X)
    assert_allclose(model.standardization.location.numpy().sum(axis=0), X.mean(axis=0), rtol=1e-5)
    assert_allclose(model.standardization.scale, X.std(axis=0), rtol=1e-5)
    kept = [weight.numpy() for weight in model.standardization.weights]
    model.fit(100 + X, epochs=1, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    loaded.fit(100 + X, epochs=1, verbose=0)
    for one in (model, loaded):
        for weight, before in zip(one.standardization.weights, kept, strict=True):
            assert_array_equal(weight, before)


def test_files_without_location_and_scale_take_data_unchanged():
    layer = Standardization()
    layer.build((None, D))
    layer.adapt(array_batches(X))
    layer.load_own_variables({})
    assert_allclose(layer(X), X, rtol=1e-6)
    assert layer.is_adapted


def test_constant_columns_change_nothing_and_have_no_unit_but_their_own_size():
    constant = np.full((N, 1), 0.1) + [0.0, 1e9, -1e9 - 0.1]
    layer = Standardization()
    layer.build((None, 3))
    layer.adapt(array_batches(constant))
    assert_allclose(layer(constant), 0.0, atol=1e-6)
    assert_allclose(layer.scale, np.abs(constant[0]), rtol=1e-6)
    model = fitted(np.hstack([X, constant]))
    assert np.isfinite(model.encode(np.hstack([X, constant]))[0]).all()


def test_moments_are_those_of_weighted_rows_whatever_the_chunks():
    x, weight = 1e9 + X, RNG.integers(0, 3, N)
    parts = [(x[:7], weight[:7]), (x[7:], weight[7:])]
    layer = Standardization()
    layer.build((None, D))
    layer.adapt(parts)
    repeated = np.repeat(X, weight, axis=0)
    assert_allclose(layer(x), (X - repeated.mean(axis=0)) / repeated.std(axis=0), atol=1e-4)


def test_numbers_beyond_single_precision_are_refused():
    for x in (X * 1e40, X * 1e-40):
        model = make()
        with pytest.raises(ValueError, match="in other units"):
            model.fit(x, verbose=0)
        assert not model.standardization.is_adapted


@pytest.mark.parametrize("kind", ["dataset", "generator"])
def test_batches_are_adapted_to_before_training(kind):
    x = (293 + 5 * X).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices(x).batch(N)
    source = dataset if kind == "dataset" else ((batch,) for batch in dataset.repeat(2))
    model = make()
    model.fit(source, epochs=2, steps_per_epoch=1, verbose=0)
    assert_allclose(model.standardization.scale, x.std(axis=0), rtol=1e-4)


def test_keras_own_loop_centers_before_it_rounds():
    class Batches(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            pass

    x, model = 1e9 + X, make()
    model.fit(x, epochs=2, batch_size=N, callbacks=[Batches()], shuffle=False, verbose=0)
    near = make()
    near.fit(X, epochs=2, batch_size=N, shuffle=False, verbose=0)
    assert_allclose(model.encode(x)[0], near.encode(X)[0], atol=1e-3)


def test_a_decoder_of_limited_range_gives_values_of_the_data():
    x = RNG.random((N, D))
    decoder = keras.Sequential([keras.Input((L,)), keras.layers.Dense(D, activation="sigmoid")])
    model = fitted(x, decoder=decoder)
    z = RNG.normal(size=(5, L)).astype("float32")
    assert_allclose(model.decode(z), decoder(z), rtol=1e-5)


def test_a_module_reads_reconstructs_and_serves_in_the_datas_units(tmp_path):
    x = 293 + 5 * X
    x[3] = np.nan
    observation = srk.Observation(x, allow_missing=True)
    module = vae.VAE(L, itr=150, batch_size=20, likelihood="gaussian", save_dir=None, seed=0)
    module.connect(observation)
    graph = srk.Graph(module, seed=0)
    graph.fit(rounds=1, verbose=0)
    seen = np.arange(N) != 3
    back = np.asarray(observation.get_backward_msg())
    assert np.isfinite(back).all()
    assert np.square(back - x)[seen].mean() < 0.5 * x[seen].var(axis=0).mean()
    graph.export(tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served")).signatures
    answer = served["encode"](tf.constant(x[seen], "float32"))
    (z,) = (part for name, part in answer.items() if "variance" not in name)
    assert_allclose(z, np.asarray(module.get_forward_msg())[seen], atol=1e-3)
