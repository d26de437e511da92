"""Variational Bayes for mixtures of Gaussians with Normal-Wishart and Dirichlet priors.

    pi ~ Dirichlet(weight_concentration, ..., weight_concentration)
    (mu_k, Lambda_k) ~ NormalWishart(mean, mean_precision, degrees_of_freedom, scatter)
    z_n ~ Categorical(pi), or Categorical(class_prior_n) where a class prior is given
    x_n ~ Normal(mu_{z_n}, Lambda_{z_n}^-1), known exactly or up to an independent variance

A sweep is `statistics` (E step: one pass over the data) then `maximize` (M step). Statistics are
plain sums over data about the prior's mean: those of chunks add up to those of the whole.

Reference:
    C. M. Bishop, Pattern Recognition and Machine Learning (2006), section 10.2. Default prior:
    C. Fraley and A. E. Raftery, Bayesian regularization for normal mixture estimation and
    model-based clustering, Journal of Classification 24 (2007).
"""

from typing import NamedTuple

import numpy as np

from kserket import storage
from kserket.inference import normal_wishart as nw
from kserket.inference import quadratic_form

MAX_START_SAMPLES = 20_000
MAX_START_VALUES = 4_000_000
START_SWEEPS = 20
BLOCK_MEMORY = 512 * 2**20
NEGLIGIBLE_LOG = -40.0  # a responsibility that vanishes in rounding beside the largest
LOWEST_LOG = -500.0  # exp of less is slower


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
    diag(variance) / num_components^(2 / D). Features that never vary take the largest variance.

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
    # A constant feature's computed variance may be the rounding of its mean, squared.
    constant = variance <= (8.0 * np.finfo(float).eps * mean) ** 2
    constant |= variance <= 1e-24 * variance.max()
    varying = variance[~constant]
    variance[constant] = varying.max() if len(varying) else 1.0
    return Prior(
        weight_concentration=1.0,
        mean=mean,
        mean_precision=1.0,
        degrees_of_freedom=num_features + 2.0,
        scatter=np.diag(variance / num_components ** (2.0 / num_features)),
    )


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
    """The prior with two strengths learned from the data, by the bound: empirical Bayes.

    How large covariances are to be expected, and how far means lie apart, is what a default cannot
    know and results hang on. Here `prior.scatter` is multiplied by a factor, and
    `prior.mean_precision` chosen, such that the bound is highest, in the short runs from several
    cold starts that `fit` makes too; the best run's prior is returned.

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
    """
    rng = np.random.default_rng(rng)
    num_components = _check_num_components(num_components, None, class_prior)
    data = _Data(prior, x, variance, class_prior, sample_weight)
    return _start(data, prior, num_components, START_SWEEPS, n_init, rng, adapt=True)[1]


