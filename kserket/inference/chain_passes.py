"""Forwards and backwards over the evidence of a Markov chain in logarithms, step by step.

Reference: Rabiner (1989), A tutorial on hidden Markov models, eqs. 18-37.
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


def has_zeros(initial, transitions):
    """Whether a probability is too small for passes in scaled probabilities."""
    return min(initial.min(), transitions.min()) < _POSITIVE


def by_step(log_evidence, initial, transitions, lengths):
    """Forwards and backwards, exact for any probabilities."""
    initial, transitions = (np.asarray(part, np.float64) for part in (initial, transitions))
    scans = chain_scan.scans()
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


def log(probabilities):
    """Logarithms, -inf for 0."""
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(probabilities, dtype=np.float64))
