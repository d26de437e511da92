"""Documents that have one topic each: the limit of a topic model in which topics do not mix.

    c_d ~ weights, or a prior of its own   the class of a document, which is its topic
    w_dm ~ Multinomial(topics_m[c_d])      its words in modality m

This is latent Dirichlet allocation as alpha goes to 0. A modality may also be a report: class
probabilities that a module below states. Then the class below, j, is itself unknown,

    P(report_d | c_d = k) = sum_j topics_m[k, j] report_d(j),

which is the message that belief propagation has here. Learning is expectation maximization under
Dirichlet priors, which never lowers the posterior density. Statistics are sums over documents:
those of parts add up to those of the whole.

Reference:
    Nigam, McCallum, Thrun and Mitchell, Text classification from labeled and unlabeled documents
    using EM, Machine Learning 39 (2000); Dawid and Skene, Maximum likelihood estimation of
    observer error-rates using the EM algorithm, Applied Statistics 28 (1979).
"""

from typing import NamedTuple

import numpy as np

from kserket.floors import SMALLEST
from kserket.hosts import (
    alone,
    any_host,
    choose_rows,
    from_first_host,
    gather_rows,
    num_hosts,
    sum_over_hosts,
)
from kserket.inference import word_counts
from kserket.inference.class_prior import information

START_SWEEPS = 10
_COMPARED_SWEEPS = 100  # of going on, and of the best new start, where both are possible
MAX_START_DOCUMENTS = 20_000
_DECIDES = 0.1  # information of a class prior from which on classes start from it alone
_SURE = 0.9  # probability from which on a report is sure of a class
_NOTHING = 1e-6  # power of a modality up to which it counts for nothing
_TIE = 1.0  # nats per topic that other classes must gain over those of a sure report


class Modality(NamedTuple):
    """One kind of observation of all documents. A row of zeros says nothing."""

    values: object  # (N, V) counts as `word_counts.read` has them, or class probabilities
    is_report: bool = False
    weight: float = 1.0  # power of its likelihood


class Prior(NamedTuple):
    """Pseudo-counts: probabilities are estimated as (count + pseudo-count) / (their sum)."""

    words: tuple  # M numbers or (V_m,): of each word in every topic
    documents: object = 1.0  # number or (K,): of each class


class State(NamedTuple):
    """What was counted: all that is known of the topics."""

    words: tuple  # M arrays (K, V_m): how often each word stands in each topic
    documents: np.ndarray  # (K,): how many documents each topic has


class Statistics(NamedTuple):
    """Sums over documents under one state; `merge` adds those of parts."""

    state: State
    log_likelihood: float


class Fit(NamedTuple):
    """What learning arrived at."""

    state: State
    objectives: np.ndarray  # (sweeps,), log posterior density before each M step
    responsibilities: np.ndarray  # (N, K) in the last sweep; None without one


def topics(state, prior):
    """P(word | topic) of each modality: a tuple of (K, V_m)."""
    return tuple(_rows(n + b) for n, b in zip(state.words, prior.words, strict=True))


def class_weights(state, prior):
    """P(class), (K,)."""
    return _rows(state.documents + prior.documents)


def log_likelihoods(data, state, prior):
    """What each modality says of each document's class, up to a constant of the document.

    Args:
        data: `Modality`s, M of them.
        state: `State`.
        prior: `Prior`.

    Returns:
        M arrays (N, K).
    """
    return [modality_log_likelihood(*pair) for pair in zip(data, topics(state, prior), strict=True)]


def modality_log_likelihood(modality, topics):
    """What one modality says of each document's class, (N, K), up to a constant of the document.

    Args:
        modality: `Modality`.
        topics: P(word | topic), (K, V).
    """
    if not modality.is_report:
        return modality.weight * np.asarray(modality.values @ np.log(topics).T)
    likelihood = modality.values @ topics.T
    spoken = _totals(modality) > 0
    likelihood[~spoken] = 1.0
    return modality.weight * np.log(np.maximum(likelihood, SMALLEST))


