"""Rows of which some cells were not observed: what these could be is integrated out.

NaN in data (N, D) is a cell that was not observed; o are the features of a row that were, h the
others. The marginal of a Normal-Wishart distribution over the features o is one again, of
degrees of freedom nu - |h| and scatter S_oo (`marginal`): all that is asked of new rows follows.

Learning needs the whole precision. There h is a variable of its own, q(z_n, h_n) q(theta), whose
posterior given the class k is Gaussian, with L = E[Lambda_k]:

    mean m_h - L_hh^-1 L_ho (x_o - m_o),    covariance L_hh^-1.

The E step integrates h out, the M step takes its moments (`Completions`), and the bound of a sweep
never falls.

Reference:
    Z. Ghahramani and M. I. Jordan, Supervised learning from incomplete data via an EM approach,
    NIPS 6, 1994.
"""

from typing import NamedTuple

import numpy as np

from kserket.inference import normal_wishart as nw

_MEMORY = 2**23  # numbers of covariances held at a time


class Gaps(NamedTuple):
    """The rows of a block that have gaps, those of one pattern next to each other.

    Attributes:
        rows: (G,) where they stand in the block.
        deviations: (G, D) from the origin, 0 in gaps.
        variance: (G, D) or None, 0 in gaps.
        seen: Boolean (P, D), the patterns.
        pattern: (G,) which of these a row has, ascending.
    """

    rows: np.ndarray
    deviations: np.ndarray
    variance: np.ndarray | None
    seen: np.ndarray
    pattern: np.ndarray

    def by_pattern(self):
        """Triples: which rows of `Gaps` have a pattern; the features seen; the rows' places."""
        edges = np.searchsorted(self.pattern, np.arange(len(self.seen) + 1))
        for seen, start, stop in zip(self.seen, edges[:-1], edges[1:], strict=True):
            yield slice(start, stop), np.flatnonzero(seen), self.rows[start:stop]


class Completion(NamedTuple):
    """What some rows of `Gaps` are expected to be, given each class.

    Attributes:
        rows: Which rows of `Gaps`, a slice.
        log_density: (K, G) E[log N], gaps integrated out.
        values: (K, G, D) expected deviations from the origin.
        pattern: (G,) which covariance each row has.
        covariances: (K, P, D, D) of the gaps, 0 elsewhere.
        spread: (K, P, D, D) what a deviation of a cell that was seen does to the whole row.
    """

    rows: slice
    log_density: np.ndarray
    values: np.ndarray
    pattern: np.ndarray
    covariances: np.ndarray
    spread: np.ndarray


def of_block(deviations, variance=None):
    """`Gaps` of deviations (C, D) from the origin, NaN in gaps; None where there are none."""
    gone = np.isnan(deviations)
    rows = np.flatnonzero(gone.any(axis=1))
    if not len(rows):
        return None
    seen, pattern = np.unique(~gone[rows], axis=0, return_inverse=True)
    order = np.argsort(pattern.ravel(), kind="stable")
    rows, pattern = rows[order], pattern.ravel()[order]
    if variance is not None:
        variance = np.where(seen[pattern], variance[rows], 0.0)
    return Gaps(rows, np.where(seen[pattern], deviations[rows], 0.0), variance, seen, pattern)


def have(x):
    """Whether an array (N, D) has cells of NaN."""
    from kserket import storage

    return x.dtype.kind == "f" and not storage.every(lambda part: ~np.isnan(part), x)


def marginal(state, features):
    """The belief about some features, a list of their numbers: a `State` or `NormalWishart`."""
    return state._replace(
        mean=state.mean[:, features],
        degrees_of_freedom=state.degrees_of_freedom - (state.mean.shape[1] - len(features)),
        scatter=state.scatter[:, features][:, :, features],
    )


