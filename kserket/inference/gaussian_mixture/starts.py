"""Where sweeps begin: from k-means or a class prior, under a prior learned from the data.

Powers of the features, too, are learned here (`powers`).
"""

from typing import NamedTuple

import numpy as np

from kserket import storage
from kserket.inference import class_prior, quadratic_form
from kserket.inference.gaussian_mixture import empirical_bayes, powers
from kserket.inference.gaussian_mixture.blocks import Blocks, take_rows
from kserket.inference.gaussian_mixture.data import check_num_components
from kserket.inference.gaussian_mixture.parameters import (
    Prior,
    State,
    Statistics,
    maximize,
    varying,
)
from kserket.inference.gaussian_mixture.sweep import (
    expect,
    fill,
    statistics_from_responsibilities,
    terms_of,
)
from kserket.inference.power_transform import PowerTransform

MAX_START_SAMPLES = 20_000
MAX_START_VALUES = 4_000_000
START_SWEEPS = 20
MIN_STARTS, MAX_STARTS = 4, 30
CHEAP_FEATURES = 150  # up to which there are as many starts as at most


class Start(NamedTuple):
    """Where sweeps begin."""

    state: State
    prior: Prior
    bounds: np.ndarray  # (n_init,), of the starts compared; (0,) where there was one alone
    power_transform: PowerTransform | None = None  # that the state's data have passed through


def start(
    x,
    prior,
    num_components=None,
    variance=None,
    log_prior=None,
    sample_weight=None,
    n_init=None,
    rng=None,
    chunk_size=None,
    learn_prior=True,
    learn_weights=True,
    learn_powers=False,
    state=None,
):
    """The best of several cold starts, under a prior learned from the data: empirical Bayes.

    Starts by k-means, in turn on the data as they are and with each feature at unit variance, are
    compared by their bound after `START_SWEEPS` sweeps, on at most `MAX_START_SAMPLES` rows (fewer
    of many features). Under a class prior that decides (`class_prior.decides`) there is a single
    start, from the prior, so that classes keep their meaning; each row counts there by how much its
    prior says. One that tells samples apart but little, or decides for so few of them that they do
    not show what classes look like, is a start among those by k-means, whose components take the
    numbers that agree best with the prior.

    Which covariance to expect of a component, how much components differ in it and in size, and how
    far their means lie apart, is what a default cannot know and results hang on. Where the prior is
    learned, it is the one under which the bound is highest in each of these runs: few degrees of
    freedom leave each component a covariance of its own, many make all share one.

    Args:
        x: (N, D) data, or the means of Gaussian data; anything with a length and slices.
        prior: `Prior` to start from.
        num_components: K, needed where `log_prior` does not tell it.
        variance: (N, D) or None. Rows that hold an infinite variance say nothing.
        log_prior: (N, K) log class probabilities used instead of the mixing weights, or
            None.
        sample_weight: (N,) or None: how often each datum counts.
        n_init: How many cold starts to compare; None makes `MAX_STARTS`, fewer of data of more than
            `CHEAP_FEATURES` features, since a sweep takes time with their square at least.
        rng: `numpy.random.Generator`, or a seed.
        chunk_size: How many rows to work on at a time.
        learn_prior: Whether to return a better prior, or the one given.
        learn_weights: Whether a better prior has a `weight_concentration` of its own; it has not
            where a class prior replaces the weights.
        learn_powers: Whether features, at zero mean and unit variance here, get powers under which
            components are more nearly Gaussian: the best starts go on as `powers.refine` tells.
        state: `State` whose components are the one start, such as classes found by merging; None
            compares starts as told above.

    Returns:
        `Start`: the `State` and `Prior` reached, and what was compared.

    Raises:
        ValueError: If shapes do not agree, or K is not known.

    Reference:
        C.-F. Chen, Bayesian inference for a normal dispersion matrix and its application to
        stochastic multiple regression analysis, Journal of the Royal Statistical Society B 41
        (1979). T. Greene and W. S. Rayens, Partially pooled covariance matrix estimation in
        discriminant analysis, Communications in Statistics 18 (1989).
    """
    rng = np.random.default_rng(rng)
    num_components = check_num_components(num_components, state, log_prior)
    data = Blocks(prior, x, variance, log_prior, sample_weight, chunk_size)
    learner = None
    if learn_prior:
        learn_weights = learn_weights and log_prior is None
        learner = empirical_bayes.Learner(prior, data.form, learn_weights)
    max_samples = max_start_samples(len(prior.mean))
    information, bounds = _information(data), []
    if state is not None:
        data = data.sample(max_samples, rng)
        runs = [_state_start(data, prior, state, learner)]
    elif _shows_classes(information, num_components, len(prior.mean)):
        if learn_powers:
            data = data.sample(max_samples, rng, information)
            information = _information(data)
        num_sweeps = START_SWEEPS if learn_prior or learn_powers else 0
        runs = [_class_start(data, prior, information, num_sweeps, learner)]
    else:
        data = data.sample(max_samples, rng, _deciding(information))
        n_init = num_starts(len(prior.mean)) if n_init is None else n_init
        runs = [
            _kmeans_start(data, prior, num_components, number % 2 == 1, rng, learner)
            for number in range(n_init)
        ]
        if information is not None and information.any():
            runs.append(_class_start(data, prior, _information(data), START_SWEEPS, learner))
        bounds = [run.bound for run in runs]
    if learn_powers:

        def run_sweeps(data, responsibilities):
            weight = data.sample_weight
            return _short_run(data, prior, responsibilities, weight, START_SWEEPS, learner)

        best, transform = powers.refine(runs, data, run_sweeps)
    else:
        best, transform = runs[0], None
        if len(runs) > 1:
            (best,) = powers.best_runs(runs, data.total_weight, 1)
    return Start(maximize(best.prior, best.sums), best.prior, np.array(bounds), transform)