def responsibilities(data, state, prior, log_prior=None):
    """P(class | document) and the log likelihood of all.

    Args:
        data: `Modality`s.
        state: `State`.
        prior: `Prior`.
        log_prior: (N, K) logarithms of class probabilities instead of the class weights, or None.

    Returns:
        (N, K); a float.
    """
    above = np.log(class_weights(state, prior)) if log_prior is None else log_prior
    log_joint = sum(log_likelihoods(data, state, prior)) + above
    peak = log_joint.max(axis=1, keepdims=True)
    joint = np.exp(log_joint - peak)
    total = joint.sum(axis=1, keepdims=True)
    return joint / total, float(np.sum(peak + np.log(total)))


def count(data, responsibilities, topics=None):
    """M step: the `State` that responsibilities (N, K) amount to.

    Args:
        data: `Modality`s.
        responsibilities: (N, K).
        topics: Those under which the classes in reports are inferred; None at a start, where
            reports are taken as they are.
    """
    words = []
    for m, modality in enumerate(data):
        if modality.is_report and topics is not None:
            likelihood = np.maximum(modality.values @ topics[m].T, SMALLEST)
            sums = topics[m] * ((responsibilities / likelihood).T @ modality.values)
        else:
            sums = np.asarray(modality.values.T @ responsibilities).T
        words.append(modality.weight * sums)
    spoken = np.any([_totals(modality) > 0 for modality in data], axis=0)
    return State(tuple(words), responsibilities[spoken].sum(axis=0))


def expect(data, state, prior, log_prior=None):
    """E step: the `Statistics` of these documents under a state; and responsibilities (N, K)."""
    r, log_likelihood = responsibilities(data, state, prior, log_prior)
    return Statistics(count(data, r, topics(state, prior)), log_likelihood), r


def merge(*statistics):
    """The `Statistics` of all documents together, from those of parts under the same state."""
    words = tuple(sum(parts) for parts in zip(*(s.state.words for s in statistics), strict=True))
    documents = sum(s.state.documents for s in statistics)
    return Statistics(State(words, documents), sum(s.log_likelihood for s in statistics))


def objective(log_likelihood, state, prior, log_prior=None):
    """What learning climbs: log likelihood plus the log density of the prior, up to a constant."""
    pairs = list(zip(prior.words, topics(state, prior), strict=True))
    if log_prior is None:
        pairs.append((prior.documents, class_weights(state, prior)))
    return float(log_likelihood + sum(np.sum(b * np.log(p)) for b, p in pairs))


def fit(
    data,
    prior,
    num_topics,
    *,
    state=None,
    log_prior=None,
    n_init=15,
    num_sweeps=100,
    tolerance=1e-6,
    rng=None,
    callback=None,
):
    """Learns topics, from a state onwards or from the best of several starts.

    A start without a class prior is k-means++ on square roots of proportions (distances of
    Hellinger); one under a class prior that says something takes its classes from that.

    Args:
        data: `Modality`s.
        prior: `Prior`.
        num_topics: K.
        state: `State` to go on from, or None.
        log_prior: (N, K) logarithms of class probabilities instead of the class weights, or None.
        n_init: How many starts, from all modalities and from each alone, compete in short runs by
            the objective.
        num_sweeps: At most.
        tolerance: Sweeps end when one gains less than this per document; None does every sweep.
        rng: `numpy.random.Generator`, or a seed.
        callback: Called as callback(sweep, num_sweeps, objective, state) after each;
            StopIteration ends the run with what is reached.

    Returns:
        `Fit`.
    """
    options = {"log_prior": log_prior, "tolerance": tolerance}
    if state is None:
        rng = np.random.default_rng(rng)
        state = _best_start(data, prior, num_topics, n_init, rng, options)
    return climb(data, state, prior, num_sweeps=num_sweeps, callback=callback, **options)


