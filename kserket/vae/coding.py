"""From data to z, and back."""

from typing import Any

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from kserket import storage
from kserket.core.keywords import suggests
from kserket.core.options import check_nonnegative_int, check_positive_int, make_rng
from kserket.typing import Floats, Seed
from kserket.vae.inputs import check, check_latent, check_noise
from kserket.vae.standardization import in_single, is_exact_in_single
from kserket.vae.training import Training

CHUNK = 4096  # samples encoded or decoded at a time


class Coding(Training):
    """What arrays are encoded and decoded to by a `VariationalAutoencoder`."""

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
        self.build_for(x)
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
            decoded = self.decoder_output(ops.convert_to_tensor(np.asarray(part, "float32")))
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
        self.build_for(inputs["x"])
        shape = (len(inputs["x"]), self.latent_dim)
        if noise is None:
            rng = make_rng(seed)
            noise = rng.standard_normal((num_samples, *shape)).astype("float32")
        else:
            noise = check_noise(noise, *shape)
        inputs = in_single(inputs, self.likelihood)
        draws = []
        for epsilon in noise:
            outputs = self._propagate(inputs, training=False, noise=epsilon)
            reconstruction, kl = self._terms(inputs, outputs)
            draws.append(-ops.convert_to_numpy(reconstruction + self.kl_weight * kl))
        return np.mean(draws, axis=0)


def _array(tensor):
    """A tensor as a float32 array."""
    return np.asarray(ops.convert_to_numpy(tensor), "float32")
