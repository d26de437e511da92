"""What a mixture reads: x, and with it perhaps its variance, class priors and weights."""

import numpy as np

from kserket import storage
from kserket.arrays import as_numbers, check_finite
from kserket.core import messages
from kserket.core.named_inputs import class_prior, named_inputs
from kserket.floors import LOG_ZERO
from kserket.inference.gaussian_mixture.data import Data

LARGEST = 1e150  # of a value: squares of larger ones overflow
LARGEST_WEIGHT = 1e100  # by which squares of ordinary data can be multiplied


def read(
    x,
    *,
    num_components,
    num_features=None,
    sample_weight=None,
    missing=None,
    gibbs=False,
    allow_missing=False,
):
    """Inputs, checked once.

    Args:
        x: Array (N, D), `Gaussian` message, or dict of x, `variance` and `class_prior`.
        num_components: K.
        num_features: D, or None if any will do.
        sample_weight: (N,) or None.
        missing: Boolean (N,), rows of x that were not observed, or None. Rows of infinite variance
            are missing, too.
        gibbs: Whether they are for the sampler, which takes no weights.
        allow_missing: Whether rows, and single cells, may be NaN or masked.

    Returns:
        `inference.gaussian_mixture.data.Data`.

    Raises:
        TypeError: If something is not real numbers.
        ValueError: If names, shapes or values do not fit.
    """
    parts = named_inputs(x, "variance", "class_prior")
    values = parts["x"]
    if allow_missing and not isinstance(values, messages.Gaussian):
        values = as_numbers(values, "GaussianMixture", allow_missing=True, allow_gaps=True)
        missing = messages.missing_rows(values) if values.ndim == 2 else None
    data = checked(values, parts.get("variance"), missing, num_features, allow_missing)
    prior = class_prior(parts.get("class_prior"), num_components, len(data.x), "sample")
    weight = _weight(sample_weight, len(data.x), gibbs)
    return under_prior(data._replace(weight=weight), prior)


def under_prior(data, prior):
    """Data with class probabilities from above.

    Args:
        data: `inference.gaussian_mixture.data.Data`.
        prior: `Categorical` (N, K), or None.
    """
    if prior is None:
        return data
    return data._replace(log_prior=storage.apply(_with_zeros, prior.log_probs))


def checked(x, variance=None, missing=None, num_features=None, allow_gaps=False):
    """`read` of x and its variance alone.

    Args:
        x: As in `read`, by itself.
        variance: (N, D), or None.
        missing: As in `read`.
        num_features: As in `read`.
        allow_gaps: Whether single cells may be NaN.

    Returns:
        `inference.gaussian_mixture.data.Data`.
    """
    if isinstance(x, messages.Gaussian):
        missing = x.missing if missing is None else missing
        x, variance = x.mean, x.variance if variance is None else variance
    x = as_numbers(x, "GaussianMixture")
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(
            f"GaussianMixture needs numbers of shape (N, D). Received: shape {x.shape}"
        )
    if num_features not in (None, x.shape[1]):
        raise ValueError(
            f"GaussianMixture was fitted to {num_features} features. Received: shape {x.shape}"
        )
    if variance is not None:
        variance = as_numbers(variance, "`variance`")
        if variance.shape != x.shape or not storage.every(lambda part: part >= 0, variance):
            raise ValueError(
                f"`variance` must have the shape of x, {x.shape}, and not be negative. "
                f"Received: shape {variance.shape}"
            )
        endless = storage.apply(lambda part: np.isinf(part).any(axis=1), variance)
        if endless.any():
            missing = endless if missing is None else missing | endless
    if missing is not None:
        x, variance = _silenced(x, missing), _silenced(variance, missing)
    check_finite(x, "GaussianMixture", allow_gaps=allow_gaps)
    check_size(x, "GaussianMixture")
    return Data(x, variance, missing=missing)


def check_size(x, name):
    """Checks that squares of data do not overflow.

    Args:
        x: Array (N, D), rows of NaN missing.
        name: Who reads them, for the error.

    Raises:
        ValueError: If a value is too large.
    """
    if x.dtype == "float64" and not storage.every(lambda part: ~(np.abs(part) >= LARGEST), x):
        raise ValueError(
            f"{name} needs values below {LARGEST:g}, whose squares do not overflow. Scale the data."
        )


def _weight(sample_weight, num_samples, gibbs):
    """Weights (N,) in double precision, checked, or None."""
    if sample_weight is None:
        return None
    if gibbs:
        raise ValueError("The Gibbs sampler takes no `sample_weight`.")
    weight = np.asarray(as_numbers(sample_weight, "`sample_weight`"), "float64")
    valid = np.isfinite(weight) & (weight >= 0)
    if weight.shape != (num_samples,) or not valid.all():
        raise ValueError(
            f"`sample_weight` must have shape ({num_samples},), finite and not negative. "
            f"Received: shape {weight.shape}"
        )
    if (weight > LARGEST_WEIGHT).any():
        raise ValueError(
            f"`sample_weight` must be at most {LARGEST_WEIGHT:g}. Received: {weight.max():g}. "
            "Scale the weights."
        )
    return weight


def _silenced(values, missing):
    """Values (N, D) with 0 in missing rows; None of None."""
    if values is None:
        return None
    return storage.apply(
        lambda part, silent: np.where(silent[:, None], 0, part).astype(part.dtype, copy=False),
        values,
        missing,
    )


def _with_zeros(log_probs):
    """Log probabilities in which minus infinity, again, stands for the log of 0."""
    return np.where(log_probs <= LOG_ZERO, -np.inf, log_probs)
