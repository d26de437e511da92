"""A mixture of Gaussians and a Markov chain over its classes, learned together.

    z ~ chain (`reported_chain`),   c_t | z_t ~ reports[z_t],   x_t | c_t ~ Normal(mu, Lambda^-1)

With q(z, c) q(mu, Lambda) and point estimates of the chain, the bound

    log Z - sum_k KL(q(mu_k, Lambda_k) || prior) + log prior of the chain,
    log Z = log sum over z and c of P(z) prod_t reports[z_t, c_t] exp E[log N(x_t; c_t)],

never falls in a sweep: forward-backward gives q(z, c) exactly, and the two M steps are those of the
mixture and of the chain. It compares starts, too. A mixture that is learned alone first ends where
its classes, not their order, tell most; no kind of start finds every order, so starts of several
kinds compete by the bound after a few sweeps: segments of time, random runs, neighboring steps,
and clusters of single steps under transitions that stay or that go round.

Reference: MacKay (1997), Ensemble learning for hidden Markov models; Bishop (2006), section 10.2.
"""

from typing import NamedTuple

import numpy as np

from kserket import hosts, storage
from kserket.hosts import any_host, sum_over_hosts
from kserket.inference import class_prior, joint_starts, quadratic_form, reported_chain
from kserket.inference.gaussian_mixture import empirical_bayes, learning
from kserket.inference.gaussian_mixture.blocks import Blocks, take_rows
from kserket.inference.gaussian_mixture.data import Data, check_counts, prepared
from kserket.inference.gaussian_mixture.parameters import (
    Prior,
    State,
    Statistics,
    maximize,
)
from kserket.inference.gaussian_mixture.scoring import log_slopes
from kserket.inference.gaussian_mixture.sweep import log_responsibilities
from kserket.inference.sequences import check_lengths, stretches, stretches_of_hosts

NUM_STARTS = 31
_HEATS = (5, 10, False), (15, 3, True), (200, 1, False)  # sweeps, how many stay, prior moves
_SAME = 1e-5  # difference of bounds a step, in nats, of runs that are the same by then
MAX_START_STEPS = 20_000
_OWN_STARTS = 2  # of the mixture alone, whose end is one of the starts


class Order(NamedTuple):
    """What is known of the chain over N steps before learning.

    Attributes:
        prior: `reported_chain.Prior`.
        state: `reported_chain.State` to go on from, or None.
        lengths: Lengths (S,) of the sequences, or None for one.
        log_prior: (N, K) log class prior of each step's state, or None.
        n_init: Number of starts; None makes `NUM_STARTS`.
    """

    prior: reported_chain.Prior
    state: reported_chain.State | None = None
    lengths: np.ndarray | None = None
    log_prior: np.ndarray | None = None
    n_init: int | None = None


class Fit(NamedTuple):
    """What mixture and chain have learned together."""

    prior: Prior
    mixture: State
    chain: reported_chain.State  # an M step after the mixture
    statistics: reported_chain.Statistics | None  # of which the chain was made
    bound: float | None  # before that M step


def learn(data, options, order, found=None, *, rng, num_sweeps=100, callback=None):
    """Learns mixture and chain, from starts or from what was found before.

    Args:
        data: `gaussian_mixture.data.Data` of N steps.
        options: `learning.Options` of a variational mixture.
        order: `Order`.
        found: `gaussian_mixture.data.Found` of an earlier call, or None for starts.
        rng: Numpy Generator.
        num_sweeps: How many sweeps to do at most, after those of the starts.
        callback: Called after each sweep as `callback(sweep, num_sweeps, bound, reach)`, where
            `reach()` returns the `gaussian_mixture.data.Found` of that sweep. `StopIteration`
            ends learning.

    Returns:
        `gaussian_mixture.data.Found`, and the `Fit` that it is a part of.
    """
    check_counts(data)
    if found is None:
        few = options._replace(n_init=options.n_init or _OWN_STARTS)
        found = learning.begin(data.seen()[0], few, rng)
        data = prepared(data, found)
        fit = _best_start(data, options, order, found, rng)
        fit = fit._replace(chain=reported_chain.timed(fit.chain, order.prior))
    else:
        data = prepared(data, found)
        chain = order.state
        if chain is None:
            chain = reported_chain.first(len(found.state.mean), order.prior)
        fit = Fit(found.prior, found.state, chain, None, None)
    slopes = log_slopes(data, found.transform)

    def reach(fit):
        return found._replace(prior=fit.prior, state=fit.mixture, figure=fit.bound + slopes)

    def report(sweep, num_sweeps, bound, fit):
        callback(sweep, num_sweeps, bound + slopes, lambda: reach(fit))

    blocks = _blocks(data, fit.prior)
    fit, _, _ = climb(
        blocks,
        order,
        _resume(blocks, order, fit),
        max_sweeps=num_sweeps,
        tolerance=options.tolerance,
        callback=None if callback is None else report,
    )
    return reach(fit), fit


