"""What a fit of a mixture does: start or go on, sweep, and keep the numbers of its components.

No model and no file: data and what was found before go in, what is found comes out.
"""

from typing import NamedTuple

import numpy as np

from kserket import hosts, storage
from kserket.inference import class_prior, gaussian_gibbs, resolution
from kserket.inference.gaussian_mixture import merging
from kserket.inference.gaussian_mixture.blocks import Blocks
from kserket.inference.gaussian_mixture.data import (
    Found,
    arguments,
    check_counts,
    prepared,
    resolved,
    transformed,
)
from kserket.inference.gaussian_mixture.gaps import have as have_gaps
from kserket.inference.gaussian_mixture.parameters import (
    State,
    default_prior,
    padded,
    varying,
)
from kserket.inference.gaussian_mixture.scoring import (
    component_log_likelihood,
    log_slopes,
    log_weights,
)
from kserket.inference.gaussian_mixture.starts import max_start_samples, start
from kserket.inference.gaussian_mixture.sweep import climb
from kserket.inference.power_transform import PowerTransform
from kserket.inference.umap_clusters import group_probabilities, umap_clusters

SPARSE_CONCENTRATION = 1e-3  # of mixing weights, at which components without data stay empty


class Options(NamedTuple):
    """How a mixture learns; `kserket.GaussianMixture` explains each of them."""

    num_components: int | None
    max_components: int = merging.MAX_COMPONENTS
    sparse: bool = False
    inference: str = "variational"
    init: str = "kmeans"
    n_init: int | None = None
    warm_start: bool = True
    keep_groups: bool | str = False
    learns_powers: bool = False
    resolution: object = None
    hyper_parameters: dict = {}
    tolerance: float | None = 1e-6
    columns: list[str] | None = None  # names, for errors

    def given(self):
        """The hyper-parameters that are not learned, a dict."""
        return {name: value for name, value in self.hyper_parameters.items() if value is not None}

    def learns_prior(self):
        """Whether the prior of the components is learned from the data."""
        return self.given().keys() <= {"weight_concentration"}


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
        ValueError: If no sample counts, a column is empty, or there are too few degrees of freedom.
    """
    rng = np.random.default_rng(rng)
    num_samples = len(data.x)
    if options.inference == "gibbs":
        hosts.check_one_host(
            "The Gibbs sampler", "it draws one sample after another. Take inference='variational'."
        )
    has_gaps = have_gaps(data.x)
    if has_gaps:
        hosts.check_one_host("A mixture of rows with gaps", "their completions are not shared.")
    check_counts(data)
    data, rows = data.seen()
    empty = np.flatnonzero(np.isnan(storage.moments(data.x, data.weight)[0])) if has_gaps else []
    if len(empty):
        first = empty[0] if options.columns is None else repr(options.columns[empty[0]])
        raise ValueError(
            f"Column {first} holds nothing but NaN in the samples that count, so that nothing "
            f"is known of it. Leave {'it' if len(empty) == 1 else f'all {len(empty)} such'} out."
        )
    decides = _decides(data)
    if options.init == "prior" and (found is None or are_alike(found.state)):
        if not decides:
            return _begin_alike(data, options, rng)
        found = None
    before = groups = None
    if found is not None:
        found = found._replace(groups=_take(found.groups, rows), classes=_take(found.classes, rows))
        if not options.warm_start:
            before, groups = _last_classes(found, data, options), found.groups
    if found is None or not options.warm_start:
        found = begin(data, options, rng)
        if found.groups is None:  # a start under a prior finds none, and numbers are its own
            found = found._replace(groups=groups)
    if found.state is not None:
        options = options._replace(num_components=len(found.state.mean))
    elif data.log_prior is not None:
        options = options._replace(num_components=data.log_prior.shape[1])
    if uses_groups(data, options.keep_groups) and found.groups is not None:
        data = _with_groups(data, found.groups, options.num_components)
    if options.inference == "variational":
        found = _climb(data, options, found, num_sweeps, callback)
    else:
        found = _draw(data, options, found, rng, num_sweeps, callback)
    if not options.warm_start:
        found = found._replace(classes=_classes(found, data, options))
        if before is not None and not decides and _are_numbers(before, len(found.state.mean)):
            found = _renumber(found, before)
    return found._replace(
        groups=_put(found.groups, rows, num_samples) if options.keep_groups else None,
        classes=_put(found.classes, rows, num_samples),
    )


def uses_groups(data, keep_groups):
    """Whether kept groups are evidence of these `Data`, by the option `keep_groups`."""
    return bool(keep_groups) and not (keep_groups == "alone" and _decides(data))


def are_alike(state):
    """Whether all components of a `State`, of which there are several, say the same of any datum.

    Those of `init="prior"` do before a class prior has decided.
    """
    return len(state.mean) > 1 and bool((state.mean == state.mean[0]).all())


def _begin_alike(data, options, rng):
    """`Found` of components that all are one Gaussian of the data, and say nothing of classes."""
    single = {"num_components": 1, "init": "kmeans", "n_init": 1, "inference": "variational"}
    found = begin(data._replace(log_prior=None), options._replace(**single), rng)
    number = options.num_components
    return found._replace(state=State(*(np.repeat(part, number, axis=0) for part in found.state)))


def begin(data, options, rng):
    """Where sweeps begin: hyper-parameters, and a state from k-means, groups or a class prior.

    Several hosts begin with a sample of all their rows, so that what is found is the same on all.

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
    if hosts.num_hosts() == 1:
        return _begin(data, options, rng)
    num_samples = len(data.x)
    data, rows, place = data.sample_of_hosts(max_start_samples(data.x.shape[1]), rng)
    with hosts.alone():
        found = _begin(data, options, rng)
    groups = None if found.groups is None else _put(found.groups[place], rows, num_samples)
    return Found(*hosts.from_first_host(tuple(found._replace(groups=None))))._replace(groups=groups)


