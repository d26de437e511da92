"""The Keras model: `VariationalAutoencoder`."""

import operator
from typing import Any, Literal, Self

import keras
import numpy as np
from numpy.typing import ArrayLike

from kserket.core.keywords import KERAS_OPTIONS, check_keywords, keywords, suggests
from kserket.core.options import (
    check_choice,
    check_format,
    check_path,
    check_positive,
    check_positive_int,
    check_seed,
    shown,
)
from kserket.typing import PathLike
from kserket.vae import batches, fitting
from kserket.vae.coding import Coding
from kserket.vae.host_evaluation import mean_terms, num_hosts
from kserket.vae.inputs import check
from kserket.vae.networks import Networks, check_network
from kserket.vae.objective import PerSample
from kserket.vae.standardization import Standardization, array_batches

LARGEST = 1e15  # float32 holds sums of its products


def _fixed(name, doc):
    """An option that cannot change after construction, kept under a private name."""
    return property(operator.attrgetter(name), doc=doc)


@keras.saving.register_keras_serializable(package="kserket")
class VariationalAutoencoder(Coding):
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
            `model.kl_weight = 2.0` assigns to it, and takes effect in the next step.
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
        self._kl_weight = self.add_weight(
            name="kl_weight", shape=(), initializer="ones", trainable=False, dtype="float32"
        )
        self._kl_weight.assign(kl_weight)
        self._reconstruction_metric = keras.metrics.Mean(name="reconstruction")
        self._kl_metric = keras.metrics.Mean(name="kl")
        self._sum = PerSample(reduction="sum", name="per_sample")
        if likelihood == "gaussian":
            self.standardization = Standardization(name="standardization")

    latent_dim = _fixed("_latent_dim", "Number of latent dimensions L.")
    likelihood = _fixed("_likelihood", '"bernoulli" or "gaussian".')
    variance = _fixed("_variance", "Of the Gaussian likelihood, or None: it is learned.")
    encoder_units = _fixed("_encoder_units", "Width of the default network.")
    decoder_units = _fixed("_decoder_units", "Width of the default network.")
    kernel_stddev = _fixed("_networks.kernel_stddev", "Of the kernels' first values.")
    seed = _fixed("_seed", "What it was given, or None.")
    data_shape = _fixed("_data_shape", "Shape of a sample, None until it is built.")

    @property
    def kl_weight(self) -> Any:
        """Weight alpha of the KL divergence, a variable: `model.kl_weight = 2.0` assigns to it."""
        return self._kl_weight

    @kl_weight.setter
    def kl_weight(self, value: Any) -> None:
        check_positive(kl_weight=value, allow_zero=True, most=LARGEST)
        self._kl_weight.assign(value)

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
        self.build_for(parts["x"])
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
        x, y, sample_weight = fitting.for_keras(self, x, y, sample_weight)
        if num_hosts(self) > 1:
            figures = mean_terms(self, x, sample_weight)
            return figures if kwargs.get("return_dict") else list(figures.values())
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
        x, _, _ = fitting.for_keras(self, x)
        with batches.own_errors():
            return super().predict(x, **kwargs)

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
