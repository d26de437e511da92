"""Learning a Markov chain from what somebody else reports of its states.

    z_t | z_{t-1} ~ transitions[z_{t-1}]    the state, which only the chain knows
    c_t | z_t ~ reports[z_t]                the class that the reporter takes it for
    reported_t(k) ∝ P(x_t | c_t = k)        what the reporter says of that class

With `reports` the identity this is a hidden Markov model whose emissions are the reporter's. But
a reporter (a mixture, a topic model) is often sure and wrong: it takes two states for one class
and splits a third in two, with odds of e^100 that no transition can speak against. Learning how
far its word goes keeps the chain in charge of the order of things: what it then says of a step
comes from the order, not from echoing the reporter. The prior leans toward taking the reporter
at its word, so without any order in the data states and classes stay the same.

Learning is expectation maximization with Dirichlet priors, from the best of several starts.
States carry the numbers of the classes that report them.

Reference: Rabiner (1989), A tutorial on hidden Markov models, section III.C; Dawid and Skene
(1979), Maximum likelihood estimation of observer error-rates using the EM algorithm.
"""

from typing import NamedTuple

import numpy as np

from kserket import hosts
from kserket.arrays import row_max
from kserket.floors import SMALLEST
from kserket.hosts import any_host, sum_over_hosts
from kserket.inference import durations as laws
from kserket.inference import markov_chain
from kserket.inference.sequences import check_lengths, first_and_later, stretches_of_hosts

_MAX_START_STEPS = 20_000


class Prior(NamedTuple):
    """Pseudo-counts: every probability is estimated as (count + pseudo-count) / (their sum)."""

    initial: float = 1.0  # of each first state
    transitions: float = 0.1  # of each transition
    reports: float = 0.1  # of each class, in every state
    trust: float = 10.0  # beside that, of the class of the state's own number; inf: never doubted
    allowed: np.ndarray | None = None  # (K, K) booleans: transitions that may happen; None: all
    durations: laws.Prior | None = None  # of states that last for a law of their own

    def transition_counts(self, num_states):
        """Pseudo-counts of transitions, (K, K); with durations, of those to another state."""
        counts = np.full((num_states, num_states), self.transitions)
        counts = counts if self.allowed is None else counts * self.allowed
        if self.durations is not None:
            last = ~(counts * (1 - np.eye(num_states))).any(axis=1)  # nothing else follows
            counts[np.diag_indices(num_states)] *= last
        return counts

    def report_counts(self, num_states):
        """Pseudo-counts of reports, (K, K)."""
        return self.reports + self.trust * np.eye(num_states)


class State(NamedTuple):
    """The chain and its reporter."""

    initial: np.ndarray  # (K,) P(z_1)
    transitions: np.ndarray  # (K, K) P(z_{t+1} = column | z_t = row)
    reports: np.ndarray  # (K, K) P(c_t = column | z_t = row)
    durations: laws.Durations | None = None  # with them, transitions are from segment to segment

    @property
    def lasting(self):
        """What `markov_chain` needs of the durations; None of none."""
        return None if self.durations is None else self.durations.lasting()

    def renumbered(self, order):
        """The same chain with state order[k] as number k; order is (K,)."""
        return State(
            self.initial[order],
            self.transitions[np.ix_(order, order)],
            self.reports[order],
            None if self.durations is None else self.durations.renumbered(order),
        )


class Statistics(NamedTuple):
    """Sums over whole sequences; those of parts add up to those of the whole (`merge`)."""

    initial: np.ndarray  # (K,) times that a sequence starts in a state
    transitions: np.ndarray  # (K, K) times that one state follows another
    reports: np.ndarray  # (K, K) times that a state was reported as a class
    log_likelihood: float  # of what was reported, under the state that made these
    durations: np.ndarray | None = None  # (2, K, D) times that a state left, and stayed, at an age


class Fit(NamedTuple):
    """What learning arrived at."""

    state: State
    objectives: np.ndarray  # (sweeps,) before each M step of the run that won
    converged: bool
    statistics: Statistics | None  # of the last sweep, from which the state follows; None of none


