"""Where sweeps begin: from k-means, from a class prior, under a prior learned from the data."""

from typing import NamedTuple

import numpy as np

from kserket import storage
from kserket.inference import normal_wishart as nw
from kserket.inference import quadratic_form
from kserket.inference.gaussian_mixture.blocks import Data, take_rows
from kserket.inference.gaussian_mixture.parameters import Prior, State, maximize
from kserket.inference.gaussian_mixture.sweep import (
    expect,
    statistics_from_responsibilities,
    terms_of,
)

MAX_START_SAMPLES = 20_000
MAX_START_VALUES = 4_000_000
START_SWEEPS = 20


def empirical_prior(
    x,
    prior,
    num_components=None,
    variance=None,
    class_prior=None,
    sample_weight=None,
    n_init=4,
    rng=None,
):
    """The prior learned from the data, by the bound: empirical Bayes.

    Which covariance to expect of a component, how much components differ in it, and how far their
    means lie apart, is what a default cannot know and results hang on. Here `scatter`,
    `degrees_of_freedom` and `mean_precision` are those under which the bound is highest, in the
    short runs from several cold starts that `fit` makes too; the best run's prior is returned.
    Few degrees of freedom leave each component a covariance of its own, many make all share one.

    Args:
        x: (N, D) data, or the means of Gaussian data; anything with a length and slices.
        prior: `Prior` to start from.
        num_components: K, needed where `class_prior` does not tell it.
        variance: (N, D) or None. Rows that hold an infinite variance say nothing.
        class_prior: (N, K) probabilities that stand in place of the mixing weights, or None.
        sample_weight: (N,) or None: how often each datum counts.
        n_init: how many cold starts to make.
        rng: `numpy.random.Generator`, or a seed.

    Returns:
        `Prior`, otherwise like the one given.

    Reference:
        C.-F. Chen, Bayesian inference for a normal dispersion matrix and its application to
        stochastic multiple regression analysis, Journal of the Royal Statistical Society B 41
        (1979). T. Greene and W. S. Rayens, Partially pooled covariance matrix estimation in
        discriminant analysis, Communications in Statistics 18 (1989).
    """
    rng = np.random.default_rng(rng)
    num_components = check_num_components(num_components, None, class_prior)
    data = Data(prior, x, variance, class_prior, sample_weight)
    return best_start(data, prior, num_components, START_SWEEPS, n_init, rng, adapt=True)[1]


def initialise(
    x,
    variance,
    num_components,
    rng,
    class_prior=None,
    sample_weight=None,
    standardise=False,
):
    """First responsibilities: from the class prior where there is one, else from k-means.

    A class prior gives classes their meaning, so the start takes its rows as they are. One that
    says nothing (all rows uniform) is passed over. k-means (from k-means++, on at most
    `MAX_START_SAMPLES` rows, fewer of many features) gives one-hot rows.

    Args:
        x: (N, D) data, or the means of Gaussian data.
        variance: (N, D) or None. Rows that hold an infinite variance are uniform.
        num_components: K; more than there are different data leaves components empty.
        rng: `numpy.random.Generator`.
        class_prior: (N, K) probabilities or None.
        sample_weight: (N,) or None; rows of weight 0 do not move the centres.
        standardise: whether k-means sees all features at unit variance, or as they are.

    Returns:
        (N, K) rows summing to one.
    """
    if class_prior is not None and says_something(class_prior):
        return storage.apply(_normalise, class_prior)
    num_samples = len(x)
    counted = np.ones(num_samples, bool)
    if sample_weight is not None:
        counted &= np.asarray(sample_weight) > 0.0
    if variance is not None:
        counted &= storage.apply(lambda part: np.isfinite(part).all(axis=1), variance)
    responsibilities = np.full((num_samples, num_components), 1.0 / num_components)
    candidates = np.flatnonzero(counted)
    if len(candidates) == 0:
        return responsibilities
    max_samples = _max_start_samples(x.shape[1])
    if len(candidates) > max_samples:
        chosen = np.sort(rng.choice(candidates, max_samples, replace=False))
    else:
        chosen = candidates
    sample = take_rows(x, chosen)
    spread = None if variance is None else take_rows(variance, chosen)
    centre, scale = _centre_and_scale(sample, spread)
    if not standardise:
        scale = scale.max()
    weight = None if sample_weight is None else np.asarray(sample_weight, np.float64)[chosen]
    kmeans = _kmeans((sample - centre) / scale, num_components, weight, rng)
    for start in range(0, num_samples, MAX_START_SAMPLES):
        rows = start + np.flatnonzero(counted[start : start + MAX_START_SAMPLES])
        if len(rows):
            chunk = storage.read(x, slice(start, start + MAX_START_SAMPLES))[rows - start]
            responsibilities[rows] = 0.0
            responsibilities[rows, kmeans.predict((chunk - centre) / scale)] = 1.0
    return responsibilities


