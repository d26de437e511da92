"""Passes along a Markov chain, step by step in logarithms, compiled where numba is installed.

They are exact whatever the probabilities: a state that is excluded has log 0 = -inf, and one that
is a thousand nats behind is not lost, but comes back when everything else is excluded later.

Reference: Rabiner (1989), A tutorial on hidden Markov models, eqs. 18-35.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

_UNDERFLOW = 1e-280  # sums below are computed again, term by term in logarithms


class Scans(NamedTuple):
    """The passes as functions of float64 arrays."""

    forward: object
    backward: object
    best_path: object
    compiled: bool


def scans():
    """The passes, compiled if numba is installed."""
    try:
        return _compiled()
    except ImportError:
        return Scans(_forward, _backward, _best_path, compiled=False)


@functools.cache
def _compiled():
    from numba.extending import register_jitable

    register_jitable(_onward)
    return Scans(*compile_all(_forward, _backward, _best_path), compiled=True)


def compile_all(*functions):
    """Functions compiled by numba.

    Raises:
        ImportError: If it is not installed.
    """
    import numba

    try:
        return [numba.njit(cache=True, error_model="numpy")(part) for part in functions]
    except RuntimeError:  # nowhere to write the cache
        return [numba.njit(error_model="numpy")(part) for part in functions]


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


def _best_path(log_evidence, starts, log_initial, log_matrix, before, path):
    """Viterbi: writes the path; `before` (N, K) is room for integers."""
    num_states = len(log_initial)
    score = np.zeros(num_states)
    through = np.zeros(num_states)
    for t in range(len(log_evidence)):
        if starts[t]:
            before[t] = score.argmax()
            score = log_initial + log_evidence[t]
            continue
        for j in range(num_states):
            best, at = score[0] + log_matrix[0, j], 0
            for i in range(1, num_states):
                candidate = score[i] + log_matrix[i, j]
                if candidate > best:
                    best, at = candidate, i
            through[j] = best + log_evidence[t, j]
            before[t, j] = at
        score[:] = through
    state = score.argmax()
    for t in range(len(log_evidence) - 1, -1, -1):
        path[t] = state
        state = before[t, state]
