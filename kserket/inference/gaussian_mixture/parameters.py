"""Priors, beliefs and sums over data of a mixture of Gaussians, and what follows from them."""

from typing import NamedTuple

import numpy as np

from kserket.inference import normal_wishart as nw


class Prior(NamedTuple):
    """What is believed about every component before data."""

    weight_concentration: float  # Dirichlet parameter of each component
    mean: np.ndarray  # (D,), also the origin of all statistics
    mean_precision: float  # how many data the mean is worth
    degrees_of_freedom: float  # above D - 1
    scatter: np.ndarray  # (D, D), inverse scale matrix of the Wishart

    @property
    def normal_wishart(self):
        """The components' part, as a `NormalWishart` stack of one."""
        return nw.NormalWishart(
            self.mean[None],
            np.array([float(self.mean_precision)]),
            np.array([float(self.degrees_of_freedom)]),
            self.scatter[None],
        )


class State(NamedTuple):
    """What is believed about K components after data."""

    weight_concentration: np.ndarray  # (K,)
    mean: np.ndarray  # (K, D)
    mean_precision: np.ndarray  # (K,)
    degrees_of_freedom: np.ndarray  # (K,)
    scatter: np.ndarray  # (K, D, D)

    @property
    def normal_wishart(self):
        """The components' part, as a `NormalWishart` stack of K."""
        return nw.NormalWishart(*self[1:])


class Statistics(NamedTuple):
    """Sums over data, about the prior's mean: all that a sweep needs to know of them."""

    counts: np.ndarray  # (K,), sum_n w_n r_nk
    sums: np.ndarray  # (K, D), sum_n w_n r_nk (x_n - origin)
    scatters: np.ndarray  # (K, D, D), sum_n w_n r_nk E[(x_n - origin)(x_n - origin)']
    log_evidence: float  # sum_n w_n log sum_k exp E[log p(x_n, z_n = k)]; nan where not known
    weight: float  # sum_n w_n of the data that say something


def default_prior(mean, variance, num_components):
    """A weak prior that scales with the data, so that results do not depend on their units.

    Components are expected to share out the data's volume: each covariance is about
    diag(variance) / num_components^(2 / D). Features that never vary, but for the rounding of their
    mean, take the largest variance.

    Args:
        mean: (D,) of the data.
        variance: (D,) of the data, their own uncertainty included.
        num_components: K.

    Returns:
        `Prior`.
    """
    mean = np.array(mean, np.float64)
    variance = np.array(variance, np.float64)
    num_features = len(mean)
    varies = varying(mean, variance)
    variance[~varies] = variance[varies].max(initial=0.0) or 1.0
    return Prior(
        weight_concentration=1.0,
        mean=mean,
        mean_precision=1.0,
        degrees_of_freedom=num_features + 2.0,
        scatter=np.diag(variance / num_components ** (2.0 / num_features)),
    )


def varying(mean, variance):
    """Which features vary, boolean (D,): by more than the rounding of their own mean.

    Args:
        mean: (D,) of the data.
        variance: (D,) of the data.
    """
    return variance > (8.0 * np.finfo(float).eps * mean) ** 2


def no_statistics(num_components, num_features):
    """The `Statistics` of no data: what sums start from."""
    return Statistics(
        np.zeros(num_components),
        np.zeros((num_components, num_features)),
        np.zeros((num_components, num_features, num_features)),
        0.0,
        0.0,
    )


def merge(*statistics):
    """The `Statistics` of all data together, from those of parts of them under the same state."""
    return Statistics(*(sum(parts[1:], start=parts[0]) for parts in zip(*statistics, strict=True)))


def maximize(prior, statistics):
    """M step: the `State` that maximizes the bound, given the statistics (Bishop 10.58-10.63)."""
    components = nw.update(
        prior.normal_wishart, statistics.counts, statistics.sums, statistics.scatters
    )
    return State(prior.weight_concentration + statistics.counts, *components)


def statistics_of(prior, state):
    """The `Statistics` that `maximize` made this `State` of, but for their log evidence (nan)."""
    counts = state.weight_concentration - prior.weight_concentration
    shift = state.mean - prior.mean
    sums = state.mean_precision[:, None] * shift
    scatters = state.scatter - prior.scatter + sums[:, :, None] * shift[:, None, :]
    return Statistics(counts, sums, scatters, np.nan, float(counts.sum()))


def padded(prior, state, num_components):
    """A `State` of K components, of which those beyond the given ones are empty.

    Args:
        prior: `Prior`, which is all that is believed of empty components.
        state: `State` of K components or fewer.
        num_components: K.

    Returns:
        `State`.
    """
    empty = no_statistics(num_components - len(state.mean), state.mean.shape[1])
    parts = zip(state, maximize(prior, empty), strict=True)
    return State(*(np.concatenate(part) for part in parts))


def expected_log_weights(state):
    """E[log pi_k], (K,) (Bishop 10.66)."""
    from scipy.special import digamma

    concentration = state.weight_concentration
    return digamma(concentration) - digamma(concentration.sum())


def mean_weights(state):
    """E[pi_k], (K,)."""
    return state.weight_concentration / state.weight_concentration.sum()


def covariances(state):
    """Estimates (K, D, D) of the components' covariances: the inverse of E[Lambda_k]."""
    return state.scatter / state.degrees_of_freedom[:, None, None]


def lower_bound(prior, state, statistics, uses_class_prior=False):
    """The variational bound on log p(data), with the best responsibilities under `state`.

    Args:
        prior: `Prior`.
        state: `State`.
        statistics: `Statistics` of all data computed under this state.
        uses_class_prior: Whether a class prior replaced the mixing weights; these are no
            part of the model then.

    Returns:
        The bound; sweeps with the same data and prior never lower it.
    """
    divergence = nw.kl_divergence(state.normal_wishart, prior.normal_wishart).sum()
    if not uses_class_prior:
        divergence += weight_divergence(prior, state, expected_log_weights(state))
    return float(statistics.log_evidence - divergence)


def weight_divergence(prior, state, log_weights):
    """KL of the Dirichlet over mixing weights from its prior (Bishop 10.73, 10.76)."""
    from scipy.special import gammaln

    concentration, before = state.weight_concentration, float(prior.weight_concentration)
    num_components = len(concentration)
    return float(
        gammaln(concentration.sum())
        - gammaln(concentration).sum()
        - gammaln(num_components * before)
        + num_components * gammaln(before)
        + ((concentration - before) * log_weights).sum()
    )
