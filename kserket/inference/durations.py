"""How long a state lasts: laws of its number of steps, and learning them from expected counts.

    d - 1 ~ Poisson(mu)   or   NegativeBinomial with mean mu and variance mu + dispersion mu^2

A dispersion of 0 is the Poisson law, 1 the geometric law, which is that of a Markov chain. A chain
needs of a law, for a state that has lasted a steps, the probability that it ends with this one,

    leave(a) = P(d = a) / P(d >= a),   stay(a) = 1 - leave(a),

and these follow the law up to a limit of D steps. A state that has lasted D steps or more leaves
with one probability, 1 / E[d - D + 1 | d >= D], so that the mean of d is that of the law and no
duration is impossible. Where the law is geometric this changes nothing; else it moves at most the
probability P(d >= D).

Reference: Johnson, Kemp and Kotz (2005), Univariate discrete distributions, chapters 4 and 5.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import betainc, gammainc, gammaln, xlogy

LAWS = "poisson", "negative_binomial"
_SMALLEST = 1e-100  # probability of leaving, or staying, where the law allows both
_FAR = 1e-250  # P(d >= a) below which hazards are those of the limit
_MEANS, _DISPERSIONS = (1e-6, 1e9), (1e-3, 1e2)  # in which parameters are sought
_STEPS = 0.2, 0.02  # of logarithms of parameters, of the parabolas that are climbed


class Lasting(NamedTuple):
    """What becomes of a state that has lasted 1, 2, ..., D or more steps."""

    leave: np.ndarray  # (K, D) probability that it ends with this step
    stay: np.ndarray  # (K, D) that it does not


class Durations(NamedTuple):
    """Laws of K states."""

    rate: np.ndarray  # (K,) 1 / E[d]; 1 lasts one step always, 0 to the end of the sequence
    dispersion: np.ndarray  # (K,) 0: Poisson, 1: geometric
    limit: int  # D, steps from which on a state leaves with one probability

    def renumbered(self, order):
        """The same laws with state order[k] as number k; order is (K,)."""
        return Durations(self.rate[order], self.dispersion[order], self.limit)

    def lasting(self):
        """`Lasting` of all states."""
        return _table(_excess(self.rate), self.dispersion, self.limit, self.rate)

    def probabilities(self):
        """P(d) of d = 1, ..., D, (K, D). A last column holds P(d >= D)."""
        leave, stay = self.lasting()
        reached = np.cumprod(np.concatenate([np.ones((len(stay), 1)), stay[:, :-1]], 1), axis=1)
        return np.concatenate([reached[:, :-1] * leave[:, :-1], reached[:, -1:]], axis=1)


class Prior(NamedTuple):
    """What is known of durations before learning: a few segments of any length."""

    law: str  # one of `LAWS`
    limit: int  # D
    weight: float  # segments of each state, whose durations are spread evenly over log(1..D)

    def counts(self):
        """Pseudo-counts of leaving and staying, (2, 1, D)."""
        leaves = 1.0 / np.arange(1, self.limit + 1)
        leaves *= self.weight / leaves.sum()
        stays = np.append(np.cumsum(leaves[:0:-1])[::-1], 0.0)
        return np.stack([leaves, stays])[:, None]


def from_transitions(transitions, prior):
    """Durations and the order of segments, from a chain whose states may follow themselves.

    With a negative binomial law the model stays what it was.

    Args:
        transitions: (K, K) P(next state = column | state = row).
        prior: `Prior`.

    Returns:
        `Durations`; and transitions without the diagonal, of rows that have anything else.
    """
    stays = np.diag(transitions).copy()
    others = transitions * (1.0 - np.eye(len(stays)))
    sums = others.sum(axis=1)
    last = sums == 0  # nothing follows
    rate = np.where(last, 0.0, np.where(stays == 0, 1.0, sums))
    free = (rate > 0) & (rate < 1)
    low, high = _MEANS
    rate[free] = 1.0 / (1.0 + np.clip(1.0 / rate[free] - 1.0, low, high))
    others[last] = np.eye(len(stays))[last]
    others /= others.sum(axis=1, keepdims=True)
    return under(Durations(rate, np.ones(len(stays)), prior.limit), prior), others


def under(durations, prior):
    """Durations with the same means, of the law that the prior asks for."""
    if prior.law == "poisson":
        return durations._replace(dispersion=np.zeros_like(durations.dispersion))
    return durations


def log_prior(durations, prior):
    """Log density of durations under the prior, up to a constant."""
    free = (durations.rate > 0) & (durations.rate < 1)
    leave, stay = durations.lasting()
    leaves, stays = prior.counts()
    return float((leaves * np.log(leave[free]) + stays * np.log(stay[free])).sum())


def maximize(counts, durations, prior):
    """M step: durations that explain expected counts better, from those that gave the counts.

    Climbs the expected log likelihood along the mean, then the dispersion, by parabolas; it never
    falls. States that last one step or to the end keep doing so.

    Args:
        counts: (2, K, D) expected times that a state left, and stayed, after 1..D steps.
        durations: `Durations`.
        prior: `Prior`.

    Returns:
        `Durations`.
    """
    rate, dispersion, limit = durations
    free = (rate > 0) & (rate < 1)
    if not free.any():
        return durations
    leaves, stays = counts[:, free] + prior.counts()

    def score(place):
        excess, spread = np.exp(place)
        leave, stay = _table(excess, spread if spreads else spread * 0.0, limit)
        return (leaves * np.log(leave) + stays * np.log(stay)).sum(axis=1)

    spreads = prior.law != "poisson"
    bounds = np.log([_MEANS, _DISPERSIONS])
    place = np.stack([_excess(rate[free]), dispersion[free] if spreads else np.ones(free.sum())])
    place, best = np.log(place), None
    for step in _STEPS:
        for axis in range(2 if spreads else 1):
            best = score(place) if best is None else best
            move = np.zeros((2, 1))
            move[axis] = step
            trials = [np.clip(place + sign * move, *bounds.T[..., None]) for sign in (-1, 1)]
            below, above = map(score, trials)
            bend = np.minimum(below - 2.0 * best + above, -1e-12 * np.abs(best))
            top = np.clip(0.5 * step * (below - above) / bend, -1.0, 1.0)
            trials.append(np.clip(place + top * (move > 0), *bounds.T[..., None]))
            scores = np.stack([below, above, score(trials[-1]), best])
            chosen = scores[::-1].argmax(axis=0)  # of equals, the one that moves nothing
            place = np.choose(chosen, [place, *trials[::-1]])
            best = scores[::-1][chosen, np.arange(len(best))]
    excess, spread = np.exp(place)
    rate, dispersion = rate.copy(), dispersion.copy()
    rate[free] = 1.0 / (1.0 + excess)
    if spreads:
        dispersion[free] = spread
    return Durations(rate, dispersion, limit)


def _excess(rate):
    """E[d] - 1 of states that last neither one step nor forever; 1 of others."""
    free = (rate > 0) & (rate < 1)
    return np.where(free, 1.0 / np.where(free, rate, 0.5) - 1.0, 1.0)


def _table(excess, dispersion, limit, rate=None):
    """`Lasting` of laws with mean 1 + excess (K,), of states that last one step or forever too."""
    excess, spread = excess[:, None], dispersion[:, None]
    past = np.arange(limit)  # d - 1
    poisson = spread == 0
    shape = 1.0 / np.where(poisson, 1.0, spread)
    log_odd = np.log1p(excess / shape)
    log_p = np.where(
        poisson,
        xlogy(past, excess) - excess - gammaln(past + 1),
        gammaln(past + shape)
        - gammaln(shape)
        - gammaln(past + 1)
        + past * (np.log(excess / shape) - log_odd)
        - shape * log_odd,
    )
    p, last = np.exp(log_p), limit - 1
    if last:
        share = excess / (shape + excess)
        beyond = np.where(poisson, gammainc(last, excess), betainc(last, shape, share))
    else:
        beyond = np.ones_like(excess)
    reached = np.cumsum(np.concatenate([beyond, p[:, -2::-1]], axis=1), axis=1)[:, ::-1]
    near = reached > _FAR
    ratio = excess * (1.0 + spread * past) / ((past + 1.0) * (1.0 + spread * excess))
    leave = np.where(near, p / np.where(near, reached, 1.0), 1.0 - np.minimum(ratio, 1.0))
    after = np.append(reached[:, 1:], beyond, axis=1)
    stay = np.where(near, after / np.where(near, reached, 1.0), ratio)
    remaining = 1.0 + excess[:, 0] - last + (1.0 + dispersion * excess[:, 0]) * last * leave[:, -1]
    leave[:, -1] = 1.0 / np.maximum(remaining, 1.0)
    stay[:, -1] = 1.0 - leave[:, -1]
    leave, stay = (np.clip(part, _SMALLEST, 1.0) for part in (leave, stay))
    if rate is not None:
        leave[rate == 0], stay[rate == 0] = 0.0, 1.0
        leave[rate == 1], stay[rate == 1] = 1.0, 0.0
    return Lasting(leave, stay)