class Completions:
    """The `Completion`s of all rows of `Gaps`, as many at a time as fit into memory.

    Args:
        gaps: `Gaps`.
        belief: `NormalWishart` stack of K.
        origin: (D,) what rows deviate from.
    """

    def __init__(self, gaps, belief, origin):
        factors = nw.cholesky(belief.scatter)
        num_components, num_features = belief.mean.shape
        self.gaps = gaps
        self.precision = belief.degrees_of_freedom[:, None, None] * nw.invert(factors)
        expected = nw.expected_log_det(belief, nw.log_det(factors))
        self.constant = expected - num_features / belief.mean_precision
        self.shift = (belief.mean - origin)[:, None]
        self.step = max(1, _MEMORY // (num_components * num_features**2))
        self.kept = list(self._make()) if len(gaps.seen) <= self.step else None

    def __iter__(self):
        return self._make() if self.kept is None else iter(self.kept)

    def _make(self):
        for first in range(0, len(self.gaps.seen), self.step):
            yield self._complete(first, first + self.step)

    def _complete(self, first, last):
        """The `Completion` of the rows that have some of the patterns."""
        gaps, precision = self.gaps, self.precision
        seen = gaps.seen[first:last].astype(float)
        rows = slice(*np.searchsorted(gaps.pattern, (first, last)))
        pattern = gaps.pattern[rows] - first
        gone, eye = 1.0 - seen, np.eye(seen.shape[1])
        inner = gone[:, :, None] * gone[:, None, :]
        own = precision[:, None] * inner + seen[:, :, None] * eye  # L_hh, and 1 elsewhere
        covariances = np.linalg.inv(own) * inner
        spread = seen[:, :, None] * eye - covariances @ precision[:, None] * seen[:, None, :]
        centered = (gaps.deviations[rows] - self.shift) * seen[pattern]
        whole = np.empty_like(centered)
        edges = np.searchsorted(pattern, np.arange(len(seen) + 1))
        for number, (begin, end) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
            turned = spread[:, number].swapaxes(1, 2)
            np.matmul(centered[:, begin:end], turned, out=whole[:, begin:end])
        distance = np.einsum("kgi,kgi->kg", centered, whole @ precision)
        if gaps.variance is not None:
            given_others = np.einsum("kij,kpji->kpi", precision, spread)  # precision of each cell
            distance += np.einsum("kgi,gi->kg", given_others[:, pattern], gaps.variance[rows])
        peak = self.constant[:, None] - np.linalg.slogdet(own)[1] - seen.sum(axis=1) * nw.LOG_2PI
        density = 0.5 * (peak[:, pattern] - distance)
        return Completion(rows, density, whole + self.shift, pattern, covariances, spread)


def add_moments(sums, scatters, weights, gaps, completion):
    """Adds the moments of rows to sums (K, D) and scatters (K, D, D), in place.

    Args:
        sums: (K, D).
        scatters: (K, D, D).
        weights: (K, G) how much each row of `Gaps` counts for each component.
        gaps: `Gaps`.
        completion: `Completion`.
    """
    values, pattern = completion.values, completion.pattern
    weights = weights[:, completion.rows]
    sums += np.einsum("kg,kgi->ki", weights, values)
    scatters += np.einsum("kg,kgi,kgj->kij", weights, values, values, optimize=True)
    numbers = np.arange(completion.covariances.shape[1])
    of_pattern = (pattern[:, None] == numbers).astype(float)
    scatters += np.einsum("kp,kpij->kij", weights @ of_pattern, completion.covariances)
    if gaps.variance is not None:
        variance = gaps.variance[completion.rows]
        spread = completion.spread
        total = np.stack([of_pattern.T @ (row[:, None] * variance) for row in weights])
        scatters += np.einsum("kpij,kpj,kplj->kil", spread, total, spread, optimize=True)


def over_patterns(state, x, log_density):
    """Log densities (N, K) of rows with and without gaps.

    Args:
        state: `State`.
        x: (N, D), NaN in gaps.
        log_density: Function of a `State` and x (n, d) without gaps that returns (n, K).
    """
    gaps = of_block(np.asarray(x, np.float64)) if have(x) else None
    if gaps is None:
        return log_density(state, x)
    result = np.empty((len(x), len(state.mean)))
    whole = np.setdiff1d(np.arange(len(x)), gaps.rows)
    if len(whole):
        result[whole] = log_density(state, x[whole])
    for _, features, rows in gaps.by_pattern():
        result[rows] = log_density(marginal(state, features), x[rows][:, features])
    return result