def prior_state(prior, num_components):
    """The `State` of K components that have seen no data."""
    return maximize(prior, no_statistics(num_components, len(prior.mean)))


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
    """M step: the `State` that maximises the bound, given the statistics (Bishop 10.58-10.63)."""
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
        uses_class_prior: whether a class prior stood in place of the mixing weights; these are no
            part of the model then.

    Returns:
        The bound; sweeps with the same data and prior never lower it.
    """
    divergence = nw.kl_divergence(state.normal_wishart, prior.normal_wishart).sum()
    if not uses_class_prior:
        divergence += _weight_divergence(prior, state, expected_log_weights(state))
    return float(statistics.log_evidence - divergence)


def log_likelihood(state, x, variance=None, chunk_size=None):
    """What each datum says about its class: E[log N(x_n; mu_k, Lambda_k^-1)], (N, K).

    Mixing weights are left out: this is the evidence where a class prior takes their place.

    Args:
        state: `State`.
        x: (N, D) data, or the means of Gaussian data.
        variance: (N, D) or None. Rows that hold an infinite variance say nothing: theirs is 0.
        chunk_size: how many rows to work on at a time.

    Returns:
        (N, K) float64.
    """
    prediction = _Prediction(state, variance, chunk_size)
    result = storage.empty((len(x), len(state.mean)))
    for rows, block in prediction.blocks(x):
        result[rows] = prediction.log_density(block).T
        storage.release(result)
    return result


def log_responsibilities(state, x, variance=None, class_prior=None, chunk_size=None):
    """Log posterior class probabilities of each datum, and what normalises them (Bishop 10.46).

    Args:
        state: `State`.
        x: (N, D) data, or the means of Gaussian data.
        variance: (N, D) or None. Rows that hold an infinite variance say nothing.
        class_prior: (N, K) probabilities that stand in place of the mixing weights, or None.
        chunk_size: how many rows to work on at a time.

    Returns:
        (N, K) normalised log probabilities; (N,) their log normaliser, log sum_k exp E[log p(x_n,
        z_n = k)], 0 for rows that say nothing.
    """
    prediction = _Prediction(state, variance, chunk_size)
    log_weights = expected_log_weights(state)[:, None]
    result, normaliser = storage.empty((len(x), len(state.mean))), np.empty(len(x))
    for rows, block in prediction.blocks(x, class_prior):
        joint = prediction.log_density(block)
        joint += log_weights if block.log_prior is None else block.log_prior
        total = _log_sum_exp(joint)
        result[rows] = (joint - total).T
        normaliser[rows] = total if block.missing is None else np.where(block.missing, 0.0, total)
        storage.release(result)
    return result, normaliser


def statistics(
    prior, state, x, variance=None, class_prior=None, sample_weight=None, chunk_size=None
):
    """E step: one pass over the data, which are only ever sliced (x[a:b]) and may live in a file.

    Args:
        prior: `Prior`; its mean is the origin.
        state: `State` under which the classes are inferred.
        x: (N, D) data, or the means of Gaussian data.
        variance: (N, D) or None. Rows that hold an infinite variance count for nothing.
        class_prior: (N, K) probabilities that stand in place of the mixing weights, or None.
        sample_weight: (N,) or None: how often each datum counts.
        chunk_size: how many rows to work on at a time.

    Returns:
        `Statistics`.
    """
    data = _Data(prior, x, variance, class_prior, sample_weight, chunk_size, memory=0)
    before = quadratic_form.prior_terms(prior.normal_wishart)
    return _expect(data, prior, state, _terms(data, before, state))[0]


def statistics_from_responsibilities(
    prior, responsibilities, x, variance=None, sample_weight=None, chunk_size=None
):
    """The sums under given responsibilities, from which a first `State` is made.

    Args:
        prior: `Prior`; its mean is the origin.
        responsibilities: (N, K), rows summing to one.
        x: (N, D) data, or the means of Gaussian data.
        variance: (N, D) or None. Rows that hold an infinite variance count for nothing.
        sample_weight: (N,) or None.
        chunk_size: how many rows to work on at a time.

    Returns:
        `Statistics` without log evidence (nan), which only a state has.
    """
    data = _Data(prior, x, variance, None, sample_weight, chunk_size, memory=0)
    moments = data.form.no_moments(responsibilities.shape[1])
    weight = 0.0
    for rows, block in data.blocks():
        weighted = np.array(storage.read(responsibilities, rows), np.float64).T
        if block.weight is not None:
            weighted *= block.weight
        data.form.add_moments(moments, weighted, block.data)
        weight += block.total_weight
    return Statistics(*data.form.unpack(moments), np.nan, weight)


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
    sample = _take(x, chosen)
    spread = None if variance is None else _take(variance, chosen)
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


def fit(
    x,
    prior,
    state=None,
    variance=None,
    class_prior=None,
    sample_weight=None,
    num_sweeps=100,
    n_init=10,
    tolerance=1e-6,
    rng=None,
    callback=None,
    num_components=None,
    chunk_size=None,
):
    """Sweeps until the bound has settled, from a given state or from the best of several starts.

    Cold starts are compared by their bound after `START_SWEEPS` sweeps, on at most
    `MAX_START_SAMPLES` rows (fewer of many features); the best goes on. A cold start under a class
    prior is a single one, from the prior, so that classes keep their meaning; each row counts there
    by how much its prior says.

    Args:
        x: (N, D) data, or the means of Gaussian data; anything with a length and slices.
        prior: `Prior`.
        state: `State` to go on from, or None for a cold start.
        variance: (N, D) or None. Rows that hold an infinite variance say nothing.
        class_prior: (N, K) probabilities that stand in place of the mixing weights, or None.
        sample_weight: (N,) or None: how often each datum counts.
        num_sweeps: how many sweeps to do at most, beside those that compare starts.
        n_init: how many cold starts to compare.
        tolerance: stop when a sweep raises the bound by less than this, in nats for each datum;
            None never stops early.
        rng: `numpy.random.Generator`, or a seed.
        callback: called after each sweep as `callback(sweep, num_sweeps, bound, state)`, counted
            from 1. `StopIteration` ends the fit with what is reached; other exceptions pass.
        num_components: K, needed where neither `state` nor `class_prior` tells it.
        chunk_size: how many rows to work on at a time.

    Returns:
        `State`; (sweeps,) bounds, each of the state that the sweep started from; (n_init,) bounds
        of the starts, empty after a warm start.

    Raises:
        ValueError: shapes do not agree, or K is not known.
    """
    rng = np.random.default_rng(rng)
    num_components = _check_num_components(num_components, state, class_prior)
    data = _Data(prior, x, variance, class_prior, sample_weight, chunk_size)
    start_bounds = np.empty(0)
    if state is None:
        sweeps = min(START_SWEEPS, num_sweeps)
        state, _, start_bounds = _start(data, prior, num_components, sweeps, n_init, rng)
    before = quadratic_form.prior_terms(prior.normal_wishart)
    bounds = []
    for sweep in range(1, num_sweeps + 1):
        sums, bound = _expect(data, prior, state, _terms(data, before, state))
        state = maximize(prior, sums)
        bounds.append(bound)
        try:
            if callback is not None:
                callback(sweep, num_sweeps, bound, state)
        except StopIteration:
            break
        if tolerance is not None and sweep > 1:
            if bound - bounds[-2] < tolerance * sums.weight:
                break
    return state, np.array(bounds), start_bounds


def _start(data, prior, num_components, num_sweeps, n_init, rng, adapt=False):
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


class _Run(NamedTuple):
    """Where a short run from a cold start has come to."""

    state: State
    prior: Prior
    bound: float


def _short_run(data, prior, responsibilities, weight, num_sweeps, adapt):
    """A few sweeps from responsibilities (N, K) that count with weight (N,), or None."""
    sums = statistics_from_responsibilities(prior, responsibilities, data.x, data.variance, weight)
    adapted, before = prior, quadratic_form.prior_terms(prior.normal_wishart)
    for _ in range(num_sweeps):
        state = maximize(adapted, sums)
        terms = _terms(data, before, state)
        sums, _ = _expect(data, adapted, state, terms)
        if adapt:
            adapted = _adapted(prior, adapted, state, terms)
            before = quadratic_form.prior_terms(adapted.normal_wishart)
    state = maximize(adapted, sums)
    _, bound = _expect(data, adapted, state, _terms(data, before, state))
    return _Run(state, adapted, bound)


def _adapted(prior, adapted, state, terms):
    """The strengths of the prior under which the bound of this state is highest.

    The derivative of E[log p(mu, Lambda)] vanishes there. They stay within what can be meant: the
    scatter between a hundredth of the prior's and the data's whole variance expected of every
    component, the mean between a hundredth of the prior's precision and all of it.
    """
    num_components, num_features = state.mean.shape
    energy = num_components * num_features
    factor = energy * prior.degrees_of_freedom / terms.trace.sum()
    factor *= adapted.scatter[0, 0] / prior.scatter[0, 0]
    precision = energy / (num_features / state.mean_precision + terms.mean_distance).sum()
    return prior._replace(
        scatter=prior.scatter * np.clip(factor, 0.01, prior.degrees_of_freedom),
        mean_precision=prior.mean_precision * np.clip(precision / prior.mean_precision, 0.01, 1.0),
    )


def _terms(data, before, state):
    """What the E step and the bound need to know of a state; `before` are the `PriorTerms`."""
    return data.form.terms(state.normal_wishart, before.belief.mean[0], before)


def _expect(data, prior, state, terms):
    """One pass over the data: `Statistics` under the state, and its bound."""
    log_weights = expected_log_weights(state)
    moments = data.form.no_moments(len(state.mean))
    log_evidence = weight = 0.0
    for _, block in data.blocks():
        joint = data.form.log_density(terms, block.data, data.buffer(len(state.mean), block))
        if block.missing is not None:
            joint[:, block.missing] = 0.0
        joint += log_weights[:, None] if block.log_prior is None else block.log_prior
        peak = joint.max(axis=0)
        joint -= peak
        _exponentiate(joint)
        total = joint.sum(axis=0)
        if block.weight is None:
            log_evidence += np.log(total).sum() + peak.sum()
            joint *= np.reciprocal(total, out=total)
        else:
            log_evidence += (np.log(total) + peak) @ block.weight
            joint *= block.weight / total
        data.form.add_moments(moments, joint, block.data)
        weight += block.total_weight
    sums = Statistics(*data.form.unpack(moments), float(log_evidence), float(weight))
    divergence = terms.divergence.sum()
    if data.class_prior is None:
        divergence += _weight_divergence(prior, state, log_weights)
    return sums, float(log_evidence - divergence)


class _Block(NamedTuple):
    """C data made ready for the E and M step."""

    data: object  # what the quadratic form makes of them
    log_prior: np.ndarray | None  # (K, C)
    weight: np.ndarray | None  # (C,), 0 where missing
    missing: np.ndarray | None  # (C,) bool
    size: int
    total_weight: float


class _Data:
    """The data of a fit, in blocks that are kept where they fit into memory, else made anew.

    Args:
        prior: `Prior` whose mean is the origin.
        x: (N, D), sliced only.
        variance: (N, D) or None.
        class_prior: (N, K) or None.
        sample_weight: (N,) or None.
        chunk_size: rows of a block, or None.
        memory: how many bytes the kept blocks may take.
    """

    def __init__(
        self,
        prior,
        x,
        variance=None,
        class_prior=None,
        sample_weight=None,
        chunk_size=None,
        memory=BLOCK_MEMORY,
    ):
        self.prior, self.x = prior, _sliceable(x)
        self.variance, self.class_prior = _sliceable(variance), _sliceable(class_prior)
        self.sample_weight = None if sample_weight is None else np.asarray(sample_weight)
        self.form = quadratic_form.for_num_features(len(prior.mean))
        if chunk_size is None:  # blocks of the same size
            num_blocks = max(1, -(-len(x) // self.form.chunk_size))
            chunk_size = max(1, -(-len(x) // num_blocks))
        self.chunk_size = chunk_size
        self.memory = memory
        self.kept = None
        self.buffers = {}
        self._check()

    def blocks(self):
        """Pairs of the rows (a slice) and their `_Block`, good until the next is asked for."""
        if self.kept is None and 8 * self.form.width * len(self.x) <= self.memory:
            self.kept = list(self._make_blocks())
        if self.kept is not None:
            return self.kept
        return self._make_blocks(self.form.memory(min(self.chunk_size, len(self.x))))

    def buffer(self, num_components, block):
        """Memory (K, C) for a block's responsibilities, the same one for all of this size."""
        shape = (num_components, block.size)
        if shape not in self.buffers:
            self.buffers[shape] = np.empty(shape)
        return self.buffers[shape]

    def sample(self, num_samples, rng):
        """At most so many of the data, without a class prior."""
        if len(self.x) <= num_samples:
            return _Data(self.prior, self.x, self.variance, None, self.sample_weight)
        chosen = np.sort(rng.choice(len(self.x), num_samples, replace=False))
        variance = None if self.variance is None else _take(self.variance, chosen)
        weight = None if self.sample_weight is None else self.sample_weight[chosen]
        return _Data(self.prior, _take(self.x, chosen), variance, None, weight)

    @property
    def total_weight(self):
        """The weight of all data that say something."""
        return sum(block.total_weight for _, block in self.blocks())

    def _make_blocks(self, memory=None):
        for start in range(0, len(self.x), self.chunk_size):
            rows = slice(start, min(start + self.chunk_size, len(self.x)))
            yield (
                rows,
                _make_block(
                    self.form,
                    self.prior.mean,
                    *(storage.read(part, rows) for part in (self.x, self.variance)),
                    *(storage.read(part, rows) for part in (self.class_prior, self.sample_weight)),
                    memory,
                ),
            )

    def _check(self):
        num_samples, num_features = len(self.x), len(self.prior.mean)
        shape = (num_samples, num_features)
        expected = {"x": (self.x, shape), "variance": (self.variance, shape)}
        expected["sample_weight"] = (self.sample_weight, (num_samples,))
        if self.class_prior is not None:
            num_components = self.class_prior.shape[-1]
            expected["class_prior"] = (self.class_prior, (num_samples, num_components))
        for name, (value, shape) in expected.items():
            if value is not None and tuple(value.shape) != shape:
                raise ValueError(
                    f"`{name}` must have the shape {shape}: {num_samples} samples, and a prior "
                    f"over {num_features} features. Received: {name} of shape {tuple(value.shape)}"
                )