def _begin(data, options, rng):
    """`begin` of one host."""
    groups, transform, classes = None, None, None
    counted = None if data.weight is None else data.weight > 0
    gaps = _resolution(data, options, counted)
    given_data, data = data, resolved(data, gaps)
    if options.learns_powers:
        transform = _standardizing(data)
        data = transformed(data, transform)
    num_components = options.num_components
    if num_components is None or options.sparse:
        num_components, classes = _find_classes(data, options, rng)
    if options.init == "umap" and not _decides(data):
        groups = umap_clusters(given_data.x, num_components, rng, counted)
        data = data._replace(log_prior=np.log(group_probabilities(groups, num_components)))
        classes = None
    given = options.given()
    if options.sparse and classes is not None:
        given.setdefault("weight_concentration", SPARSE_CONCENTRATION)
    live = num_components if classes is None else len(classes.mean)
    prior = first_prior(data, options._replace(num_components=live, hyper_parameters=given))
    state, needs_state = None, options.inference == "variational" or classes is not None
    if options.learns_prior() or needs_state:
        best = start(
            prior=prior,
            num_components=live,
            n_init=options.n_init,
            rng=rng,
            learn_prior=options.learns_prior(),
            learn_weights=not given,
            learn_powers=options.learns_powers,
            state=classes,
            **arguments(data),
        )
        state, prior = best.state, best.prior
        if options.learns_powers:
            place = {"location": transform.location, "scale": transform.scale}
            transform = best.power_transform._replace(**place)
    if groups is not None:
        if options.learns_powers:
            data = transformed(data, best.power_transform)
        state = start(prior=prior, learn_prior=False, **arguments(data)).state
    elif classes is not None:
        state = padded(prior, state, num_components)
    elif not needs_state:
        state = None
    return Found(prior, state, transform, gaps, groups)


def first_prior(data, options):
    """The hyper-parameters that `Options` give, and defaults that suit the data for the rest.

    Args:
        data: `Data`, prepared.
        options: `Options`.

    Returns:
        `Prior`.

    Raises:
        ValueError: If there are too few degrees of freedom.
    """
    given = options.given()
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
    return default_prior(mean, variance, options.num_components)._replace(**given)


def _find_classes(data, options, rng):
    """K, and the `State` of the classes found by merging; None where a class prior has classes."""
    if data.log_prior is not None:
        return data.log_prior.shape[1], None
    most = options.num_components or options.max_components
    arrays = data.x, data.variance, data.weight
    state = merging.search(*arrays, most, options.n_init, rng).state
    return options.num_components or len(state.mean), state


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

    watch = None if callback is None else report
    blocks = Blocks(found.prior, *prepared(data, found)[:4])
    state, bounds = climb(blocks, found.prior, found.state, num_sweeps, options.tolerance, watch)
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
    shared = hosts.sum_over_hosts(shared)
    _, order = linear_sum_assignment(shared, maximize=True)
    numbers, groups = np.argsort(order), found.groups
    if groups is not None:
        groups = np.where(groups < 0, -1, numbers[groups])
    state = State(*(field[order] for field in found.state))
    return found._replace(state=state, classes=numbers[found.classes], groups=groups)


def _are_numbers(classes, num_components):
    """Whether all classes (N,) are numbers of components."""
    return not hosts.any_host(classes.max(initial=-1) >= num_components)


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


def _standardizing(data):
    """The `PowerTransform` that takes each feature to zero mean and unit variance."""
    mean, variance = storage.moments(data.x, data.weight)
    scale = np.sqrt(np.where(varying(mean, variance), variance, 1.0))
    return PowerTransform.identity(len(mean))._replace(location=mean, scale=scale)


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
