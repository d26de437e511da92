"""The Keras model: `VariationalAutoencoder`."""

import math
import operator
import warnings
import zlib
from typing import Any, Literal, Self

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import ArrayLike

from kserket import storage
from kserket.core import compiled_loop
from kserket.core.devices import batch_offset
from kserket.core.keywords import KERAS_OPTIONS, check_keywords, keywords, suggests
from kserket.core.options import (
    check_choice,
    check_format,
    check_nonnegative_int,
    check_path,
    check_positive,
    check_positive_int,
    check_seed,
    make_rng,
    shown,
)
from kserket.typing import Floats, PathLike, Seed
from kserket.vae import batches, decoder_output, fitting
from kserket.vae.inputs import (
    by_name,
    check,
    check_latent,
    check_noise,
    is_arrays,
    is_shape,
    sample_shape,
)
from kserket.vae.networks import Networks, check_network
from kserket.vae.objective import (
    PerSample,
    bounded,
    cross_entropy,
    float32,
    gaussian_cost,
    kl_divergence,
)
from kserket.vae.standardization import Standardization, array_batches, is_exact_in_single, split

LARGEST = 1e15  # float32 holds sums of its products
CHUNK = 4096  # samples encoded or decoded at a time


@keras.saving.register_keras_serializable(package="kserket")
class VariationalAutoencoder(keras.Model):
    """A variational autoencoder whose prior mean is a second input.

    `fit` takes `{"x": x, "mu": mu}`, `[x, mu]`, or x alone for the prior N(0, I); a further
    entry `mu_variance` makes the prior N(mu, diag(mu_variance)). mu is data: no gradient flows
    into it. `predict` needs x only.

    `evaluate` uses the posterior mean instead of the expectation over q (its reconstruction term
    is log p(x | decoder(mean(x)))), so it is deterministic and slightly optimistic; `bound`
    estimates the expectation by sampling.

    With the Gaussian likelihood the networks work on standardized data: the first `fit` (or
    `adapt`) finds location and scale of each feature, which are kept and saved. Results do not
    depend on units; reconstructions, losses and bounds are those of the data as given.

    Args:
        latent_dim: Number of latent dimensions L.
        encoder: Keras model from x to `[mean, log_variance]`, each (N, L), to a dict of these two
            under these names, or to features on which two dense layers are put. None makes one
            hidden ReLU layer.
        decoder: Keras model from z (N, L) to the shape of x. With the Bernoulli likelihood it
            returns logits, or probabilities if it ends in a sigmoid, softmax or hard sigmoid;
            with the Gaussian one the means of standardized data, or those of the data if it
            ends in an activation of limited range. None makes one hidden ReLU layer.
        encoder_units: Width of the default encoder's hidden layer.
        decoder_units: Width of the default decoder's hidden layer.
        kernel_stddev: Standard deviation of the truncated normal from which the kernels of the
            default networks start.
        likelihood: "bernoulli" for x in [0, 1], or "gaussian", with one variance.
        variance: Variance of the Gaussian likelihood, in the units of the data squared; None
            learns that of standardized data.
        kl_weight: Weight alpha of the KL divergence. Kept in a variable:
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
        latent_dim: int,
        *,
        encoder: keras.Model | None = None,
        decoder: keras.Model | None = None,
        encoder_units: int = 100,
        decoder_units: int = 100,
        kernel_stddev: float = 0.1,
        likelihood: Literal["bernoulli", "gaussian"] = "bernoulli",
        variance: float | None = None,
        kl_weight: float = 1.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_keywords(type(self).__name__, kwargs, keywords(type(self)) | KERAS_OPTIONS)
        check_choice("likelihood", likelihood, "bernoulli", "gaussian")
        check_network(encoder=encoder, decoder=decoder)
        check_positive_int(
            latent_dim=latent_dim, encoder_units=encoder_units, decoder_units=decoder_units
        )
        check_positive(kernel_stddev=kernel_stddev, most=LARGEST)
        check_positive(kl_weight=kl_weight, allow_zero=True, most=LARGEST)
        check_positive(variance=1.0 if variance is None else variance)
        if variance is not None and likelihood != "gaussian":
            raise ValueError("`variance` needs likelihood='gaussian': bits have none of their own.")
        if seed is not None and check_seed(seed) >= 2**63:
            raise ValueError(f"`seed` must be below 2**63. Received: seed={shown(seed)}")
        super().__init__(autocast=False, **kwargs)  # data are centered before they are rounded
        self._latent_dim = int(latent_dim)
        self._encoder_units, self._decoder_units = int(encoder_units), int(decoder_units)
        self._likelihood, self._seed = likelihood, check_seed(seed)
        self._variance = None if variance is None else float(variance)
        given = {"encoder": encoder, "decoder": decoder}
        # Keras tracks them from here on; optimizers in files follow this order of the weights.
        self.given_encoder, self.given_decoder = encoder, decoder
        self._networks = Networks(
            given, self.latent_dim, float(kernel_stddev), self.seed, self.dtype_policy
        )
        self.encoder = self.decoder = self._activation = self._data_shape = None
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.kl_weight = self.add_weight(
            name="kl_weight", shape=(), initializer="ones", trainable=False, dtype="float32"
        )
        self.kl_weight.assign(kl_weight)
        self._reconstruction_metric = keras.metrics.Mean(name="reconstruction")
        self._kl_metric = keras.metrics.Mean(name="kl")
        self._sum = PerSample(reduction="sum", name="per_sample")
        if likelihood == "gaussian":
            self.standardization = Standardization(name="standardization")

    latent_dim = property(operator.attrgetter("_latent_dim"), doc="Number of latent dimensions L.")
    likelihood = property(operator.attrgetter("_likelihood"), doc='"bernoulli" or "gaussian".')
    variance = property(
        operator.attrgetter("_variance"), doc="Of the Gaussian likelihood, or None: it is learned."
    )
    encoder_units = property(
        operator.attrgetter("_encoder_units"), doc="Width of the default network."
    )
    decoder_units = property(
        operator.attrgetter("_decoder_units"), doc="Width of the default network."
    )
    kernel_stddev = property(
        operator.attrgetter("_networks.kernel_stddev"), doc="Of the kernels' first values."
    )
    seed = property(operator.attrgetter("_seed"), doc="What it was given, or None.")

    @property
    def reads_given_logits(self) -> bool:
        """Whether the user's decoder is taken to return logits."""
        has_own = self._networks.given["decoder"] is not None
        return has_own and self.likelihood == "bernoulli" and self._activation is None

    data_shape = property(
        operator.attrgetter("_data_shape"), doc="Shape of a sample, None until it is built."
    )

    # Networks ---------------------------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        self._data_shape = sample_shape(by_name(input_shape, is_leaf=is_shape)["x"])
        self.encoder = self._networks.encoder(self.data_shape, self.encoder_units)
        self.decoder = self._networks.decoder(self.data_shape, self.decoder_units)
        if self._networks.given["decoder"] is not None:
            self._activation = decoder_output.activation_of(
                self.decoder, self.latent_dim, self.compute_dtype
            )
        if self.likelihood == "gaussian":
            self.log_variance = self.add_weight(
                name="log_variance",
                shape=(),
                initializer="zeros",
                dtype="float32",
                trainable=self.variance is None,
            )
            self.standardization.build((None, *self.data_shape))
        elif self._activation in decoder_output.BOUNDED:
            name, consequence = decoder_output.BOUNDED[self._activation]
            warnings.warn(
                f"The decoder ends in {name}. With the Bernoulli likelihood its output is read as "
                f"logits, so that of all probabilities {consequence}. Leave the activation out, or "
                "end in a sigmoid.",
                stacklevel=2,
            )
        self._compiled_decode = tf.function(self._decode, autograph=False, reduce_retracing=True)
        self.built = True

    def get_build_config(self) -> dict[str, Any] | None:
        if not self.built:
            return None
        return {
            "input_shape": (None, *self.data_shape),
            "frozen": [not layer.trainable for layer in self._network_layers()],
        }

    def build_from_config(self, config: dict[str, Any]) -> None:
        super().build_from_config(config)
        for layer, is_frozen in zip(self._network_layers(), config.get("frozen", ()), strict=False):
            if is_frozen:
                layer.trainable = False

    def _network_layers(self):
        """All layers of encoder and decoder, those within others after them."""
        return [*self.encoder._flatten_layers(), *self.decoder._flatten_layers()]

    # Objective --------------------------------------------------------------------------

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Posterior and reconstruction.

        Args:
            inputs: Tensor x (N, ...), or a dict or list that holds x and mu.
            training: Whether z is sampled; else it is the posterior mean.

        Returns:
            Dict of `z_mean` (N, L), `z_variance` (N, L) and `reconstruction` (N, ...): the
            probabilities or means that the decoder gives.
        """
        outputs = self._propagate(inputs, training)
        results = {
            "z_mean": outputs["z_mean"],
            "z_variance": ops.exp(outputs["z_log_variance"]),
            "reconstruction": self._reconstruct(outputs["decoded"]),
        }
        if training:
            return results
        is_finite = _finite_rows(outputs["x"])
        return {name: _where(is_finite, part, np.nan) for name, part in results.items()}

    def encode_tensor(self, x: Any) -> Any:
        """`encode` in TensorFlow operations, without checks.

        Args:
            x: Tensor (N, ...).

        Returns:
            `(mean, variance)`, tensors (N, L); NaN where a row is not finite.
        """
        x = self._encoder_input(x)
        mean, log_variance = self._encode(x)
        is_finite = _finite_rows(x)
        return _where(is_finite, mean, np.nan), _where(is_finite, ops.exp(log_variance), np.nan)

    def decode_tensor(self, z: Any) -> Any:
        """`decode` in TensorFlow operations, without checks.

        Args:
            z: Tensor (N, L).

        Returns:
            Tensor (N, ...).
        """
        return self._reconstruct(self._decode(ops.cast(z, "float32")))

    def _propagate(self, inputs, training, noise=None):
        """Encoder, one z, decoder: dict of x, z_mean, z_log_variance, decoded, in float32.

        `x` is what the encoder reads, `decoded` what `_decode` returns. `batch_size` counts the
        rows of all replicas. Noise is drawn for all of them, so that it does not depend on how
        many devices there are.
        """
        parts = by_name(inputs)
        x = self._encoder_input(parts["x"], parts["x_low"])
        z_mean, z_log_variance = self._encode(x, training)
        z, size = z_mean, ops.shape(z_mean)[0]
        first, batch_size = batch_offset(size)
        if training and noise is None:
            shape = (batch_size, self.latent_dim)
            noise = keras.random.normal(shape, dtype="float32", seed=self.seed_generator)
            if batch_size is not size:
                noise = noise[first : first + size]
        if noise is not None:
            z = z_mean + ops.exp(0.5 * z_log_variance) * noise
        return {
            "x": x,
            "z_mean": z_mean,
            "z_log_variance": z_log_variance,
            "decoded": self._decode(z, training),
            "batch_size": batch_size,
        }

    def _encoder_input(self, x, x_low=None):
        """What the encoder reads: x, standardized under the Gaussian likelihood."""
        if self.likelihood == "gaussian":
            return self.standardization(x, x_low)
        return ops.cast(x, "float32")

    def _encode(self, x, training=False):
        """Mean and log variance of q(z|x), both (N, L), from what `_encoder_input` returns."""
        z_mean, z_log_variance = self.encoder(x, training=training)
        return float32(z_mean), bounded(float32(z_log_variance))

    def _decode(self, z, training=False):
        """Logits, or means of standardized data, (N, ...) from z (N, L)."""
        if self._activation in decoder_output.PROBABILITIES and self.likelihood == "bernoulli":
            if tf.executing_eagerly():  # the logits are found in a graph only
                return self._compiled_decode(z, training)
            decoded = self.decoder(ops.cast(z, self.compute_dtype), training=training)
            return float32(decoder_output.logits(decoded))
        decoded = float32(self.decoder(ops.cast(z, self.compute_dtype), training=training))
        if self.likelihood == "gaussian" and self._activation is not None:
            return self.standardization(decoded)  # its range is one of the data
        return decoded

    def _reconstruct(self, decoded):
        """Probabilities or means of x (N, ...), from what `_decode` returned."""
        if self.likelihood == "bernoulli":
            return ops.sigmoid(decoded)
        return self.standardization.invert(decoded)

    def _terms(self, inputs, outputs):
        """Negative log likelihood and KL divergence of each sample, both (N,)."""
        parts = by_name(inputs)
        x, decoded = _rows(float32(outputs["x"])), _rows(outputs["decoded"])
        if self.likelihood == "bernoulli":
            reconstruction = cross_entropy(x, decoded)
        else:
            reconstruction = gaussian_cost(x, decoded, self._log_variance())
            reconstruction = reconstruction + self.standardization.log_volume()
        kl = kl_divergence(
            outputs["z_mean"], outputs["z_log_variance"], parts["mu"], parts["mu_variance"]
        )
        return reconstruction, kl

    def _log_variance(self):
        """Of standardized data: the one that is learned, or of each feature (D,) the given one."""
        if self.variance is None:
            return bounded(self.log_variance)
        scale = ops.reshape(self.standardization.scale, (-1,))
        return math.log(self.variance) - 2.0 * ops.log(scale)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
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
            y_pred = self._propagate(x, training)
        reconstruction, kl = self._terms(x, y_pred)
        self._reconstruction_metric.update_state(reconstruction, sample_weight=sample_weight)
        self._kl_metric.update_state(kl, sample_weight=sample_weight)
        loss = reconstruction + self.kl_weight * kl
        total = self._sum(ops.zeros_like(loss), loss, sample_weight=sample_weight)
        total = total / ops.cast(y_pred["batch_size"], total.dtype)
        for penalty in self.losses:
            total = total + ops.cast(self._aggregate_additional_loss(penalty), total.dtype)
        return total

    def train_step(self, data: Any) -> Any:
        """One step of the optimizer on one batch."""
        x, y, sample_weight = self._unpack(data)
        with tf.GradientTape() as tape:
            outputs = self._propagate(x, training=True)
            loss = self.compute_loss(x, y, outputs, sample_weight, training=True)
            scaled = self.optimizer.scale_loss(loss)
        if self.trainable_weights:
            gradients = tape.gradient(scaled, self.trainable_weights)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        else:
            warnings.warn("The model has no trainable weights: it learns nothing.", stacklevel=2)
        return self._figures(loss, x, y, outputs, sample_weight)

    def test_step(self, data: Any) -> Any:
        """The figures of one batch, at the posterior mean."""
        x, y, sample_weight = self._unpack(data)
        outputs = self._propagate(x, training=False)
        loss = self.compute_loss(x, y, outputs, sample_weight, training=False)
        return self._figures(loss, x, y, outputs, sample_weight)

    def _figures(self, loss, x, y, outputs, sample_weight):
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        share = outputs["batch_size"] / replicas
        self._loss_tracker.update_state(loss * replicas, sample_weight=share)
        predictions = {"reconstruction": self._reconstruct(outputs["decoded"])}
        return self.compute_metrics(x, y, predictions, sample_weight)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Metrics given to `compile` compare x (or y, where there is one) with `reconstruction`."""
        target = by_name(x)["x"] if y is None else y
        return super().compute_metrics(x, target, y_pred["reconstruction"], sample_weight)

    def _unpack(self, data):
        """A batch as x, y and weights, the model built for it.

        Raises:
            ValueError: If mu is given as y.
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

    def compile(
        self, optimizer: Any = "rmsprop", loss: Any = None, loss_weights: Any = None, **kwargs: Any
    ) -> None:
        """`keras.Model.compile`; the loss is always the negative bound.

        Args:
            optimizer: Name or `keras.optimizers.Optimizer`.
            loss: Not used; a warning is given if it is not None.
            loss_weights: Likewise.
            **kwargs: What `keras.Model.compile` takes: `metrics` compare x with its
                reconstruction.
        """
        if loss is not None or loss_weights is not None:
            warnings.warn(
                "VariationalAutoencoder minimizes the negative bound: `loss` and `loss_weights` of "
                "compile() are not used. Choose `likelihood` and `kl_weight` of the model; give "
                "other figures as `metrics`.",
                stacklevel=2,
            )
        super().compile(optimizer, **kwargs)
        compiled_loop.reset(self)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded model as it was; Keras leaves this to models with their own `compile`.

        Args:
            config: What `get_compile_config` returned.
        """
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def adapt(self, x: Any, sample_weight: ArrayLike | None = None) -> None:
        """Finds location and scale of each feature, which `fit` does once if you do not.

        Nothing happens under the Bernoulli likelihood.

        Args:
            x: Array (N, ...).
            sample_weight: Optional (N,).

        Raises:
            ValueError: If values are not finite, or too large or small for single precision.
        """
        parts, _, sample_weight = check(self, x, None, sample_weight)
        self._build_for(parts["x"])
        if self.likelihood == "gaussian":
            self.standardization.adapt(array_batches(parts["x"], sample_weight))

    @suggests
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        *,
        sample_weight: ArrayLike | None = None,
        validation_data: Any = None,
        validation_split: float = 0.0,
        class_weight: Any = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """`keras.Model.fit` with mu among the inputs.

        Arrays are trained on in one compiled loop, unless a callback has work to do at each batch,
        or the model was compiled with `run_eagerly` or `jit_compile`. The order of the samples then
        follows from the model's seed. Everything else takes Keras' own loop.

        Args:
            x: Array (N, ...); `{"x": x, "mu": mu, "mu_variance": v}`, `mu` (N, L) and
                `mu_variance` (N, L) optional; `[x, mu]`; or a `PyDataset`, a `tf.data.Dataset` or
                a generator of such batches, each in a tuple of its own: `({"x": x, "mu": mu},)`.
                With the Gaussian likelihood the first `fit` makes one more pass over datasets, to
                find location and scale; of a generator it takes the first batch.
            y: Not needed: the target is x.
            sample_weight: Optional (N,).
            validation_data: Inputs like x, or `(inputs, None, sample_weight)`.
            validation_split: Share of the samples, the last ones, to validate on.
            class_weight: Must be None: there are no classes.
            **kwargs: What else `keras.Model.fit` takes.

        Returns:
            A `keras.callbacks.History` of loss, reconstruction and kl.

        Raises:
            FloatingPointError: If training diverged.
            TypeError: If inputs are not numbers.
            ValueError: If lengths differ, values are masked, not finite or do not suit the
                likelihood, or mu stands where Keras reads y. After every error the model is what
                it was before.
        """
        return fitting.fit(
            self, x, y, sample_weight, validation_data, validation_split, class_weight, kwargs
        )

    @suggests
    def evaluate(
        self, x: Any = None, y: Any = None, *, sample_weight: ArrayLike | None = None, **kwargs: Any
    ) -> Any:
        """Mean loss, reconstruction and kl, at the posterior mean.

        Args:
            x: As in `fit`.
            y: Not needed.
            sample_weight: Optional (N,).
            **kwargs: What `keras.Model.evaluate` takes.

        Returns:
            A list of figures in the order of `metrics_names`, or a dict with
            `return_dict=True`.

        Raises:
            TypeError: As in `fit`.
            ValueError: As in `fit`.
        """
        x, y, sample_weight = self._for_keras(x, y, sample_weight)
        with batches.own_errors():
            return super().evaluate(x, y, sample_weight=sample_weight, **kwargs)

    @suggests
    def predict(self, x: Any, **kwargs: Any) -> Any:
        """Posterior and reconstruction.

        Args:
            x: As in `fit`; only x is used.
            **kwargs: What `keras.Model.predict` takes.

        Returns:
            Dict of arrays `z_mean` (N, L), `z_variance` (N, L) and `reconstruction` (N, ...).

        Raises:
            TypeError: As in `fit`.
            ValueError: As in `fit`: data must be finite. The model as a function, `model(x)`, and
                an exported one do not raise. They answer NaN for a row that is not finite.
        """
        x, _, _ = self._for_keras(x)
        with batches.own_errors():
            return super().predict(x, **kwargs)

    def encode(self, x: ArrayLike) -> tuple[Floats, Floats]:
        """Mean and variance of q(z|x).

        Args:
            x: Array (N, ...).

        Returns:
            `(mean, variance)`, float32 arrays (N, L).

        Raises:
            TypeError: As in `fit`.
            ValueError: As in `fit`.
        """
        x = check(self, x)[0]["x"]
        self._build_for(x)
        return self.encode_unchecked(x)

    def encode_unchecked(self, x: Any) -> Any:
        """`encode` of an array (N, ...) that was checked. Values that are NaN count as missing:
        a feature at its location under the Gaussian likelihood, at 0 under the Bernoulli one."""

        def run(part):
            if is_exact_in_single(part.dtype) or self.likelihood == "bernoulli":
                part = np.asarray(part, "float32")
            part = self._encoder_input(ops.convert_to_tensor(part))
            mean, log_variance = self._encode(ops.where(ops.isnan(part), 0.0, part))
            return _array(mean), np.exp(_array(log_variance))

        return storage.apply(run, x, chunk_rows=CHUNK)

    def decode(self, z: ArrayLike) -> Floats:
        """Probabilities (Bernoulli) or means (Gaussian) of x given z.

        Args:
            z: Array (N, L).

        Returns:
            Array (N, ...), float32, or float64 where float32 is too coarse for the data.

        Raises:
            RuntimeError: If the model is not built.
            TypeError: If z are not numbers.
            ValueError: If z is not finite or of another shape.
        """
        if self.decoder is None:
            raise RuntimeError("The model is not built yet: call fit, predict or encode first.")
        z = check_latent(z, "`z`", self.latent_dim)

        def run(part):
            decoded = self._decode(ops.convert_to_tensor(np.asarray(part, "float32")))
            if self.likelihood == "bernoulli":
                return _array(ops.sigmoid(decoded))
            return self.standardization.invert_array(_array(decoded))

        return storage.apply(run, z, chunk_rows=CHUNK)

    @suggests
    def sample(
        self,
        num_samples: int,
        mu: ArrayLike | None = None,
        mu_variance: ArrayLike | None = None,
        seed: Seed = None,
    ) -> Floats:
        """Generates data: z from the prior, then the decoder's probabilities or means.

        Args:
            num_samples: How many.
            mu: Prior mean, (L,) or (num_samples, L), or one number; None is 0.
            mu_variance: Prior variance, likewise; None is 1.
            seed: Integer or `numpy.random.Generator`.

        Returns:
            Array (num_samples, ...) as `decode` returns it.

        Raises:
            RuntimeError: If the model is not built.
            TypeError: If `mu` or `mu_variance` are not numbers.
            ValueError: If `num_samples` is not a whole number, or `mu` or `mu_variance` are of
                another shape or not finite, or a variance is not positive.
        """
        check_nonnegative_int(num_samples=num_samples)
        mean, variance = 0.0, 1.0
        if mu is not None:
            mean = check_latent(mu, "`mu`", self.latent_dim, num_samples)
        if mu_variance is not None:
            variance = check_latent(
                mu_variance, "`mu_variance`", self.latent_dim, num_samples, is_positive=True
            )
        if self.decoder is None:
            raise RuntimeError("The model is not built yet: call fit, predict or encode first.")
        rng = make_rng(seed)
        z = rng.standard_normal((num_samples, self.latent_dim)) * np.sqrt(variance) + mean
        if num_samples == 0:
            return np.zeros((0, *self.data_shape), "float32")
        return self.decode(z.astype("float32"))

    @suggests
    def bound(
        self,
        x: ArrayLike,
        mu: ArrayLike | None = None,
        mu_variance: ArrayLike | None = None,
        *,
        num_samples: int = 1,
        noise: ArrayLike | None = None,
        seed: Seed = None,
    ) -> Floats:
        """Monte Carlo estimate of each sample's bound L.

        Args:
            x: Array (N, ...).
            mu: Prior mean (N, L); None is 0.
            mu_variance: Prior variance (N, L); None is 1.
            num_samples: Draws of z per sample.
            noise: Standard normal draws (num_samples, N, L) to use instead of a seed.
            seed: Integer or `numpy.random.Generator`.

        Returns:
            Array (N,): -kl_weight * kl + mean log p(x|z).

        Raises:
            TypeError: As in `fit`.
            ValueError: As in `fit`; or if `num_samples` is not a positive whole number, or `noise`
                has another shape or is not finite.
        """
        check_positive_int(num_samples=num_samples)
        num_samples = int(num_samples)
        inputs = {"x": x, "mu": mu, "mu_variance": mu_variance}
        inputs, _, _ = check(
            self, {name: part for name, part in inputs.items() if part is not None}
        )
        self._build_for(inputs["x"])
        shape = (len(inputs["x"]), self.latent_dim)
        if noise is None:
            rng = make_rng(seed)
            noise = rng.standard_normal((num_samples, *shape)).astype("float32")
        else:
            noise = check_noise(noise, *shape)
        inputs = self._in_single(inputs)
        draws = []
        for epsilon in noise:
            outputs = self._propagate(inputs, training=False, noise=epsilon)
            reconstruction, kl = self._terms(inputs, outputs)
            draws.append(-ops.convert_to_numpy(reconstruction + self.kl_weight * kl))
        return np.mean(draws, axis=0)

    def _for_keras(self, x, y=None, sample_weight=None):
        """Inputs, target and weights in the form that Keras' own loops take, checked."""
        if not is_arrays(x):
            return batches.checked(x, batches.expected(self)), y, sample_weight
        x, y, sample_weight = check(self, x, y, sample_weight)
        return self._in_single(x), y, sample_weight

    def _in_single(self, inputs):
        """Checked inputs whose x is split in two, where float32 does not hold it."""
        inputs = dict(inputs)
        if self.likelihood == "gaussian":
            inputs["x"], x_low = split(inputs["x"])
            inputs |= {} if x_low is None else {"x_low": x_low}
        return inputs if len(inputs) > 1 else inputs["x"]

    def _shuffling_seed(self):
        """An integer that follows from the model's random state, which every step moves on."""
        state = ops.convert_to_numpy(self.seed_generator.state)
        return zlib.crc32(state.tobytes()) % 2**31

    def export(
        self,
        filepath: PathLike,
        format: str = "tf_saved_model",
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Exports inference with x as the only input.

        Args:
            filepath: Folder (SavedModel) or file.
            format: As in `keras.Model.export`.
            input_signature: By default `x` of shape (None, ...).
            **kwargs: What `keras.Model.export` takes.
        """
        check_path(filepath=filepath)
        check_format(format)
        if not self.built:
            raise RuntimeError("The model is not built yet: call fit or predict before export.")
        if input_signature is None:
            shape = (None, *self.data_shape)
            input_signature = [keras.layers.InputSpec(shape=shape, dtype="float32", name="x")]
        super().export(filepath, format=format, input_signature=input_signature, **kwargs)

    def save(self, filepath: PathLike, *args: Any, **kwargs: Any) -> None:
        """`keras.Model.save`, to a `.keras` file."""
        if str(filepath).endswith((".h5", ".hdf5")):
            raise ValueError(
                "Keras cannot read a VariationalAutoencoder back from HDF5. "
                f"Save to a path that ends in .keras. Received: {filepath}"
            )
        super().save(filepath, *args, **kwargs)

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        store["seed_state"] = self.seed_generator.state.numpy()

    def load_own_variables(self, store: Any) -> None:
        entries = {name: store[name] for name in store.keys()}
        state = entries.pop("seed_state", None)
        super().load_own_variables(entries)
        if state is not None:
            self.seed_generator.state.assign(np.asarray(state))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "latent_dim": self.latent_dim,
            **{
                name: None if network is None else keras.saving.serialize_keras_object(network)
                for name, network in self._networks.given.items()
            },
            "encoder_units": self.encoder_units,
            "decoder_units": self.decoder_units,
            "kernel_stddev": self.kernel_stddev,
            "likelihood": self.likelihood,
            "variance": self.variance,
            "kl_weight": float(self.kl_weight.numpy()),
            "seed": self.seed,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        config = dict(config)
        for name in ("encoder", "decoder"):
            if config.get(name) is not None:
                config[name] = keras.saving.deserialize_keras_object(
                    config[name], custom_objects=custom_objects
                )
        return cls(**config)

    def _build_for(self, x):
        """Builds the model for a batch, or the type of one, if it is not built."""
        if not self.built:
            with self.distribute_strategy.scope():
                self.build((None, *sample_shape(x.shape)))


def _finite_rows(x):
    """Which rows of a tensor (N, ...) are finite, (N,), in operations that LiteRT has."""
    return ops.all(ops.abs(_rows(float32(x))) <= np.finfo("float32").max, axis=1)


def _where(flag, tensor, other):
    """A tensor (N, ...) where a flag (N,) is true, else a number."""
    return ops.where(ops.reshape(flag, (-1, *[1] * (len(tensor.shape) - 1))), tensor, other)


def _rows(tensor):
    """(N, ...) as (N, D)."""
    return ops.reshape(tensor, (-1, math.prod(tensor.shape[1:])))


def _array(tensor):
    """A tensor as a float32 array."""
    return np.asarray(ops.convert_to_numpy(tensor), "float32")
