"""Decoders that end in an activation: what their numbers are taken for."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

from kserket import Observation, VariationalAutoencoder, vae
from kserket.core.autoencoder.decoder_output import activation_of

N, L = 12, 3
X = np.random.default_rng(0).random((N, 4, 4, 1)).astype("float32")


def dense(units=16, activation=None):
    return keras.layers.Dense(
        units, activation, kernel_initializer=keras.initializers.Constant(0.3)
    )


class Subclassed(keras.Model):
    def __init__(self, activation):
        super().__init__()
        self.dense, self.activation = dense(), keras.layers.Activation(activation)

    def call(self, z):
        return keras.ops.reshape(self.activation(self.dense(z)), (-1, 4, 4, 1))


def nested(activation):
    inner = keras.Sequential([keras.Input((L,)), dense(activation=activation)])
    return keras.Sequential([keras.Input((L,)), inner, keras.layers.Reshape((4, 4, 1))])


ENDS = {
    "last layer": lambda a: keras.Sequential(
        [keras.Input((L,)), keras.layers.Reshape((1, 1, L)), keras.layers.UpSampling2D(4)]
        + [keras.layers.Conv2D(1, 1, activation=a, kernel_initializer="ones")]
    ),
    "nested": nested,
    "subclassed": Subclassed,
    "cropped": lambda a: keras.Sequential(
        [keras.Input((L,)), dense(36, a), keras.layers.Reshape((6, 6, 1))]
        + [keras.layers.Cropping2D(1)]
    ),
}


def make(decoder):
    model = VariationalAutoencoder(L, decoder=decoder, encoder_units=4, kl_weight=0.1, seed=0)
    model.compile(keras.optimizers.SGD(0.05))
    return model


@pytest.mark.parametrize("end", ENDS)
def test_a_sigmoid_at_the_end_changes_nothing(end, tmp_path):
    logits, probabilities = make(ENDS[end](None)), make(ENDS[end]("sigmoid"))
    losses = [m.fit(X, epochs=2, verbose=0).history["loss"] for m in (logits, probabilities)]
    assert_allclose(losses[0], losses[1], rtol=1e-6)
    z = 40 * np.random.default_rng(1).normal(size=(5, L))
    assert_allclose(probabilities.decode(z), logits.decode(z), rtol=1e-5)
    noise = np.full((1, N, L), 40.0)  # logits of which float32 keeps no probability
    assert_allclose(probabilities.bound(X, noise=noise), logits.bound(X, noise=noise), rtol=1e-5)
    if end != "subclassed":
        probabilities.save(tmp_path / "m.keras")
        loaded = keras.saving.load_model(tmp_path / "m.keras")
        assert_allclose(loaded.decode(z), logits.decode(z), rtol=1e-5)


@pytest.mark.parametrize(
    "activation, name",
    [("sigmoid", "Sigmoid"), ("softmax", "Softmax"), ("hard_sigmoid", "Clip"), ("tanh", "Tanh")]
    + [("relu", "Relu"), ("leaky_relu", None), ("silu", None), (None, None)],
)
def test_activations_are_told_apart(activation, name):
    assert activation_of(nested(activation), L, "float32") == name


@pytest.mark.parametrize("activation", ["softmax", "hard_sigmoid"])
def test_other_probabilities_are_reconstructed_unchanged(activation):
    decoder = nested(activation)
    model = make(decoder)
    model.fit(X, verbose=0)
    z = np.random.default_rng(1).normal(size=(5, L)).astype("float32")
    assert_allclose(model.decode(z), decoder(z), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_logits_of_limited_range_warn(activation):
    with pytest.warns(UserWarning, match=f"ends in {activation}.*read as logits"):
        make(nested(activation)).build((None, 4, 4, 1))


NOISES = [keras.layers.Dropout(0.3), keras.layers.GaussianNoise(0.1)]


@pytest.mark.parametrize("noise", NOISES, ids=lambda layer: layer.name)
def test_noise_behind_a_sigmoid_warns(noise):
    layers = [keras.Input((L,)), dense(activation="sigmoid"), noise]
    model = make(keras.Sequential([*layers, keras.layers.Reshape((4, 4, 1))]))
    with pytest.warns(UserWarning, match="follow the decoder's last sigmoid.*Move them in front"):
        model.build((None, 4, 4, 1))
    before = [keras.Input((L,)), noise, dense(activation="sigmoid")]
    make(keras.Sequential([*before, keras.layers.Reshape((4, 4, 1))])).build((None, 4, 4, 1))


class Handmade(keras.layers.Layer):
    def call(self, z):
        return 1 / (1 + keras.ops.exp(-keras.ops.repeat(z[:, :1], 16, axis=1)))


def test_probabilities_of_another_make_warn():
    decoder = keras.Sequential([keras.Input((L,)), Handmade(), keras.layers.Reshape((4, 4, 1))])
    with pytest.warns(UserWarning, match=r"lie in \[0, 1\].*read as logits"):
        make(decoder).fit(X, verbose=0)
    module = vae.VAE(L, itr=1, decoder=decoder, save_dir=None, seed=0)
    module.connect(Observation(X))
    with pytest.warns(UserWarning, match=r"lie in \[0, 1\].*read as logits"):
        module.update()
