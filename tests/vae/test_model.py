"""`VariationalAutoencoder`: its bound against NumPy, its inputs, and its life as a Keras model."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from kserket import VariationalAutoencoder

N, D, L = 13, 6, 2


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    return {
        "x": rng.random((N, D)).astype("float32"),
        "mu": rng.normal(size=(N, L)).astype("float32"),
        "mu_variance": (rng.random((N, L)) + 0.5).astype("float32"),
        "weight": rng.random(N).astype("float32"),
    }


def make(learning_rate=0.01, optimizer=keras.optimizers.SGD, eager=True, metrics=None, **options):
    """A small compiled model; eager where a trace would cost more than the steps."""
    options = {"encoder_units": 7, "decoder_units": 5, "kl_weight": 1.7, "seed": 1} | options
    model = VariationalAutoencoder(L, kernel_stddev=0.5, **options)
    model.compile(optimizer(learning_rate), run_eagerly=eager, metrics=metrics)
    return model


# What the model should compute, in NumPy ---------------------------------------------------


def dense(model, layer, x):
    kernel, bias = (np.float64(weight) for weight in model.get_layer(layer).get_weights())
    return x @ kernel + bias


def terms(model, x, mu=0.0, mu_variance=1.0, noise=0.0):
    """Negative log likelihood and KL divergence (N,) of the documented networks."""
    x, mu, mu_variance = (np.float64(part) for part in (x, mu, mu_variance))
    hidden = np.maximum(dense(model.encoder, "encoder_hidden", x), 0)
    mean = dense(model.encoder, "z_mean", hidden)
    log_variance = dense(model.encoder, "z_log_variance", hidden)
    variance = np.exp(log_variance)
    z = mean + np.sqrt(variance) * noise
    hidden = np.maximum(dense(model.decoder, "decoder_hidden", z), 0)
    decoded = dense(model.decoder, "reconstruction", hidden)
    if model.likelihood == "bernoulli":
        p = 1 / (1 + np.exp(-decoded))
        log_likelihood = x * np.log(p) + (1 - x) * np.log(1 - p)
    else:
        s = np.exp(np.float64(model.log_variance))
        log_likelihood = -0.5 * np.log(2 * np.pi * s) - (x - decoded) ** 2 / (2 * s)
    ratio = variance / mu_variance
    kl = 0.5 * (ratio + (mean - mu) ** 2 / mu_variance - 1 - np.log(ratio))
    return -log_likelihood.sum(axis=1), kl.sum(axis=1)


PRIORS = {"none": (), "mu": ("mu",), "mu and variance": ("mu", "mu_variance")}


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_bound_equals_numpy_on_the_same_noise(arrays, prior, likelihood):
    model = make(likelihood=likelihood)
    model.build((None, D))
    if likelihood == "gaussian":
        model.log_variance.assign(-0.7)
    given = {name: arrays[name] for name in PRIORS[prior]}
    noise = np.random.default_rng(1).normal(size=(3, N, L)).astype("float32")
    expected = []
    for epsilon in noise:
        reconstruction, kl = terms(model, arrays["x"], **given, noise=epsilon)
        expected.append(-reconstruction - 1.7 * kl)
    got = model.bound(arrays["x"], **given, noise=noise)
    assert_allclose(got, np.mean(expected, axis=0), rtol=1e-5)


def test_kl_equals_the_integral():
    """The closed form against numerical integration of q log(q / p), one dimension at a time."""
    from scipy import integrate, stats

    from kserket.vae.objective import kl_divergence

    mean, log_variance, mu, mu_variance = 0.8, -0.6, -0.4, 1.9
    q, p = stats.norm(mean, np.exp(0.5 * log_variance)), stats.norm(mu, np.sqrt(mu_variance))
    expected, _ = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -12, 12)
    one = [np.full((1, 1), value, "float32") for value in (mean, log_variance, mu, mu_variance)]
    assert_allclose(kl_divergence(*one), [expected], rtol=1e-5)
    assert_allclose(kl_divergence(one[0], 0 * one[1], one[0]), [0.0], atol=1e-7)


@pytest.mark.parametrize("num_features", [1, 126, 131, 784])
@pytest.mark.parametrize("scale", [0.0, 3.0, 1000.0])
def test_cross_entropy_and_its_gradient_equal_the_closed_form(num_features, scale):
    from scipy import special

    from kserket.core.autoencoder.objective import cross_entropy

    rng = np.random.default_rng(0)
    x = rng.random((5, num_features), dtype="float32")
    logits = tf.constant(scale * rng.standard_normal(x.shape, dtype="float32"))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        cost = cross_entropy(x, logits)
    exact = logits.numpy().astype("float64")
    assert_allclose(cost, (np.logaddexp(0.0, exact) - x * exact).sum(axis=1), rtol=2e-6)
    assert_allclose(tape.gradient(cost, logits), special.expit(exact) - x, atol=1e-6)


@pytest.mark.parametrize("prior", PRIORS)
def test_evaluate_equals_numpy_is_deterministic_and_right_over_ragged_batches(arrays, prior):
    model = make()
    given = {name: arrays[name] for name in PRIORS[prior]}
    inputs = {"x": arrays["x"], **given}
    got = model.evaluate(inputs, batch_size=5, verbose=0, return_dict=True)
    reconstruction, kl = terms(model, arrays["x"], **given)
    assert_allclose(got["reconstruction"], reconstruction.mean(), rtol=1e-5)
    assert_allclose(got["kl"], kl.mean(), rtol=1e-5)
    assert_allclose(got["loss"], (reconstruction + 1.7 * kl).mean(), rtol=1e-5)
    assert model.evaluate(inputs, batch_size=5, verbose=0, return_dict=True) == got


def test_validation_figures_are_those_of_evaluate(arrays):
    model = make()
    inputs = {"x": arrays["x"], "mu": arrays["mu"]}
    for given in (inputs, (inputs,), (inputs, None)):
        history = model.fit(arrays["x"], validation_data=given, batch_size=5, verbose=0).history
        expected = model.evaluate(inputs, batch_size=5, verbose=0, return_dict=True)
        for name, value in expected.items():
            assert_allclose(history[f"val_{name}"], value, rtol=1e-5)


def test_no_gradient_flows_into_mu(arrays):
    model = make()
    model.build((None, D))
    mu = tf.Variable(arrays["mu"])
    x = tf.constant(arrays["x"])
    weights = model.trainable_weights

    class Recorder(keras.optimizers.SGD):
        def apply_gradients(self, pairs, **kwargs):
            self.seen = list(pairs)
            return super().apply_gradients(self.seen, **kwargs)

    model.compile(Recorder(0.0), run_eagerly=True)
    model.train_step(({"x": x, "mu": mu},))
    assert [variable for _, variable in model.optimizer.seen] == weights
    assert_array_equal(mu.numpy(), arrays["mu"])
    # Nor through the loss, whatever made mu: it is data.
    with tf.GradientTape() as tape:
        loss = model.compute_loss({"x": x, "mu": mu}, training=False)
    assert tape.gradient(loss, mu) is None


# Inputs ------------------------------------------------------------------------------------


def one_step(arrays, fit):
    """Weights after one step of `fit` from where q is a point, so that noise does not matter."""
    model = make(learning_rate=0.1)
    model.build((None, D))
    head = model.encoder.get_layer("z_log_variance")
    head.set_weights([np.zeros((7, L)), np.full(L, -60.0)])
    fit(model)
    return model.get_weights()


class Batches(keras.utils.PyDataset):
    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.batch


FORMS = {
    "dict": lambda m, x, mu: m.fit({"x": x, "mu": mu}, batch_size=N, verbose=0),
    "list": lambda m, x, mu: m.fit([x, mu], batch_size=N, verbose=0),
    "tuple": lambda m, x, mu: m.fit((x, mu), batch_size=N, verbose=0),
    "float64": lambda m, x, mu: m.fit(
        {"x": x.astype("float64"), "mu": mu.astype("float64")}, batch_size=N, verbose=0
    ),
    "with unit variance": lambda m, x, mu: m.fit(
        {"x": x, "mu": mu, "mu_variance": np.ones_like(mu)}, batch_size=N, verbose=0
    ),
    "dataset": lambda m, x, mu: m.fit(
        tf.data.Dataset.from_tensor_slices(({"x": x, "mu": mu},)).batch(N), verbose=0
    ),
    "dataset of pairs": lambda m, x, mu: m.fit(
        tf.data.Dataset.from_tensor_slices(((x, mu),)).batch(N), verbose=0
    ),
    "PyDataset": lambda m, x, mu: m.fit(Batches(({"x": x, "mu": mu},)), verbose=0),
    "weights of one": lambda m, x, mu: m.fit(
        {"x": x, "mu": mu}, sample_weight=np.ones(N), batch_size=N, verbose=0
    ),
    "train_on_batch": lambda m, x, mu: m.train_on_batch({"x": x, "mu": mu}),
}


@pytest.fixture(scope="module")
def reference_step(arrays):
    return one_step(arrays, lambda m: FORMS["dict"](m, arrays["x"], arrays["mu"]))


@pytest.mark.parametrize("form", list(FORMS)[1:])
def test_every_form_of_input_gives_the_same_step(arrays, reference_step, form):
    got = one_step(arrays, lambda m: FORMS[form](m, arrays["x"], arrays["mu"]))
    for weight, expected in zip(got, reference_step, strict=True):
        assert_allclose(weight, expected, rtol=2e-5, atol=1e-6)


def test_mu_makes_a_difference_and_zero_is_the_default(arrays, reference_step):
    x = arrays["x"]
    alone = one_step(arrays, lambda m: m.fit(x, batch_size=N, verbose=0))
    zero = one_step(arrays, lambda m: FORMS["dict"](m, x, np.zeros((N, L))))
    for weight, expected in zip(alone, zero, strict=True):
        assert_allclose(weight, expected, rtol=1e-5, atol=1e-7)
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(alone, reference_step, strict=True))


@pytest.mark.parametrize("kind", ["dataset", "PyDataset"])
def test_batches_that_keras_would_read_as_x_and_y_are_refused(arrays, kind):
    pair = arrays["x"], arrays["mu"]
    data = tf.data.Dataset.from_tensor_slices(pair).batch(N) if kind == "dataset" else Batches(pair)
    model = make()
    for use in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match="a tuple of one"):
            use(data, verbose=0)


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda m, a: m.fit(a["x"], a["mu"]), "second argument"),
        (lambda m, a: m.evaluate(a["x"], a["mu"]), "second argument"),
        (lambda m, a: m.fit(a["x"], validation_data=(a["x"], a["mu"])), "validation_data"),
        (lambda m, a: m.fit(a["x"], validation_data=[a["x"], a["mu"]]), "validation_data"),
        (lambda m, a: m.fit({"x": a["x"], "mu": a["mu"][:5]}), "same number of samples"),
        (lambda m, a: m.fit({"x": a["x"], "mu": a["mu"][:, :1]}), r"`mu` must have shape"),
        (lambda m, a: m.fit({"x": a["x"], "nu": a["mu"]}), "Inputs must be x"),
        (lambda m, a: m.fit({"mu": a["mu"]}), "Inputs must be x"),
        (lambda m, a: m.fit([a["x"]] * 4), "4 items"),
        (lambda m, a: m.fit(a["x"] + 1), r"\[0, 1\]. `x` ranges from 1"),
        (lambda m, a: m.fit(np.where(a["x"] > 0.9, np.nan, a["x"])), "not finite"),
        (lambda m, a: m.fit({"x": a["x"], "mu": a["mu"] * np.inf}), "`mu`.*not finite"),
        (lambda m, a: m.fit({**_xm(a), "mu_variance": -a["mu_variance"]}), "must be positive"),
    ],
)
def test_ambiguous_and_bad_inputs_are_refused(arrays, call, text):
    model = make()
    model.build((None, D))
    before = model.get_weights()
    with pytest.raises(ValueError, match=text):
        call(model, arrays)
    for weight, expected in zip(model.get_weights(), before, strict=True):
        assert_array_equal(weight, expected)


def _xm(arrays):
    return {"x": arrays["x"], "mu": arrays["mu"]}


@pytest.mark.parametrize(
    "options, text",
    [
        ({"likelihood": "poisson"}, "likelihood='poisson'"),
        ({"encoder_units": 0}, "encoder_units"),
        ({"decoder_units": 1.5}, "decoder_units"),
        ({"kernel_stddev": 0}, "kernel_stddev"),
        ({"kl_weight": -1}, "kl_weight"),
        ({"kl_weight": np.nan}, "kl_weight"),
    ],
)
def test_unknown_options_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        VariationalAutoencoder(L, **options)


def test_sample_weight_counts_as_keras_has_it(arrays):
    """The loss is the sum of weighted costs over the number of samples, as in every Keras model."""
    model, weight = make(), arrays["weight"]
    inputs = _xm(arrays)
    got = model.evaluate(inputs, sample_weight=weight, batch_size=5, verbose=0, return_dict=True)
    reconstruction, kl = terms(model, **inputs)
    assert_allclose(got["loss"], (weight * (reconstruction + 1.7 * kl)).mean(), rtol=1e-5)
    assert_allclose(got["kl"], np.average(kl, weights=weight), rtol=1e-5)
    # In training, samples of weight 0 do not count.
    keep = np.arange(N) < 8
    weighted = one_step(
        arrays,
        lambda m: m.fit(
            {"x": np.where(keep[:, None], arrays["x"], 0), "mu": arrays["mu"]},
            sample_weight=keep.astype("float32"),
            batch_size=N,
            verbose=0,
        ),
    )
    other = one_step(
        arrays,
        lambda m: m.fit(
            {"x": np.where(keep[:, None], arrays["x"], 1), "mu": arrays["mu"]},
            sample_weight=keep.astype("float32"),
            batch_size=N,
            verbose=0,
        ),
    )
    for a, b in zip(weighted, other, strict=True):
        assert_allclose(a, b, rtol=1e-5, atol=1e-7)


# Use ---------------------------------------------------------------------------------------


def test_predict_encode_decode_and_sample(arrays):
    model, x = make(), arrays["x"]
    answer = model.predict(x, batch_size=5, verbose=0)
    assert set(answer) == {"z_mean", "z_variance", "reconstruction"}
    mean, variance = model.encode(x)
    assert_allclose(mean, answer["z_mean"], rtol=1e-5, atol=1e-6)
    assert_allclose(variance, answer["z_variance"], rtol=1e-5)
    assert_allclose(model.decode(mean), answer["reconstruction"], rtol=1e-5, atol=1e-6)
    assert ((answer["reconstruction"] > 0) & (answer["reconstruction"] < 1)).all()
    samples = model.sample(4, mu=np.ones(L), mu_variance=0.5, seed=0)
    assert samples.shape == (4, D)
    assert_array_equal(samples, model.sample(4, mu=np.ones(L), mu_variance=0.5, seed=0))
    assert_allclose(model.predict({"x": x, "mu": arrays["mu"]}, verbose=0)["z_mean"], mean, 1e-5)


def test_alpha_can_be_changed_between_fits_without_tracing_anew(arrays):
    model = make(learning_rate=0.0, eager=False)
    model.fit(_xm(arrays), batch_size=N, verbose=0)
    step, test = model.train_function, model.evaluate(_xm(arrays), verbose=0, return_dict=True)
    model.kl_weight = 10.0  # assigned to the variable that compiled steps read
    after = model.evaluate(_xm(arrays), verbose=0, return_dict=True)
    assert_allclose(after["loss"] - test["loss"], (10 - 1.7) * test["kl"], rtol=1e-4)
    history = model.fit(_xm(arrays), batch_size=N, verbose=0).history
    assert_allclose(
        history["loss"][0], history["reconstruction"][0] + 10 * history["kl"][0], rtol=1e-5
    )
    assert model.train_function is step
    for wrong in (-1.0, np.nan, "a", None):
        with pytest.raises((TypeError, ValueError), match="kl_weight"):
            model.kl_weight = wrong
    assert float(model.kl_weight) == 10.0


def test_training_lowers_the_loss(arrays):
    model = make(0.03, keras.optimizers.Adam, eager=False, kl_weight=0.1)
    losses = model.fit(arrays["x"], epochs=12, batch_size=N, verbose=0).history["loss"]
    assert losses[-1] < 0.97 * losses[0]


@pytest.mark.parametrize("eager", [False, True])
def test_compiled_metrics_compare_x_with_its_reconstruction(arrays, eager):
    model = make(0.0, eager=eager, metrics=["mse"])
    figures = model.evaluate(arrays["x"], verbose=0, return_dict=True)
    x_hat = model.predict(arrays["x"], verbose=0)["reconstruction"]
    assert_allclose(figures["mse"], np.mean((arrays["x"] - x_hat) ** 2), rtol=1e-5)
    assert "mse" in model.fit(arrays["x"], verbose=0).history


def test_callbacks(arrays, tmp_path):
    model = make()
    history = model.fit(
        arrays["x"],
        validation_data=arrays["x"],
        epochs=5,
        verbose=0,
        callbacks=[
            keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras", monitor="val_loss"),
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
            keras.callbacks.EarlyStopping("val_loss", min_delta=1e9, patience=1),
        ],
    )
    assert len(history.epoch) == 2
    assert (tmp_path / "2.keras").exists()
    assert "val_kl" in (tmp_path / "log.csv").read_text().splitlines()[0]
    best = keras.saving.load_model(tmp_path / "2.keras")
    assert_allclose(best.encode(arrays["x"])[0], model.encode(arrays["x"])[0], rtol=1e-6)


def test_half_precision_makes_progress_with_plain_gradients(arrays):
    """Without loss scaling the gradients would be too small by a factor of thousands."""
    results = {}
    for dtype in ("float32", "mixed_float16"):
        model = make(0.05, eager=False, dtype=keras.DTypePolicy(dtype))
        options = {"epochs": 6, "batch_size": N, "shuffle": False, "verbose": 0}  # the same noise
        losses = model.fit(_xm(arrays), **options).history["loss"]
        results[dtype] = losses[0] - losses[-1]
        mean, variance = model.encode(arrays["x"])
        assert mean.dtype == variance.dtype == "float32"
        assert model.predict(arrays["x"], verbose=0)["reconstruction"].dtype == "float32"
    assert results["mixed_float16"] > 0.5 * results["float32"] > 0


def test_double_precision_learns_the_same(arrays):
    options = {"epochs": 3, "batch_size": N, "shuffle": False, "verbose": 0}
    single = make(0.05, eager=False)
    single.build((None, D))
    start = single.get_weights()
    expected = single.fit(_xm(arrays), **options).history["loss"]
    keras.config.set_floatx("float64")
    try:
        double = make(0.05, eager=False)
        double.build((None, D))
        double.set_weights(start)
        losses = double.fit(_xm(arrays), **options).history["loss"]
    finally:
        keras.config.set_floatx("float32")
    assert_allclose(losses, expected, rtol=1e-4)


# Networks of the user's ----------------------------------------------------------------------


def convolutional(batch_normalization=False):
    layers = [keras.layers.Conv2D(3, 3, 2, "same", activation="relu")]
    if batch_normalization:
        layers += [keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    encoder = keras.Sequential([keras.Input((8, 8, 1)), *layers, keras.layers.Flatten()])
    decoder = keras.Sequential(
        [
            keras.Input((L,)),
            keras.layers.Dense(4 * 4 * 2, "relu"),
            keras.layers.Reshape((4, 4, 2)),
            keras.layers.Conv2DTranspose(1, 3, 2, "same"),
        ]
    )
    return {"encoder": encoder, "decoder": decoder}


@pytest.mark.filterwarnings("ignore:All .* numbers that the decoder:UserWarning")  # hardly trained
def test_convolutional_networks_learn_and_are_saved(tmp_path):
    keras.utils.set_random_seed(0)  # their initial weights and dropout
    x = np.random.default_rng(0).random((9, 8, 8, 1)).astype("float32")
    model = make(optimizer=keras.optimizers.Adam, **convolutional(batch_normalization=True))
    losses = model.fit(x, epochs=5, batch_size=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    answer = model.predict(x, verbose=0)
    assert answer["reconstruction"].shape == x.shape and answer["z_mean"].shape == (9, L)
    moving = [w for w in model.weights if w.name == "moving_mean"]
    assert np.abs(moving[0].numpy()).max() > 0  # batch normalization was in training mode
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    for name, expected in loaded.predict(x, verbose=0).items():
        assert_allclose(answer[name], expected, rtol=1e-5, atol=1e-6)
    assert len(loaded.weights) == len(model.weights)


def named(*names):
    """An encoder that returns its two outputs under these names, zeros first, then ones."""
    x = keras.Input((D,))
    parts = [
        keras.layers.Dense(L, kernel_initializer="zeros", bias_initializer=start)(x)
        for start in ("zeros", "ones")
    ]
    return keras.Model(x, dict(zip(names, parts, strict=True)))


@pytest.mark.parametrize("names", [("mean", "log_variance"), ("log_variance", "mean")])
def test_an_encoder_may_name_its_outputs(arrays, names):
    model = make(encoder=named(*names))
    mean, variance = model.encode(arrays["x"])
    expected = dict(zip(names, (0.0, 1.0), strict=True))
    assert_allclose(mean, expected["mean"])
    assert_allclose(variance, np.exp(expected["log_variance"]), rtol=1e-6)
    assert_allclose(model.predict(arrays["x"], verbose=0)["z_mean"], expected["mean"])


def test_other_names_are_refused():
    with pytest.raises(ValueError, match='"mean" and "log_variance".*log_var'):
        make(encoder=named("mean", "log_var")).build((None, D))


# Saving --------------------------------------------------------------------------------------

CONTINUE = """
import sys
import keras, numpy as np
import kserket

