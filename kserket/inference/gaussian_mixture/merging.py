"""How many components there are: many small groups, merged while the evidence grows.

A partition of the data into classes z, each with a Gaussian of its own, has the evidence

    log p(X, z) = sum_k (log concentration + log Gamma(n_k) + log p(X_k)) + constant,

where log p(X_k) is the marginal likelihood under a Normal-Wishart prior, and the rest the
probability of the partition by the Chinese restaurant process. Both follow from sums over the
members of each class. Data known up to a variance enter by their expected second moments.

Reference:
    M. Bertoletti, N. Friel and R. Rastelli, Choosing the number of clusters in a finite mixture
    model using an exact integrated completed likelihood criterion, Metron 73 (2015). K. A. Heller
    and Z. Ghahramani, Bayesian hierarchical clustering, ICML 2005.
"""

from typing import NamedTuple

import numpy as np

from kserket import storage
from kserket.inference import normal_wishart as nw
from kserket.inference.agglomeration import agglomerate
from kserket.inference.gaussian_mixture.blocks import Blocks
from kserket.inference.gaussian_mixture.parameters import (
    Prior,
    Statistics,
    default_prior,
    maximize,
)
from kserket.inference.gaussian_mixture.starts import (
    MIN_STARTS,
    filled,
    initialize,
    max_start_samples,
    num_starts,
)
from kserket.inference.gaussian_mixture.sweep import (
    log_responsibilities,
    statistics_from_responsibilities,
)

MAX_COMPONENTS = 50
CONCENTRATION = 1.0 / MAX_COMPONENTS  # of the Chinese restaurant process
MEAN_PRECISION = 1e-3  # class means lie some thirty standard deviations apart, or less
EXTRA_DEGREES_OF_FREEDOM = 2.0, 5.0, 20.0, 80.0, 320.0  # above D, those that are tried
MIN_GROUPS = 10
NOISE = 1e-6  # share of their variance that data are uncertain by: nothing is constant
ROUNDS, REASSIGNMENTS = 4, 10


class Partition(NamedTuple):
    """Classes found in data."""

    classes: np.ndarray  # (N,)
    prior: Prior
    sums: Statistics  # of each class
    evidence: float  # log p(X, z), up to a constant of the data

    @property
    def state(self):
        """The `State` of the classes' components."""
        return maximize(self.prior, self.sums)


