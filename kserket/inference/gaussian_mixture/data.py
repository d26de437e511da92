"""What a mixture learns from, and what it has found."""

from typing import NamedTuple

import numpy as np

from kserket import hosts, storage
from kserket.hosts import any_host
from kserket.inference.gaussian_mixture.parameters import Prior, State, covariances
from kserket.inference.power_transform import PowerTransform


class Data(NamedTuple):
    """N samples, checked.

    Attributes:
        x: (N, D), or the means of Gaussian data; 0 in rows that are missing.
        variance: (N, D), finite, or None where the data are exact, but for their resolution.
        log_prior: (N, K) log class probabilities used instead of the mixing weights, or
            None. Minus infinity rules a class out.
        weight: (N,) how often each sample counts, or None.
        missing: Boolean (N,), of samples that say nothing, or None.
    """

    x: np.ndarray
    variance: np.ndarray | None = None
    log_prior: np.ndarray | None = None
    weight: np.ndarray | None = None
    missing: np.ndarray | None = None

    def seen(self):
        """The data without missing rows, and where those that stay stood; None where all did."""
        if self.missing is None:
            return self, None
        rows = np.flatnonzero(~self.missing)
        parts = (storage.take(part, rows) for part in self[:-1])
        return Data(*parts), rows

    def sample_of_hosts(self, most, rng):
        """At most so many of the rows of all hosts, and what of them this host has.

        Args:
            most: How many rows to choose.
            rng: `numpy.random.Generator` in the same state on all hosts.

        Returns:
            `Data`, the same on all hosts; which rows of this host are in them, and where there.
        """
        rows, place = hosts.choose_rows(len(self.x), most, rng)
        parts = (storage.take(part, rows) for part in self)
        return Data(*map(hosts.gather_rows, parts)), rows, place


class Found(NamedTuple):
    """What learning has found.

    Attributes:
        prior: `Prior`.
        state: `State`; None before the first sweep of the sampler.
        transform: `PowerTransform` that data pass through before the mixture, or None.
        resolution: (D,) gaps between the values of each feature, 0 where there are none.
        groups: (N,) the group that each sample is in, -1 where it is in none, or None.
        classes: (N,) the class of each sample at the end, -1 where it is not known, or None.
        figure: The bound of the last sweep, or the sampler's log joint density, in nats.
    """

    prior: Prior
    state: State | None
    transform: PowerTransform | None
    resolution: np.ndarray
    groups: np.ndarray | None = None
    classes: np.ndarray | None = None
    figure: float | None = None

    def means(self):
        """Component means (K, D) of the data; medians under a power transform."""
        mean = self.state.mean
        return mean if self.transform is None else self.transform.inverse(mean)

    def covariances(self):
        """Component covariances (K, D, D); under a power transform to first order at `means`."""
        expected = covariances(self.state)
        if self.transform is None:
            return expected
        slopes = np.exp(-self.transform.log_slope(self.means()))
        return expected * slopes[:, :, None] * slopes[:, None, :]


def check_counts(data):
    """Checks that there is something to learn from.

    Args:
        data: `Data`.

    Raises:
        ValueError: If no sample counts.
    """
    weight = 1.0 if data.weight is None else data.weight
    seen = np.ones(len(data.x)) if data.missing is None else ~data.missing
    if not any_host((weight * seen).sum() > 0):
        raise ValueError("No datum counts: `sample_weight` is zero or `variance` infinite.")


def check_num_components(num_components, state, log_prior):
    """K, from whichever tells it."""
    told = {}
    if num_components is not None:
        told["num_components"] = num_components
    if state is not None:
        told["state"] = len(state.mean)
    if log_prior is not None:
        told["log_prior"] = log_prior.shape[-1]
    if len(set(told.values())) != 1:
        raise ValueError(
            "fit() needs one number of components: from `num_components`, or from the `state` or "
            f"the `log_prior` given. Received: {told}"
        )
    return next(iter(told.values()))


def resolved(data, gaps):
    """Data of which the variance is that of their resolution, gaps (D,), unless they have one."""
    if data.variance is not None or not np.any(gaps):
        return data
    return data._replace(variance=np.broadcast_to(np.square(gaps) / 12.0, data.x.shape))


def transformed(data, transform):
    """Data after a `PowerTransform`, their variance to first order; unchanged after None."""
    if transform is None:
        return data
    variance = data.variance
    if variance is not None:
        variance = storage.apply(transform.spread, data.x, variance)
    return data._replace(x=storage.apply(transform.forward, data.x), variance=variance)


def prepared(data, found):
    """Data as the sweeps of what was `Found` take them: with their resolution, transformed."""
    return transformed(resolved(data, found.resolution), found.transform)


def arguments(data):
    """Data by the names of the arguments of `start` and `fit`."""
    return {
        "x": data.x,
        "variance": data.variance,
        "log_prior": data.log_prior,
        "sample_weight": data.weight,
    }
