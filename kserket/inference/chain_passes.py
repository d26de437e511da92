"""Forwards and backwards over the evidence of a Markov chain, in the way that is fastest.

Reference: Rabiner (1989), A tutorial on hidden Markov models, eqs. 18-37; for the chunks, Särkkä
and García-Fernández (2021), Temporal parallelization of Bayesian smoothers.
"""

from typing import NamedTuple

import numpy as np

from kserket.inference import chain_scan
from kserket.inference.sequences import first_and_later

_POSITIVE = 1e-100  # no probability below: then scaled probabilities lose nothing


class Passes(NamedTuple):
    """What passes over the evidence give, for N steps and K states."""

    log_predicted: np.ndarray  # (N, K) log P(z_t | evidence before t)
    log_filtered: np.ndarray  # (N, K) log P(z_t | evidence up to t)
    log_future: np.ndarray  # (N, K) log P(evidence after t | z_t), up to a constant a row
    pairs: np.ndarray  # (K, K) expected number of times that j follows i
    log_likelihood: float
    log_predictive: np.ndarray  # (N,)


def passes(log_evidence, initial, transitions, lengths):
    """Forwards and backwards, in the way that suits these probabilities."""
    initial, transitions = (np.asarray(part, np.float64) for part in (initial, transitions))
    is_hard = has_zeros(initial, transitions)
    scans = chain_scan.scans()
    if is_hard or scans.compiled:
        return by_step(log_evidence, initial, transitions, lengths, scans)
    return in_chunks(log_evidence, initial, transitions, lengths)


def has_zeros(initial, transitions):
    """Whether a probability is too small for passes in scaled probabilities."""
    return min(initial.min(), transitions.min()) < _POSITIVE


def by_step(log_evidence, initial, transitions, lengths, scans):
    """`passes` in logarithms, exact for any probabilities."""
    log_transitions = log(transitions)
    first, after = first_and_later(lengths)
    starts = np.zeros(len(log_evidence), bool)
    starts[first] = True
    predicted, filtered, future = (np.empty(log_evidence.shape) for _ in range(3))
    scales = np.empty(len(log_evidence))
    forwards = (transitions, log_transitions)
    backwards = tuple(np.ascontiguousarray(part.T) for part in forwards)
    impossible = scans.forward(
        log_evidence, starts, log(initial), *forwards, predicted, filtered, scales
    )
    if impossible >= 0:
        raise no_path(impossible, lengths)
    scans.backward(log_evidence, starts, *backwards, scales, future)
    onward = future[after] + log_evidence[after] - scales[after, None]
    large = (onward > 600.0).any(axis=1)  # too large for a product of probabilities
    before = filtered[after - 1]
    pairs = transitions * (np.exp(before[~large]).T @ np.exp(onward[~large]))
    for t in np.flatnonzero(large):
        pairs += np.exp(before[t, :, None] + log_transitions + onward[t])
    return Passes(predicted, filtered, future, pairs, float(scales.sum()), scales)


def no_path(row, lengths):
    """The `ValueError` for a step at which no state is possible."""
    sequence = np.searchsorted(np.cumsum(lengths), row, side="right")
    return ValueError(
        f"No path of states explains sequence {sequence}: at row {row} every state that "
        "the transitions allow is excluded by the evidence. Allow more transitions, or let the "
        "evidence exclude less: a row of equal values is a missing step."
    )