x = np.load(sys.argv[2])
model = keras.saving.load_model(sys.argv[1])
model.fit(x, epochs=2, batch_size=5, shuffle=False, verbose=0)
np.savez(sys.argv[3], *model.get_weights())
"""


@pytest.mark.slow
def test_saved_in_one_process_training_goes_on_in_another_as_if_nothing_had_been(arrays, tmp_path):
    model = make(optimizer=keras.optimizers.Adam)
    model.fit(arrays["x"], epochs=2, batch_size=5, shuffle=False, verbose=0)
    model.kl_weight.assign(0.5)
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", arrays["x"])
    files = [str(tmp_path / name) for name in ("m.keras", "x.npy", "after.npz")]
    subprocess.run([sys.executable, "-c", CONTINUE, *files], check=True, capture_output=True)
    model.fit(arrays["x"], epochs=2, batch_size=5, shuffle=False, verbose=0)
    with np.load(files[2]) as after:
        got = [after[f"arr_{index}"] for index in range(len(after.files))]
    for weight, expected in zip(got, model.get_weights(), strict=True):
        assert_array_equal(weight, expected)


def test_saved_before_it_was_built_and_refused_as_h5(arrays, tmp_path):
    model = make()
    with pytest.raises(ValueError, match=r"\.keras"):
        model.save(tmp_path / "m.h5")
    assert not list(tmp_path.iterdir())
    model.build((None, D))
    model.save_weights(tmp_path / "m.weights.h5")
    other = make(seed=2)
    other.build((None, D))
    other.load_weights(tmp_path / "m.weights.h5")
    assert_array_equal(other.encode(arrays["x"])[0], model.encode(arrays["x"])[0])


@pytest.mark.parametrize("reloaded", [False, True])
def test_export_takes_x_alone(arrays, tmp_path, reloaded):
    model = make()
    with pytest.raises(RuntimeError, match="not built"):
        model.export(tmp_path / "early")
    model.fit(_xm(arrays), verbose=0)
    expected = model.predict(arrays["x"], verbose=0)
    if reloaded:
        model.save(tmp_path / "m.keras")
        model = keras.saving.load_model(tmp_path / "m.keras")
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    for rows in (1, N):
        answer = served.serve(tf.constant(arrays["x"][:rows]))
        for name, array in expected.items():
            assert_allclose(answer[name], array[:rows], rtol=1e-4, atol=1e-6)


# Several devices -----------------------------------------------------------------------------

MIRRORED = """
import keras, numpy as np, tensorflow as tf
import kserket
from keras.regularizers import L2

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
rng = np.random.default_rng(0)
data = {"x": rng.random((9, 6)).astype("float32"), "mu": rng.normal(size=(9, 2))}
weights = np.linspace(0.1, 2.0, 9)