def trusting(num_states):
    """The `State` that knows nothing of the order and never doubts a report."""
    return State(
        np.full(num_states, 1.0 / num_states),
        np.full((num_states, num_states), 1.0 / num_states),
        np.eye(num_states),
    )


def first(num_states, prior):
    """`trusting`, without the transitions that may not happen."""
    return timed(_constrained(trusting(num_states), prior), prior)


def timed(state, prior):
    """A chain whose states last as they do in one without durations, if the prior asks for it."""
    if prior.durations is None:
        return state
    durations, transitions = laws.from_transitions(state.transitions, prior.durations)
    return state._replace(transitions=transitions, durations=durations)


def from_classes(classes, prior, lengths=None, transitions=None):
    """A `State` that never doubts its reports, from a guess of the classes.

    Args:
        classes: (N, K), rows summing to one.
        prior: `Prior`.
        lengths: As in `expect`.
        transitions: (K, K), or None to count them in the classes.

    Returns:
        `State`.
    """
    starts, after = first_and_later(check_lengths(lengths, len(classes)))
    num_states = classes.shape[1]
    if transitions is None:
        counts = classes[after - 1].T @ classes[after]
        transitions = to_probabilities(counts + prior.transition_counts(num_states))
    initial = to_probabilities(classes[starts].sum(axis=0) + prior.initial)
    return _constrained(State(initial, transitions, np.eye(num_states)), prior)


def state_evidence(log_reported, reports, log_prior=None):
    """What the reports say about states: log sum_k reports[z, k] exp(log_reported[t, k]).

    Args:
        log_reported: (N, K), unnormalized; a row of equal values says nothing.
        reports: (K, K) P(class = column | state = row).
        log_prior: (N, K) log class prior of each step, or None.

    Returns:
        (N, K), unnormalized.
    """
    if np.array_equal(reports, np.eye(len(reports))):
        evidence = log_reported
    else:
        peak = row_max(log_reported)[:, None]
        relative = log_reported - peak
        likelihood = np.exp(relative, out=relative) @ reports.T
        evidence = np.maximum(likelihood, SMALLEST)
        np.log(evidence, out=evidence)
        evidence += peak
        if likelihood.size and likelihood.min() <= SMALLEST:  # only with zeros
            with np.errstate(divide="ignore"):
                log_reports = np.log(reports)
            for row in np.flatnonzero((likelihood <= SMALLEST).any(axis=1)):
                evidence[row] = np.logaddexp.reduce(log_reports + log_reported[row], axis=1)
    return evidence if log_prior is None else evidence + log_prior


class Inferred(NamedTuple):
    """What one pass over the reports says."""

    statistics: Statistics
    classes: np.ndarray  # (N, K) P(c_t = k | everything)


def expect(log_reported, state, lengths=None, log_prior=None, num_paths=None, rng=None):
    """E step: one pass over the reports.

    Args:
        log_reported: (N, K), as in `state_evidence`.
        state: `State`.
        lengths: Lengths of the sequences, summing to N. Default: one sequence.
        log_prior: (N, K) or None.
        num_paths: Count in so many sampled paths instead of computing expectations.
        rng: Numpy Generator, for sampling.

    Returns:
        `Statistics`.
    """
    num_states = len(state.initial)
    evidence = state_evidence(log_reported, state.reports, log_prior)
    chain = state.initial, state.transitions
    smoothed = markov_chain.smooth(evidence, *chain, lengths, state.lasting)
    counts, marginals = smoothed.counts, np.exp(smoothed.log_marginals)
    if num_paths is not None:
        options = {"lengths": lengths, "lasting": state.lasting, "rng": rng}
        paths = markov_chain.sample_paths(evidence, *chain, num_paths, **options)
        limit = None if state.durations is None else state.durations.limit
        counts = markov_chain.count(paths, num_states, lengths, limit)
        marginals = np.mean(paths[:, :, None] == np.arange(num_states), axis=0)
    reports, _ = _count_reports(log_reported, state.reports, marginals)
    return _statistics(counts, reports, smoothed)


