"""Powers of the features, learned with the mixture: under them components are nearly Gaussian.

Runs of sweeps and power transforms take turns. A transform is the one under which the bound is
highest while data stay sorted as they are, means and precisions integrated out. What the bound is
of the data themselves, the log slopes of the transform included, tells which start to go on from.

Reference:
    X. Zhu and V. Melnykov, Manly transformation in finite mixture modeling, Computational
    Statistics and Data Analysis 121 (2018), with powers for each component.
"""

import numpy as np

from kserket.inference import normal_wishart as nw
from kserket.inference.gaussian_mixture.blocks import Blocks
from kserket.inference.gaussian_mixture.parameters import maximize
from kserket.inference.gaussian_mixture.sweep import log_responsibilities
from kserket.inference.power_transform import (
    HIGHEST,
    LOWEST,
    PowerTransform,
    power_slope,
    signed_log,
)

NUM_STARTS = 8  # go on
MAX_TURNS = 10
DIFFERENCE = 1e-3  # nats for each datum: less between two starts or two turns counts as none
DEVIATION = 0.5  # of the powers, Gaussian around 1, before data


def best_runs(runs, total_weight, number):
    """The best runs by their bound, at most so many of them, that differ by `DIFFERENCE` or more.

    Of runs that differ by rounding alone the first is taken, whatever the data's units.
    """
    found, rest = [], list(runs)
    while rest and len(found) < number:
        best = rest[0]
        for run in rest[1:]:
            if run.bound > best.bound + 1e-6 * total_weight:
                best = run
        found.append(best)
        rest = [run for run in rest if run.bound < best.bound - DIFFERENCE * total_weight]
    return found


def refine(runs, data, run_sweeps):
    """The best of several runs after each has learned powers.

    Args:
        runs: Short runs over the data.
        data: `Blocks` at zero mean and unit variance.
        run_sweeps: Makes a short run from `Blocks` and responsibilities (N, K).

    Returns:
        The run, over transformed data; their `PowerTransform`.
    """
    best = None
    for run in best_runs(runs, data.total_weight, NUM_STARTS):
        climb = _climb(run, data, run_sweeps)
        if best is None or climb[2] > best[2]:
            best = climb
    return best[:2]


def learn(z, weights, prior, power, variance=None):
    """The power transform under which the data are the most probable, sorted as they are.

    Args:
        z: (N, D) data at zero mean and unit variance.
        weights: (N, K) how much each datum counts for each component.
        prior: `Prior` of components of data at zero mean and unit variance.
        power: (D,) to start from; that of a feature that never varies stays 1.
        variance: (N, D) of uncertain data, finite, or None.

    Returns:
        `PowerTransform`, to zero mean and unit variance again.
    """
    from scipy.optimize import minimize

    counted = weights.any(axis=1)
    if not counted.any():
        return PowerTransform.identity(z.shape[1])
    varies = np.ptp(z[counted], axis=0) > 1e-9
    found = minimize(
        lambda power: _loss(power, z, weights, prior, variance),
        power,
        jac=True,
        method="L-BFGS-B",
        bounds=[(LOWEST, HIGHEST) if each else (1.0, 1.0) for each in varies],
        options={"maxiter": 50},
    )
    return PowerTransform.standardizing(z, found.x, weights.sum(axis=1))


def _climb(run, data, run_sweeps):
    """The run, the transform and the bound of the data that turns arrive at."""
    z = np.asarray(data.x, np.float64)
    weight = np.ones(len(z)) if data.sample_weight is None else np.asarray(data.sample_weight)
    variance = None
    if data.variance is not None:
        counted = np.isfinite(data.variance).all(axis=1)
        weight, variance = weight * counted, np.where(counted[:, None], data.variance, 0.0)
    transform, current, bound = PowerTransform.identity(z.shape[1]), data, run.bound
    for _ in range(MAX_TURNS):
        responsibilities = _responsibilities(run, current)
        following = learn(
            z, responsibilities * weight[:, None], run.prior, transform.power, variance
        )
        next_data = _transformed(data, following)
        next_run = run_sweeps(next_data, responsibilities)
        next_bound = next_run.bound + _log_prior(following.power)
        next_bound += (weight @ following.log_slope(z)).sum()
        gain = next_bound - bound
        if gain > 0.0:
            run, transform, current, bound = next_run, following, next_data, next_bound
        if gain < DIFFERENCE * data.total_weight:
            break
    return run, transform, bound


def _responsibilities(run, data):
    """(N, K) that a run arrives at."""
    state = maximize(run.prior, run.sums)
    return np.exp(log_responsibilities(state, data.x, data.variance, data.log_prior)[0])


def _transformed(data, transform):
    """`Blocks` after a `PowerTransform`, their variance to first order."""
    variance = None if data.variance is None else transform.spread(data.x, data.variance)
    return Blocks(
        data.prior, transform.forward(data.x), variance, data.log_prior, data.sample_weight
    )


def _loss(power, z, weights, prior, variance=None):
    """Minus the log evidence of transformed data, sorted as they are, and its gradient (D,).

    The transform keeps features at zero mean and unit variance, so that the prior fits whatever
    the power; its slope by the power is that of the curve less its drift and growth.
    """
    total, each, counts = weights.sum(), weights.sum(axis=1), weights.sum(axis=0)
    transform = PowerTransform.standardizing(z, power, each)
    y = transform.forward(z)
    shifted = y - prior.mean
    scatters = np.stack([(shifted * column[:, None]).T @ shifted for column in weights.T])
    log_slope = transform.log_slope(z)
    if variance is not None:
        spread, diagonal = variance * np.exp(2.0 * log_slope), np.arange(len(power))
        scatters[:, diagonal, diagonal] += weights.T @ spread
    belief = nw.update(prior.normal_wishart, counts, weights.T @ shifted, scatters)
    factors = nw.cholesky(belief.scatter)
    value = nw.log_normalizer(belief, nw.log_det(factors)).sum() + _log_prior(power)
    value += (each @ log_slope).sum()

    precisions = belief.degrees_of_freedom[:, None, None] * nw.invert(factors)
    pull = np.zeros_like(y)  # the derivative of the log evidence by y
    for column, mean, precision in zip(weights.T, belief.mean, precisions, strict=True):
        pull -= column[:, None] * ((y - mean) @ precision)
    slope = power_slope(z, power) / transform.deviation
    slope -= each @ slope / total
    growth = each @ (y * slope) / total  # of the log deviation
    gradient = (pull * (slope - y * growth)).sum(axis=0) - total * growth
    gradient += each @ signed_log(z) - (power - 1.0) / DEVIATION**2
    if variance is not None:
        by_log_slope = weights @ np.diagonal(precisions, axis1=1, axis2=2) * spread
        gradient -= (by_log_slope * (signed_log(z) - growth)).sum(axis=0)
    return -value, -gradient


def _log_prior(power):
    """log p(power) of all features, up to a constant."""
    return -0.5 * float(np.square((power - 1.0) / DEVIATION).sum())
