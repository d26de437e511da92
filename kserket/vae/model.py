"""The Keras model: `VariationalAutoencoder`."""

import math
import warnings

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kserket import storage
from kserket.core.devices import batch_offset
from kserket.core.options import (
    KERAS_OPTIONS,
    check_choice,
    check_keywords,
    check_nonnegative_int,
    check_positive,
    check_positive_int,
    check_seed,
    keywords,
)
from kserket.vae.inputs import by_name, check, check_validation, is_shape, sample_shape
from kserket.vae.networks import Networks, check_network
from kserket.vae.objective import (
    PerSample,
    cross_entropy,
    float32,
    gaussian_cost,
    kl_divergence,
)

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
        encoder: Keras model from x to `[mean, log_variance]`, each (N, L), to a dict of these two
            under these names, or to features on which two dense layers are put. None makes one
            hidden ReLU layer.
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
        check_keywords(type(self).__name__, kwargs, keywords(type(self)) | KERAS_OPTIONS)
        check_choice("likelihood", likelihood, "bernoulli", "gaussian")
        check_network(encoder=encoder, decoder=decoder)
        check_positive_int(
            latent_dim=latent_dim, encoder_units=encoder_units, decoder_units=decoder_units
        )
        check_positive(kernel_stddev=kernel_stddev)
        check_positive(kl_weight=kl_weight, allow_zero=True)
        super().__init__(**kwargs)
        self.latent_dim = int(latent_dim)
        self.encoder_units, self.decoder_units = int(encoder_units), int(decoder_units)
        self.kernel_stddev = float(kernel_stddev)
        self.likelihood = likelihood
        self.given_encoder, self.given_decoder = encoder, decoder
        self.encoder = self.decoder = None
        self.seed = check_seed(seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.kl_weight = self.add_weight(
            name="kl_weight", shape=(), initializer="ones", trainable=False, dtype="float32"
        )
        self.kl_weight.assign(kl_weight)
        self.reconstruction_metric = keras.metrics.Mean(name="reconstruction")
        self.kl_metric = keras.metrics.Mean(name="kl")
        self._sum = PerSample(reduction="sum", name="per_sample")

    # Networks ---------------------------------------------------------------------------

    def build(self, input_shape):
        shape = self.data_shape = sample_shape(by_name(input_shape, is_leaf=is_shape)["x"])
        networks = Networks(self.latent_dim, self.kernel_stddev, self.seed, self.dtype_policy)
        self.encoder = networks.encoder(shape, self.encoder_units, self.given_encoder)
        self.decoder = networks.decoder(shape, self.decoder_units, self.given_decoder)
        if self.likelihood == "gaussian":
            self.log_variance = self.add_weight(
                name="log_variance", shape=(), initializer="zeros", dtype="float32"
            )
        self.built = True

    def get_build_config(self):
        if not self.built:
            return None
        return {
            "input_shape": (None, *self.data_shape),
            "frozen": [not layer.trainable for layer in self._network_layers()],
        }

    def build_from_config(self, config):
        super().build_from_config(config)
        for layer, is_frozen in zip(self._network_layers(), config.get("frozen", ()), strict=False):
            if is_frozen:
                layer.trainable = False

    def _network_layers(self):
        """All layers of encoder and decoder, those within others after them."""
        return [*self.encoder._flatten_layers(), *self.decoder._flatten_layers()]

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
        outputs = self._propagate(by_name(inputs)["x"], training)
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
        z_mean, z_log_variance = float32(z_mean), float32(z_log_variance)
        z, size = z_mean, ops.shape(z_mean)[0]
        first, batch_size = batch_offset(size)
        if training and noise is None:
            shape = (batch_size, self.latent_dim)
            noise = keras.random.normal(shape, dtype="float32", seed=self.seed_generator)
            if batch_size is not size:
                noise = noise[first : first + size]
        if noise is not None:
            z = z_mean + ops.exp(0.5 * z_log_variance) * noise
        decoded = self.decoder(ops.cast(z, self.compute_dtype), training=training)
        return {
            "z_mean": z_mean,
            "z_log_variance": z_log_variance,
            "decoded": float32(decoded),
            "batch_size": batch_size,
        }

    def _terms(self, inputs, outputs):
        """Negative log likelihood and KL divergence of each sample, both (N,)."""
        parts = by_name(inputs)
        x, decoded = float32(parts["x"]), outputs["decoded"]
        x, decoded = _rows(x), _rows(decoded)
        if self.likelihood == "bernoulli":
            reconstruction = cross_entropy(x, decoded)
        else:
            reconstruction = gaussian_cost(x, decoded, self.log_variance)
        kl = kl_divergence(
            outputs["z_mean"], outputs["z_log_variance"], parts["mu"], parts["mu_variance"]
        )
        return reconstruction, kl

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The negative bound: mean over samples of reconstruction + kl_weight * kl.

        To it come the penalties of the networks' layers: regularizers, `add_loss`.

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
            y_pred = self._propagate(by_name(x)["x"], training)
        reconstruction, kl = self._terms(x, y_pred)
        self.reconstruction_metric.update_state(reconstruction, sample_weight=sample_weight)
        self.kl_metric.update_state(kl, sample_weight=sample_weight)
        loss = reconstruction + self.kl_weight * kl
        total = self._sum(ops.zeros_like(loss), loss, sample_weight=sample_weight)
        total = total / ops.cast(y_pred["batch_size"], total.dtype)
        for penalty in self.losses:
            total = total + ops.cast(self._aggregate_additional_loss(penalty), total.dtype)
        return total

    def train_step(self, data):
        """One step of the optimizer on one batch."""
        x, y, sample_weight = self._unpack(data)
        with tf.GradientTape() as tape:
            outputs = self._propagate(by_name(x)["x"], training=True)
            loss = self.compute_loss(x, y, outputs, sample_weight, training=True)
            scaled = self.optimizer.scale_loss(loss)
        if self.trainable_weights:
            gradients = tape.gradient(scaled, self.trainable_weights)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        else:
            warnings.warn("The model has no trainable weights: it learns nothing.", stacklevel=2)
        return self._figures(loss, x, y, outputs, sample_weight)

    def test_step(self, data):
        """The figures of one batch, at the posterior mean."""
        x, y, sample_weight = self._unpack(data)
        outputs = self._propagate(by_name(x)["x"], training=False)
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
        target = by_name(x)["x"] if y is None else y
        return super().compute_metrics(x, target, y_pred["reconstruction"], sample_weight)

    def _unpack(self, data):
        """A batch as x, y and weights, the model built for it.

        Raises:
            ValueError: If mu stands in the place of y.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        shape = sample_shape(by_name(x)["x"].shape)
        if not self.built:
            with tf.init_scope():
                self.build((None, *shape))
        if y is not None and y.shape[1:] == (self.latent_dim,) != shape:
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
            TypeError: If inputs are not numbers.
            ValueError: If lengths differ, values are masked, not finite or do not suit the
                likelihood, or mu stands where Keras reads y.
        """
        x, y, sample_weight = check(self, x, y, sample_weight)
        return super().fit(
            x,
            y,
            sample_weight=sample_weight,
            validation_data=check_validation(self, validation_data),
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
        x, y, sample_weight = check(self, x, y, sample_weight)
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
            decoded = float32(decoded)
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

        Raises:
            ValueError: If `num_samples` is no whole number.
        """
        check_nonnegative_int(num_samples=num_samples)
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

    def _build_for(self, x):
        if not self.built:
            self.build((None, *np.shape(x)[1:]))


def _rows(tensor):
    """(N, ...) as (N, D)."""
    return ops.reshape(tensor, (-1, math.prod(tensor.shape[1:])))


def _array(tensor):
    """A tensor as a float32 array."""
    return np.asarray(ops.convert_to_numpy(tensor), "float32")