def search(
    x, variance=None, sample_weight=None, max_components=MAX_COMPONENTS, n_init=None, rng=None
):
    """The partition of highest evidence among those that several starts lead to.

    Each start is by k-means, all features at unit variance, on at most as many rows as a fit starts
    from, in as many groups as there may be components, fewer where groups would be too small to
    tell of their covariance.

    Args:
        x: (N, D) data, or the means of Gaussian data; anything with a length and slices.
        variance: (N, D) or None. Rows that hold an infinite variance say nothing.
        sample_weight: (N,) or None: how often each datum counts.
        max_components: How many there are at most.
        n_init: How many starts to compare; None as many as `starts.start` makes, or a third of that
            where these are many.
        rng: `numpy.random.Generator`, or a seed.

    Returns:
        `Partition` of the rows that were looked at.
    """
    rng = np.random.default_rng(rng)
    mean, spread = storage.moments(x, sample_weight)
    if variance is not None:
        spread = spread + storage.moments(variance, sample_weight)[0]
    data = Blocks(default_prior(mean, spread, 1), x, variance, None, sample_weight)
    data = data.sample(max_start_samples(len(mean)), rng)
    wanted = max(MIN_GROUPS, len(data.x) // (2 * len(mean)))
    groups = max(1, min(max_components, wanted, len(data.x) // 3))
    if n_init is None:
        n_init = max(MIN_STARTS, num_starts(len(mean)) // 3)
    best = None
    for _ in range(n_init):
        rows = initialize(
            filled(data), data.variance, groups, rng, None, data.sample_weight, standardize=True
        )
        partition = find_partition(data, rows)
        if best is None or partition.evidence > best.evidence:
            best = partition
    return best


def find_partition(data, groups):
    """Merges groups, gives data to the most probable class, and merges again what that allows.

    Args:
        data: `Blocks`.
        groups: (N, G) rows that say which group each datum begins in.

    Returns:
        `Partition`.
    """
    partition = _partition(data, groups)
    for _ in range(ROUNDS):
        numbers = _merged(partition)
        if len(partition.sums.counts) == numbers.max() + 1:
            break
        partition = _partition(data, numbers[partition.classes])
        for _ in range(REASSIGNMENTS):
            before, classes = partition, _most_probable(data, partition)
            if np.array_equal(classes, before.classes):
                break
            partition = _partition(data, classes, before.prior)
        partition = _partition(data, partition.classes)
    return partition


def log_evidence(prior, sums):
    """What each class adds to log p(X, z), up to a constant of the data.

    Args:
        prior: `Prior`; `weight_concentration` is that of the Chinese restaurant process.
        sums: Counts (K,), sums (K, D) and scatters (K, D, D) about the prior's mean.

    Returns:
        (K,).
    """
    from scipy.special import gammaln

    counts = sums[0]
    before = prior.normal_wishart
    marginal = nw.log_marginal_likelihood(before, nw.update(before, *sums), counts)
    return np.log(prior.weight_concentration) + gammaln(counts) + marginal


def fitted_prior(sums, mean):
    """The prior under which these classes are most probable: empirical Bayes.

    Classes are expected to have the covariance that they have on average, shrunk toward its
    diagonal where data are too few for it; how much they may differ from it is tried.

    Args:
        sums: `Statistics` about `mean` of K classes.
        mean: (D,) of the data.

    Returns:
        `Prior`, and the evidence.
    """
    num_features, weight = len(mean), sums.counts.sum()
    between = np.einsum("ki,kj->ij", sums.sums / sums.counts[:, None], sums.sums)
    within = (sums.scatters.sum(axis=0) - between) / weight
    share = max(0.0, 1.0 - (weight - len(sums.counts)) / (2.0 * num_features))
    within = (1.0 - share) * within + share * np.diag(np.diagonal(within))
    best, evidence = None, -np.inf
    for extra in EXTRA_DEGREES_OF_FREEDOM:
        scatter = (extra - 1.0) * within
        prior = Prior(CONCENTRATION, mean, MEAN_PRECISION, num_features + extra, scatter)
        value = log_evidence(prior, sums[:3]).sum()
        if best is None or value > evidence:
            best, evidence = prior, value
    return best, float(evidence)


def _partition(data, classes, prior=None):
    """The `Partition` into classes (N,) or groups (N, G), under its own prior or a given one."""
    rows = classes if classes.ndim == 2 else np.eye(classes.max() + 1)[classes]
    sums = statistics_from_responsibilities(
        data.prior, rows, data.x, data.variance, data.sample_weight
    )
    live = sums.counts > 0.0
    classes = np.maximum(np.cumsum(live) - 1, 0)[rows.argmax(axis=1)]
    counts, firsts, scatters = (part[live] for part in sums[:3])
    noise = NOISE * np.diag(np.diagonal(data.prior.scatter))
    sums = Statistics(counts, firsts, scatters + counts[:, None, None] * noise, *sums[3:])
    if prior is None:
        prior, evidence = fitted_prior(sums, data.prior.mean)
    else:
        evidence = float(log_evidence(prior, sums[:3]).sum())
    return Partition(classes, prior, sums, evidence)


def _merged(partition):
    """The number (K,) that each class gets when classes merge."""
    prior = partition.prior
    return agglomerate(partition.sums[:3], lambda sums: log_evidence(prior, sums))


def _most_probable(data, partition):
    """The class (N,) that each datum belongs to most probably."""
    state = partition.state
    joint = log_responsibilities(state, data.x, data.variance)[0]
    return storage.apply(lambda part: part.argmax(axis=1), joint)