def reconsidered(data, prior, state, *, log_prior=None, n_init=15, tolerance=1e-6, rng=None):
    """A state to go on from: the one that was reached, or what new starts find that is better.

    Where new words come, and with them new classes, two of these may share a topic that no sweep
    divides. Topics keep the numbers of those that they agree with most.

    Args:
        data: `Modality`s.
        prior: `Prior`.
        state: The `State` that was reached.
        log_prior: As in `fit`.
        n_init: As in `fit`.
        tolerance: As in `fit`.
        rng: As in `fit`.

    Returns:
        `State`.
    """
    from scipy.optimize import linear_sum_assignment

    options = {"log_prior": log_prior, "tolerance": tolerance}
    onwards = climb(data, state, prior, num_sweeps=_COMPARED_SWEEPS, **options)
    rng = np.random.default_rng(rng)
    start = _best_start(data, prior, len(state.documents), n_init, rng, options)
    afresh = climb(data, start, prior, num_sweeps=_COMPARED_SWEEPS, **options)
    if not from_first_host(int(afresh.objectives[-1] > onwards.objectives[-1])):
        return state
    before = climb(data, state, prior, num_sweeps=1, **options).responsibilities
    agreement = sum_over_hosts(before.T @ afresh.responsibilities)
    _, order = linear_sum_assignment(agreement, maximize=True)
    words, documents = afresh.state
    return State(tuple(part[order] for part in words), documents[order])