def infer(log_reported, state, lengths=None, log_prior=None):
    """`expect`, and the classes' own probabilities.

    Args:
        log_reported: (N, K), as in `state_evidence`.
        state: `State`.
        lengths: As in `expect`.
        log_prior: (N, K) or None.

    Returns:
        `Inferred`.
    """
    evidence = state_evidence(log_reported, state.reports, log_prior)
    chain = state.initial, state.transitions
    smoothed = markov_chain.smooth(evidence, *chain, lengths, state.lasting)
    marginals = np.exp(smoothed.log_marginals)
    if np.array_equal(state.reports, np.eye(len(state.reports))):  # states are classes
        reports, classes = np.diag(marginals.sum(axis=0)), marginals
    else:
        reports, classes = _count_reports(log_reported, state.reports, marginals)
    return Inferred(_statistics(smoothed.counts, reports, smoothed), classes)


def _statistics(counts, reports, smoothed):
    initial, transitions, durations = counts
    return Statistics(initial, transitions, reports, smoothed.log_likelihood, durations)


def _count_reports(log_reported, reports, marginals):
    """Expected times (K, K) that a state was reported as a class, and the classes (N, K)."""
    reported = log_reported - row_max(log_reported)[:, None]
    np.exp(reported, out=reported)
    shares = reported @ reports.T
    np.divide(marginals, np.maximum(shares, SMALLEST, out=shares), out=shares)
    counts = reports * (shares.T @ reported)
    reported *= shares @ reports
    return counts, reported


def merge(*statistics):
    """The `Statistics` of all sequences together, from those of parts under the same state."""
    return Statistics(*map(markov_chain.total, zip(*statistics, strict=True)))


def maximize(statistics, prior, durations=None):
    """M step: the most probable `State` given the statistics, under Dirichlets.

    Each distribution is (count + pseudo-count) / (their sum): the mode under a
    Dirichlet(pseudo-count + 1), or the mean under a Dirichlet(pseudo-count).

    Args:
        statistics: `Statistics`.
        prior: `Prior`; with infinite trust reports stay the identity.
        durations: `durations.Durations` of the state that made the statistics, or None.

    Returns:
        `State`. Its durations are more probable than those before, not the most probable.
    """
    num_states = len(statistics.initial)
    if np.isinf(prior.trust):
        reports = np.eye(num_states)
    else:
        reports = to_probabilities(statistics.reports + prior.report_counts(num_states))
    return State(
        to_probabilities(statistics.initial + prior.initial),
        to_probabilities(statistics.transitions + prior.transition_counts(num_states)),
        reports,
        durations and laws.maximize(statistics.durations, durations, prior.durations),
    )


def objective(log_likelihood, state, prior):
    """What learning climbs: log likelihood plus log prior, up to a constant.

    Args:
        log_likelihood: Of the reports under `state`.
        state: `State`.
        prior: `Prior`.

    Returns:
        A float.
    """
    parts = [
        (prior.initial, state.initial),
        (prior.transition_counts(len(state.initial)), state.transitions),
    ]
    if np.isfinite(prior.trust):
        parts.append((prior.report_counts(len(state.initial)), state.reports))
    log_prior = sum(np.sum(count * np.log(np.maximum(p, SMALLEST))) for count, p in parts)
    if state.durations is not None:
        log_prior += laws.log_prior(state.durations, prior.durations)
    return float(log_likelihood + log_prior)