def says_something(class_prior):
    """Whether any row of (N, K) prefers a class to another."""
    return bool(prior_information(class_prior).any())


def prior_information(class_prior):
    """How much each row says, (N,): 1 for one class for sure, 0 for all alike."""
    return storage.apply(_information, class_prior)


def best_start(data, prior, num_components, num_sweeps, n_init, rng, adapt=False):
    """The best cold start: its `State`, its `Prior`, and the bounds (n_init,) of all."""
    information = None if data.class_prior is None else prior_information(data.class_prior)
    if information is not None and information.any():
        weight = information if data.sample_weight is None else information * data.sample_weight
        responsibilities = initialise(data.x, data.variance, num_components, rng, data.class_prior)
        run = _short_run(data, prior, responsibilities, weight, num_sweeps if adapt else 0, adapt)
        return run.state, run.prior, np.array([run.bound])
    sample = data.sample(_max_start_samples(len(prior.mean)), rng)
    runs = []
    for start in range(max(1, n_init)):
        responsibilities = initialise(
            sample.x,
            sample.variance,
            num_components,
            rng,
            sample_weight=sample.sample_weight,
            standardise=start % 2 == 1,
        )
        runs.append(
            _short_run(sample, prior, responsibilities, sample.sample_weight, num_sweeps, adapt)
        )
    bounds = np.array([run.bound for run in runs])
    # Of starts that differ by rounding alone the first is taken, whatever the data's units.
    best = runs[np.argmax(bounds >= bounds.max() - 1e-6 * sample.total_weight)]
    return best.state, best.prior, bounds


def check_num_components(num_components, state, class_prior):
    """K, from whichever tells it."""
    told = {}
    if num_components is not None:
        told["num_components"] = num_components
    if state is not None:
        told["state"] = len(state.mean)
    if class_prior is not None:
        told["class_prior"] = class_prior.shape[-1]
    if len(set(told.values())) != 1:
        raise ValueError(
            "fit() needs one number of components: from `num_components`, or from the `state` or "
            f"the `class_prior` given. Received: {told}"
        )
    return next(iter(told.values()))


class _Run(NamedTuple):
    """Where a short run from a cold start has come to."""

    state: State
    prior: Prior
    bound: float


def _short_run(data, prior, responsibilities, weight, num_sweeps, adapt):
    """A few sweeps from responsibilities (N, K) that count with weight (N,), or None."""
    sums = statistics_from_responsibilities(prior, responsibilities, data.x, data.variance, weight)
    adapted = prior._replace(scatter=_share_of_all(prior, sums)) if adapt else prior
    before = quadratic_form.prior_terms(adapted.normal_wishart)
    for _ in range(num_sweeps):
        state = maximize(adapted, sums)
        terms = terms_of(data, before, state)
        sums, _ = expect(data, adapted, state, terms)
        if adapt:
            adapted = _adapted(prior, state, terms, sums, data.form)
            before = quadratic_form.prior_terms(adapted.normal_wishart)
    state = maximize(adapted, sums)
    _, bound = expect(data, adapted, state, terms_of(data, before, state))
    return _Run(state, adapted, bound)


