"""Powers of the features, learned with the mixture: under them components are nearly Gaussian.

Runs of sweeps and power transforms take turns. A transform is the one under which the bound is
highest while data stay sorted as they are, means and precisions integrated out. What the bound is
of the data themselves, the log slopes of the transform included, tells which start to go on from.

Reference:
    X. Zhu and V. Melnykov, Manly transformation in finite mixture modeling, Computational
    Statistics and Data Analysis 121 (2018), with powers for each component.
"""

from typing import NamedTuple

import numpy as np

from kserket.inference import normal_wishart as nw
from kserket.inference.gaussian_mixture import gaps
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


class Hidden(NamedTuple):
    """What is expected in gaps, after the transform: it stays there while powers are learned.

    Attributes:
        values: (K, N, D), 0 where cells were observed.
        scatters: (K, D, D) covariances, summed over rows.
        seen: Boolean (N, D), which cells were observed.
    """

    values: np.ndarray
    scatters: np.ndarray
    seen: np.ndarray

    def weigh(self, weight):
        """How much each cell counts, (N, D), where each datum counts `weight` (N,)."""
        return weight[:, None] * self.seen


def _hidden(state, data, weights):
    """`Hidden` of `Blocks` under weights (N, K)."""
    x = np.asarray(data.x, np.float64)
    rows = gaps.of_block(x)
    values, scatters = np.zeros((len(state.mean), *x.shape)), np.zeros_like(state.scatter)
    for part in gaps.Completions(rows, state.normal_wishart, np.zeros(x.shape[1])):
        places = rows.rows[part.rows]
        values[:, places] = np.where(np.isnan(x[places]), part.values, 0.0)
        of_pattern = part.pattern[:, None] == np.arange(part.covariances.shape[1])
        scatters += np.einsum("gk,gp,kpij->kij", weights[places], of_pattern, part.covariances)
    return Hidden(values, scatters, ~np.isnan(x))


def learn(z, weights, prior, power, variance=None, hidden=None):
    """The power transform under which the data are the most probable, sorted as they are.

    Args:
        z: (N, D) data at zero mean and unit variance; NaN in gaps.
        weights: (N, K) how much each datum counts for each component.
        prior: `Prior` of components of data at zero mean and unit variance.
        power: (D,) to start from; that of a feature that never varies stays 1.
        variance: (N, D) of uncertain data, finite, or None.
        hidden: `Hidden` where there are gaps.

    Returns:
        `PowerTransform`, to zero mean and unit variance again.
    """
    from scipy.optimize import minimize

    counted, each = weights.any(axis=1), weights.sum(axis=1)
    if not counted.any():
        return PowerTransform.identity(z.shape[1])
    if hidden is not None:
        z, each = np.where(hidden.seen, z, 0.0), hidden.weigh(each)
    varies = np.ptp(z[counted], axis=0) > 1e-9
    found = minimize(
        lambda power: _loss(power, z, weights, prior, variance, hidden),
        power,
        jac=True,
        method="L-BFGS-B",
        bounds=[(LOWEST, HIGHEST) if free else (1.0, 1.0) for free in varies],
        options={"maxiter": 50},
    )
    return PowerTransform.standardizing(z, found.x, each)


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
        weights = responsibilities * weight[:, None]
        hidden = None
        if data.has_gaps:
            hidden = _hidden(maximize(run.prior, run.sums), current, weights)
        following = learn(z, weights, run.prior, transform.power, variance, hidden)
        next_data = _transformed(data, following)
        next_run = run_sweeps(next_data, responsibilities)
        next_bound = next_run.bound + _log_prior(following.power)
        next_bound += (weight @ np.nan_to_num(following.log_slope(z))).sum()
        gain = next_bound - bound
        if gain > 0.0:
            run, transform, current, bound = next_run, following, next_data, next_bound
        if gain < DIFFERENCE * data.total_weight:
            break
    return run, transform, bound


def _responsibilities(run, data):
    """(N, K) that a run arrives at."""
    state = maximize(run.prior, run.sums)
    return np.exp(log_responsibilities(state, *data.arrays)[0])


def _transformed(data, transform):
    """`Blocks` after a `PowerTransform`, their variance to first order."""
    variance = None if data.variance is None else transform.spread(data.x, data.variance)
    return Blocks(
        data.prior, transform.forward(data.x), variance, data.log_prior, data.sample_weight
    )


def _loss(power, z, weights, prior, variance=None, hidden=None):
    """Minus the log evidence of transformed data, sorted as they are, and its gradient (D,).

    The transform keeps features at zero mean and unit variance, so that the prior fits whatever
    the power; its slope by the power is that of the curve less its drift and growth.
    """
    counts, each = weights.sum(axis=0), weights.sum(axis=1)
    each = each if hidden is None else hidden.weigh(each)
    transform = PowerTransform.standardizing(z, power, each)
    log_slope = transform.log_slope(z)
    y = transform.forward(z)
    if hidden is None:
        values, scatters, total = [y] * len(counts), 0.0, weights.sum()
        sums = weights.T @ (y - prior.mean)

        def add(cells):
            return each @ cells

    else:
        values, scatters = np.where(hidden.seen, y, hidden.values), hidden.scatters
        total = each.sum(axis=0)
        sums = np.einsum("nk,knd->kd", weights, values - prior.mean)

        def add(cells):
            return (each * cells).sum(axis=0)

    pairs = list(zip(weights.T, values, strict=True))
    scatters = scatters + np.stack(
        [((own - prior.mean) * column[:, None]).T @ (own - prior.mean) for column, own in pairs]
    )
    if variance is not None:
        spread, diagonal = variance * np.exp(2.0 * log_slope), np.arange(len(power))
        spread = spread if hidden is None else spread * hidden.seen
        scatters[:, diagonal, diagonal] += weights.T @ spread
    belief = nw.update(prior.normal_wishart, counts, sums, scatters)
    factors = nw.cholesky(belief.scatter)
    value = nw.log_normalizer(belief, nw.log_det(factors)).sum() + _log_prior(power)
    value += add(log_slope).sum()

    precisions = belief.degrees_of_freedom[:, None, None] * nw.invert(factors)
    pull = np.zeros_like(y)  # the derivative of the log evidence by y
    for (column, own), mean, precision in zip(pairs, belief.mean, precisions, strict=True):
        pull -= column[:, None] * ((own - mean) @ precision)
    if hidden is not None:
        pull *= hidden.seen
    slope = power_slope(z, power) / transform.deviation
    slope -= add(slope) / total
    growth = add(y * slope) / total  # of the log deviation
    gradient = (pull * (slope - y * growth)).sum(axis=0) - total * growth
    gradient += add(signed_log(z)) - (power - 1.0) / DEVIATION**2
    if variance is not None:
        by_log_slope = weights @ np.diagonal(precisions, axis1=1, axis2=2) * spread
        gradient -= (by_log_slope * (signed_log(z) - growth)).sum(axis=0)
    return -value, -gradient


def _log_prior(power):
    """log p(power) of all features, up to a constant."""
    return -0.5 * float(np.square((power - 1.0) / DEVIATION).sum())