def _best_start(data, prior, num_topics, n_init, rng, options):
    """The `State` that short runs from all starts lead to: in each heat the better third stays.

    With several modalities as many starts see each one alone as see all of them, but for those that
    count for nothing. Several hosts start from a sample of all their documents.
    """
    if num_hosts() > 1:
        data, log_prior = sample_of_hosts(data, options["log_prior"], rng)
        with alone():
            options = {**options, "log_prior": log_prior}
            return from_first_host(_best_start(data, prior, num_topics, n_init, rng, options))
    log_prior, starts = options["log_prior"], []
    if log_prior is not None:
        class_prior = np.exp(log_prior)
        says = float(information(class_prior).mean())
        if says > 0.0:
            starts.append(count(data, class_prior))
        if says > _DECIDES:
            return starts[0]
    single = [[modality] for modality in data if modality.weight > _NOTHING]
    views = [data, *single] if len(single) > 1 else [data]
    for view in views:
        features = start_features(view)
        for _ in range(n_init):
            classes = start(features, num_topics, rng)
            starts.append(count(data, _numbered_as(log_prior, classes)))
    while len(starts) > 1:
        runs = [climb(data, state, prior, num_sweeps=START_SWEEPS, **options) for state in starts]
        runs.sort(key=lambda run: -run.objectives[-1])
        starts = [run.state for run in runs[: max(1, len(runs) // 3)]]
    reported = [_numbered_as(log_prior, classes) for classes in _sure_reports(data, num_topics)]
    if not reported:
        return starts[0]
    starts += [count(data, classes) for classes in reported]
    runs = [climb(data, state, prior, num_sweeps=3 * START_SWEEPS, **options) for state in starts]
    best = max(range(1, len(runs)), key=lambda number: runs[number].objectives[-1])
    gain = runs[0].objectives[-1] - runs[best].objectives[-1]
    return starts[0] if gain > _TIE * num_topics else starts[best]


def sample_of_hosts(data, log_prior, rng):
    """Documents of all hosts that starts are made from, the same on all.

    Args:
        data: `Modality`s of this host.
        log_prior: (N, K) or None.
        rng: `numpy.random.Generator` in the same state on all hosts.

    Returns:
        `Modality`s, and their logarithms of class probabilities or None.
    """
    rows, _ = choose_rows(data[0].values.shape[0], MAX_START_DOCUMENTS, rng)
    data = [
        modality._replace(values=word_counts.gathered(modality.values, rows)) for modality in data
    ]
    return data, None if log_prior is None else gather_rows(log_prior[rows])


def _sure_reports(data, num_topics):
    """Responsibilities (N, K) of each report of as many classes as topics that doubts none."""
    found = []
    for modality in data:
        if modality.is_report and modality.values.shape[1] == num_topics:
            spoken = _totals(modality) > 0
            if spoken.any() and modality.values[spoken].max(axis=1).min() > _SURE:
                found.append(modality.values)
    return found


def _numbered_as(log_prior, responsibilities):
    """Responsibilities (N, K), their classes numbered as a class prior has them, or unchanged."""
    if log_prior is None:
        return responsibilities
    from scipy.optimize import linear_sum_assignment

    _, number = linear_sum_assignment(responsibilities.T @ log_prior, maximize=True)
    return responsibilities[:, np.argsort(number)]


def climb(data, state, prior, *, log_prior=None, num_sweeps, tolerance=0.0, callback=None):
    """Sweeps from one state onwards, see `fit`."""
    objectives, r = [], None
    for sweep in range(1, num_sweeps + 1):
        statistics, r = expect(data, state, prior, log_prior)
        (new, log_likelihood), number = sum_over_hosts((statistics, len(r)))
        objectives.append(objective(log_likelihood, state, prior, log_prior))
        state = new
        stops = tolerance is not None and sweep > 1
        stops = stops and objectives[-1] - objectives[-2] < tolerance * number
        if callback is not None:
            try:
                callback(sweep, num_sweeps, objectives[-1], state)
            except StopIteration:
                stops = True
        if any_host(stops):
            break
    return Fit(state, np.array(objectives), r)


def design_effect(counts, beta, num_topics, rng):
    """How many words of one modality are worth one, by the classes that a short run finds in it.

    Args:
        counts: (N, V), as `word_counts.read` has them.
        beta: Pseudo-count of each word in every topic, a number or (V,).
        num_topics: K; a single topic tells nothing of it.
        rng: `numpy.random.Generator`.

    Returns:
        A float, 1 at least, see `word_counts.design_effect`.
    """
    if num_topics == 1:
        return 1.0
    options = {"n_init": 3, "num_sweeps": START_SWEEPS, "rng": rng}
    run = fit([Modality(counts)], Prior((beta,)), num_topics, **options)
    return word_counts.design_effect(counts, run.responsibilities, beta)


def start_features(data):
    """Square roots of proportions, each modality as far apart as it has to say: sparse (N, V)."""
    from scipy import sparse

    parts = []
    for modality in data:
        total = _totals(modality)
        spoken = total[total > 0]
        strength = modality.weight * spoken.mean() if len(spoken) else 0.0
        part = word_counts.scale(word_counts.read(modality.values), strength)
        parts.append(sparse.csr_array(part).sqrt())
    return sparse.csr_matrix(sparse.hstack(parts, format="csr"))


def start(features, num_topics, rng):
    """One-hot responsibilities (N, K) by the nearest of K documents, drawn far apart."""
    from sklearn.cluster import kmeans_plusplus

    num_documents = features.shape[0]
    sample = np.arange(num_documents)
    if num_documents > MAX_START_DOCUMENTS:
        sample = rng.choice(num_documents, MAX_START_DOCUMENTS, replace=False)
    seed = int(rng.integers(2**31))
    _, chosen = kmeans_plusplus(features[sample], min(num_topics, len(sample)), random_state=seed)
    centers = features[sample[chosen]]
    squares = np.asarray(centers.multiply(centers).sum(axis=1)).ravel()
    distance = squares - 2.0 * (features @ centers.T).toarray()
    result = np.zeros((num_documents, num_topics))
    result[np.arange(num_documents), distance.argmin(axis=1)] = 1.0
    return result


def _totals(modality):
    """How many words each row holds, (N,)."""
    return word_counts.totals(modality.values)


def _rows(values):
    """Rows divided by their sums."""
    return values / values.sum(axis=-1, keepdims=True)
