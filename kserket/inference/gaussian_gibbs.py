"""Collapsed Gibbs sampling for mixtures of Gaussians with Normal-Wishart and Dirichlet priors.

The model of `gaussian_mixture` with weights, means and precisions integrated out, as in Serket:
the class of each datum is drawn from

    p(z_n = k | others) ~ (N_k + weight_concentration) StudentT(x_n | data of class k but x_n)

with N_k the others' count, or the datum's class prior instead of the weights. numba compiles the
scan over data where it is installed; without it NumPy walks the same chain, more slowly.

Reference:
    R. M. Neal, Markov chain sampling methods for Dirichlet process mixture models, Journal of
    Computational and Graphical Statistics 9 (2000), algorithm 3, for a finite mixture.
"""

from typing import NamedTuple

import numpy as np

from kserket import storage
from kserket.inference import gaussian_gibbs_scan as scan
from kserket.inference import gaussian_mixture
from kserket.inference import normal_wishart as nw
from kserket.inference.gaussian_mixture import gaps


class GibbsState(NamedTuple):
    """Where the chain stands: all that it needs to go on."""

    assignments: np.ndarray  # (N,) int64, the class of each datum
    counts: np.ndarray  # (K,) int64, how many data each class holds
    log_joint: float  # log p(x, z), parameters integrated out


def sample(
    x,
    prior,
    num_sweeps=100,
    rng=None,
    assignments=None,
    log_prior=None,
    callback=None,
    num_components=None,
):
    """Draws every datum's class in turn, `num_sweeps` times over.

    Args:
        x: (N, D) data.
        prior: `gaussian_mixture.Prior`.
        num_sweeps: How often each class is drawn.
        rng: `numpy.random.Generator`, or a seed.
        assignments: (N,) classes to go on from, or None for a start by
            `gaussian_mixture.initialize` (k-means, or a draw from the class prior).
        log_prior: (N, K) log class probabilities used instead of the weights, or None.
        callback: Called after each sweep as `callback(sweep, num_sweeps, log_joint, state)`, sweeps
            counted from 1. `StopIteration` ends the run with what is reached; other exceptions
            pass.
        num_components: K, needed where no class prior tells it.

    Returns:
        `GibbsState`; (sweeps,) log joint densities log p(x, z) after each.

    Raises:
        ValueError: If shapes do not agree, or K is not known.
    """
    rng = np.random.default_rng(rng)
    x = np.asarray(x, np.float64)
    if num_components is None and log_prior is not None:
        num_components = np.shape(log_prior)[-1]
    _check(x, prior, assignments, log_prior, num_components)
    if assignments is None:
        responsibilities = gaussian_mixture.initialize(x, None, num_components, rng, log_prior)
        cumulative = np.cumsum(responsibilities, axis=1)
        below = cumulative < rng.random((len(x), 1)) * cumulative[:, -1:]
        assignments = below.sum(axis=1)
    if log_prior is not None:
        log_prior = np.array(log_prior, np.float64)
    chain = scan.start(x - prior.mean, prior, assignments, log_prior, num_components)
    run = scan.scanner()
    log_joints = []
    for sweep in range(1, num_sweeps + 1):
        run(chain, rng.random(len(x)))
        log_joints.append(_log_joint(prior, chain))
        try:
            if callback is not None:
                reached = GibbsState(chain.assignments, chain.counts, log_joints[-1])
                callback(sweep, num_sweeps, log_joints[-1], reached)
        except StopIteration:
            break
    if log_joints:
        reached = log_joints[-1]
    else:
        reached = log_joint(prior, x, chain.assignments, num_components, log_prior)
    return GibbsState(chain.assignments, chain.counts, reached), np.array(log_joints)


def posterior_state(prior, x, assignments, num_components):
    """What is believed about components and weights given every datum's class: exact conjugacy.

    Args:
        prior: `gaussian_mixture.Prior`.
        x: (N, D) data.
        assignments: (N,) classes below K.
        num_components: K.

    Returns:
        `gaussian_mixture.State`.
    """
    responsibilities = np.zeros((len(x), num_components))
    responsibilities[np.arange(len(x)), assignments] = 1.0
    statistics = gaussian_mixture.statistics_from_responsibilities(prior, responsibilities, x)
    return gaussian_mixture.maximize(prior, statistics)


