"""From data to z, and back."""

from typing import Any

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from kserket import storage
from kserket.core.autoencoder.inputs import check, check_latent
from kserket.core.autoencoder.standardization import is_exact_in_single
from kserket.core.autoencoder.training import Training
from kserket.typing import Floats

CHUNK = 4096  # samples encoded or decoded at a time


class Coding(Training):
    """What arrays are encoded and decoded to by an `Autoencoder`."""

    def encode_unchecked(self, x: Any) -> Any:
        """`encode` of an array (N, ...) that was checked.

        Values that are NaN count as missing: a feature at its location under the Gaussian
        likelihood, at 0 under the Bernoulli one.

        Args:
            x: Array (N, ...).

        Returns:
            Tuple of float32 arrays (N, L).
        """

        def run(part):
            if is_exact_in_single(part.dtype) or self.likelihood == "bernoulli":
                part = np.asarray(part, "float32")
            part = self._encoder_input(ops.convert_to_tensor(part))
            return self._described(self._encode(ops.where(ops.isnan(part), 0.0, part)))

        return storage.apply(run, x, chunk_rows=CHUNK)

    def expected_latent(self, x: ArrayLike) -> Any:
        """The expectation of z, a tensor (N, L), of an array (N, ...) in memory, checked."""
        return self._latent(self._encode(self._encoder_input(ops.convert_to_tensor(x))))

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
        self._check_built()
        z = check_latent(z, "`z`", self.latent_dim)

        def run(part):
            decoded = self.decoder_output(ops.convert_to_tensor(np.asarray(part, "float32")))
            if self.likelihood == "bernoulli":
                return as_single(ops.sigmoid(decoded))
            return self.standardization.invert_array(as_single(decoded))

        return storage.apply(run, z, chunk_rows=CHUNK)

    def _drawn(self, latent):
        """`decode` of draws (N, L), of which there may be none."""
        if len(latent) == 0:
            return np.zeros((0, *self.data_shape), "float32")
        return self.decode(latent)

    def _checked(self, **inputs):
        """Inputs of a bound, checked, the model built for them."""
        given = {name: part for name, part in inputs.items() if part is not None}
        given, _, _ = check(self, given)
        self.build_for(given["x"])
        return given

    def _check_built(self):
        """Raises RuntimeError if there are no networks yet."""
        if self.decoder is None:
            raise RuntimeError("The model is not built yet: call fit, predict or encode first.")

    def _described(self, statistics):
        """The statistics as `encode` returns them: a tuple of float32 arrays (N, L)."""
        return tuple(map(as_single, self._posterior(statistics).values()))


def as_single(tensor):
    """A tensor as a float32 array."""
    return np.asarray(ops.convert_to_numpy(tensor), "float32")