class _Prediction:
    """Expected log densities of new data under a state, block by block."""

    def __init__(self, state, variance, chunk_size):
        self.variance = variance
        self.origin = mean_weights(state) @ state.mean
        self.form = quadratic_form.for_num_features(state.mean.shape[1])
        self.chunk_size = chunk_size or self.form.chunk_size
        self.terms = self.form.terms(state.normal_wishart, self.origin)

    def blocks(self, x, class_prior=None):
        for start in range(0, len(x), self.chunk_size):
            rows = slice(start, start + self.chunk_size)
            yield (
                rows,
                _make_block(
                    self.form,
                    self.origin,
                    *(storage.read(part, rows) for part in (x, self.variance, class_prior)),
                    None,
                ),
            )

    def log_density(self, block):
        density = self.form.log_density(self.terms, block.data)
        if block.missing is not None:
            density[:, block.missing] = 0.0
        return density


def _make_block(form, origin, x, variance, class_prior, sample_weight, memory=None):
    """A `_Block` of C rows: x (C, D), variance, class_prior (C, K), sample_weight (C,) or None."""
    deviations = np.asarray(x, np.float64) - origin
    missing = None
    if variance is not None:
        variance = np.asarray(variance, np.float64)
        unknown = np.isinf(variance).any(axis=1)
        if unknown.any():
            missing = unknown
            deviations[missing] = 0.0
            variance = np.where(missing[:, None], 0.0, variance)
    log_prior = None
    if class_prior is not None:
        with np.errstate(divide="ignore"):
            log_prior = np.log(np.asarray(class_prior, np.float64).T)
    weight = None if sample_weight is None else np.array(sample_weight, np.float64)
    if missing is not None:
        weight = (~missing).astype(np.float64) if weight is None else weight * ~missing
    size = len(deviations)
    total_weight = float(size if weight is None else weight.sum())
    data = form.block(deviations, variance, memory)
    return _Block(data, log_prior, weight, missing, size, total_weight)


