"""The Keras model: `VariationalAutoencoder`."""

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from kserket.core.autoencoder.coding import as_single
from kserket.core.autoencoder.inputs import check_latent, check_noise
from kserket.core.autoencoder.model import Autoencoder
from kserket.core.autoencoder.objective import bounded, float32
from kserket.core.autoencoder.standardization import in_single
from kserket.core.keywords import suggests
from kserket.core.options import check_nonnegative_int, check_positive_int, make_rng
from kserket.typing import Floats, Seed
from kserket.vae.data import check_prior
from kserket.vae.objective import kl_divergence


@keras.saving.register_keras_serializable(package="kserket")
class VariationalAutoencoder(Autoencoder):
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

    input_names = ("x", "mu", "mu_variance")
    heads = {"mean": "z_mean", "log_variance": "z_log_variance"}  # noqa: RUF012
    check_prior = staticmethod(check_prior)

    def _statistics(self, outputs):
        z_mean, z_log_variance = outputs
        return float32(z_mean), bounded(float32(z_log_variance))

    def _noise(self, batch_size):
        shape = (batch_size, self.latent_dim)
        return keras.random.normal(shape, dtype="float32", seed=self.seed_generator)

    def _latent(self, statistics, noise=None):
        z_mean, z_log_variance = statistics
        return z_mean if noise is None else z_mean + ops.exp(0.5 * z_log_variance) * noise

    def _divergence(self, statistics, prior):
        return kl_divergence(*statistics, prior["mu"], prior["mu_variance"])

    def _posterior(self, statistics):
        z_mean, z_log_variance = statistics
        return {"z_mean": z_mean, "z_variance": ops.exp(z_log_variance)}

    def _described(self, statistics):
        z_mean, z_log_variance = map(as_single, statistics)
        return z_mean, np.exp(z_log_variance)

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
        return self.encode_unchecked(self._checked(x=x)["x"])

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
        self._check_built()
        rng = make_rng(seed)
        z = rng.standard_normal((num_samples, self.latent_dim)) * np.sqrt(variance) + mean
        return self._drawn(z.astype("float32"))

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
        inputs = self._checked(x=x, mu=mu, mu_variance=mu_variance)
        expected, kl = self._expected(inputs, num_samples, noise, seed)
        return expected - self.kl_weight.numpy() * kl

    def expected_log_likelihood(
        self, x: ArrayLike, *, num_samples: int = 1, seed: Seed = None
    ) -> Floats:
        """Monte Carlo estimate of E_q[log p(x|z)] of each sample.

        Args:
            x: Array (N, ...).
            num_samples: Draws of z per sample.
            seed: Integer or `numpy.random.Generator`.

        Returns:
            Array (N,), in nats. Under the Bernoulli likelihood a value between 0 and 1 counts as
            that share of ones: then it is no log density of x, but minus a cross-entropy.

        Raises:
            TypeError: As in `fit`.
            ValueError: As in `fit`; or if `num_samples` is not a positive whole number.
        """
        return self._expected(self._checked(x=x), num_samples, None, seed)[0]

    def _expected(self, inputs, num_samples, noise, seed):
        """E_q[log p(x|z)], estimated, and the KL divergence: arrays (N,)."""
        check_positive_int(num_samples=num_samples)
        shape = (len(inputs["x"]), self.latent_dim)
        if noise is None:
            rng = make_rng(seed)
            noise = rng.standard_normal((int(num_samples), *shape)).astype("float32")
        else:
            noise = check_noise(noise, *shape)
        inputs = in_single(inputs, self.likelihood)
        outputs, draws = self._propagate(inputs, training=False), []
        for epsilon in noise:
            decoded = self.decoder_output(self._latent(outputs["statistics"], epsilon))
            cost, kl = self._terms(inputs, {**outputs, "decoded": decoded})
            draws.append(-ops.convert_to_numpy(cost))
        return np.mean(draws, axis=0), ops.convert_to_numpy(kl)
