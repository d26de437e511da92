"""The Keras model: `VariationalAutoencoder`."""

import math

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kserket import storage
from kserket.core.replicas import place_in_batch

CHUNK = 4096  # samples encoded or decoded at a time


@keras.saving.register_keras_serializable(package="kserket")
class VariationalAutoencoder(keras.Model):
    """A variational autoencoder whose prior mean is a second input.

    `fit` takes `{"x": x, "mu": mu}`, `[x, mu]`, or x alone for the prior N(0, I); a further
    entry `mu_variance` makes the prior N(mu, diag(mu_variance)). mu is data: no gradient flows
    into it. `predict` needs x only.

    `evaluate` puts the posterior mean in the place of the expectation over q (its
    reconstruction term is log p(x | decoder(mean(x)))), so it is deterministic and slightly
    optimistic; `bound` estimates the expectation by sampling.

    Args:
        latent_dim: Number of latent dimensions L.
        encoder: Keras model from x to `[mean, log_variance]`, each (N, L), or to features on
            which two dense layers are put. None makes one hidden ReLU layer.
        decoder: Keras model from z (N, L) to logits (Bernoulli) or means (Gaussian) of the
            shape of x. None makes one hidden ReLU layer.
        encoder_units: Width of the default encoder's hidden layer.
        decoder_units: Width of the default decoder's hidden layer.
        kernel_stddev: Standard deviation of the truncated normal from which the kernels of the
            default networks start.
        likelihood: "bernoulli" for x in [0, 1], or "gaussian", with one learned variance.
        kl_weight: alpha, the weight of the KL divergence. Kept in a variable:
            `model.kl_weight.assign(2.0)` takes effect in the next step.
        seed: Integer that determines initial weights and sampling.
        **kwargs: `name`, `dtype`, as every Keras model has them.

    Raises:
        ValueError: If an option is unknown, or a network's output does not fit.

    Reference:
        Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014.

    Example:

    ```python
    import keras
    import numpy as np
    import kserket

    x, _ = kserket.datasets.load_digits()
    mu = np.zeros((len(x), 8), "float32")
    model = kserket.VariationalAutoencoder(8, seed=0)
    model.compile(keras.optimizers.Adam(0.01))
    model.fit({"x": x, "mu": mu}, batch_size=256, epochs=2, verbose=0)
    print(model.predict(x, verbose=0)["z_mean"].shape)
    ```
    """

    def __init__(
        self,
        latent_dim,
        *,
        encoder=None,
        decoder=None,
        encoder_units=100,
        decoder_units=100,
        kernel_stddev=0.1,
        likelihood="bernoulli",
        kl_weight=1.0,
        seed=None,
        **kwargs,
    ):
        if likelihood not in ("bernoulli", "gaussian"):
            raise ValueError(
                "`likelihood` must be 'bernoulli' or 'gaussian'. "
                f"Received: likelihood={likelihood!r}"
            )
        for option, value in {
            "latent_dim": latent_dim,
            "encoder_units": encoder_units,
            "decoder_units": decoder_units,
        }.items():
            if isinstance(value, bool) or int(value) != value or value < 1:
                raise ValueError(f"`{option}` must be a positive integer. Received: {value!r}")
        if not kernel_stddev > 0:
            raise ValueError(f"`kernel_stddev` must be positive. Received: {kernel_stddev!r}")
        if not kl_weight >= 0:
            raise ValueError(f"`kl_weight` must not be negative. Received: {kl_weight!r}")
        super().__init__(**kwargs)
        self.latent_dim = int(latent_dim)
        self.encoder_units, self.decoder_units = int(encoder_units), int(decoder_units)
        self.kernel_stddev = float(kernel_stddev)
        self.likelihood = likelihood
        self.given_encoder, self.given_decoder = encoder, decoder
        self.encoder = self.decoder = None
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.kl_weight = self.add_weight(
            name="kl_weight", shape=(), initializer="ones", trainable=False, dtype="float32"
        )
        self.kl_weight.assign(kl_weight)
        self.reconstruction_metric = keras.metrics.Mean(name="reconstruction")
        self.kl_metric = keras.metrics.Mean(name="kl")
        self._sum = _PerSample(reduction="sum", name="per_sample")

    # Networks ---------------------------------------------------------------------------

    def build(self, input_shape):
        shape = tuple(_parts(input_shape, is_leaf=_is_shape)["x"])[1:]
        if None in shape or not shape:
            raise ValueError(
                "VariationalAutoencoder needs samples of a known shape, x of shape (N, ...). "
                f"Received: shape {(None, *shape)}"
            )
        self.data_shape = shape
        self.encoder = self._build_encoder(shape)
        self.decoder = self._build_decoder(shape)
        if self.likelihood == "gaussian":
            self.log_variance = self.add_weight(
                name="log_variance", shape=(), initializer="zeros", dtype="float32"
            )
        self.built = True

    def get_build_config(self):
        return {"input_shape": (None, *self.data_shape)}

    def _build_encoder(self, shape):
        x = keras.Input(shape, name="x")
        if self.given_encoder is None:
            hidden = self._dense(self.encoder_units, "encoder_hidden", 1, "relu")(_flat(x))
            outputs = [hidden]
        else:
            outputs = tf.nest.flatten(self.given_encoder(x))
        if len(outputs) == 1:
            features = _flat(outputs[0])
            outputs = [
                self._dense(self.latent_dim, name, offset)(features)
                for offset, name in enumerate(("z_mean", "z_log_variance"), start=2)
            ]
        shapes = [tuple(output.shape) for output in outputs]
        if shapes != [(None, self.latent_dim)] * 2:
            raise ValueError(
                "`encoder` must return [mean, log_variance], each of shape "
                f"(None, {self.latent_dim}), or one tensor of features. Received: {shapes}"
            )
        return keras.Model(x, outputs, name="encoder")

    def _build_decoder(self, shape):
        z = keras.Input((self.latent_dim,), name="z")
        if self.given_decoder is None:
            hidden = self._dense(self.decoder_units, "decoder_hidden", 4, "relu")(z)
            output = self._dense(math.prod(shape), "reconstruction", 5)(hidden)
            output = keras.layers.Reshape(shape)(output) if len(shape) > 1 else output
        else:
            output = self.given_decoder(z)
        if tuple(output.shape)[1:] != shape:
            raise ValueError(
                f"`decoder` must return the shape of x, {(None, *shape)}. "
                f"Received: {tuple(output.shape)}"
            )
        return keras.Model(z, output, name="decoder")

    def _dense(self, units, name, offset, activation=None):
        seed = None if self.seed is None else self.seed + offset
        start = keras.initializers.TruncatedNormal(stddev=self.kernel_stddev, seed=seed)
        return keras.layers.Dense(units, activation=activation, kernel_initializer=start, name=name)

    # Objective --------------------------------------------------------------------------

    def call(self, inputs, training=False):
        """Posterior and reconstruction.

        Args:
            inputs: x (N, ...), or a dict or list that holds x and mu.
            training: Whether z is sampled; else it is the posterior mean.

        Returns:
            Dict of `z_mean` (N, L), `z_variance` (N, L) and `reconstruction` (N, ...): the
            probabilities or means that the decoder gives.
        """
        outputs = self._propagate(_parts(inputs)["x"], training)
        return {
            "z_mean": outputs["z_mean"],
            "z_variance": ops.exp(outputs["z_log_variance"]),
            "reconstruction": self._reconstruct(outputs),
        }

    def _propagate(self, x, training, noise=None):
        """Encoder, one z, decoder: dict of z_mean, z_log_variance, decoded, in float32.

        `batch_size` counts the rows of all replicas. Noise is drawn for all of them, so that it
        does not depend on how many devices there are.
        """
        z_mean, z_log_variance = self.encoder(x, training=training)
        z_mean, z_log_variance = _float32(z_mean), _float32(z_log_variance)
        z, size = z_mean, ops.shape(z_mean)[0]
        first, batch_size = place_in_batch(size)
        if training and noise is None:
            noise = keras.random.normal((batch_size, self.latent_dim), seed=self.seed_generator)
            if batch_size is not size:
                noise = noise[first : first + size]
        if noise is not None:
            z = z_mean + ops.exp(0.5 * z_log_variance) * noise
        decoded = self.decoder(ops.cast(z, self.compute_dtype), training=training)
        return {
            "z_mean": z_mean,
            "z_log_variance": z_log_variance,
            "decoded": _float32(decoded),
            "batch_size": batch_size,
        }

    def _terms(self, inputs, outputs):
        """Negative log likelihood and KL divergence of each sample, both (N,)."""
        parts = _parts(inputs)
        x, decoded = _float32(parts["x"]), outputs["decoded"]
        x, decoded = _rows(x), _rows(decoded)
        if self.likelihood == "bernoulli":
            reconstruction = _cross_entropy(x, decoded)
        else:
            squares = ops.square(x - decoded) / ops.exp(self.log_variance)
            constant = self.log_variance + math.log(2 * math.pi)
            reconstruction = 0.5 * ops.sum(squares + constant, axis=-1)
        kl = kl_divergence(
            outputs["z_mean"], outputs["z_log_variance"], parts["mu"], parts["mu_variance"]
        )
        return reconstruction, kl

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The negative bound: mean over samples of reconstruction + kl_weight * kl.

        Args:
            x: The inputs, x alone or with mu.
            y: Not used: the target is x.
            y_pred: What the networks gave, or None to run them.
            sample_weight: Optional (N,).
            training: Whether z is sampled.

        Returns:
            A scalar tensor; on several replicas this one's part, of which the sum is the mean.
        """
        if y_pred is None or "decoded" not in y_pred:
            y_pred = self._propagate(_parts(x)["x"], training)
        reconstruction, kl = self._terms(x, y_pred)
        self.reconstruction_metric.update_state(reconstruction, sample_weight=sample_weight)
        self.kl_metric.update_state(kl, sample_weight=sample_weight)
        loss = reconstruction + self.kl_weight * kl
        total = self._sum(ops.zeros_like(loss), loss, sample_weight=sample_weight)
        return total / ops.cast(y_pred["batch_size"], total.dtype)

    def train_step(self, data):
        """One step of the optimizer on one batch."""
        x, y, sample_weight = self._unpack(data)
        with tf.GradientTape() as tape:
            outputs = self._propagate(_parts(x)["x"], training=True)
            loss = self.compute_loss(x, y, outputs, sample_weight, training=True)
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        return self._figures(loss, x, y, outputs, sample_weight)

    def test_step(self, data):
        """The figures of one batch, at the posterior mean."""
        x, y, sample_weight = self._unpack(data)
        outputs = self._propagate(_parts(x)["x"], training=False)
        loss = self.compute_loss(x, y, outputs, sample_weight, training=False)
        return self._figures(loss, x, y, outputs, sample_weight)

    def _figures(self, loss, x, y, outputs, sample_weight):
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        share = outputs["batch_size"] / replicas
        self._loss_tracker.update_state(loss * replicas, sample_weight=share)
        predictions = {"reconstruction": self._reconstruct(outputs)}
        return self.compute_metrics(x, y, predictions, sample_weight)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Metrics given to `compile` compare x (or y, where there is one) with `reconstruction`."""
        target = _parts(x)["x"] if y is None else y
        return super().compute_metrics(x, target, y_pred["reconstruction"], sample_weight)

    def _unpack(self, data):
        """A batch as x, y and weights, the model built for it.

        Raises:
            ValueError: If mu stands in the place of y.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        shape = tuple(_parts(x)["x"].shape)
        if not self.built:
            with tf.init_scope():
                self.build(shape)
        if y is not None and tuple(y.shape[1:]) == (self.latent_dim,) != shape[1:]:
            raise ValueError(
                "Keras reads batches (x, mu) as (x, y), and this model needs no y. Yield "
                '({"x": x, "mu": mu},), a tuple of one.'
            )
        return x, y, sample_weight

    def _reconstruct(self, outputs):
        """Probabilities or means of x (N, ...), from what `_propagate` returned."""
        decoded = outputs["decoded"]
        return ops.sigmoid(decoded) if self.likelihood == "bernoulli" else decoded

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Keras averages the first batch over devices, which fails if their shares differ."""
        strategy = self.distribute_strategy
        if iterator is not None and strategy.num_replicas_in_sync > 1:
            _, _, batches = next(iter(iterator))
            data_batch = tf.nest.map_structure(
                lambda part: strategy.experimental_local_results(part)[0], next(batches)
            )
            iterator = None
        super()._maybe_symbolic_build(iterator, data_batch)

    # Use --------------------------------------------------------------------------------

    def fit(self, x=None, y=None, *, sample_weight=None, validation_data=None, **kwargs):
        """`keras.Model.fit` with mu among the inputs.

        Args:
            x: Array (N, ...); `{"x": x, "mu": mu, "mu_variance": v}`, `mu` (N, L) and
                `mu_variance` (N, L) optional; `[x, mu]`; or a `PyDataset` or `tf.data.Dataset`
                of such batches, each in a tuple of its own: `({"x": x, "mu": mu},)`.
            y: Not needed: the target is x.
            sample_weight: Optional (N,).
            validation_data: Inputs like x, or `(inputs, None, sample_weight)`.
            **kwargs: What `keras.Model.fit` takes.

        Returns:
            A `keras.callbacks.History` of loss, reconstruction and kl.

        Raises:
            ValueError: If lengths differ, or mu stands where Keras reads y.
        """
        x, y = self._check_inputs(x, y, sample_weight)
        return super().fit(
            x,
            y,
            sample_weight=sample_weight,
            validation_data=self._check_validation(validation_data),
            **kwargs,
        )

    def evaluate(self, x=None, y=None, *, sample_weight=None, **kwargs):
        """Mean loss, reconstruction and kl, at the posterior mean.

        Args:
            x: As in `fit`.
            y: Not needed.
            sample_weight: Optional (N,).
            **kwargs: What `keras.Model.evaluate` takes.

        Returns:
            A list of figures in the order of `metrics_names`, or a dict with
            `return_dict=True`.
        """
        x, y = self._check_inputs(x, y, sample_weight)
        return super().evaluate(x, y, sample_weight=sample_weight, **kwargs)

    def encode(self, x):
        """Mean and variance of q(z|x).

        Args:
            x: Array (N, ...).

        Returns:
            `(mean, variance)`, float32 arrays (N, L).
        """
        self._build_for(x)

        def run(part):
            mean, log_variance = self.encoder(np.asarray(part, "float32"), training=False)
            return _array(mean), np.exp(_array(log_variance))

        return storage.apply(run, np.asarray(x), chunk_rows=CHUNK)

    def decode(self, z):
        """Probabilities (Bernoulli) or means (Gaussian) of x given z.

        Args:
            z: Array (N, L).

        Returns:
            Float32 array (N, ...).
        """
        if self.decoder is None:
            raise RuntimeError("The model is not built yet: call fit, predict or encode first.")
        is_logit = self.likelihood == "bernoulli"

        def run(part):
            decoded = self.decoder(np.asarray(part, "float32"), training=False)
            decoded = _float32(decoded)
            return _array(ops.sigmoid(decoded) if is_logit else decoded)

        return storage.apply(run, np.asarray(z), chunk_rows=CHUNK)

    def sample(self, num_samples, mu=None, mu_variance=None, seed=None):
        """Generates data: z from the prior, then the decoder's probabilities or means.

        Args:
            num_samples: How many.
            mu: Prior mean, (L,) or (num_samples, L); None is 0.
            mu_variance: Prior variance, likewise; None is 1.
            seed: Integer or `numpy.random.Generator`.

        Returns:
            Float32 array (num_samples, ...).
        """
        rng = np.random.default_rng(seed)
        z = rng.standard_normal((num_samples, self.latent_dim))
        z = z * np.sqrt(1.0 if mu_variance is None else mu_variance) + (0.0 if mu is None else mu)
        return self.decode(z.astype("float32"))

    def bound(self, x, mu=None, mu_variance=None, *, num_samples=1, noise=None, seed=None):
        """Monte Carlo estimate of each sample's bound L.

        Args:
            x: Array (N, ...).
            mu: Prior mean (N, L); None is 0.
            mu_variance: Prior variance (N, L); None is 1.
            num_samples: Draws of z per sample.
            noise: The standard normal draws (num_samples, N, L), in place of a seed.
            seed: Integer or `numpy.random.Generator`.

        Returns:
            Array (N,): -kl_weight * kl + mean log p(x|z).
        """
        self._build_for(x)
        if noise is None:
            rng = np.random.default_rng(seed)
            noise = rng.standard_normal((num_samples, len(x), self.latent_dim)).astype("float32")
        inputs = {"x": np.asarray(x, "float32"), "mu": mu, "mu_variance": mu_variance}
        draws = []
        for epsilon in noise:
            outputs = self._propagate(inputs["x"], training=False, noise=epsilon)
            reconstruction, kl = self._terms(inputs, outputs)
            draws.append(-ops.convert_to_numpy(reconstruction + self.kl_weight * kl))
        return np.mean(draws, axis=0)

    def export(self, filepath, format="tf_saved_model", input_signature=None, **kwargs):
        """Exports inference with x as the only input.

        Args:
            filepath: Folder (SavedModel) or file.
            format: As in `keras.Model.export`.
            input_signature: By default `x` of shape (None, ...).
            **kwargs: What `keras.Model.export` takes.
        """
        if not self.built:
            raise RuntimeError("The model is not built yet: call fit or predict before export.")
        if input_signature is None:
            shape = (None, *self.data_shape)
            input_signature = [keras.layers.InputSpec(shape=shape, dtype="float32", name="x")]
        super().export(filepath, format=format, input_signature=input_signature, **kwargs)

    def save(self, filepath, *args, **kwargs):
        """`keras.Model.save`, to a `.keras` file."""
        if str(filepath).endswith((".h5", ".hdf5")):
            raise ValueError(
                "Keras cannot read a VariationalAutoencoder back from HDF5. "
                f"Save to a path that ends in .keras. Received: {filepath}"
            )
        super().save(filepath, *args, **kwargs)

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store["seed_state"] = self.seed_generator.state.numpy()

    def load_own_variables(self, store):
        entries = {name: store[name] for name in store.keys()}
        state = entries.pop("seed_state", None)
        super().load_own_variables(entries)
        if state is not None:
            self.seed_generator.state.assign(np.asarray(state))

    def get_config(self):
        networks = {"encoder": self.given_encoder, "decoder": self.given_decoder}
        return {
            **super().get_config(),
            "latent_dim": self.latent_dim,
            **{
                name: None if network is None else keras.saving.serialize_keras_object(network)
                for name, network in networks.items()
            },
            "encoder_units": self.encoder_units,
            "decoder_units": self.decoder_units,
            "kernel_stddev": self.kernel_stddev,
            "likelihood": self.likelihood,
            "kl_weight": float(self.kl_weight.numpy()),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for name in ("encoder", "decoder"):
            if config.get(name) is not None:
                config[name] = keras.saving.deserialize_keras_object(
                    config[name], custom_objects=custom_objects
                )
        return cls(**config)

    # Checks -----------------------------------------------------------------------------

    def _build_for(self, x):
        if not self.built:
            self.build((None, *np.shape(x)[1:]))

    def _check_inputs(self, x, y, sample_weight):
        """Inputs and target as `keras.Model.fit` reads them aright."""
        if not _is_arrays(x):
            return x, y
        parts = {name: part for name, part in _parts(x).items() if part is not None}
        lengths = {name: len(part) for name, part in parts.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"All inputs need the same number of samples. Received: {lengths}")
        self._check_values(parts)
        latent = (lengths["x"], self.latent_dim)
        for name in parts.keys() - {"x"}:
            if np.shape(parts[name]) != latent:
                raise ValueError(
                    f"`{name}` must have shape {latent}. Received: {np.shape(parts[name])}"
                )
        if y is not None and np.shape(y) == latent and np.shape(parts["x"]) != latent:
            raise ValueError(
                "The second argument of `fit` is y, which this model does not need. "
                'Give mu among the inputs: fit({"x": x, "mu": mu}).'
            )
        if sample_weight is not None and y is None:
            y = parts["x"]  # Keras drops the weights where there is no y
        return (parts if len(parts) > 1 else parts["x"]), y

    def _check_values(self, parts):
        """Raises ValueError unless inputs are finite and suit the likelihood."""
        for name, part in parts.items():
            low, high = storage.extent(np.asarray(part))
            if not storage.every(np.isfinite, np.asarray(part)):
                raise ValueError(
                    f"`{name}` holds values that are not finite. Remove or impute them."
                )
            if name == "x" and self.likelihood == "bernoulli" and (low < 0 or high > 1):
                raise ValueError(
                    'likelihood="bernoulli" needs data in [0, 1]. '
                    f'Received: {low:g} to {high:g}. Scale them, or use likelihood="gaussian".'
                )
            if name == "mu_variance" and low <= 0:
                raise ValueError(f"`mu_variance` must be positive. Received: {low:g}")

    def _check_validation(self, data):
        """Validation data as `keras.Model.fit` reads them aright."""
        if isinstance(data, list):
            data = tuple(data)
        if (
            isinstance(data, tuple)
            and len(data) == 2
            and np.shape(data[1])[-1:] == (self.latent_dim,)
        ):
            raise ValueError(
                "Keras reads validation_data=(x, mu) as (x, y). "
                'Give mu among the inputs: validation_data={"x": x, "mu": mu}.'
            )
        if isinstance(data, dict) or hasattr(data, "dtype"):
            data = (data, None)
        if isinstance(data, tuple) and _is_arrays(data[0]):
            weight = data[2] if len(data) == 3 else None
            inputs, y = self._check_inputs(data[0], data[1] if len(data) > 1 else None, weight)
            data = (inputs, y) if weight is None else (inputs, y, weight)
        return data


def kl_divergence(z_mean, z_log_variance, mu=None, mu_variance=None):
    """KL( N(z_mean, exp(z_log_variance)) || N(mu, mu_variance) ), summed over dimensions.

    Args:
        z_mean: Tensor (N, L).
        z_log_variance: Tensor (N, L).
        mu: Tensor (N, L), or None for 0. No gradient flows into it.
        mu_variance: Tensor (N, L), or None for 1. Likewise.

    Returns:
        Tensor (N,).
    """
    distance = ops.square(z_mean if mu is None else z_mean - _data(mu))
    variance, log_ratio = ops.exp(z_log_variance), z_log_variance
    if mu_variance is not None:
        mu_variance = _data(mu_variance)
        distance, variance = distance / mu_variance, variance / mu_variance
        log_ratio = log_ratio - ops.log(mu_variance)
    return 0.5 * ops.sum(distance + variance - log_ratio - 1.0, axis=-1)


@tf.custom_gradient
def _cross_entropy(x, logits):
    """-log p(x | logits) of Bernoulli features, summed: (N, D), (N, D) -> (N,).

    One tanh gives both sigmoid(logits) and softplus(logits) = relu(logits) - log sigmoid(|logits|),
    and the gradient sigmoid(logits) - x is written out: the passes over memory that this saves are
    about a sixth of the time of a step in a small network.
    """
    half_tanh = 0.5 * tf.math.tanh(0.5 * logits)
    log_sigmoid = tf.math.log(0.5 + tf.abs(half_tanh))
    cost = tf.reduce_sum(tf.nn.relu(logits) - x * logits - log_sigmoid, axis=-1)

    def gradient(upstream):
        return None, (half_tanh + 0.5 - x) * upstream[:, None]

    return cost, gradient


class _PerSample(keras.losses.Loss):
    """Costs that are there already: weighs and adds them."""

    def call(self, y_true, y_pred):
        return y_pred


def _parts(inputs, is_leaf=None):
    """Inputs by name: x, mu, mu_variance (None where not given)."""
    names = ("x", "mu", "mu_variance")
    if isinstance(inputs, dict):
        unknown = inputs.keys() - set(names)
        if unknown or "x" not in inputs:
            raise ValueError(
                f"Inputs must be x, mu and mu_variance, x at least. Received: {sorted(inputs)}"
            )
        return {name: inputs.get(name) for name in names}
    if isinstance(inputs, (list, tuple)) and not (is_leaf is not None and is_leaf(inputs)):
        if not 1 <= len(inputs) <= 3:
            raise ValueError(f"Inputs must be [x, mu, mu_variance]. Received: {len(inputs)} items")
        return dict(zip(names, [*inputs, None, None][:3], strict=True))
    return {"x": inputs, "mu": None, "mu_variance": None}


def _is_shape(value):
    return all(size is None or isinstance(size, int) for size in value)


def _is_arrays(x):
    """Whether x is an array or a nest of arrays, not a dataset or generator."""
    return isinstance(x, (dict, list, tuple)) or hasattr(x, "dtype")


def _flat(tensor):
    return keras.layers.Flatten()(tensor) if len(tensor.shape) > 2 else tensor


def _rows(tensor):
    """(N, ...) as (N, D)."""
    return ops.reshape(tensor, (-1, math.prod(tensor.shape[1:])))


def _float32(tensor):
    return ops.cast(tensor, "float32")


def _data(tensor):
    """In float32, and no gradient flows into it."""
    return ops.stop_gradient(_float32(tensor))


def _array(tensor):
    """A tensor as a float32 array."""
    return np.asarray(ops.convert_to_numpy(tensor), "float32")