def run(strategy, batch_size, sample_weight, metrics=None, penalty=0.0):
    with strategy.scope():
        dense = keras.layers.Dense(5, kernel_initializer="ones", kernel_regularizer=L2(penalty))
        model = kserket.VariationalAutoencoder(2, seed=0, encoder=dense, decoder_units=5)
        model.compile(keras.optimizers.SGD(0.01), metrics=metrics)
    options = dict(sample_weight=sample_weight, verbose=0)
    logs = model.fit(data, batch_size=batch_size, epochs=3, shuffle=False, **options).history
    logs |= model.evaluate(data, return_dict=True, **options)
    return [*model.get_weights(), model.predict(data["x"], verbose=0)["z_mean"]], logs

mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
rows_that_do_not_divide_by_two = (9, None), (4, weights, None, 0.1), (8, None, ["mae"])
for options in rows_that_do_not_divide_by_two:
    one, logs_one = run(tf.distribute.get_strategy(), *options)
    two, logs_two = run(mirrored, *options)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    for name in logs_one:
        np.testing.assert_allclose(logs_one[name], logs_two[name], rtol=1e-5, err_msg=name)
"""


@pytest.mark.slow
def test_two_replicas_make_the_step_of_one():
    run = subprocess.run([sys.executable, "-c", MIRRORED], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