class Run(NamedTuple):
    """How far sweeps have come, and what the next one begins with."""

    fit: Fit
    sums: Statistics  # of the mixture, under the classes of the last sweep
    settled: bool  # whether the last sweep gained too little for another one


def climb(data, order, run, *, max_sweeps, tolerance, learner=None, callback=None):
    """Sweeps over mixture and chain.

    Args:
        data: `Blocks` of N steps, those that are missing with infinite variance.
        order: `Order`.
        run: `Run` to go on from: its sums, and the prior and chain of its fit.
        max_sweeps: How many sweeps at most.
        tolerance: A sweep that gains less than this per step is the last one; None does all.
        learner: `empirical_bayes.Learner` of the prior, which then moves with the sweeps, or None.
        callback: Called as callback(sweep, max_sweeps, bound, fit) after each sweep; may raise
            StopIteration to end.

    Returns:
        `Run`.
    """
    (prior, _, chain, _, last), sums, _ = run
    before = quadratic_form.prior_terms(prior.normal_wishart)
    for sweep in range(1, max_sweeps + 1):
        mixture = maximize(prior, sums)
        terms = data.form.terms(mixture.normal_wishart, prior.mean, before)
        evidence = _log_likelihood(data, terms, len(mixture.mean))
        statistics, classes = reported_chain.infer(evidence, chain, order.lengths, order.log_prior)
        statistics, number = sum_over_hosts((statistics, len(data.x)))
        bound = reported_chain.objective(statistics.log_likelihood, chain, order.prior) - float(
            terms.divergence.sum()
        )
        chain = reported_chain.maximize(statistics, order.prior, chain.durations)
        fit = Fit(prior, mixture, chain, statistics, bound)
        sums = _sums(data, classes)
        settled, ended = tolerance is not None and bound - last < tolerance * number, False
        if callback is not None:
            try:
                callback(sweep, max_sweeps, bound, fit)
            except StopIteration:
                ended, settled = True, False
        if any_host(ended or settled):
            return Run(fit, sums, bool(settled))
        last = bound
        if learner is not None:
            prior = learner.after_sweep(mixture, terms, sums)
            before = quadratic_form.prior_terms(prior.normal_wishart)
    return Run(fit, sums, False)


def _best_start(data, options, order, found, rng):
    """The best of several starts, a `Fit`.

    After some sweeps the best by the bound go on, twice. Meanwhile each class is a state, without
    durations. The first start is where the mixture alone ended. Several hosts start from stretches
    of all their steps.
    """
    if hosts.num_hosts() > 1:
        pieces = _pieces_of_hosts(data, order)
        with hosts.alone():
            fit = _best_start(pieces[0], options, pieces[1], found, rng)
        return hosts.from_first_host(fit)
    data, order = _pieces(data, order)
    order = order._replace(prior=order.prior._replace(trust=np.inf, durations=None))
    seen = data.seen()[0]
    base = learning.first_prior(seen, options)
    center, scale = seen.x.mean(axis=0), seen.x.std(axis=0)
    x = (data.x - center) / np.where(scale > 0, scale, 1.0)
    if data.missing is not None:
        x[data.missing] = 0.0
    blocks, learner = _blocks(data, base), None
    if options.learns_prior():
        learner = empirical_bayes.Learner(base, blocks.form, learn_weights=False)
    given = data.log_prior if order.log_prior is None else order.log_prior
    log_own, _ = log_responsibilities(found.state, data.x, blocks.variance, given)
    own = joint_starts.Start(np.exp(log_own), None)
    n_init = NUM_STARTS if order.n_init is None else order.n_init
    decides = given is not None and class_prior.decides(np.exp(given))
    guesses = joint_starts.starts(
        x,
        options.num_components,
        0 if decides else n_init - 1,  # a prior that decides gives classes their meaning
        rng,
        lengths=check_lengths(order.lengths, len(x)),
        allowed=order.prior.allowed,
        log_prior=given,
    )
    runs = []
    for guess in [own, *guesses]:
        sums = _sums(blocks, guess.classes)
        prior = found.prior if learner is None else learner.before_sweeps(sums)
        chain = reported_chain.from_classes(
            guess.classes, order.prior, order.lengths, guess.transitions
        )
        runs.append(Run(Fit(prior, None, chain, None, -np.inf), sums, False))
    for num_sweeps, most, moves in _HEATS:
        runs = [
            run
            if run.settled
            else climb(
                blocks,
                order,
                run,
                max_sweeps=num_sweeps,
                tolerance=options.tolerance or 1e-6,
                learner=learner if moves else None,
            )
            for run in runs
        ]
        runs = _best(runs, most, len(data.x))
    return runs[0].fit


