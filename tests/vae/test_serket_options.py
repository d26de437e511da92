"""A VAE as Serket's scripts make it: unit variance, and optimizers beside the logits."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kserket as srk
from kserket import vae

X = np.random.default_rng(0).normal(size=(30, 3)) * [1.0, 10.0, 0.1] + [0.0, 50.0, -3.0]


def test_a_given_variance_is_that_of_the_data_as_given():
    model = srk.VariationalAutoencoder(2, likelihood="gaussian", variance=2.0, seed=0)
    model.adapt(X)
    model.compile(keras.optimizers.Adam(0.01))
    figures = model.evaluate(X, verbose=0, return_dict=True)
    means = model.predict(X, verbose=0)["reconstruction"]
    cost = 0.5 * np.sum((X - means) ** 2 / 2.0 + np.log(2 * np.pi * 2.0), axis=1)
    np.testing.assert_allclose(figures["reconstruction"], cost.mean(), rtol=1e-5)
    assert len(model.trainable_weights) == 10  # of the networks alone
    again = type(model).from_config(model.get_config())
    assert again.variance == 2.0


def test_a_given_variance_stays_and_bits_have_none():
    module = vae.VAE(2, itr=3, likelihood="gaussian", variance=1.0, save_dir=None, seed=0)
    module.connect(srk.Observation(X))
    module.update()
    assert float(module.model.log_variance.numpy()) == 0.0
    with pytest.raises(ValueError, match="`variance` needs likelihood='gaussian'"):
        vae.VAE(2, variance=1.0)
    with pytest.raises(ValueError, match="`variance` must be a positive number"):
        vae.VAE(2, likelihood="gaussian", variance=0.0)
    with pytest.raises(AttributeError):
        module.variance = 2.0


@pytest.mark.parametrize(
    ("make", "kind", "rate"),
    [
        (lambda: keras.optimizers.SGD(0.003), keras.optimizers.SGD, 0.003),
        (lambda: tf.compat.v1.train.AdamOptimizer(), keras.optimizers.Adam, 0.001),
        (lambda: tf.compat.v1.train.GradientDescentOptimizer(0.02), keras.optimizers.SGD, 0.02),
        (lambda: None, keras.optimizers.Adam, 0.01),
    ],
)
@pytest.mark.parametrize("container", [tuple, list])
def test_the_optimizer_beside_the_logits_is_used(make, kind, rate, container, tmp_path):
    @srk.register_module("tests")
    class Own(vae.VAE):
        def build_decoder(self, z):
            return container([keras.layers.Dense(3, name="logits")(z), make()])

    module = Own(2, itr=2, likelihood="gaussian", save_dir=tmp_path, seed=0)
    module.connect(srk.Observation(X))
    module.update()
    assert type(module.model.optimizer) is kind
    np.testing.assert_allclose(float(module.model.optimizer.learning_rate), rate, rtol=1e-6)
    np.testing.assert_allclose(module.learning_rate, rate, rtol=1e-6)
    graph = srk.Graph(module)
    graph.save(tmp_path / "graph.kserket")
    again = srk.load_graph(tmp_path / "graph.kserket").tops[0]
    assert type(again.model.optimizer) is kind
    np.testing.assert_allclose(again.learning_rate, rate, rtol=1e-6)


def test_anything_else_beside_the_logits_is_warned_of():
    class Own(vae.VAE):
        def build_decoder(self, z):
            return keras.layers.Dense(3)(z), "adam"

    module = Own(2, itr=2, likelihood="gaussian", save_dir=None, seed=0)
    module.connect(srk.Observation(X))
    with pytest.warns(UserWarning, match="returned str beside its result"):
        module.update()


def test_a_schedule_is_kept():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)

    class Own(vae.VAE):
        def build_decoder(self, z):
            return keras.layers.Dense(3)(z), keras.optimizers.SGD(schedule)

    module = Own(2, itr=2, likelihood="gaussian", save_dir=None, seed=0)
    module.connect(srk.Observation(X))
    module.update()
    rate = float(module.model.optimizer.learning_rate)
    assert np.isclose(rate, 0.1 * 0.5 ** int(module.model.optimizer.iterations))