def in_chunks(log_evidence, initial, transitions, lengths):
    """`passes` with probabilities scaled at every step, all of them above 1e-100.

    Sequences are cut into chunks that advance side by side. A chunk acts on what is predicted at
    its start as a (K, K) matrix; with those matrices the chunks of a sequence are chained, first
    to last for the past and last to first for the future.

    Args:
        log_evidence: (N, K).
        initial: (K,) P(z_1).
        transitions: (K, K) P(z_{t+1} = column | z_t = row).
        lengths: (S,) checked.

    Returns:
        `Passes`.
    """
    num_states, ones = len(initial), np.ones(len(initial))
    size = _chunk_length(lengths, num_states)
    chunks = -(-lengths // size)
    # rows[t, c]: which row of the evidence is step t of chunk c; padding repeats no evidence
    first = np.repeat(np.cumsum(lengths) - lengths, chunks)
    position = np.arange(chunks.sum()) - np.repeat(np.cumsum(chunks) - chunks, chunks)
    offset = position * size + np.arange(size)[:, None]
    real = offset < np.repeat(lengths, chunks)
    rows = (first + offset)[real]
    emission = np.ones((*real.shape, num_states))
    emission[real] = _emission(log_evidence)[rows]

    begin = np.tile(initial, (len(first), 1))
    end = np.ones_like(begin)
    later = np.flatnonzero(position)
    if len(later):
        basis = np.broadcast_to(np.eye(num_states), (len(first), num_states, num_states))
        chunk_matrix, log_scale = basis, np.zeros(basis.shape[:2])
        for e in emission:
            chunk_matrix = chunk_matrix * e[:, None]
            scale = chunk_matrix @ ones
            log_scale += np.log(scale)
            chunk_matrix = (chunk_matrix / scale[..., None]) @ transitions
        chunk_matrix *= np.exp(log_scale - log_scale.max(axis=1, keepdims=True))[..., None]
        for c in later:
            state = begin[c - 1] @ chunk_matrix[c - 1]
            begin[c] = state / state.sum()
        for c in later[::-1]:
            likelihood = chunk_matrix[c] @ end[c]
            end[c - 1] = likelihood / likelihood.max()

    predicted, filtered, future = (np.empty(emission.shape) for _ in range(3))
    scales = np.empty(real.shape)
    state = begin
    for t, e in enumerate(emission):
        predicted[t] = state
        state = state * e
        scales[t] = state @ ones
        state = filtered[t] = state / scales[t, :, None]
        state = state @ transitions
    onward = end
    for t in reversed(range(size)):
        future[t] = onward @ transitions.T
        onward = emission[t] * future[t]
        onward /= (onward @ ones)[:, None]

    place = np.empty(len(log_evidence), np.int64)
    place[rows] = np.flatnonzero(real)

    def unpack(values):
        return values.reshape(real.size, -1)[place]

    predicted, filtered, future = map(unpack, (predicted, filtered, future))
    peaks = log_evidence.max(axis=1)
    log_likelihood = float(np.log(scales).sum() + peaks.sum())
    _, after = first_and_later(lengths)
    onward = _emission(log_evidence)[after] * future[after]
    onward /= np.sum(predicted[after] * onward, axis=1, keepdims=True)
    return Passes(
        np.log(predicted),
        log(filtered),
        np.log(future),
        transitions * (filtered[after - 1].T @ onward),
        log_likelihood,
        np.log(unpack(scales)[:, 0]) + peaks,
    )


def _chunk_length(lengths, num_states):
    """Length of the chunks into which sequences are cut so that the whole pass is cheapest.

    Cutting lets all chunks advance together, one matrix product for all, at K times the
    arithmetic. Costs are in units of one small array operation (about 5 us, or 5e4 flops).
    """
    longest = int(lengths.max())
    candidates = [*2 ** np.arange(2, longest.bit_length()), longest]

    def cost(size):
        chunks = -(-lengths // size)
        cuts = np.sum(chunks - 1)
        flops = chunks.sum() * size * num_states**2 * (num_states if cuts else 1)
        return 10 * size + 4 * cuts + flops / 2.5e4

    return min(candidates, key=cost)


def _emission(log_evidence):
    """exp of the evidence, each row's best state at one and none at zero; (N, K)."""
    shifted = log_evidence - log_evidence.max(axis=1, keepdims=True)
    return np.exp(np.maximum(shifted, -690.0))


def log(probabilities):
    """Logarithms, -inf for 0."""
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(probabilities, dtype=np.float64))
