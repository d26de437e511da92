"""Forward-backward in scaled probabilities, one step after another: compiled where numba is there.

For chains all of whose probabilities are positive. Filtered probabilities and what follows are
divided by their sums at every step, so that nothing over- or underflows.

Reference: Rabiner (1989), A tutorial on hidden Markov models, section V.A.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from kserket.inference.chain_scan import compile_all

LOWEST = -690.0  # log evidence relative to the best state's; its exponential is not zero


class Pass(NamedTuple):
    """What both directions say together, for N steps and K states."""

    log_context: np.ndarray  # (N, K) log P(z_t | evidence of all other steps)
    log_marginals: np.ndarray  # (N, K) log P(z_t | all evidence)
    pairs: np.ndarray  # (K, K) expected number of times that j follows i
    log_predictive: np.ndarray  # (N,) log P(evidence_t | earlier evidence)


@functools.cache
def compiled():
    """The compiled passes for `run`; None where numba is not installed."""
    try:
        (both_ways,) = compile_all(_both_ways)
    except ImportError:
        return None
    return both_ways


def run(both_ways, log_evidence, starts, initial, transitions):
    """Both directions over all sequences.

    Args:
        both_ways: What `compiled` returned.
        log_evidence: (N, K), one finite value a row.
        starts: (N,) booleans, where a sequence starts; true for the first step.
        initial: (K,) P(first state), positive.
        transitions: (K, K) P(next state = column | state = row), positive.

    Returns:
        `Pass`.
    """
    context, marginals = np.empty(log_evidence.shape), np.empty(log_evidence.shape)
    scales, pairs = np.empty(len(log_evidence)), np.zeros(transitions.shape)
    room = np.empty((2, *log_evidence.shape))
    turned = np.ascontiguousarray(transitions.T)
    results = context, marginals, pairs, scales
    both_ways(log_evidence, starts, initial, transitions, turned, *room, *results)
    pairs *= transitions
    return Pass(*results)


def _both_ways(
    log_evidence,
    starts,
    initial,
    transitions,
    turned,
    emission,
    filtered,
    context,
    marginals,
    pairs,
    scales,
):
    """Fills the arrays of a `Pass`, `context` with what the past predicts first.

    `turned` are the transitions transposed. `emission` and `filtered` (N, K) are room for the
    evidence, 1 for the best state of a step, and for P(z_t | evidence up to t).
    """
    num_steps, num_states = log_evidence.shape
    for t in range(num_steps):
        if starts[t]:
            context[t] = initial
        else:
            context[t] = 0.0
            for i in range(num_states):
                share = filtered[t - 1, i]
                for j in range(num_states):
                    context[t, j] += share * transitions[i, j]
        peak = log_evidence[t, 0]
        for k in range(1, num_states):
            peak = max(peak, log_evidence[t, k])
        total = 0.0
        for k in range(num_states):
            emission[t, k] = math.exp(max(log_evidence[t, k] - peak, LOWEST))
            filtered[t, k] = context[t, k] * emission[t, k]
            total += filtered[t, k]
        for k in range(num_states):
            filtered[t, k] /= total
        scales[t] = math.log(total) + peak
    future, onward = np.ones(num_states), np.empty(num_states)
    for t in range(num_steps - 1, -1, -1):
        total = expected = others = 0.0
        for k in range(num_states):
            onward[k] = emission[t, k] * future[k]
            total += onward[k]
            expected += context[t, k] * onward[k]
            context[t, k] *= future[k]
            others += context[t, k]
        if not starts[t]:
            for i in range(num_states):
                share = filtered[t - 1, i] / expected
                for j in range(num_states):
                    pairs[i, j] += share * onward[j]
        everything = 0.0
        for k in range(num_states):
            context[t, k] /= others
            everything += context[t, k] * emission[t, k]
        scale = math.log(everything)
        peak = log_evidence[t, 0]
        for k in range(1, num_states):
            peak = max(peak, log_evidence[t, k])
        for k in range(num_states):
            context[t, k] = math.log(context[t, k])
            marginals[t, k] = context[t, k] + log_evidence[t, k] - peak - scale
        if starts[t]:
            future[:] = 1.0
        else:
            future[:] = 0.0
            for j in range(num_states):
                share = onward[j] / total
                for i in range(num_states):
                    future[i] += share * turned[j, i]