def climb(
    log_reported,
    state,
    prior,
    *,
    lengths=None,
    log_prior=None,
    max_sweeps=100,
    tolerance=1e-6,
    num_paths=None,
    rng=None,
    callback=None,
):
    """Sweeps from one state onwards. The objective never falls, unless paths are sampled.

    Args:
        log_reported: (N, K), as in `state_evidence`.
        state: `State` to start from.
        prior: `Prior`.
        lengths: As in `expect`.
        log_prior: (N, K) or None.
        max_sweeps: E and M steps at most.
        tolerance: Stop when a sweep gains less than this per step (row); not when sampling, nor if
            None.
        num_paths: As in `expect`.
        rng: Numpy Generator, for sampling.
        callback: Called as callback(sweep, max_sweeps, objective, state) after each; may raise
            StopIteration to end.

    Returns:
        `Fit`.
    """
    objectives, statistics = [], None
    if num_paths is not None:
        rng = hosts.own_rng(rng)
    for sweep in range(1, max_sweeps + 1):
        statistics = expect(log_reported, state, lengths, log_prior, num_paths, rng)
        statistics, number = sum_over_hosts((statistics, len(log_reported)))
        objectives.append(objective(statistics.log_likelihood, state, prior))
        state = maximize(statistics, prior, state.durations)
        gain = np.inf if sweep == 1 else objectives[-1] - objectives[-2]
        settled = tolerance is not None and gain < tolerance * number and num_paths is None
        ended = False
        if callback is not None:
            try:
                callback(sweep, max_sweeps, objectives[-1], state)
            except StopIteration:
                ended, settled = True, False
        if any_host(ended or settled):
            return Fit(state, np.array(objectives), bool(settled), statistics)
    return Fit(state, np.array(objectives), False, statistics)


def fit(log_reported, prior, *, n_init=10, rng, log_prior=None, lengths=None, **options):
    """Learns from nothing: the best of several starts, numbered like the classes.

    One start takes reports almost at their word. The others sort steps by what is reported around
    them, 1, 2 or 3 steps to either side (`neighborhood_start`), since what tells two states
    apart that go by one name is what comes before and after. Short runs of all compete by the
    objective; the first wins unless another is better by more than log N, since the best of
    several gains a few nats by chance. With infinite trust there is one start: the evidence
    itself breaks the symmetry. Unless a class prior or the transitions that are allowed give states
    their meaning, they are numbered so that most reports agree with them. Where states can only
    follow each other upwards, another start reports them in the order in which classes appear.
    Starts are chains without durations. Where the prior has them, the best start goes on with
    negative binomial laws, which begin as the geometric ones of that chain, and the last run with
    what these have become: a Poisson law as short as a poor start's would hold on to it.

    Args:
        log_reported: (N, K), as in `state_evidence`.
        prior: `Prior`.
        n_init: Number of starts.
        rng: Numpy Generator.
        log_prior: (N, K) or None.
        lengths: As in `expect`.
        **options: Of the last run, see `climb`.

    Returns:
        `Fit`.
    """
    state = _start(log_reported, prior, n_init, rng, log_prior, lengths)
    data = {"lengths": lengths, "log_prior": log_prior}
    return climb(log_reported, state, prior, rng=rng, **data, **options)


def _start(log_reported, prior, n_init, rng, log_prior, lengths):
    """The `State` that learning goes on from, see `fit`.

    Several hosts start from stretches of the steps of all of them.
    """
    if hosts.num_hosts() > 1:
        lengths = check_lengths(lengths, len(log_reported))
        rows, lengths = stretches_of_hosts(lengths, _MAX_START_STEPS)
        log_reported, log_prior = (
            None if part is None else hosts.gather_rows(part[rows])
            for part in (log_reported, log_prior)
        )
        with hosts.alone():
            state = _start(log_reported, prior, n_init, rng, log_prior, lengths)
        return hosts.from_first_host(state)
    data = {"lengths": lengths, "log_prior": log_prior}
    given, prior = prior, prior._replace(durations=None)
    state = first(log_reported.shape[1], prior)
    if np.isfinite(prior.trust):
        near = 0.7 * state.reports + 0.3 / len(state.reports)
        starts = [state._replace(reports=near)]
        if prior.allowed is not None and not np.tril(prior.allowed, -1).any():
            order = _order_in_time(log_reported, lengths)
            starts.append(state._replace(reports=near[order]))
        for index in range(n_init - 1):
            reach = 1 + index % 3
            start = neighborhood_start(log_reported, reach, rng, **data)
            starts.append(_constrained(start, prior))
        runs = [climb(log_reported, start, prior, tolerance=1e-4, **data) for start in starts]
        gains = [run.objectives[-1] - runs[0].objectives[-1] for run in runs]
        best = int(np.argmax(gains))
        state = runs[best if gains[best] > np.log(len(log_reported)) else 0].state
        if log_prior is None and prior.allowed is None:
            state = state.renumbered(numbering(expect(log_reported, state, **data).reports))
    if given.durations is not None:
        state = climb(log_reported, state, prior, tolerance=1e-4, **data).state
        free = given._replace(durations=given.durations._replace(law="negative_binomial"))
        state = climb(log_reported, timed(state, free), free, tolerance=1e-4, **data).state
        state = state._replace(durations=laws.under(state.durations, given.durations))
    return state


