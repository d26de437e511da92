"""One scan of the collapsed Gibbs sampler over all data: the inner loop of `gaussian_gibbs`.

A datum's Student-t density under its own class without it follows from the class with it, as
det(S - c dd') = det(S) (1 - c d'S^-1 d): nothing is taken out of a class, and no factor updated,
unless the datum moves. Then two Cholesky factors change by rank one each.

Factors are stored with components along the last axis, (D, D, P), P being K rounded up to full
vector registers, so that the forward substitutions of all components run side by side.
"""

import functools
from typing import NamedTuple

import numpy as np

from kserket.inference import normal_wishart as nw
from kserket.inference.compiling import compile_all

LANES = 16  # four registers of four: what compilers unroll to
REBUILD_BELOW = 1e-8  # relative size of a determinant after a removal that rounding would spoil
SWEEPS_BETWEEN_REBUILDS = 10


class Chain(NamedTuple):
    """Everything that a scan reads and changes, in place."""

    deviations: np.ndarray  # (N, D), data about the prior's mean
    log_prior: np.ndarray | None  # (N, K)
    assignments: np.ndarray  # (N,) int64
    counts: np.ndarray  # (K,) int64
    means: np.ndarray  # (D, P), posterior means about the prior's
    factors: np.ndarray  # (D, D, P), lower Cholesky factors of the posterior scatters
    inverse_diagonals: np.ndarray  # (D, P), of the factors
    half_log_dets: np.ndarray  # (P,), sums of the logs of the factors' diagonals
    constants: np.ndarray  # (N + 1,), log densities' terms for a class of so many data
    mean_precision: float
    degrees_of_freedom: float
    prior_scatter: np.ndarray  # (D, D)
    num_scans: np.ndarray  # (1,) int64


