"""One pass over the data: responsibilities, and the sums that the next belief is made of."""

import numpy as np

from kserket import storage
from kserket.hosts import any_host, sum_over_hosts
from kserket.inference import quadratic_form
from kserket.inference.gaussian_mixture import gaps
from kserket.inference.gaussian_mixture.blocks import Blocks, Prediction
from kserket.inference.gaussian_mixture.parameters import (
    Statistics,
    expected_log_weights,
    maximize,
    weight_divergence,
)

NEGLIGIBLE_LOG = -40.0  # a responsibility that vanishes in rounding beside the largest
LOWEST_LOG = -500.0  # exp of less is slower
COMPLETIONS = 3  # of gaps by classes that are given, from the prior on


def log_likelihood(state, x, variance=None, chunk_size=None):
    """What each datum says about its class: E[log N(x_n; mu_k, Lambda_k^-1)], (N, K).

    Mixing weights are left out: this is the evidence where a class prior takes their place.

    Args:
        state: `State`.
        x: (N, D) data, or the means of Gaussian data; NaN in cells that were not observed.
        variance: (N, D) or None. Rows that hold an infinite variance say nothing: theirs is 0.
        chunk_size: How many rows to work on at a time.

    Returns:
        (N, K) float64.
    """
    prediction = Prediction(state, variance, chunk_size)
    result = storage.empty((len(x), len(state.mean)))
    for rows, block in prediction.blocks(x):
        result[rows] = prediction.log_density(block).T
        storage.release(result)
    return result


def log_responsibilities(state, x, variance=None, log_prior=None, chunk_size=None):
    """Log posterior class probabilities of each datum, and what normalizes them (Bishop 10.46).

    Args:
        state: `State`.
        x: (N, D) data, or the means of Gaussian data.
        variance: (N, D) or None. Rows that hold an infinite variance say nothing.
        log_prior: (N, K) log class probabilities used instead of the mixing weights, or
            None.
        chunk_size: How many rows to work on at a time.

    Returns:
        (N, K) normalized log probabilities; (N,) their log normalizer, log sum_k exp E[log p(x_n,
        z_n = k)], 0 for rows that say nothing.
    """
    prediction = Prediction(state, variance, chunk_size)
    log_weights = expected_log_weights(state)[:, None]
    result, normalizer = storage.empty((len(x), len(state.mean))), np.empty(len(x))
    for rows, block in prediction.blocks(x, log_prior):
        joint = prediction.log_density(block)
        joint += log_weights if block.log_prior is None else block.log_prior
        total = _log_sum_exp(joint)
        result[rows] = (joint - total).T
        normalizer[rows] = total if block.missing is None else np.where(block.missing, 0.0, total)
        storage.release(result)
    return result, normalizer