def _weight_divergence(prior, state, log_weights):
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


def _exponentiate(joint):
    """exp of (K, C) in place, values at most 0; where most are negligible they become 0 at once."""
    flat = joint.reshape(-1)
    counted = flat > NEGLIGIBLE_LOG
    if 3 * np.count_nonzero(counted) > counted.size:
        np.maximum(joint, LOWEST_LOG, out=joint)
        np.exp(joint, out=joint)
    else:
        places = np.flatnonzero(counted)
        values = np.exp(flat[places])
        flat.fill(0.0)
        flat[places] = values


def _log_sum_exp(joint):
    """log sum_k exp joint[k], (C,), of (K, C)."""
    peak = joint.max(axis=0)
    return np.log(np.exp(joint - peak).sum(axis=0)) + peak


def _sliceable(x):
    """The data themselves if they have a shape, wherever they live, else as an array."""
    return x if x is None or hasattr(x, "shape") else np.asarray(x)


def _take(x, rows):
    """The given rows (ascending), (len(rows), D) float64, of anything that can be sliced."""
    if isinstance(x, np.ndarray):
        return storage.gather(x, rows, np.float64)
    return np.concatenate([np.asarray(x[row : row + 1], np.float64) for row in rows])


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


def _check_num_components(num_components, state, class_prior):
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