def _share_of_all(prior, sums):
    """The covariance (D, D) of all data as one component, shrunk by as much as components share."""
    num_components, num_features = sums.sums.shape
    weight = sums.counts.sum() + prior.degrees_of_freedom
    whole = (sums.scatters.sum(axis=0) + prior.scatter) / weight
    return whole / num_components ** (2.0 / num_features)


def _adapted(prior, state, terms, sums, form):
    """The prior under which the bound of this state is highest, within limits.

    There the derivatives of sum_k E[log p(mu_k, Lambda_k)] vanish. The covariance that it expects,
    scatter / degrees of freedom, is the harmonic mean of the components'. A hundredth of their
    share of the data's covariance is added to the scatter and keeps it from vanishing. The mean is
    worth between a hundredth of what the given prior says and all of it.
    """
    num_components, num_features = state.mean.shape
    factor = nw.cholesky(form.total_precision(terms)[None] / num_components)
    spread = nw.log_det(factor)[0] - nw.expected_log_det(state.normal_wishart).mean()
    freedom = _degrees_of_freedom(spread, num_features, sums.weight)
    energy = num_components * num_features
    precision = energy / (num_features / state.mean_precision + terms.mean_distance).sum()
    return prior._replace(
        degrees_of_freedom=freedom,
        scatter=freedom * nw.invert(factor)[0] + 0.01 * _share_of_all(prior, sums),
        mean_precision=prior.mean_precision * np.clip(precision / prior.mean_precision, 0.01, 1.0),
    )


def _degrees_of_freedom(spread, num_features, weight):
    """The best degrees of freedom, from D to the number of data.

    Args:
        spread: How much components differ: log |mean_k E[Lambda_k]| - mean_k E[log |Lambda_k|].
        num_features: D.
        weight: How many data there are.
    """
    from scipy.optimize import brentq
    from scipy.special import digamma

    def slope(freedom):
        halves = 0.5 * (freedom - np.arange(num_features))
        return num_features * np.log(0.5 * freedom) - digamma(halves).sum() - spread

    lowest, highest = float(num_features), max(float(weight), num_features + 2.0)
    if slope(lowest) <= 0.0:
        return lowest
    if slope(highest) >= 0.0:
        return highest
    return brentq(slope, lowest, highest)


def _normalise(rows):
    """Rows (n, K) in double precision, summing to one."""
    rows = np.asarray(rows, np.float64)
    return rows / rows.sum(axis=1, keepdims=True)


def _information(class_prior):
    """`prior_information` of some rows."""
    probabilities = _normalise(class_prior)
    terms = probabilities * np.log(np.maximum(probabilities, np.finfo(float).tiny))
    information = 1.0 + terms.sum(axis=1) / np.log(max(probabilities.shape[1], 2))
    information[information < 1e-9] = 0.0
    return information


def _centre_and_scale(x, variance):
    """Mean (D,) and standard deviation (D,) of data (N, D), 1 for features that never vary."""
    centre = x.mean(axis=0)
    spread = x.var(axis=0)
    if variance is not None:
        spread = spread + np.asarray(variance, np.float64).mean(axis=0)
    return centre, np.sqrt(np.where(spread > 1e-12 * spread.max(), spread, spread.max() or 1.0))


def _max_start_samples(num_features):
    """How many data starts are made from and compared on, at most."""
    return max(1000, min(MAX_START_SAMPLES, MAX_START_VALUES // num_features))


def _kmeans(x, num_components, weight, rng):
    """scikit-learn's k-means, fitted to (N, D), with as many centres as there is data for."""
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    kmeans = KMeans(
        min(num_components, len(x)),
        n_init=1,
        max_iter=50,
        random_state=int(rng.integers(2**31 - 1)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different data than centres
        return kmeans.fit(x, sample_weight=weight)
