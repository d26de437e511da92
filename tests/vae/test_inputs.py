"""What `VariationalAutoencoder.fit` and `evaluate` take for data, and what they refuse."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose

import kserket as srk
from kserket import VariationalAutoencoder, vae

N, D, L = 12, 6, 2
X = np.random.default_rng(0).random((N, D)).astype("float32")


def make(eager=True):
    model = VariationalAutoencoder(L, encoder_units=3, decoder_units=3, seed=0)
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=eager)
    return model


def loss(x, **options):
    return make().evaluate(x, verbose=0, return_dict=True, **options)["loss"]


ABOVE = np.where(X > 0.5, 1.0000000000000002, 0.0)
BELOW = np.where(X > 0.5, 1.0, -1e-17)
FEW_BITS = np.where(X > 0.5, np.float32(1) + np.finfo("float32").eps, np.float32(0))


@pytest.mark.parametrize("x", [ABOVE, BELOW, FEW_BITS], ids=["above", "below", "single"])
def test_probabilities_may_be_off_by_rounding(x):
    assert_allclose(loss(x), loss(np.clip(x, 0, 1)), rtol=1e-6)
    module = vae.VAE(L, itr=1, save_dir=None, seed=0)
    module.connect(srk.Observation(x))
    module.update()
    assert np.isfinite(module.logs["loss"])


@pytest.mark.parametrize("value, text", [(1.00001, r"0 to 1\.00001\."), (-0.25, "-0.25 to 1")])
def test_what_lies_further_outside_is_refused_with_its_range(value, text):
    x = np.where(X > 0.5, 1.0, 0.0)
    x[3, 4] = value
    with pytest.raises(ValueError, match=rf"\[0, 1\]. `x` ranges from {text}"):
        make().fit(x, verbose=0)
    module = vae.VAE(L, save_dir=None)
    module.connect(srk.Observation(x))
    with pytest.raises(ValueError, match=rf"_obs ranges from {text}"):
        module.update()


def test_masked_arrays_are_read_if_nothing_is_masked():
    assert loss(np.ma.array(X)) == loss(X)
    masked = np.ma.array(X, mask=X > 0.9)
    for use in (make().fit, make().evaluate):
        with pytest.raises(ValueError, match="`x` is a masked array with .* Impute them.$"):
            use(masked, verbose=0)
    with pytest.raises(ValueError, match="`mu` is a masked array"):
        make().fit({"x": X, "mu": masked[:, :L]}, verbose=0)
    with pytest.raises(ValueError, match="masked"):
        make().fit(X, validation_data=masked, verbose=0)


@pytest.mark.parametrize(
    "x, error, text",
    [
        (X[:0], ValueError, "at least one sample"),
        (X[:, :0], ValueError, "at least one sample and one feature"),
        (X[:, 0], ValueError, r"`x` needs one row per sample"),
        (X.astype(str), TypeError, "`x` needs numbers"),
        (X.astype(object), TypeError, "`x` needs numbers"),
        (X.astype("complex64"), TypeError, "`x` needs numbers"),
        (np.where(X > 0.9, np.nan, X), ValueError, "the first at row .*impute them.$"),
    ],
    ids=["no samples", "no features", "one axis", "text", "objects", "complex", "NaN"],
)
def test_what_is_no_data_is_refused(x, error, text):
    with pytest.raises(error, match=text):
        make().fit(x, verbose=0)


@pytest.mark.parametrize("kind", ["bfloat16", "big-endian", "read-only", "lists"])
def test_arrays_of_any_kind_are_the_same_data(kind):
    x = np.round(16 * X) / 16  # which half precision holds exactly
    other = {
        "bfloat16": lambda: tf.cast(x, "bfloat16"),
        "big-endian": lambda: x.astype(">f8"),
        "read-only": lambda: np.broadcast_to(x, x.shape),
        "lists": lambda: {"x": x.tolist()},
    }[kind]()
    assert_allclose(loss(other), loss(x), rtol=1e-6)


def test_samples_of_another_shape_are_refused():
    model = make()
    model.build((None, D))
    with pytest.raises(ValueError, match=r"built for samples of shape \(6,\)"):
        model.evaluate(X[:, :3], verbose=0)


def test_datasets_must_tell_the_shape_of_their_samples():
    batches = tf.data.Dataset.from_tensor_slices(X).batch(4)
    lost = batches.map(lambda x: tf.numpy_function(np.array, [x], tf.float32))
    for data in (lost, batches.unbatch()):
        with pytest.raises(ValueError, match=r"samples of a known shape.*ensure_shape"):
            make(eager=False).evaluate(data, verbose=0)
    found = lost.map(lambda x: tf.ensure_shape(x, (None, D)))
    assert_allclose(loss(found), loss(X), rtol=1e-5)


def test_x_may_be_its_own_target_where_samples_end_in_as_many_numbers_as_latent_ones():
    images = np.random.default_rng(1).random((N, 2, 2, L))
    history = make().fit(images, images, validation_data=(images, images), verbose=0).history
    expected = make().evaluate(images, verbose=0, return_dict=True)
    assert_allclose(history["val_loss"], expected["loss"], rtol=1e-6)
    latent = X[:, :L]
    make().fit(latent, latent, validation_data=(latent, latent), verbose=0)


def test_weights_may_be_a_list_or_a_column():
    weight = np.linspace(0.1, 1.0, N)
    expected = loss(X, sample_weight=weight)
    assert_allclose(loss(X, sample_weight=list(weight)), expected, rtol=1e-6)
    assert_allclose(loss(X, sample_weight=weight[:, None]), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "weight, text",
    [(np.ones(3), r"shape \(12,\)\. Received: shape \(3,\)"), (np.full(N, np.nan), "not finite")],
    ids=["length", "NaN"],
)
def test_weights_that_would_spoil_the_model_are_refused(weight, text):
    with pytest.raises(ValueError, match=f"`sample_weight`.*{text}"):
        make().fit(X, sample_weight=weight, verbose=0)


class Batches(keras.utils.PyDataset):
    def __init__(self, x):
        super().__init__()
        self.x = x

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return (self.x[4 * index : 4 * index + 4],)


class Frame:
    """All that NumPy knows of a DataFrame."""

    def __init__(self, x):
        self.x = x

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.x, dtype)


SOURCES = {
    "dataset": lambda x: tf.data.Dataset.from_tensor_slices(x).batch(4),
    "PyDataset": Batches,
    "generator": lambda x: ((x[start : start + 4],) for start in (0, 4, 8)),
    "DataFrame": Frame,
}


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")  # of a generator
@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("value, text", [(np.nan, "not finite"), (255.0, r"data in \[0, 1\]")])
def test_bad_rows_are_found_in_every_source_and_the_model_is_what_it_was(kind, value, text):
    model = VariationalAutoencoder(L, encoder_units=3, decoder_units=3, seed=0)
    model.compile(keras.optimizers.SGD(0.1))
    model.fit(X, verbose=0)
    before = model.get_weights()
    x = X.copy()
    x[9, 2] = value
    for use in (model.fit, model.evaluate, model.predict):
        with pytest.raises(ValueError, match=text):
            use(SOURCES[kind](x), verbose=0)
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)
    model.fit(SOURCES[kind](X), verbose=0)


def test_rows_that_are_not_finite_are_answered_with_nan():
    model, x = make(), X.copy()
    model.fit(X, verbose=0)
    x[3, 2] = np.nan
    for answer in model(x).values():
        assert np.isnan(answer[3]).all() and np.isfinite(np.delete(answer, 3, axis=0)).all()


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda m: m.encode(X[:, :3]), "built for samples of shape"),
        (lambda m: m.predict(X[:, :3], verbose=0), "built for samples of shape"),
        (lambda m: m.bound(X, mu_variance=-np.ones((N, L))), "must be positive"),
        (lambda m: m.bound(X, num_samples=0), "num_samples"),
        (lambda m: m.sample(3, mu_variance=-1.0), "must be positive"),
        (lambda m: m.sample(3, mu=np.zeros(5)), r"shape \(3, 2\)"),
        (lambda m: m.decode(np.full((1, L), np.nan)), "not finite"),
        (lambda m: m.decode(np.zeros((1, 5))), r"shape \(N, 2\)"),
        (lambda m: m.fit(X, class_weight={0: 1.0}), "sample_weight"),
    ],
)
def test_arguments_are_checked(call, text):
    model = make()
    model.build((None, D))
    with pytest.raises(ValueError, match=text):
        call(model)


def test_a_loss_given_to_compile_warns():
    with pytest.warns(UserWarning, match="negative bound"):
        make().compile("sgd", loss="mse")


def test_training_that_diverges_leaves_the_model_as_it_was():
    model = VariationalAutoencoder(L, encoder_units=3, decoder_units=3, seed=0)
    model.compile(keras.optimizers.SGD(1e30))
    model.build((None, D))
    before = model.get_weights()
    with pytest.raises(FloatingPointError, match="has diverged"):
        model.fit(X, epochs=3, verbose=0)
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)
