"""Priors over the latent variables of a VAE, as data and as messages."""

from typing import Any

import numpy as np

from kserket import storage
from kserket.core import messages
from kserket.core.autoencoder.inputs import check_size


def check_prior(parts: dict[str, Any], latent_dim: int) -> None:
    """Checks a prior that comes with data.

    Args:
        parts: Dict of `mu` and `mu_variance`, arrays (N, L), or of some of them.
        latent_dim: L.

    Raises:
        ValueError: If one has another shape, too large numbers, or variances that are not positive.
    """
    for name, part in parts.items():
        if part.shape[1:] != (latent_dim,):
            wanted = (len(part), latent_dim)
            raise ValueError(f"`{name}` must have shape {wanted}. Received: {part.shape}")
        if name == "mu_variance" and (low := storage.extent(part)[0]) <= 0:
            raise ValueError(f"`{name}` must be positive. Received: {low:g}")
        check_size(part, f"`{name}`")


def read_prior(prior, shape):
    """What a message from above says, as inputs of the model.

    Args:
        prior: `Gaussian`, array (N, L) or None.
        shape: (N, L).

    Returns:
        Dict of `mu` and, if the prior has one, `mu_variance`, arrays (N, L).
    """
    if prior is None:
        return {"mu": np.broadcast_to(np.float32(0), shape)}
    mu = np.asarray(prior)
    if not isinstance(prior, messages.Gaussian) or prior.variance is None:
        return {"mu": mu}
    mu, variance = storage.apply(_standard_where_unknown, mu, prior.variance)
    return {"mu": mu, "mu_variance": variance}


def _standard_where_unknown(mean, variance):
    """A prior's rows (n, L): N(0, 1) where its variance is infinite."""
    known = np.isfinite(variance)
    return np.where(known, mean, 0), np.where(known, variance, 1)
