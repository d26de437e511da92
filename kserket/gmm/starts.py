"""Where a mixture's sweeps begin: its hyper-parameters, and a state from k-means or from groups."""

from typing import NamedTuple

import numpy as np

from kserket import storage
from kserket.inference import gaussian_mixture
from kserket.inference.power_transform import PowerTransform
from kserket.inference.umap_clusters import group_probabilities, umap_clusters


class Start(NamedTuple):
    """Where sweeps begin.

    Attributes:
        prior: Hyper-parameters, `inference.gaussian_mixture.Prior`.
        state: `inference.gaussian_mixture.State`; None where sweeps need none.
        groups: Group of each sample, (N,), -1 where it is in none; None without groups.
        power_transform: `inference.power_transform.PowerTransform` that the data of the state have
            passed through; None where they have not.
    """

    prior: gaussian_mixture.Prior
    state: gaussian_mixture.State | None
    groups: np.ndarray | None
    power_transform: PowerTransform | None


def start(data, num_components, rng, *, init, n_init, hyper_parameters, needs_state, learn_powers):
    """A start for these data.

    Args:
        data: Dict of x, variance, class_prior and sample_weight, as `inputs.check` returns it.
        num_components: K.
        rng: `numpy.random.Generator`.
        init: "kmeans" or "umap"; a class prior that tells classes decides in place of either.
        n_init: Number of starts by k-means, or None for what suits the number of features.
        hyper_parameters: Dict; those that are None are learned or suit the data.
        needs_state: Whether a start by k-means is wanted, too; else only groups give a state.
        learn_powers: Whether the features get powers.

    Returns:
        A `Start`.

    Raises:
        ImportError: If UMAP is asked for and not installed.
        ValueError: If no datum counts, or there are too few degrees of freedom.
    """
    groups = None
    if init == "umap" and not tells_classes(data):
        groups = umap_clusters(data["x"], num_components, rng, weight_of(data) > 0)
        data = {**data, "class_prior": group_probabilities(groups, num_components)}
    transform = None
    if learn_powers:
        transform = _standardising(data)
        data = transformed(data, transform)
    given = {name: value for name, value in hyper_parameters.items() if value is not None}
    prior, state = _default_prior(data, num_components, given), None
    learns_prior = given.keys() <= {"weight_concentration"}
    if learns_prior or needs_state:
        found = gaussian_mixture.start(
            prior=prior,
            num_components=num_components,
            n_init=n_init,
            rng=rng,
            learn_prior=learns_prior,
            learn_weights=not given,
            learn_powers=learn_powers,
            **data,
        )
        state, prior = found.state, found.prior
        if learn_powers:
            place = {"location": transform.location, "scale": transform.scale}
            transform = found.power_transform._replace(**place)
    if groups is not None:
        if learn_powers:
            data = transformed(data, found.power_transform)
        state = gaussian_mixture.start(prior=prior, learn_prior=False, **data).state
    elif not needs_state:
        state = None
    return Start(prior, state, groups, transform)


def transformed(data, transform):
    """The data after a `PowerTransform`, their variance to first order; as they are after None."""
    if transform is None:
        return data
    x, variance = data["x"], data["variance"]
    if variance is not None:
        variance = storage.apply(transform.spread, x, variance)
    return {**data, "x": storage.apply(transform.forward, x), "variance": variance}


def tells_classes(data):
    """Whether a class prior says of some datum which class it is in."""
    prior = data["class_prior"]
    return prior is not None and gaussian_mixture.says_something(prior)


def weight_of(data):
    """How much each datum counts, (N,): nothing where its variance is infinite.

    Args:
        data: Dict of x, variance, class_prior and sample_weight, as `inputs.check` returns it.

    Raises:
        ValueError: If no datum counts.
    """
    weight = any_weight_of(data)
    if not weight.sum() > 0:
        raise ValueError("No datum counts: `sample_weight` is zero or `variance` infinite.")
    return weight


def any_weight_of(data):
    """`weight_of` of data of which none need count."""
    weight, variance = data["sample_weight"], data["variance"]
    weight = np.ones(len(data["x"])) if weight is None else np.asarray(weight, "float64")
    if variance is not None:
        weight = weight * storage.apply(lambda part: np.isfinite(part).all(axis=1), variance)
    return weight


def _default_prior(data, num_components, given):
    """The user's hyper-parameters, a dict, and defaults that suit the data for the rest."""
    weight = weight_of(data)
    mean, variance = storage.moments(data["x"], weight)
    if data["variance"] is not None:
        variance = variance + storage.total(_finite_sum, data["variance"], weight) / weight.sum()
    if not given.get("degrees_of_freedom", len(mean)) > len(mean) - 1:
        raise ValueError(
            f"`degrees_of_freedom` must be above D - 1 = {len(mean) - 1}. "
            f"Received: {given['degrees_of_freedom']}"
        )
    return gaussian_mixture.default_prior(mean, variance, num_components)._replace(**given)


def _standardising(data):
    """The `PowerTransform` that takes each feature to zero mean and unit variance."""
    mean, variance = storage.moments(data["x"], weight_of(data))
    varies = variance > (8.0 * np.finfo(float).eps * mean) ** 2
    scale = np.sqrt(np.where(varies, variance, 1.0))
    return PowerTransform.identity(len(mean))._replace(location=mean, scale=scale)


def _finite_sum(variance, weight):
    """Weighted sum (D,) of the rows (n, D) of variances that are finite."""
    return weight @ np.where(np.isfinite(variance), variance, 0.0)
