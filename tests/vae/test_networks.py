"""Networks of the user's in a `VariationalAutoencoder`: penalties, precision, frozen, not built."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk
from kserket import VariationalAutoencoder, vae

N, D, L = 12, 6, 2
X = np.random.default_rng(0).random((N, D)).astype("float32")


def make(learning_rate=0.1, **options):
    model = VariationalAutoencoder(L, encoder_units=3, decoder_units=3, seed=0, **options)
    model.compile(keras.optimizers.SGD(learning_rate), run_eagerly=True)
    return model


def network(shape, *widths, inputs=1):
    """From samples of a shape to dense layers of these widths, each an output."""
    given = [keras.Input(shape) for _ in range(inputs)]
    flat = keras.layers.Flatten()(given[0])
    outputs = [keras.layers.Dense(width)(flat) for width in widths]
    return keras.Model(given, outputs if len(outputs) > 1 else outputs[0])


class Raises(keras.Model):
    def call(self, x):
        return x.nothing_of_that_name


class ReturnsNone(keras.Model):
    def call(self, x):
        return None


GIVEN = {  # when the option is given
    "three outputs": (
        lambda: {"encoder": network((D,), L, L, L)},
        r"\[mean, log_variance\].*None, 2.*Leave out what follows mean, log_variance",
    ),
    "wrong outputs": (lambda: {"encoder": network((D,), 3, 3)}, r"\(None, 3\).*Give .* 2 units"),
    "unequal": (lambda: {"encoder": network((D,), L, 3)}, "`encoder` must return"),
    "another width": (
        lambda: {"decoder": network((5,), D)},
        r"`decoder` must take latent variables of shape \(None, 2\).*\(None, 5\).*Input\(\(2,\)\)",
    ),
    "two images": (lambda: {"decoder": network((L,), D, D)}, "`decoder` must return .* one tensor"),
    "inputs": (lambda: {"encoder": network((D,), L, L, inputs=2)}, "one of several inputs"),
    "two inputs": (lambda: {"decoder": network((L,), D, inputs=2)}, "one of several inputs"),
}
SHAPES = {  # when the data are known, before anything learns
    "another input": (lambda: {"encoder": network((7,), L, L)}, r"one that takes \(None, 7\)"),
    "images": (
        lambda: {"encoder": network((3, 2, 1), L, L)},
        r"`encoder` must take data of shape \(None, 6\).*followed by keras.layers.Reshape\(\(3, 2",
    ),
    "output": (lambda: {"decoder": network((L,), 5)}, r"\(None, 6\).*\(None, 5\).*in 6 numbers"),
    "form": (
        lambda: {"decoder": keras.Sequential([network((L,), D), keras.layers.Reshape((2, 3))])},
        r"end in keras.layers.Reshape\(\(6,\)\)",
    ),
}
CALLED = {  # when they are called: not built, their shapes are not known before
    "raises": (lambda: {"encoder": Raises()}, "raises AttributeError: .*nothing_of_that_name"),
    "none": (lambda: {"decoder": ReturnsNone()}, "`decoder` must return tensors.*None"),
    "empty": (lambda: {"encoder": keras.Sequential()}, "a model without layers"),
    "convolution": (
        lambda: {"encoder": keras.Sequential([keras.layers.Conv2D(2, 3)])},
        "raises ValueError: .*expected min_ndim=4, found ndim=2",
    ),
}


@pytest.mark.parametrize("case", GIVEN)
def test_networks_are_checked_where_they_are_given(case):
    options, said = GIVEN[case]
    for cls in (VariationalAutoencoder, vae.VAE):
        with pytest.raises(ValueError, match=said):
            cls(L, **options())


@pytest.mark.parametrize("case", {**SHAPES, **CALLED})
def test_networks_that_do_not_fit_the_data_name_what_helps(case):
    options, said = {**SHAPES, **CALLED}[case]
    with pytest.raises(ValueError, match=said):
        VariationalAutoencoder(L, **options()).build((None, D))
    module = vae.VAE(L, save_dir=None, **options())
    module.connect(srk.Observation(X))
    with pytest.raises(ValueError, match=f"{module.get_name()}: .*{said}"):
        module.check_options(N) if case in SHAPES else module.update()
    assert module.model is None


def test_networks_of_a_subclass_are_named_after_its_methods():
    class Own(vae.VAE):
        def build_encoder(self, x, latent_dim):
            return keras.layers.Dense(3)(x), keras.layers.Dense(3)(x)

        def build_decoder(self, z):
            return self.decode(z)

    for decode, said in (
        (lambda z: None, "`build_decoder` must return tensors.*None"),
        (keras.layers.Dense(D), "`build_encoder` must return"),
    ):
        Own.decode = staticmethod(decode)
        module = Own(L, save_dir=None)
        module.connect(srk.Observation(X))
        with pytest.raises(ValueError, match=said):
            module.update()


class AddsTwo(keras.layers.Layer):
    def call(self, inputs):
        self.add_loss(keras.ops.convert_to_tensor(2.0))
        return inputs


def encoder(*layers, **options):
    hidden = keras.layers.Dense(4, kernel_initializer="ones", name="hidden", **options)
    return keras.Sequential([keras.Input((D,)), hidden, *layers])


PENALTIES = {
    "kernel": lambda: (encoder(kernel_regularizer=keras.regularizers.L2(0.5)), 0.5 * D * 4),
    "activity": lambda: (
        encoder(activity_regularizer=keras.regularizers.L1(0.25)),
        0.25 * 4 * X.sum(),
    ),
    "add_loss": lambda: (encoder(AddsTwo()), 2.0),
}


@pytest.mark.parametrize("kind", PENALTIES)
def test_penalties_of_layers_are_part_of_the_loss(kind):
    network, penalty = PENALTIES[kind]()
    figures = make(encoder=network).evaluate(X, batch_size=N, verbose=0, return_dict=True)
    bound = figures["reconstruction"] + figures["kl"]
    assert_allclose(figures["loss"], bound + penalty / (N if kind == "activity" else 1), rtol=1e-5)
    history = make(0.0, encoder=network).fit(X, batch_size=5, epochs=2, verbose=0).history
    assert history["loss"][0] > 1.01 * (history["reconstruction"][0] + history["kl"][0])


def test_weights_shrink_under_their_penalty():
    kernels = []
    for factor in (0.0, 1.0):
        network = encoder(kernel_regularizer=keras.regularizers.L2(factor))
        module = vae.VAE(L, itr=5, encoder=network, save_dir=None, seed=0)
        module.connect(srk.Observation(X))
        module.update()
        kernels.append(np.abs(network.get_layer("hidden").kernel.numpy()).mean())
    assert kernels[1] < kernels[0] - 0.01


@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
def test_the_default_networks_compute_in_the_models_precision(policy, tmp_path):
    model = make(dtype=policy)
    model.build((None, D))
    dense = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dense)]
    assert len(dense) == 5 and {layer.dtype_policy.name for layer in dense} == {policy}
    model.fit(X, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert loaded.encoder.get_layer("z_mean").compute_dtype == model.compute_dtype
    for mine, other in zip(model.encode(X), loaded.encode(X), strict=True):
        assert_array_equal(mine, other)


def test_a_model_whose_weights_are_all_frozen_says_that_it_learns_nothing():
    model = make()
    model.build((None, D))
    model.trainable = False
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    before = model.get_weights()
    with pytest.warns(UserWarning, match="no trainable weights"):
        history = model.fit(X, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for weight, expected in zip(model.get_weights(), before, strict=True):
        assert_array_equal(weight, expected)


def test_a_model_that_has_seen_no_data_can_be_saved_and_copied(tmp_path):
    model = make(kl_weight=0.5)
    with pytest.warns(UserWarning, match="not yet been built"):
        model.save(tmp_path / "m.keras")
    for other in (
        keras.saving.load_model(tmp_path / "m.keras"),
        keras.models.model_from_json(model.to_json()),
    ):
        assert not other.built and float(other.kl_weight) == 0.5
        assert_array_equal(other.encode(X)[0], make().encode(X)[0])


@pytest.mark.parametrize("outputs", [lambda y: [y], lambda y: [y, y], lambda y: {"x": y}])
def test_a_decoder_of_several_outputs_is_refused(outputs):
    z = keras.Input((L,))
    decoder = keras.Model(z, outputs(keras.layers.Dense(D)(z)))
    with pytest.raises(
        ValueError, match=r"`decoder` must .* as one tensor\. Received: .*\(None, 6"
    ):
        make(decoder=decoder).build((None, D))


def test_seeds_may_be_numpy_integers():
    one, two = (VariationalAutoencoder(L, seed=seed) for seed in (3, np.int64(3)))
    assert_array_equal(one.encode(X)[0], two.encode(X)[0])
    assert two.get_config()["seed"] == 3
