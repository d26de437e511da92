"""The inputs of a mixture: x, and with it perhaps its variance, class priors and weights."""

import numpy as np

from kserket import storage
from kserket.arrays import as_numbers, check_finite
from kserket.core import messages
from kserket.core.named_inputs import class_prior, named_inputs


def check(x, sample_weight, num_components, num_features, inference):
    """Inputs as the inference functions take them.

    Args:
        x: Array (N, D), `Gaussian` message, or dict of x, `variance` and `class_prior`.
        sample_weight: (N,) or None.
        num_components: K.
        num_features: D, or None if any will do.
        inference: "variational" or "gibbs".

    Returns:
        Dict of x, variance, class_prior and sample_weight, None where not given.

    Raises:
        TypeError: If something is not real numbers.
        ValueError: If names, shapes or values do not fit.
    """
    parts = named_inputs(x, "variance", "class_prior")
    if isinstance(parts.get("x"), messages.Gaussian):
        gaussian = parts["x"]
        parts |= {"x": gaussian.mean, "variance": parts.get("variance", gaussian.variance)}
    x = parts["x"] = as_numbers(parts["x"], "GaussianMixture")
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(
            f"GaussianMixture needs numbers of shape (N, D). Received: shape {x.shape}"
        )
    check_finite(x, "GaussianMixture")
    if num_features not in (None, x.shape[1]):
        raise ValueError(
            f"GaussianMixture was fitted to {num_features} features. Received: shape {x.shape}"
        )
    variance = parts.get("variance")
    if variance is not None:
        variance = as_numbers(variance, "`variance`")
        if inference == "gibbs" and not storage.every(np.isfinite, variance):
            raise ValueError("The Gibbs sampler needs finite `variance`. Leave such rows out.")
        if variance.shape != x.shape or not storage.every(lambda part: part >= 0, variance):
            raise ValueError(
                f"`variance` must have the shape of x, {x.shape}, and not be negative. "
                f"Received: shape {variance.shape}"
            )
    prior = class_prior(parts.get("class_prior"), num_components, len(x), "sample")
    if sample_weight is not None:
        sample_weight = np.asarray(as_numbers(sample_weight, "`sample_weight`"), "float64")
        if inference == "gibbs":
            raise ValueError("The Gibbs sampler takes no `sample_weight`.")
        valid = np.isfinite(sample_weight) & (sample_weight >= 0)
        if sample_weight.shape != (len(x),) or not valid.all():
            raise ValueError(
                f"`sample_weight` must have shape ({len(x)},), finite and not negative. "
                f"Received: shape {sample_weight.shape}"
            )
    return {
        "x": x,
        "variance": variance,
        "class_prior": None if prior is None else prior.probs,
        "sample_weight": sample_weight,
    }