def statistics(prior, state, x, variance=None, log_prior=None, sample_weight=None, chunk_size=None):
    """E step: one pass over the data, which are only ever sliced (x[a:b]) and may live in a file.

    Args:
        prior: `Prior`; its mean is the origin.
        state: `State` under which the classes are inferred.
        x: (N, D) data, or the means of Gaussian data.
        variance: (N, D) or None. Rows that hold an infinite variance count for nothing.
        log_prior: (N, K) log class probabilities used instead of the mixing weights, or
            None.
        sample_weight: (N,) or None: how often each datum counts.
        chunk_size: How many rows to work on at a time.

    Returns:
        `Statistics`.
    """
    data = Blocks(prior, x, variance, log_prior, sample_weight, chunk_size, memory=0)
    before = quadratic_form.prior_terms(prior.normal_wishart)
    return expect(data, prior, state, terms_of(data, before, state))[0]


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
        chunk_size: How many rows to work on at a time.

    Returns:
        `Statistics` without log evidence (nan), which only a state has.
    """
    data = Blocks(prior, x, variance, None, sample_weight, chunk_size, memory=0)
    number = responsibilities.shape[1]
    belief = prior.normal_wishart
    for _ in range(COMPLETIONS):
        moments, completed, weight = data.form.no_moments(number), None, 0.0
        for rows, block in data.blocks():
            weighted = np.array(storage.read(responsibilities, rows), np.float64).T
            if block.weight is not None:
                weighted *= block.weight
            data.form.add_moments(moments, weighted, block.data)
            weight += block.total_weight
            if block.gaps is not None:
                if len(belief.mean) < number:  # that of all components before data
                    belief = type(belief)(*(np.repeat(part, number, axis=0) for part in belief))
                parts = gaps.Completions(block.gaps, belief, prior.mean)
                completed = _add_completed(completed, weighted, block.gaps, parts)
        found = Statistics(*_together(data.form.unpack(moments), completed), np.nan, weight)
        if completed is None:
            break
        belief = maximize(prior, found).normal_wishart
    return found


def climb(data, prior, state, num_sweeps, tolerance=None, callback=None):
    """Sweeps over the same data until the bound has settled.

    Args:
        data: `Blocks`.
        prior: `Prior`.
        state: `State` to go on from.
        num_sweeps: How many sweeps to do at most.
        tolerance: As in `fit`.
        callback: As in `fit`.

    Returns:
        `State`; (sweeps,) bounds, each of the state that the sweep started from.
    """
    before = quadratic_form.prior_terms(prior.normal_wishart)
    bounds = []
    for sweep in range(1, num_sweeps + 1):
        sums, bound = expect(data, prior, state, terms_of(data, before, state))
        state = maximize(prior, sums)
        bounds.append(bound)
        stops = tolerance is not None and sweep > 1
        stops = stops and bound - bounds[-2] < tolerance * sums.weight
        try:
            if callback is not None:
                callback(sweep, num_sweeps, bound, state)
        except StopIteration:
            stops = True
        if any_host(stops):
            break
    return state, np.array(bounds)


def expect(data, prior, state, terms):
    """One pass over the data, of all hosts: `Statistics` under the state, and its bound."""
    log_weights = expected_log_weights(state)
    moments = data.form.no_moments(len(state.mean))
    completed = None
    log_evidence = weight = 0.0
    for _, block in data.blocks():
        joint = data.form.log_density(terms, block.data, data.buffer(len(state.mean), block))
        if block.missing is not None:
            joint[:, block.missing] = 0.0
        if block.gaps is not None:
            parts = gaps.Completions(block.gaps, state.normal_wishart, prior.mean)
            for part in parts:
                joint[:, block.gaps.rows[part.rows]] = part.log_density
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
        if block.gaps is not None:
            completed = _add_completed(completed, joint, block.gaps, parts)
        weight += block.total_weight
    moments, log_evidence, weight = sum_over_hosts((moments, float(log_evidence), float(weight)))
    sums = _together(data.form.unpack(moments), completed)
    sums = Statistics(*sums, log_evidence, weight)
    divergence = terms.divergence.sum()
    if data.log_prior is None:
        divergence += weight_divergence(prior, state, log_weights)
    return sums, float(log_evidence - divergence)


def terms_of(data, before, state):
    """What the E step and the bound need to know of a state; `before` are the `PriorTerms`."""
    return data.form.terms(state.normal_wishart, before.belief.mean[0], before)


def fill(state, x, variance=None, log_prior=None):
    """Data with what is expected in their gaps.

    Args:
        state: `State`.
        x: (N, D), NaN in gaps.
        variance: (N, D) or None.
        log_prior: (N, K) log class probabilities used instead of the mixing weights, or None.

    Returns:
        (N, D) float64; `x` itself where it has no gaps.
    """
    x = np.asarray(x, np.float64)
    rows = gaps.of_block(x)
    if rows is None:
        return x
    parts = (None if part is None else part[rows.rows] for part in (variance, log_prior))
    weights = np.exp(log_responsibilities(state, x[rows.rows], *parts)[0])
    return _filled(state, x, rows, weights)


def fill_given_classes(state, x, responsibilities, transform=None):
    """`fill` with class probabilities that are known.

    Args:
        state: `State`.
        x: (N, D), NaN in gaps.
        responsibilities: (N, K).
        transform: The `PowerTransform` that data pass through, or None. The mean of each class
            is taken back through it: its median there.

    Returns:
        (N, D) float64.
    """
    x = np.asarray(x, np.float64)
    rows = gaps.of_block(x if transform is None else transform.forward(x))
    if rows is None:
        return x
    return _filled(state, x, rows, responsibilities[rows.rows], transform)


def _filled(state, x, rows, weights, transform=None):
    """Data (N, D) with their `Gaps` filled, those of a class with weights (G, K)."""
    filled, origin = x.copy(), np.zeros(x.shape[1])
    for part in gaps.Completions(rows, state.normal_wishart, origin):
        values = part.values if transform is None else transform.inverse(part.values)
        expected = np.einsum("kg,kgi->gi", weights.T[:, part.rows], values)
        places = rows.rows[part.rows]
        filled[places] = np.where(np.isnan(x[places]), expected, x[places])
    return filled


def _add_completed(sums, weights, rows, parts):
    """Sums (K, D) and scatters (K, D, D), or None before any, with the moments of `Gaps` added.

    Weights are those of the block, (K, C).
    """
    num_components, num_features = len(weights), rows.deviations.shape[1]
    if sums is None:
        square = (num_components, num_features, num_features)
        sums = np.zeros(square[:2]), np.zeros(square)
    for part in parts:
        gaps.add_moments(*sums, weights[:, rows.rows], rows, part)
    return sums


def _together(whole, completed):
    """Counts, sums and scatters of rows without gaps, and of those with, if there are any."""
    if completed is None:
        return whole
    counts, sums, scatters = whole
    return counts, sums + completed[0], scatters + completed[1]


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