def neighborhood_start(log_reported, reach, rng, *, lengths=None, log_prior=None):
    """A first `State` from k-means on what is reported from `reach` steps before to after.

    Args:
        log_reported: (N, K), as in `state_evidence`.
        reach: Number of steps to either side.
        rng: Numpy Generator.
        lengths: As in `expect`. Nothing is reported beyond a sequence's ends.
        log_prior: (N, K) or None. States are numbered after it, or after the reports.

    Returns:
        `State`.
    """
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    num_steps, num_states = log_reported.shape
    reported = np.exp(markov_chain.normalize(log_reported))
    lengths = check_lengths(lengths, num_steps)
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    steps = np.arange(num_steps)[:, None] + np.arange(-reach, reach + 1)
    inside = steps.clip(0, num_steps - 1)
    beyond = (steps != inside) | (sequence[inside] != sequence[:, None])
    windows = reported[inside]
    windows[beyond] = 1.0 / num_states
    windows = windows.reshape(num_steps, -1)
    sample = windows
    if num_steps > _MAX_START_STEPS:
        sample = windows[rng.choice(num_steps, _MAX_START_STEPS, replace=False)]
    kmeans = KMeans(
        min(num_states, len(sample)), n_init=1, max_iter=30, random_state=int(rng.integers(2**31))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different windows than states
        clusters = kmeans.fit(sample).predict(windows)
    guess = 0.8 * np.eye(num_states)[clusters] + 0.2 / num_states
    starts, after = first_and_later(lengths)
    named = reported if log_prior is None else np.exp(markov_chain.normalize(log_prior))
    state = State(
        to_probabilities(guess[starts].sum(axis=0)),
        to_probabilities(guess[after - 1].T @ guess[after] + 1.0 / num_states),
        to_probabilities(guess.T @ reported),
    )
    return state.renumbered(numbering(guess.T @ named))


def _constrained(state, prior):
    """The same chain without the transitions that are not allowed."""
    if prior.allowed is None:
        return state
    return state._replace(transitions=to_probabilities(state.transitions * prior.allowed))


def _order_in_time(log_reported, lengths):
    """Classes (K,) in the order of their mean place in a sequence."""
    reported = np.exp(markov_chain.normalize(log_reported))
    lengths = check_lengths(lengths, len(reported))
    place = np.concatenate([(np.arange(length) + 0.5) / length for length in lengths])
    return np.argsort(place @ reported / np.maximum(reported.sum(axis=0), SMALLEST))


def numbering(reports):
    """Which state to give each class's number, so that most reports agree.

    Args:
        reports: (K, K) times that a state (row) was reported as a class (column).

    Returns:
        (K,) state indices, a permutation.
    """
    from scipy.optimize import linear_sum_assignment

    states, classes = linear_sum_assignment(reports, maximize=True)
    return states[np.argsort(classes)]


def to_probabilities(counts):
    """Counts (..., K) divided by the sums of their rows."""
    return counts / counts.sum(axis=-1, keepdims=True)
