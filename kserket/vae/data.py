"""What the VAE's module learns from, read once."""

from typing import Any, NamedTuple

import numpy as np

from kserket import storage
from kserket.core import messages


class Data(NamedTuple):
    """Checked inputs of a VAE.

    Attributes:
        x: Array (N, ...), NaN where rows are missing.
        mu: Prior means (N, L), or None for 0.
        mu_variance: Prior variances (N, L), or None for 1.
        missing: Which rows are missing, (N,), or None.
    """

    x: Any
    mu: Any = None
    mu_variance: Any = None
    missing: Any = None

    def observed(self, latent_dim):
        """The rows that are not missing, as the model's inputs by name; mu is always there."""
        mu = self.mu
        if mu is None:
            mu = np.broadcast_to(np.float32(0), (len(self.x), latent_dim))
        parts = {"x": self.x, "mu": mu, "mu_variance": self.mu_variance}
        parts = {name: part for name, part in parts.items() if part is not None}
        if self.missing is None:
            return parts
        rows = np.flatnonzero(~self.missing)
        return {name: storage.take(part, rows) for name, part in parts.items()}


def as_data(message, prior):
    """What one message from below and one from above hold.

    Args:
        message: Message or array (N, ...).
        prior: `Gaussian`, array (N, L) or None.

    Returns:
        `Data`.
    """
    mu, variance = None if prior is None else np.asarray(prior), None
    if isinstance(prior, messages.Gaussian) and prior.variance is not None:
        mu, variance = storage.apply(_standard_where_unknown, mu, prior.variance)
    return Data(np.asarray(message), mu, variance, messages.missing_rows(message))


def _standard_where_unknown(mean, variance):
    """A prior's rows (n, L): N(0, 1) where its variance is infinite."""
    known = np.isfinite(variance)
    return np.where(known, mean, 0), np.where(known, variance, 1)
