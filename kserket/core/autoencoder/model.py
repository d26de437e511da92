"""What all autoencoders are as Keras models: `Autoencoder`."""

import operator
from collections.abc import Callable
from typing import Any, Literal, Self

import keras
import numpy as np
from numpy.typing import ArrayLike

from kserket.core.autoencoder import batches, fitting
from kserket.core.autoencoder.coding import Coding
from kserket.core.autoencoder.host_evaluation import mean_terms, num_hosts
from kserket.core.autoencoder.inputs import check
from kserket.core.autoencoder.networks import Networks, check_network
from kserket.core.autoencoder.objective import PerSample
from kserket.core.autoencoder.standardization import Standardization, array_batches
from kserket.core.keywords import KERAS_OPTIONS, check_keywords, keywords, suggests
from kserket.core.options import (
    check_choice,
    check_positive,
    check_positive_int,
    check_seed,
    shown,
)
from kserket.typing import PathLike

LARGEST = 1e15  # float32 holds sums of its products


def fixed(name, doc):
    """An option that cannot change after construction, kept under a private name."""
    return property(operator.attrgetter(name), doc=doc)


class Autoencoder(Coding):
    """Base of the autoencoders: what their options, `fit` and files have in common.

    A family states its latent variables, see `Propagation`.

    Args:
        latent_dim: Number of latent dimensions L.
        encoder: Keras model from x to the statistics of q(z|x), or to features; None makes one.
        decoder: Keras model from z (N, L) to the shape of x; None makes one.
        encoder_units: Width of the default encoder's hidden layer.
        decoder_units: Width of the default decoder's hidden layer.
        kernel_stddev: Standard deviation that the kernels of the default networks start from.
        likelihood: "bernoulli" or "gaussian".
        variance: Variance of the Gaussian likelihood; None learns it.
        kl_weight: Weight of the KL divergence.
        seed: Integer that determines initial weights and sampling.
        **kwargs: `name`, `dtype`, as every Keras model has them.

    Raises:
        ValueError: If an option is unknown.
    """

    check_prior: Callable[[dict[str, Any], int], None]  # of arrays (N, L) by name, and L

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
            given, self.latent_dim, float(kernel_stddev), self.seed, self.dtype_policy, self.heads
        )
        self._networks.check_given()
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

    latent_dim = fixed("_latent_dim", "Number of latent dimensions L.")
    likelihood = fixed("_likelihood", '"bernoulli" or "gaussian".')
    variance = fixed("_variance", "Of the Gaussian likelihood, or None: it is learned.")
    encoder_units = fixed("_encoder_units", "Width of the default network.")
    decoder_units = fixed("_decoder_units", "Width of the default network.")
    kernel_stddev = fixed("_networks.kernel_stddev", "Of the kernels' first values.")
    seed = fixed("_seed", "What it was given, or None.")
    data_shape = fixed("_data_shape", "Shape of a sample, None until it is built.")

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
        with self.learning_columns(x):
            parts, _, sample_weight = check(self, x, None, sample_weight)
            self.build_for(parts["x"])
            if self.likelihood == "gaussian":
                fitting.warn_of_outliers(self, parts["x"])
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
        """`keras.Model.fit` with the prior among the inputs.

        Arrays are trained on in one compiled loop, unless a callback has work to do at each batch,
        or the model was compiled with `run_eagerly` or `jit_compile`. The order of the samples then
        follows from the model's seed. Everything else takes Keras' own loop.

        Args:
            x: Array (N, ...); a dict of it, named "x", and of the prior, arrays (N, L); a list of
                these; or a `PyDataset`, a `tf.data.Dataset` or a generator of such batches, each
                in a tuple of its own: `({"x": x, ...},)`. With the Gaussian likelihood the first
                `fit` makes one more pass over datasets, to find location and scale; of a generator
                it takes the first batch.
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
                likelihood, or the prior stands where Keras reads y. After every error the model
                is what it was before.
        """
        with self.learning_columns(x):
            return fitting.fit(
                self, x, y, sample_weight, validation_data, validation_split, class_weight, kwargs
            )

    @suggests
    def evaluate(
        self, x: Any = None, y: Any = None, *, sample_weight: ArrayLike | None = None, **kwargs: Any
    ) -> Any:
        """Mean loss, reconstruction and kl, at the expectation of z.

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
    def predict(self, x: Any, *, as_frame: bool = False, **kwargs: Any) -> Any:
        """Posterior and reconstruction.

        Args:
            x: As in `fit`; only x is used.
            as_frame: Whether each array comes as a pandas DataFrame with the index of that in x.
            **kwargs: What `keras.Model.predict` takes.

        Returns:
            Dict of what describes q(z|x), arrays (N, L), and `reconstruction` (N, ...). Columns of
            DataFrames are named "z_mean/0", ...; those of a reconstruction as in x.

        Raises:
            TypeError: As in `fit`.
            ValueError: As in `fit`: data must be finite. The model as a function, `model(x)`, and
                an exported one do not raise. They answer NaN for a row that is not finite.
        """
        framed = self.framing(x, as_frame)
        x, _, _ = fitting.for_keras(self, x)
        with batches.own_errors():
            answers = super().predict(x, **kwargs)
        if not as_frame:
            return answers
        names = {"reconstruction": self.columns}
        return {name: framed(part, name, names.get(name)) for name, part in answers.items()}

    def _signature(self):
        return [keras.layers.InputSpec(shape=(None, *self.data_shape), dtype="float32", name="x")]

    def save(self, filepath: PathLike, *args: Any, **kwargs: Any) -> None:
        """`keras.Model.save`, to a `.keras` file."""
        if str(filepath).endswith((".h5", ".hdf5")):
            raise ValueError(
                f"Keras cannot read a {type(self).__name__} back from HDF5. "
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
