"""The Keras model: `MultinomialVAE`."""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from kserket.core.autoencoder.model import LARGEST, Autoencoder, fixed
from kserket.core.autoencoder.objective import float32
from kserket.core.autoencoder.standardization import in_single
from kserket.core.keywords import suggests
from kserket.core.named_inputs import class_probabilities
from kserket.core.options import (
    check_nonnegative_int,
    check_positive,
    check_positive_int,
    make_rng,
)
from kserket.mnvae.objective import kl_divergence, relaxed_counts
from kserket.typing import Floats, Seed

SMALLEST_UNIFORM = 1e-30  # whose Gumbel draw is -4.2; that of 0 is infinite


def check_prior(parts: dict[str, Any], latent_dim: int) -> None:
    """Checks a prior that comes with data.

    Args:
        parts: Dict of `class_prior`, an array (N, L), or empty.
        latent_dim: L.

    Raises:
        ValueError: If rows are no probabilities of L words.
    """
    for name, part in parts.items():
        class_probabilities(part, f"`{name}`", latent_dim)


@keras.saving.register_keras_serializable(package="kserket")
class MultinomialVAE(Autoencoder):
    """A variational autoencoder of counts, whose prior probabilities are a second input.

    Each sample is described by `num_draws` draws of one of `latent_dim` latent words, and its
    latent variable z holds how often each was drawn. `fit` takes `{"x": x, "class_prior": p}`,
    `[x, p]`, or x alone for equal probabilities. The prior is data: no gradient flows into it.
    `predict` needs x only.

    Training relaxes the draws (Gumbel-softmax). `evaluate` decodes the expected counts, so it is
    deterministic and slightly optimistic; `bound` draws whole counts, and its expectation is a
    lower bound of log p(x).

    Args:
        latent_dim: Number of latent words L.
        num_draws: Number of draws N of a sample.
        temperature: Of the relaxed draws. Kept in a variable: `model.temperature = 0.5` assigns to
            it, and takes effect in the next step.
        kl_weight: Weight of the KL divergence N KL(q||p) of the counts; 1 is the bound.
        **kwargs: `encoder`, a Keras model from x to logits (N, L) or to features of another width,
            on which a dense layer is put; `decoder`, `encoder_units`, `decoder_units`,
            `kernel_stddev`, `likelihood`, `variance` and `seed` as in `VariationalAutoencoder`.

    Raises:
        ValueError: If an option is unknown, or a network's output does not fit.

    Reference:
        Kuniyasu, Nakamura, Taniguchi and Nagai, "Robot concept acquisition based on interaction
        between probabilistic and deep generative models", Frontiers in Computer Science 3:618069,
        2021.

    Example:

    ```python
    import keras
    import numpy as np
    import kserket

    x, _ = kserket.datasets.load_digits()
    model = kserket.MultinomialVAE(16, num_draws=50, seed=0)
    model.compile(keras.optimizers.Adam(0.01))
    prior = np.full((len(x), 16), 1 / 16)
    model.fit({"x": x, "class_prior": prior}, batch_size=256, epochs=2, verbose=0)
    print(model.predict(x, verbose=0)["z_probs"].shape)
    ```
    """

    input_names = ("x", "class_prior")
    heads = {"logits": "z_logits"}  # noqa: RUF012
    check_prior = staticmethod(check_prior)

    def __init__(
        self,
        latent_dim: int,
        *,
        num_draws: int = 1,
        temperature: float = 1.0,
        kl_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        check_positive_int(num_draws=num_draws)
        check_positive(temperature=temperature, most=LARGEST)
        super().__init__(latent_dim, kl_weight=kl_weight, **kwargs)
        self._num_draws = int(num_draws)
        self._temperature = self.add_weight(
            name="temperature", shape=(), initializer="ones", trainable=False, dtype="float32"
        )
        self._temperature.assign(temperature)

    num_draws = fixed("_num_draws", "Number of draws N of a sample.")

    @property
    def temperature(self) -> Any:
        """Of the relaxed draws, a variable: `model.temperature = 0.5` assigns to it."""
        return self._temperature

    @temperature.setter
    def temperature(self, value: Any) -> None:
        check_positive(temperature=value, most=LARGEST)
        self._temperature.assign(value)

    def _statistics(self, outputs):
        return (float32(outputs[0]),)

    def _noise(self, batch_size):
        shape = (batch_size, self.num_draws, self.latent_dim)
        uniform = keras.random.uniform(
            shape, SMALLEST_UNIFORM, 1.0, "float32", seed=self.seed_generator
        )
        return -ops.log(-ops.log(uniform))

    def _latent(self, statistics, noise=None):
        (logits,) = statistics
        if noise is None:
            return self.num_draws * ops.softmax(logits)
        return relaxed_counts(logits, noise, self.temperature)

    def _divergence(self, statistics, prior):
        return kl_divergence(*statistics, self.num_draws, prior["class_prior"])

    def _posterior(self, statistics):
        return {"z_probs": ops.softmax(statistics[0])}

    def encode(self, x: ArrayLike) -> Floats:
        """Probabilities q of the latent words.

        Args:
            x: Array (N, ...).

        Returns:
            Float32 array (N, L), rows summing to 1.

        Raises:
            TypeError: As in `fit`.
            ValueError: As in `fit`.
        """
        (probs,) = self.encode_unchecked(self._checked(x=x)["x"])
        return probs

    @suggests
    def sample(
        self, num_samples: int, class_prior: ArrayLike | None = None, seed: Seed = None
    ) -> Floats:
        """Generates data: counts from the prior, then the decoder's probabilities or means.

        Args:
            num_samples: How many.
            class_prior: Probabilities of the latent words, (num_samples, L); None: they are equal.
            seed: Integer or `numpy.random.Generator`.

        Returns:
            Array (num_samples, ...) as `decode` returns it.

        Raises:
            RuntimeError: If the model is not built.
            TypeError: If `class_prior` are not numbers.
            ValueError: If `num_samples` is not a whole number, or `class_prior` are no
                probabilities or of another shape.
        """
        check_nonnegative_int(num_samples=num_samples)
        probs = np.full((num_samples, self.latent_dim), 1.0 / self.latent_dim)
        if class_prior is not None:
            probs = class_probabilities(class_prior, "`class_prior`", self.latent_dim).probs
            if len(probs) != num_samples:
                raise ValueError(
                    f"`class_prior` must hold one row per sample, {num_samples}. "
                    f"Received: {len(probs)}"
                )
        self._check_built()
        return self._drawn(self._counts(probs, make_rng(seed)))

    @suggests
    def bound(
        self,
        x: ArrayLike,
        class_prior: ArrayLike | None = None,
        *,
        num_samples: int = 1,
        seed: Seed = None,
    ) -> Floats:
        """Monte Carlo estimate of each sample's bound L, from whole counts.

        Args:
            x: Array (N, ...).
            class_prior: Probabilities of the latent words (N, L); None: they are equal.
            num_samples: Draws of z per sample.
            seed: Integer or `numpy.random.Generator`.

        Returns:
            Array (N,): -kl_weight * kl + mean log p(x|z).

        Raises:
            TypeError: As in `fit`.
            ValueError: As in `fit`; or if `num_samples` is not a positive whole number.
        """
        check_positive_int(num_samples=num_samples)
        inputs = self._checked(x=x, class_prior=class_prior)
        rng, probs = make_rng(seed), self.encode(inputs["x"]).astype("float64")
        inputs = in_single(inputs, self.likelihood)
        outputs, draws = self._propagate(inputs, training=False), []
        for _ in range(int(num_samples)):
            decoded = self.decoder_output(ops.convert_to_tensor(self._counts(probs, rng)))
            reconstruction, kl = self._terms(inputs, {**outputs, "decoded": decoded})
            draws.append(-ops.convert_to_numpy(reconstruction + self.kl_weight * kl))
        return np.mean(draws, axis=0)

    def _counts(self, probs, rng):
        """Whole counts of N draws from probabilities (N, L), float32."""
        probs = probs / probs.sum(axis=1, keepdims=True)
        return rng.multinomial(self.num_draws, probs).astype("float32")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_draws": self.num_draws,
            "temperature": float(self.temperature.numpy()),
        }
