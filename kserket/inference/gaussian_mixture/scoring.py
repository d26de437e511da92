"""How probable data are under a mixture that has learned."""

import numpy as np

from kserket import hosts, storage
from kserket.inference import gaussian_gibbs
from kserket.inference import normal_wishart as nw
from kserket.inference.gaussian_mixture.data import prepared, transformed
from kserket.inference.gaussian_mixture.gaps import have as have_gaps
from kserket.inference.gaussian_mixture.parameters import (
    expected_log_weights,
    mean_weights,
)
from kserket.inference.gaussian_mixture.sweep import log_likelihood


def component_log_likelihood(data, found, inference):
    """log p(x | component), up to a constant of the sample.

    Args:
        data: `Data`.
        found: `Found`.
        inference: "variational" or "gibbs".

    Returns:
        (N, K): expected under the posterior over parameters (variational), or the posterior
        predictive (sampler). What it is in missing rows has no meaning.
    """
    if inference == "gibbs":
        return gaussian_gibbs.log_predictive(found.state, data.x)
    data = prepared(data, found)
    return log_likelihood(found.state, data.x, data.variance)


def mean_log_density(data, found, inference, likelihood):
    """Mean of log p(x), parameters integrated out, over the samples of all hosts not missing.

    It follows from the likelihood by arithmetic on (N, K), without a second pass over the data.

    Args:
        data: `Data`.
        found: `Found`.
        inference: "variational" or "gibbs".
        likelihood: (N, K), what `component_log_likelihood` returned.

    Returns:
        A float, or None if all samples are missing.
    """
    state, transform = found.state, found.transform
    components, log_weights = state.normal_wishart, np.log(mean_weights(state))
    variance, by_arithmetic = None, inference == "variational"
    if by_arithmetic and have_gaps(data.x):  # not the same constants in each row
        by_arithmetic = False
        likelihood = gaussian_gibbs.log_predictive(state, transformed(data, transform).x)
    if by_arithmetic:
        variance = prepared(data, found).variance
        factors = nw.cholesky(state.scatter)
        precisions = np.diagonal(nw.invert(factors), axis1=1, axis2=2)
        precisions = precisions * state.degrees_of_freedom[:, None]

    def total(part, x, variance, prior, missing):
        if by_arithmetic:
            if variance is not None:
                part = part + 0.5 * variance @ precisions.T
            part = nw.log_predictive_from_expected(components, part, factors)
        densities = np.logaddexp.reduce(part + (log_weights if prior is None else prior), axis=1)
        if transform is not None:
            densities += np.nansum(transform.log_slope(x), axis=1)
        return densities.sum() if missing is None else densities[~missing].sum()

    x = None if transform is None else data.x
    size = len(data.x) if data.missing is None else np.count_nonzero(~data.missing)
    arrays = likelihood, x, variance, data.log_prior, data.missing
    score, size = hosts.sum_over_hosts((float(storage.total(total, *arrays)), size))
    return score / size if size else None


def log_weights(state, inference):
    """E[log pi] (variational), or log E[pi] (the sampler's predictive), (K,)."""
    return np.log(mean_weights(state)) if inference == "gibbs" else expected_log_weights(state)


def log_slopes(data, transform):
    """What a power transform, or None, adds to the log density of all data."""
    if transform is None:
        return 0.0

    def weighted(x, weight):
        slopes = np.nansum(transform.log_slope(x), axis=1)
        return slopes.sum() if weight is None else weight @ slopes

    return hosts.sum_over_hosts(float(storage.total(weighted, data.x, data.weight)))