def start(deviations, prior, assignments, log_prior, num_components):
    """A `Chain` with the given classes.

    Args:
        deviations: (N, D) data about the prior's mean.
        prior: `gaussian_mixture.Prior`.
        assignments: (N,) classes.
        log_prior: (N, K) log class prior or None.
        num_components: K.
    """
    from scipy.special import gammaln

    num_samples, num_features = deviations.shape
    padded = -(-num_components // LANES) * LANES
    sizes = np.arange(num_samples + 1.0)
    freedom = prior.degrees_of_freedom + sizes + 1.0
    shrink = (prior.mean_precision + sizes) / (prior.mean_precision + sizes + 1.0)
    constants = gammaln(0.5 * freedom) - gammaln(0.5 * (freedom - num_features))
    constants += 0.5 * num_features * np.log(shrink / np.pi)
    if log_prior is None:
        constants += np.log(sizes + prior.weight_concentration)
    return Chain(
        np.ascontiguousarray(deviations),
        log_prior,
        np.array(assignments, np.int64),
        np.bincount(assignments, minlength=num_components).astype(np.int64),
        np.zeros((num_features, padded)),
        np.zeros((num_features, num_features, padded)),
        np.zeros((num_features, padded)),
        np.zeros(padded),
        constants,
        float(prior.mean_precision),
        float(prior.degrees_of_freedom),
        np.ascontiguousarray(prior.scatter, np.float64),
        np.zeros(1, np.int64),
    )


def scanner():
    """The function `run(chain, uniforms)` that draws all classes once, compiled if numba is here.

    `uniforms` are (N,) draws from [0, 1), one a datum; the chain is changed in place.
    """
    try:
        compiled = _compile()
    except ImportError:
        return _scan_in_numpy
    return functools.partial(_scan_compiled, compiled)


@functools.cache
def _compile():
    """The compiled `_scan`."""
    from numba.extending import register_jitable

    for function in (_rebuild, _solve_one, _rank_one):
        register_jitable(function)
    return compile_all(_scan, fastmath={"contract", "nsz"})[0]


def _scan_in_numpy(chain, uniforms):
    """`_scan` for those without numba: each datum is taken out of its class and put into one."""
    num_components = len(chain.counts)
    classes = [_class_of(chain, k) for k in range(num_components)]
    for n, x in enumerate(chain.deviations):
        old = chain.assignments[n]
        before = classes[old]
        chain.assignments[n] = -1
        chain.counts[old] -= 1
        classes[old] = _class_without(chain, old, before, x)
        means, _, precisions, half_log_dets = map(np.array, zip(*classes, strict=True))
        residuals = x - means
        distances = np.einsum("ki,kij,kj->k", residuals, precisions, residuals)
        strength = chain.mean_precision + chain.counts
        log_densities = chain.constants[chain.counts] - half_log_dets
        log_densities -= (0.5 * (chain.degrees_of_freedom + chain.counts + 1.0)) * np.log1p(
            strength / (strength + 1.0) * distances
        )
        if chain.log_prior is not None:
            log_densities += chain.log_prior[n]
        cumulative = np.cumsum(np.exp(log_densities - log_densities.max()))
        new = min(
            np.searchsorted(cumulative, uniforms[n] * cumulative[-1], "right"), num_components - 1
        )
        chain.assignments[n] = new
        chain.counts[new] += 1
        if new == old:
            classes[old] = before
        else:
            mean, scatter = classes[new][:2]
            gain = 1.0 / (strength[new] + 1.0)
            scatter = scatter + strength[new] * gain * np.outer(x - mean, x - mean)
            classes[new] = _factored(mean + gain * (x - mean), scatter)
    for k, (mean, _, _, half_log_det) in enumerate(classes):
        chain.means[:, k], chain.half_log_dets[k] = mean, half_log_det


def _class_of(chain, k):
    """Mean (D,), scatter (D, D), its inverse and half its log determinant, from class k's data."""
    members = chain.deviations[chain.assignments == k]
    mean = members.sum(axis=0) / (chain.mean_precision + chain.counts[k])
    scatter = chain.prior_scatter + chain.mean_precision * np.outer(mean, mean)
    return _factored(mean, scatter + (members - mean).T @ (members - mean))


def _class_without(chain, k, before, x):
    """`_class_of` class k, which was `before` when it still held the datum x (D,)."""
    mean, scatter, precision, _ = before
    strength = chain.mean_precision + chain.counts[k] + 1.0
    residual, gain = x - mean, 1.0 / (strength - 1.0)
    if 1.0 - strength * gain * (residual @ precision @ residual) < REBUILD_BELOW:
        return _class_of(chain, k)
    scatter = scatter - strength * gain * np.outer(residual, residual)
    return _factored(mean - gain * residual, scatter)


def _factored(mean, scatter):
    """A class as `_scan_in_numpy` holds it."""
    factor = nw.cholesky(scatter[None])
    return mean, scatter, nw.invert(factor)[0], 0.5 * nw.log_det(factor)[0]


def _scan_compiled(compiled, chain, uniforms):
    """`_scan` with its arguments unpacked, all factors recomputed from time to time."""
    log_prior = np.empty((0, 0)) if chain.log_prior is None else chain.log_prior
    rebuild_all = chain.num_scans[0] % SWEEPS_BETWEEN_REBUILDS == 0
    chain.num_scans[0] += 1
    compiled(
        chain.deviations,
        log_prior,
        uniforms,
        rebuild_all,
        chain.assignments,
        chain.counts,
        chain.means,
        chain.factors,
        chain.inverse_diagonals,
        chain.half_log_dets,
        chain.constants,
        chain.mean_precision,
        chain.degrees_of_freedom,
        chain.prior_scatter,
    )


def _scan(
    deviations,
    log_prior,
    uniforms,
    rebuild_all,
    assignments,
    counts,
    means,
    factors,
    inverse_diagonals,
    half_log_dets,
    constants,
    mean_precision,
    degrees_of_freedom,
    prior_scatter,
):
    """Draws the class of every datum in turn; see `Chain` for the arguments."""
    num_samples, num_features = deviations.shape
    num_components, padded = len(counts), means.shape[1]
    residuals = np.empty((num_features, padded))
    distances = np.empty(padded)
    log_densities = np.empty(num_components)
    vector = np.empty(num_features)
    if rebuild_all:
        for k in range(num_components):
            _rebuild(
                k, deviations, assignments, counts, means, factors, inverse_diagonals,
                half_log_dets, mean_precision, prior_scatter,
            )  # fmt: skip
    for n in range(num_samples):
        x = deviations[n]
        old = assignments[n]
        # Squared distances from every class as it stands, the datum's own with the datum in it.
        for p in range(padded):
            distances[p] = 0.0
        for i in range(num_features):
            for p in range(padded):
                residuals[i, p] = x[i] - means[i, p]
        for i in range(num_features):
            for p in range(padded):
                residuals[i, p] *= inverse_diagonals[i, p]
                distances[p] += residuals[i, p] * residuals[i, p]
            for j in range(i + 1, num_features):
                for p in range(padded):
                    residuals[j, p] -= factors[j, i, p] * residuals[i, p]

        without = counts[old] - 1
        precision = mean_precision + counts[old]
        shrunk = 1.0 - precision / (precision - 1.0) * distances[old]
        rebuilt = shrunk < REBUILD_BELOW
        if rebuilt:
            assignments[n] = -1
            counts[old] = without
            _rebuild(
                old, deviations, assignments, counts, means, factors, inverse_diagonals,
                half_log_dets, mean_precision, prior_scatter,
            )  # fmt: skip
            distances[old] = _solve_one(old, x, means, factors, vector)

        highest = -np.inf
        for k in range(num_components):
            if k == old and not rebuilt:
                size = without
                density = 0.5 * (degrees_of_freedom + size) * np.log(shrunk)
            else:
                size = counts[k]
                precision = mean_precision + size
                grown = 1.0 + precision / (precision + 1.0) * distances[k]
                density = -0.5 * (degrees_of_freedom + size + 1.0) * np.log(grown)
            density += constants[size] - half_log_dets[k]
            if log_prior.shape[0] > 0:
                density += log_prior[n, k]
            log_densities[k] = density
            highest = max(highest, density)
        total = 0.0
        for k in range(num_components):
            total += np.exp(log_densities[k] - highest)
            log_densities[k] = total
        level = uniforms[n] * total
        new = 0
        while log_densities[new] <= level and new < num_components - 1:
            new += 1

        assignments[n] = new
        if new == old and not rebuilt:
            continue
        if rebuilt:
            counts[new] += 1
        else:
            counts[old] -= 1
            counts[new] += 1
            precision = mean_precision + counts[old] + 1.0
            for i in range(num_features):
                vector[i] = x[i] - means[i, old]
            sound = _rank_one(
                old, -precision / (precision - 1.0), vector, factors, inverse_diagonals
            )
            if sound:
                for i in range(num_features):
                    means[i, old] -= (x[i] - means[i, old]) / (precision - 1.0)
                half_log_dets[old] += 0.5 * np.log(shrunk)
            else:
                _rebuild(
                    old, deviations, assignments, counts, means, factors, inverse_diagonals,
                    half_log_dets, mean_precision, prior_scatter,
                )  # fmt: skip
        precision = mean_precision + counts[new] - 1.0
        weight = precision / (precision + 1.0)
        half_log_dets[new] += 0.5 * np.log(1.0 + weight * distances[new])
        for i in range(num_features):
            vector[i] = x[i] - means[i, new]
            means[i, new] += vector[i] / (precision + 1.0)
        _rank_one(new, weight, vector, factors, inverse_diagonals)


def _rebuild(
    k,
    deviations,
    assignments,
    counts,
    means,
    factors,
    inverse_diagonals,
    half_log_dets,
    mean_precision,
    prior_scatter,
):
    """Mean, factor and determinant of class k from its data, free of accumulated rounding."""
    num_features = deviations.shape[1]
    precision = mean_precision + counts[k]
    mean = np.zeros(num_features)
    for n in range(len(assignments)):
        if assignments[n] == k:
            for i in range(num_features):
                mean[i] += deviations[n, i]
    for i in range(num_features):
        mean[i] /= precision
        means[i, k] = mean[i]
    # The prior's mean, the origin, counts as `mean_precision` data there.
    scatter = prior_scatter.copy()
    centered = np.empty(num_features)
    for i in range(num_features):
        for j in range(i + 1):
            scatter[i, j] += mean_precision * mean[i] * mean[j]
    for n in range(len(assignments)):
        if assignments[n] == k:
            for i in range(num_features):
                centered[i] = deviations[n, i] - mean[i]
            for i in range(num_features):
                for j in range(i + 1):
                    scatter[i, j] += centered[i] * centered[j]
    half_log_det = 0.0
    for j in range(num_features):
        pivot = scatter[j, j]
        for m in range(j):
            pivot -= scatter[j, m] * scatter[j, m]
        pivot = np.sqrt(max(pivot, 1e-14 * prior_scatter[j, j]))
        scatter[j, j] = pivot
        half_log_det += np.log(pivot)
        inverse_diagonals[j, k] = 1.0 / pivot
        for i in range(j + 1, num_features):
            total = scatter[i, j]
            for m in range(j):
                total -= scatter[i, m] * scatter[j, m]
            scatter[i, j] = total / pivot
        for i in range(j, num_features):
            factors[i, j, k] = scatter[i, j]
    half_log_dets[k] = half_log_det


def _solve_one(k, x, means, factors, residual):
    """Squared distance of x (D,) from class k alone; `residual` (D,) is overwritten."""
    distance = 0.0
    for i in range(len(x)):
        total = x[i] - means[i, k]
        for j in range(i):
            total -= factors[i, j, k] * residual[j]
        residual[i] = total / factors[i, i, k]
        distance += residual[i] * residual[i]
    return distance


def _rank_one(k, weight, vector, factors, inverse_diagonals):
    """Makes factor k that of LL' + weight vv'; `vector` v (D,) is overwritten.

    Returns False, the factor being spoilt, where rounding leaves no positive definite matrix.
    """
    scale = weight
    for j in range(len(vector)):
        pivot, inverse = factors[j, j, k], inverse_diagonals[j, k]
        step = vector[j] * inverse
        growth = 1.0 + scale * step * step
        if not growth > 1e-12:
            return False
        stretch = np.sqrt(growth)
        gain = scale * step / stretch
        for i in range(j + 1, len(vector)):
            below = factors[i, j, k]
            vector[i] -= step * below
            factors[i, j, k] = stretch * below + gain * vector[i]
        factors[j, j, k] = stretch * pivot
        inverse_diagonals[j, k] = inverse / stretch
        scale /= growth
    return True
