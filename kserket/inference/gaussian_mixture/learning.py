"""What a fit of a mixture does: start or go on, sweep, and keep the numbers of its components.

No model and no file: data and what was found before go in, what is found comes out.
"""

from typing import NamedTuple

import numpy as np

from kserket import storage
from kserket.inference import class_prior, gaussian_gibbs, resolution
from kserket.inference import normal_wishart as nw
from kserket.inference.gaussian_mixture.fitting import fit
from kserket.inference.gaussian_mixture.parameters import (
    Prior,
    State,
    default_prior,
    expected_log_weights,
    mean_weights,
    varying,
)
from kserket.inference.gaussian_mixture.starts import start
from kserket.inference.gaussian_mixture.sweep import log_likelihood
from kserket.inference.power_transform import PowerTransform
from kserket.inference.umap_clusters import group_probabilities, umap_clusters


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


class Options(NamedTuple):
    """How a mixture learns; `kserket.GaussianMixture` explains each of them."""

    num_components: int
    inference: str = "variational"
    init: str = "kmeans"
    n_init: int | None = None
    warm_start: bool = True
    keep_groups: bool = False
    learns_powers: bool = False
    resolution: object = None
    hyper_parameters: dict = {}
    tolerance: float | None = 1e-6


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


def check_counts(data):
    """Checks that there is something to learn from.

    Args:
        data: `Data`.

    Raises:
        ValueError: If no sample counts.
    """
    weight = 1.0 if data.weight is None else data.weight
    seen = np.ones(len(data.x)) if data.missing is None else ~data.missing
    if not (weight * seen).sum() > 0:
        raise ValueError("No datum counts: `sample_weight` is zero or `variance` infinite.")


def learn(data, options, found=None, rng=None, num_sweeps=100, callback=None):
    """Learns a mixture, from a start or from what was found before.

    Args:
        data: `Data`.
        options: `Options`.
        found: `Found` of an earlier call, or None. Its `groups` and `classes`, where not None, must
            be those of these samples.
        rng: `numpy.random.Generator`, or a seed.
        num_sweeps: How many sweeps to do at most.
        callback: Called after each sweep as `callback(sweep, num_sweeps, figure, reach)`, where
            `reach()` returns the `Found` of that sweep. `StopIteration` ends learning.

    Returns:
        `Found`.

    Raises:
        ImportError: If it starts by UMAP, which is not installed.
        ValueError: If no sample counts, or there are too few degrees of freedom.
    """
    rng = np.random.default_rng(rng)
    num_samples = len(data.x)
    check_counts(data)
    data, rows = data.seen()
    decides = _decides(data)
    before = None
    if found is not None:
        found = found._replace(groups=_take(found.groups, rows), classes=_take(found.classes, rows))
        if not options.warm_start:
            before = _last_classes(found, data, options)
    if found is None or not options.warm_start:
        found = begin(data, options, rng)
    if options.keep_groups and found.groups is not None:
        data = _with_groups(data, found.groups, options.num_components)
    if options.inference == "variational":
        found = _climb(data, options, found, num_sweeps, callback)
    else:
        found = _draw(data, options, found, rng, num_sweeps, callback)
    if not options.warm_start:
        found = found._replace(classes=_classes(found, data, options))
        if before is not None and not decides:
            found = _renumber(found, before)
    return found._replace(
        groups=_put(found.groups, rows, num_samples) if options.keep_groups else None,
        classes=_put(found.classes, rows, num_samples),
    )


