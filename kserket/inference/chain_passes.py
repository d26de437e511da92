"""Forwards and backwards over the evidence of a Markov chain in logarithms, step by step.

Exact whatever the probabilities: a state that is a thousand nats behind is not lost, but comes back
when everything else is excluded later. Faster passes in scaled probabilities ask for these where
that happens. Compiled where numba is installed.

Reference: Rabiner (1989), A tutorial on hidden Markov models, eqs. 18-37.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from kserket.inference.compiling import compile_all
from kserket.inference.sequences import first_and_later

LARGEST = 1e240  # a state that the future weighs more than this is one that scaled passes may lose
_UNDERFLOW = 1e-280  # sums below are computed again, term by term in logarithms


class Pass(NamedTuple):
    """What both directions say together, for N steps and K states."""

    log_context: np.ndarray  # (N, K) log P(z_t | evidence of all other steps)
    log_marginals: np.ndarray  # (N, K) log P(z_t | all evidence)
    pairs: np.ndarray  # (K, K) expected number of times that j follows i
    log_predictive: np.ndarray  # (N,) log P(evidence_t | earlier evidence)
    log_filtered: np.ndarray | None = None  # (N, K) log P(z_t | evidence up to t), where wanted


def smooth(log_evidence, initial, transitions, lengths):
    """Forward-backward, exact for any probabilities.

    Args:
        log_evidence: (N, K), one finite value a row.
        initial: (K,) P(first state).
        transitions: (K, K) P(next state = column | state = row).
        lengths: (S,) of the sequences.

    Returns:
        `Pass`.

    Raises:
        ValueError: If no path of states explains a sequence.
    """
    forward, backward = _kernels()
    log_transitions = log(transitions)
    first, after = first_and_later(lengths)
    starts = np.zeros(len(log_evidence), bool)
    starts[first] = True
    predicted, filtered, future = (np.empty(log_evidence.shape) for _ in range(3))
    scales = np.empty(len(log_evidence))
    forwards = (transitions, log_transitions)
    backwards = tuple(np.ascontiguousarray(part.T) for part in forwards)
    impossible = forward(log_evidence, starts, log(initial), *forwards, predicted, filtered, scales)
    if impossible >= 0:
        raise no_path(impossible, lengths)
    backward(log_evidence, starts, *backwards, scales, future)
    onward = future[after] + log_evidence[after] - scales[after, None]
    large = (onward > 600.0).any(axis=1)  # too large for a product of probabilities
    before = filtered[after - 1]
    pairs = transitions * (np.exp(before[~large]).T @ np.exp(onward[~large]))
    for t in np.flatnonzero(large):
        pairs += np.exp(before[t, :, None] + log_transitions + onward[t])
    log_context = normalize(predicted + future)
    return Pass(log_context, normalize(log_context + log_evidence), pairs, scales, filtered)


def no_path(row, lengths):
    """The `ValueError` for a step at which no state is possible."""
    sequence = np.searchsorted(np.cumsum(lengths), row, side="right")
    return ValueError(
        f"No path of states explains sequence {sequence}: at row {row} every state that "
        "the transitions allow is excluded by the evidence. Allow more transitions, or let the "
        "evidence exclude less: a row of equal values is a missing step."
    )


def log(probabilities):
    """Logarithms, -inf for 0."""
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(probabilities, dtype=np.float64))


def normalize(log_weights):
    """Shift rows so that their exponentials sum to one.

    Args:
        log_weights: (..., K), at least one finite value a row.

    Returns:
        Array of the same shape.
    """
    shifted = log_weights - log_weights.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _kernels():
    """`_forward` and `_backward`, compiled if numba is installed."""
    try:
        return _compiled()
    except ImportError:
        return _forward, _backward


@functools.cache
def _compiled():
    from numba.extending import register_jitable

    register_jitable(_onward)
    return compile_all(_forward, _backward)


def _onward(log_weights, matrix, log_matrix, weights, result):
    """log(exp(log_weights) matrix) of (K,) and (K, K), into `result` (K,); `weights` is room."""
    num_states = len(result)
    peak = -np.inf
    for i in range(num_states):
        peak = max(peak, log_weights[i])
    for i in range(num_states):
        weights[i] = math.exp(log_weights[i] - peak)
    for j in range(num_states):
        total = 0.0
        for i in range(num_states):
            total += weights[i] * matrix[i, j]
        if total >= _UNDERFLOW:
            result[j] = math.log(total) + peak
            continue
        top = -np.inf
        for i in range(num_states):
            top = max(top, log_weights[i] + log_matrix[i, j])
        result[j] = top
        if top > -np.inf:
            total = 0.0
            for i in range(num_states):
                total += math.exp(log_weights[i] + log_matrix[i, j] - top)
            result[j] += math.log(total)


def _forward(log_evidence, starts, log_initial, matrix, log_matrix, predicted, filtered, scales):
    """Filters: writes log P(z_t | before), log P(z_t | up to t), log P(evidence_t | before).

    Returns:
        The first step at which no state is possible, or -1.
    """
    num_states = len(log_initial)
    room = np.empty(num_states)
    for t in range(len(log_evidence)):
        if starts[t]:
            predicted[t] = log_initial
        else:
            _onward(filtered[t - 1], matrix, log_matrix, room, predicted[t])
        peak = -np.inf
        for k in range(num_states):
            room[k] = predicted[t, k] + log_evidence[t, k]
            peak = max(peak, room[k])
        if peak == -np.inf:
            return t
        total = 0.0
        for k in range(num_states):
            total += math.exp(room[k] - peak)
        scales[t] = peak + math.log(total)
        for k in range(num_states):
            filtered[t, k] = room[k] - scales[t]
    return -1


def _backward(log_evidence, starts, matrix, log_matrix, scales, future):
    """Writes log P(evidence after t | z_t), relative to what is expected of it.

    `matrix` and `log_matrix` are the transitions transposed.
    """
    num_states = len(matrix)
    room, onward = np.empty(num_states), np.empty(num_states)
    future[-1] = 0.0
    for t in range(len(log_evidence) - 1, 0, -1):
        if starts[t]:
            future[t - 1] = 0.0
            continue
        for k in range(num_states):
            onward[k] = future[t, k] + log_evidence[t, k] - scales[t]
        _onward(onward, matrix, log_matrix, room, future[t - 1])