def _best(runs, most, num_steps):
    """The best runs by the bound, one of those that have come to the same end."""
    kept = []
    for run in sorted(runs, key=lambda run: run.fit.bound, reverse=True):
        if all(other.fit.bound - run.fit.bound > _SAME * num_steps for other in kept):
            kept.append(run)
    return kept[:most]


def _pieces(data, order):
    """Steps that starts are made from, all or some stretches of time: `Data` and `Order`."""
    num_steps, most = len(data.x), _max_start_steps(data)
    if num_steps <= most:
        return data, order
    rows, lengths = stretches(check_lengths(order.lengths, num_steps), most)
    data = Data(*(part if part is None else take_rows(part, rows) for part in data))
    missing = None if data.missing is None else data.missing.astype(bool)
    prior = None if order.log_prior is None else order.log_prior[rows]
    return data._replace(missing=missing), order._replace(lengths=lengths, log_prior=prior)


def _pieces_of_hosts(data, order):
    """`_pieces` of the steps of all hosts, the same on all."""
    lengths = check_lengths(order.lengths, len(data.x))
    rows, lengths = stretches_of_hosts(lengths, _max_start_steps(data))
    parts = (storage.take(part, rows) for part in (*data, order.log_prior))
    *parts, log_prior = map(hosts.gather_rows, parts)
    return Data(*parts), order._replace(lengths=lengths, log_prior=log_prior)


def _max_start_steps(data):
    """How many steps starts are made from at most."""
    return max(1000, min(MAX_START_STEPS, 4_000_000 // data.x.shape[1]))


def _blocks(data, prior):
    """`Blocks` of all steps, missing ones with infinite variance."""
    variance = data.variance
    if data.missing is not None:
        variance = np.zeros(data.x.shape) if variance is None else np.array(variance)
        variance[data.missing] = np.inf
    return Blocks(prior, data.x, variance, data.log_prior)


def _resume(data, order, fit):
    """A `Run` that goes on from where a `Fit` of these or other steps ended."""
    before = quadratic_form.prior_terms(fit.prior.normal_wishart)
    terms = data.form.terms(fit.mixture.normal_wishart, fit.prior.mean, before)
    evidence = _log_likelihood(data, terms, len(fit.mixture.mean))
    inferred = reported_chain.infer(evidence, fit.chain, order.lengths, order.log_prior)
    statistics = sum_over_hosts(inferred.statistics)
    chain = reported_chain.maximize(statistics, order.prior, fit.chain.durations)
    return Run(fit._replace(chain=chain, bound=-np.inf), _sums(data, inferred.classes), False)


def _log_likelihood(data, terms, num_components):
    """E[log N(x_t; class)] of all steps, 0 if missing, and what is known of the class: (N, K)."""
    result = np.empty((len(data.x), num_components))
    for rows, block in data.blocks():
        density = data.form.log_density(terms, block.data, data.buffer(num_components, block))
        if block.missing is not None:
            density[:, block.missing] = 0.0
        if block.log_prior is not None:
            density += block.log_prior
        result[rows] = density.T
    return result


def _sums(data, classes):
    """`Statistics` of the mixture from class probabilities (N, K), of all hosts."""
    moments, weight = data.form.no_moments(classes.shape[1]), 0.0
    for rows, block in data.blocks():
        weighted = np.ascontiguousarray(classes[rows].T)
        if block.weight is not None:
            weighted *= block.weight
        data.form.add_moments(moments, weighted, block.data)
        weight += block.total_weight
    moments, weight = sum_over_hosts((moments, weight))
    return Statistics(*data.form.unpack(moments), np.nan, weight)