def begin(data, options, rng):
    """Where sweeps begin: hyper-parameters, and a state from k-means, groups or a class prior.

    Args:
        data: `Data` without missing rows.
        options: `Options`.
        rng: `numpy.random.Generator`.

    Returns:
        `Found`.

    Raises:
        ImportError: If UMAP is asked for and not installed.
        ValueError: If there are too few degrees of freedom.
    """
    groups, transform = None, None
    counted = None if data.weight is None else data.weight > 0
    gaps = _resolution(data, options, counted)
    if options.init == "umap" and not _decides(data):
        groups = umap_clusters(data.x, options.num_components, rng, counted)
        data = data._replace(log_prior=np.log(group_probabilities(groups, options.num_components)))
    data = resolved(data, gaps)
    if options.learns_powers:
        transform = _standardizing(data)
        data = transformed(data, transform)
    given = {name: value for name, value in options.hyper_parameters.items() if value is not None}
    prior, state = _default_prior(data, options.num_components, given), None
    learns_prior = given.keys() <= {"weight_concentration"}
    needs_state = options.inference == "variational"
    if learns_prior or needs_state:
        best = start(
            prior=prior,
            num_components=options.num_components,
            n_init=options.n_init,
            rng=rng,
            learn_prior=learns_prior,
            learn_weights=not given,
            learn_powers=options.learns_powers,
            **_arguments(data),
        )
        state, prior = best.state, best.prior
        if options.learns_powers:
            place = {"location": transform.location, "scale": transform.scale}
            transform = best.power_transform._replace(**place)
    if groups is not None:
        if options.learns_powers:
            data = transformed(data, best.power_transform)
        state = start(prior=prior, learn_prior=False, **_arguments(data)).state
    elif not needs_state:
        state = None
    return Found(prior, state, transform, gaps, groups)


def resolved(data, gaps):
    """Data of which the variance is that of their resolution, gaps (D,), unless they have one."""
    variance = resolution.variance(gaps)
    if data.variance is not None or variance is None:
        return data
    return data._replace(variance=np.broadcast_to(variance, data.x.shape))


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


