"""The prior learned from the data, by the bound, while sweeps go on."""

import numpy as np

from kserket.inference import normal_wishart as nw
from kserket.inference.gaussian_mixture.parameters import Prior, expected_log_weights


class Learner:
    """Improves a prior after each sweep.

    Args:
        prior: `Prior` to start from.
        form: The quadratic form of the data.
        learn_weights: Whether `weight_concentration` is learned, too.
    """

    def __init__(self, prior, form, learn_weights):
        self.given, self.form, self.learn_weights = prior, form, learn_weights

    def before_sweeps(self, sums):
        """The prior to begin with: covariances like that of all data, from the first sums."""
        return self.given._replace(scatter=_share_of_all(self.given, sums))

    def after_sweep(self, state, terms, sums):
        """The prior under which the bound of this state is highest, within limits.

        There the derivatives of sum_k E[log p(mu_k, Lambda_k)] and E[log p(pi)] vanish. The
        covariance that it expects, scatter / degrees of freedom, is the harmonic mean of the
        components'. A hundredth of their share of the data's covariance is added to the scatter and
        keeps it from vanishing. The mean is worth between a hundredth of what the given prior says
        and all of it; weights are expected to be as even as by the given prior, or more.
        """
        given = self.given
        num_components, num_features = state.mean.shape
        factor = nw.cholesky(self.form.total_precision(terms)[None] / num_components)
        spread = nw.log_det(factor)[0] - nw.expected_log_det(state.normal_wishart).mean()
        freedom = _degrees_of_freedom(spread, num_features, sums.weight)
        energy = num_components * num_features
        precision = energy / (num_features / state.mean_precision + terms.mean_distance).sum()
        concentration = given.weight_concentration
        if self.learn_weights:
            concentration = _weight_concentration(given, state, sums.weight)
        return Prior(
            weight_concentration=concentration,
            mean=given.mean,
            mean_precision=given.mean_precision
            * np.clip(precision / given.mean_precision, 0.01, 1.0),
            degrees_of_freedom=freedom,
            scatter=freedom * nw.invert(factor)[0] + 0.01 * _share_of_all(given, sums),
        )


def _share_of_all(prior, sums):
    """The covariance (D, D) of all data as one component, shrunk by as much as components share."""
    num_components, num_features = sums.sums.shape
    weight = sums.counts.sum() + prior.degrees_of_freedom
    whole = (sums.scatters.sum(axis=0) + prior.scatter) / weight
    return whole / num_components ** (2.0 / num_features)


def _weight_concentration(prior, state, weight):
    """The best Dirichlet parameter, from the given prior's to the number of data."""
    from scipy.special import digamma

    num_components = len(state.mean)
    unevenness = -expected_log_weights(state).mean()

    def slope(concentration):
        return digamma(num_components * concentration) - digamma(concentration) - unevenness

    lowest = float(prior.weight_concentration)
    return _root_between(slope, lowest, max(float(weight), lowest))


def _degrees_of_freedom(spread, num_features, weight):
    """The best degrees of freedom, from D to the number of data.

    Args:
        spread: How much components differ: log |mean_k E[Lambda_k]| - mean_k E[log |Lambda_k|].
        num_features: D.
        weight: How many data there are.
    """
    from scipy.special import digamma

    def slope(freedom):
        halves = 0.5 * (freedom - np.arange(num_features))
        return num_features * np.log(0.5 * freedom) - digamma(halves).sum() - spread

    return _root_between(slope, float(num_features), max(float(weight), num_features + 2.0))


def _root_between(slope, lowest, highest):
    """Where a falling slope vanishes, or the limit next to that."""
    from scipy.optimize import brentq

    if slope(lowest) <= 0.0:
        return lowest
    if slope(highest) >= 0.0:
        return highest
    return brentq(slope, lowest, highest)