def log_predictive(state, x):
    """log p(x_n | class k, data learned from), (N, K): the evidence about each datum's class.

    Args:
        state: `gaussian_mixture.State`, such as `posterior_state` gives.
        x: (N, D) data; NaN in cells that were not observed.
    """
    return gaps.over_patterns(state, x, expected_log_predictive)


def expected_log_predictive(state, x, variance=None):
    """A lower bound of what `log_predictive` is on average under N(x_n, diag(variance_n)).

    Args:
        state: As in `log_predictive`.
        x: (N, D), without gaps.
        variance: (N, D), or None for 0: then it is no bound, but the density itself.

    Returns:
        (N, K).
    """
    components = state.normal_wishart
    factors = nw.cholesky(components.scatter)

    def densities(x, variance):
        return nw.log_predictive(components, np.asarray(x, np.float64), factors, variance)

    return storage.apply(densities, x, variance)


def log_joint(prior, x, assignments, num_components, log_prior=None):
    """log p(x, z) with weights, means and precisions integrated out, computed from scratch.

    Args:
        prior: `gaussian_mixture.Prior`.
        x: (N, D) data.
        assignments: (N,) classes below K.
        num_components: K.
        log_prior: (N, K) log class probabilities used instead of the weights, or None.
    """
    belief = posterior_state(prior, x, assignments, num_components).normal_wishart
    counts = np.bincount(assignments, minlength=num_components)
    data = nw.log_marginal_likelihood(prior.normal_wishart, belief, counts).sum()
    if log_prior is None:
        return float(data + _log_partition(prior, counts))
    return float(data + np.asarray(log_prior)[np.arange(len(x)), assignments].sum())


def _log_joint(prior, chain):
    """`log_joint` of where the chain stands, from what it holds already."""
    before = prior.normal_wishart
    belief = nw.NormalWishart(
        np.empty((len(chain.counts), len(prior.mean))),
        before.mean_precision + chain.counts,
        before.degrees_of_freedom + chain.counts,
        None,
    )
    normalizers = nw.log_normalizer(belief, 2.0 * chain.half_log_dets[: len(chain.counts)])
    data = normalizers.sum() - len(chain.counts) * nw.log_normalizer(before)[0]
    data -= 0.5 * chain.deviations.size * nw.LOG_2PI
    if chain.log_prior is None:
        return float(data + _log_partition(prior, chain.counts))
    return float(data + chain.log_prior[np.arange(len(chain.assignments)), chain.assignments].sum())


def _log_partition(prior, counts):
    """log p(z): the Dirichlet-multinomial probability of the classes of all data."""
    from scipy.special import gammaln

    concentration = float(prior.weight_concentration)
    total = concentration * len(counts)
    return (
        gammaln(total)
        - gammaln(total + counts.sum())
        + (gammaln(counts + concentration) - gammaln(concentration)).sum()
    )


def _check(x, prior, assignments, log_prior, num_components):
    """Raises where the arguments of `sample` do not agree."""
    if num_components is None:
        raise ValueError(
            "sample() needs to know the number of components. Pass `num_components`, or a "
            "`log_prior` of shape (N, K)."
        )
    num_samples, num_features = len(x), len(prior.mean)
    if x.shape != (num_samples, num_features):
        raise ValueError(
            f"`x` must have the shape (N, {num_features}), as the prior's mean has {num_features} "
            f"features. Received: x of shape {x.shape}"
        )
    if log_prior is not None and np.shape(log_prior) != (num_samples, num_components):
        raise ValueError(
            f"`log_prior` must have the shape {(num_samples, num_components)}. "
            f"Received: log_prior of shape {np.shape(log_prior)}"
        )
    if assignments is not None:
        assignments = np.asarray(assignments)
        if assignments.shape != (num_samples,):
            raise ValueError(
                f"`assignments` must hold one class for each of the {num_samples} data. "
                f"Received: assignments of shape {assignments.shape}"
            )
        if len(assignments) and not 0 <= assignments.min() <= assignments.max() < num_components:
            raise ValueError(
                f"`assignments` must be classes from 0 to {num_components - 1}. "
                f"Received: {assignments.min()} to {assignments.max()}"
            )