def log_slopes(data, transform):
    """What a power transform, or None, adds to the log density of all data."""
    if transform is None:
        return 0.0

    def weighted(x, weight):
        slopes = transform.log_slope(x).sum(axis=1)
        return slopes.sum() if weight is None else weight @ slopes

    return float(storage.total(weighted, data.x, data.weight))


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
    """Mean of log p(x), parameters integrated out, over the samples that are not missing.

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
    variance = None
    if inference == "variational":
        variance = prepared(data, found).variance
        factors = nw.cholesky(state.scatter)
        precisions = np.diagonal(nw.invert(factors), axis1=1, axis2=2)
        precisions = precisions * state.degrees_of_freedom[:, None]

    def total(part, x, variance, prior, missing):
        if inference == "variational":
            if variance is not None:
                part = part + 0.5 * variance @ precisions.T
            part = nw.log_predictive_from_expected(components, part, factors)
        densities = np.logaddexp.reduce(part + (log_weights if prior is None else prior), axis=1)
        if transform is not None:
            densities += transform.log_slope(x).sum(axis=1)
        return densities.sum() if missing is None else densities[~missing].sum()

    x = None if transform is None else data.x
    size = len(data.x) if data.missing is None else np.count_nonzero(~data.missing)
    arrays = likelihood, x, variance, data.log_prior, data.missing
    return float(storage.total(total, *arrays)) / size if size else None


def log_weights(state, inference):
    """E[log pi] (variational), or log E[pi] (the sampler's predictive), (K,)."""
    return np.log(mean_weights(state)) if inference == "gibbs" else expected_log_weights(state)


def _climb(data, options, found, num_sweeps, callback):
    """Variational sweeps."""
    slopes = log_slopes(data, found.transform)

    def report(sweep, num_sweeps, bound, state):
        callback(
            sweep,
            num_sweeps,
            bound + slopes,
            lambda: found._replace(state=state, figure=bound + slopes),
        )

    state, bounds, _ = fit(
        prior=found.prior,
        state=found.state,
        num_sweeps=num_sweeps,
        tolerance=options.tolerance,
        callback=None if callback is None else report,
        **_arguments(prepared(data, found)),
    )
    return found._replace(state=state, figure=float(bounds[-1]) + slopes if len(bounds) else None)


def _draw(data, options, found, rng, num_sweeps, callback):
    """The sampler's sweeps, over one draw of uncertain data."""
    data = resolved(data, found.resolution)
    x = data.x
    if data.variance is not None:
        x = x + np.sqrt(data.variance) * rng.standard_normal(x.shape)
    first = None
    if found.state is not None:  # of an earlier fit, or of a start by groups
        first = _last_classes(found, data._replace(x=x), options)

    def reach(chain):
        classes = np.array(chain.assignments)
        state = gaussian_gibbs.posterior_state(found.prior, x, classes, options.num_components)
        return found._replace(state=state, classes=classes, figure=chain.log_joint)

    def report(sweep, num_sweeps, figure, chain):
        callback(sweep, num_sweeps, figure, lambda: reach(chain))

    chain, _ = gaussian_gibbs.sample(
        x,
        found.prior,
        num_components=options.num_components,
        num_sweeps=num_sweeps,
        rng=rng,
        assignments=first,
        log_prior=data.log_prior,
        callback=None if callback is None else report,
    )
    return reach(chain)


def _classes(found, data, options):
    """The most probable class (N,) of each sample."""
    likelihood = component_log_likelihood(data, found, options.inference)
    weights = log_weights(found.state, options.inference)

    def best(part, prior):
        return (part + (weights if prior is None else prior)).argmax(axis=1)

    return storage.apply(best, likelihood, data.log_prior)


def _last_classes(found, data, options):
    """The class (N,) that learning left each sample in; of others, the most probable."""
    if found.classes is not None and (found.classes >= 0).all():
        return found.classes
    classes = _classes(found, data, options)
    return classes if found.classes is None else np.where(found.classes < 0, classes, found.classes)


def _with_groups(data, groups, num_components):
    """Data of which groups (N,) say the class, too."""
    log_prior = np.log(group_probabilities(groups, num_components))
    if data.log_prior is not None:
        log_prior = storage.apply(np.add, data.log_prior, log_prior)
    return data._replace(log_prior=log_prior)


def _renumber(found, before):
    """Gives each component the number of the old one that it shares most samples with.

    Args:
        found: `Found`, whose `classes` are those of the samples now.
        before: Classes (N,) of the samples under the old components.
    """
    from scipy.optimize import linear_sum_assignment

    num_components = len(found.state.mean)
    shared = np.zeros((num_components, num_components))
    np.add.at(shared, (before, found.classes), 1)
    _, order = linear_sum_assignment(shared, maximize=True)
    numbers, groups = np.argsort(order), found.groups
    if groups is not None:
        groups = np.where(groups < 0, -1, numbers[groups])
    state = State(*(field[order] for field in found.state))
    return found._replace(state=state, classes=numbers[found.classes], groups=groups)


def _decides(data):
    """Whether a class prior says of some sample which class it is in."""
    prior = data.log_prior
    return prior is not None and class_prior.decides(storage.apply(np.exp, prior))


def _resolution(data, options, counted):
    """The gaps (D,) between the values of each feature: given, found, or none."""
    num_features = data.x.shape[1]
    if options.resolution is not None:
        if np.ndim(options.resolution) and len(options.resolution) != num_features:
            raise ValueError(
                f"`resolution` must be a number, or one for each of {num_features} features. "
                f"Received: {options.resolution}"
            )
        return np.broadcast_to(np.asarray(options.resolution, np.float64), (num_features,))
    if data.variance is not None:
        return np.zeros(num_features)
    return resolution.find(data.x, counted)


def _default_prior(data, num_components, given):
    """The user's hyper-parameters, a dict, and defaults that suit the data for the rest."""
    mean, variance = storage.moments(data.x, data.weight)
    if data.variance is not None:
        weight = np.ones(len(data.x)) if data.weight is None else data.weight
        total = storage.total(lambda part, counts: counts @ part, data.variance, weight)
        variance = variance + total / weight.sum()
    if not given.get("degrees_of_freedom", len(mean)) > len(mean) - 1:
        raise ValueError(
            f"`degrees_of_freedom` must be above D - 1 = {len(mean) - 1}. "
            f"Received: {given['degrees_of_freedom']}"
        )
    return default_prior(mean, variance, num_components)._replace(**given)


def _standardizing(data):
    """The `PowerTransform` that takes each feature to zero mean and unit variance."""
    mean, variance = storage.moments(data.x, data.weight)
    scale = np.sqrt(np.where(varying(mean, variance), variance, 1.0))
    return PowerTransform.identity(len(mean))._replace(location=mean, scale=scale)


def _arguments(data):
    """Data by the names of the arguments of `start` and `fit`."""
    return {
        "x": data.x,
        "variance": data.variance,
        "log_prior": data.log_prior,
        "sample_weight": data.weight,
    }


def _take(values, rows):
    """Values (N,) of some rows; None of None."""
    return values if values is None or rows is None else values[rows]


def _put(values, rows, num_samples):
    """Values of some rows among all (N,), -1 elsewhere; None of None."""
    if values is None or rows is None:
        return values
    result = np.full(num_samples, -1)
    result[rows] = values
    return result