def initialize(
    x,
    variance,
    num_components,
    rng,
    log_prior=None,
    sample_weight=None,
    standardize=False,
):
    """First responsibilities: from a class prior that decides, else from k-means.

    A class prior gives classes their meaning, so the start takes its rows unchanged. Where it does
    not decide, k-means (from k-means++, on at most `MAX_START_SAMPLES` rows, fewer of many
    features) gives one-hot rows, of classes that the prior does not rule out, under the numbers
    that agree best with it.

    Args:
        x: (N, D) data, or the means of Gaussian data.
        variance: (N, D) or None. Rows that hold an infinite variance are uniform.
        num_components: K; more than there are different data leaves components empty.
        rng: `numpy.random.Generator`.
        log_prior: (N, K) log class probabilities or None.
        sample_weight: (N,) or None; rows of weight 0 do not move the centers.
        standardize: Whether k-means sees all features at unit variance, or as they are.

    Returns:
        (N, K) rows summing to one.
    """
    probabilities = None if log_prior is None else storage.apply(np.exp, log_prior)
    if class_prior.decides(probabilities):
        return storage.apply(_normalize, probabilities)
    return _clusters(x, variance, num_components, rng, probabilities, sample_weight, standardize)


def _clusters(x, variance, num_components, rng, probabilities, sample_weight, standardize):
    """What `initialize` returns from k-means."""
    num_samples = len(x)
    counted = np.ones(num_samples, bool)
    if sample_weight is not None:
        counted &= np.asarray(sample_weight) > 0.0
    if variance is not None:
        counted &= storage.apply(lambda part: np.isfinite(part).all(axis=1), variance)
    candidates = np.flatnonzero(counted)
    if len(candidates) == 0:
        return np.full((num_samples, num_components), 1.0 / num_components)
    max_samples = max_start_samples(x.shape[1])
    if len(candidates) > max_samples:
        chosen = np.sort(rng.choice(candidates, max_samples, replace=False))
    else:
        chosen = candidates
    sample = take_rows(x, chosen)
    spread = None if variance is None else take_rows(variance, chosen)
    center, scale = _center_and_scale(sample, spread)
    if not standardize:
        scale = scale.max()
    weight = None if sample_weight is None else np.asarray(sample_weight, np.float64)[chosen]
    num_clusters = num_components
    if probabilities is not None:  # as many as there are classes of half a sample or more
        num_clusters = max(1, (class_prior.mean_row(probabilities) * num_samples >= 0.5).sum())
    found = kmeans((sample - center) / scale, num_clusters, weight, rng)
    responsibilities = np.zeros((num_samples, num_components))
    for first in range(0, num_samples, MAX_START_SAMPLES):
        rows = first + np.flatnonzero(counted[first : first + MAX_START_SAMPLES])
        if len(rows):
            chunk = storage.read(x, slice(first, first + MAX_START_SAMPLES))[rows - first]
            responsibilities[rows, found.predict((chunk - center) / scale)] = 1.0
    if probabilities is not None:
        responsibilities = class_prior.match(responsibilities, probabilities)
    responsibilities[~counted] = 1.0 / num_components
    return responsibilities


class _Run(NamedTuple):
    """How far a start has come."""

    prior: Prior
    sums: Statistics
    bound: float


def _state_start(data, prior, state, learner):
    """A run from the components of a `State`."""
    before = quadratic_form.prior_terms(prior.normal_wishart)
    sums, _ = expect(data, prior, state, terms_of(data, before, state))
    return _sweeps(data, prior, sums, START_SWEEPS, learner)


def _class_start(data, prior, information, num_sweeps, learner):
    """A run from a class prior; data count by how much it says of them, `information` (N,)."""
    weight = information
    if data.sample_weight is not None:
        weight = weight * data.sample_weight
    responsibilities = storage.apply(lambda part: _normalize(np.exp(part)), data.log_prior)
    return _short_run(data, prior, responsibilities, weight, num_sweeps, learner)


def _kmeans_start(data, prior, num_components, standardize, rng, learner):
    """A run from k-means."""
    probabilities = None if data.log_prior is None else storage.apply(np.exp, data.log_prior)
    responsibilities = _clusters(
        filled(data),
        data.variance,
        num_components,
        rng,
        probabilities,
        data.sample_weight,
        standardize,
    )
    return _short_run(data, prior, responsibilities, data.sample_weight, START_SWEEPS, learner)


def _short_run(data, prior, responsibilities, weight, num_sweeps, learner):
    """A few sweeps from responsibilities (N, K) that count with weight (N,), or None.

    The prior is the given one, or that of the `Learner`, unless None.
    """
    sums = statistics_from_responsibilities(prior, responsibilities, data.x, data.variance, weight)
    return _sweeps(data, prior, sums, num_sweeps, learner)


def _sweeps(data, prior, sums, num_sweeps, learner):
    """A few sweeps from `Statistics`."""
    if learner is not None:
        prior = learner.before_sweeps(sums)
    before, bound = quadratic_form.prior_terms(prior.normal_wishart), -np.inf
    for _ in range(num_sweeps):
        state = maximize(prior, sums)
        terms = terms_of(data, before, state)
        sums, bound = expect(data, prior, state, terms)
        if learner is not None:
            prior = learner.after_sweep(state, terms, sums)
            before = quadratic_form.prior_terms(prior.normal_wishart)
    return _Run(prior, sums, bound)


def _normalize(rows):
    """Rows (n, K) in double precision, summing to one."""
    rows = np.asarray(rows, np.float64)
    return rows / rows.sum(axis=1, keepdims=True)


def _information(data):
    """How much the class prior of `Blocks` says of each datum, (N,); None without one."""
    if data.log_prior is None:
        return None
    return class_prior.information(storage.apply(np.exp, data.log_prior))


def _deciding(information):
    """Information (N,) of rows that decide, 0 for others; None where no row does."""
    if information is None or information.max(initial=0.0) < class_prior.DECISIVE:
        return None
    return np.where(information >= class_prior.DECISIVE, information, 0.0)


def _shows_classes(information, num_components, num_features):
    """Whether a class prior says enough, (N,) or None, for learning to start from it alone.

    It does if it decides for most data, or for so many that covariances follow from them.
    """
    deciding = _deciding(information)
    if deciding is None:
        return False
    enough = deciding.sum() >= num_components * (num_features + 1)
    return enough or 2 * np.count_nonzero(deciding) >= len(deciding)


def _center_and_scale(x, variance):
    """Mean (D,) and standard deviation (D,) of data (N, D), 1 for features that never vary."""
    center = x.mean(axis=0)
    spread = x.var(axis=0)
    if variance is not None:
        spread = spread + np.asarray(variance, np.float64).mean(axis=0)
    varies = varying(center, spread)
    return center, np.sqrt(np.where(varies, spread, spread[varies].max(initial=0.0) or 1.0))


def filled(data):
    """x (N, D) of `Blocks`, in gaps what is expected where all data are one Gaussian."""
    if not data.has_gaps:
        return data.x
    if data.filled is None:
        whole = np.ones((len(data.x), 1))
        parts = data.x, data.variance
        sums = statistics_from_responsibilities(data.prior, whole, *parts, data.sample_weight)
        data.filled = fill(maximize(data.prior, sums), *parts)
    return data.filled


def num_starts(num_features):
    """How many starts are worth their time."""
    return max(MIN_STARTS, round(MAX_STARTS * min(1.0, (CHEAP_FEATURES / num_features) ** 2)))


def max_start_samples(num_features):
    """How many data starts are made from and compared on, at most."""
    return max(1000, min(MAX_START_SAMPLES, MAX_START_VALUES // num_features))


def kmeans(x, num_components, weight, rng):
    """scikit-learn's k-means, fitted to (N, D), with as many centers as there is data for."""
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    model = KMeans(
        min(num_components, len(x)),
        n_init=1,
        max_iter=50,
        random_state=int(rng.integers(2**31 - 1)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different data than centers
        return model.fit(x, sample_weight=weight)
