"""Passes along a Markov chain one step after another, compiled by numba.

Probabilities are divided by their sum at every step, so that nothing overflows. What underflows
does not matter, unless the future asks for it: `smooth` notices. Exponentials and logarithms are
taken of whole arrays, which is several times as fast as one by one.

Reference: Rabiner (1989), A tutorial on hidden Markov models, section V.A and eqs. 32-35.
"""

import functools
from typing import NamedTuple

import numpy as np

from kserket.inference.chain_passes import LARGEST, Pass
from kserket.inference.compiling import compile_all

_LOWEST = -600.0  # log evidence relative to the best state's; below it counts as impossible
_SMALLEST = 1e-280  # smaller filtered probabilities count as zero: arithmetic below is slow


class Kernels(NamedTuple):
    """The compiled functions."""

    shift: object
    forward: object
    backward: object
    finish: object
    best_path: object


@functools.cache
def compiled():
    """The `Kernels`; None where numba is not installed."""
    try:
        functions = compile_all(
            _shift, _forward, _backward, _finish, _best_path, fastmath={"contract"}
        )
    except ImportError:
        return None
    return Kernels(*functions)


def smooth(kernels, log_evidence, initial, transitions, lengths, filtered=False):
    """Forward-backward.

    Args:
        kernels: What `compiled` returned.
        log_evidence: (N, K), one finite value a row.
        initial: (K,) P(first state).
        transitions: (K, K) P(next state = column | state = row).
        lengths: (S,) of the sequences.
        filtered: Whether `Pass.log_filtered` is wanted.

    Returns:
        `Pass`; None where the future needs a state that the past has lost, or there is no path.
    """
    context, marginals = np.empty(log_evidence.shape), np.empty(log_evidence.shape)
    peaks, totals, others, everything = np.empty((4, len(log_evidence)))
    pairs, log_filtered = np.zeros(transitions.shape), None
    kernels.shift(log_evidence, marginals, peaks)
    emission = np.exp(marginals, out=marginals)
    kernels.forward(
        emission, lengths, initial, np.ascontiguousarray(transitions.T), context, totals
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        if filtered:
            log_filtered = np.log(context * emission / totals[:, None])
        if not kernels.backward(
            emission, lengths, transitions, totals, context, others, everything, pairs
        ):
            return None
        for values in (context, others, everything, totals):
            np.log(values, out=values)
    kernels.finish(log_evidence, peaks, others, everything, context, marginals)
    return Pass(context, marginals, transitions * pairs, totals + peaks, log_filtered)


def best_path(kernels, log_evidence, log_initial, log_transitions, lengths):
    """Viterbi.

    Args:
        kernels: What `compiled` returned.
        log_evidence: (N, K).
        log_initial: (K,) log P(first state).
        log_transitions: (K, K) log P(next state = column | state = row).
        lengths: (S,) of the sequences.

    Returns:
        (N,) integers, the first of states that are equally good, and log P(path, evidence).
    """
    scores, path = np.empty(log_evidence.shape), np.empty(len(log_evidence), np.int64)
    turned = np.ascontiguousarray(log_transitions.T)
    return path, kernels.best_path(log_evidence, lengths, log_initial, turned, scores, path)


def _shift(log_evidence, shifted, peaks):
    """Writes the evidence relative to the best state's (N, K), and the best state's (N,)."""
    num_steps, num_states = log_evidence.shape
    for t in range(num_steps):
        evidence, relative = log_evidence[t], shifted[t]
        peak = evidence[0]
        for k in range(1, num_states):
            peak = max(peak, evidence[k])
        peaks[t] = peak
        for k in range(num_states):
            value = evidence[k] - peak
            relative[k] = value if value > _LOWEST else -np.inf


def _forward(emission, lengths, initial, turned, predicted, totals):
    """Writes P(z_t | evidence before t), and what P(z_t | evidence before t) emission_t sums to.

    `turned` are the transitions transposed.
    """
    num_states = emission.shape[1]
    filtered = np.empty(num_states)  # not divided by its sum yet, which may come meanwhile
    end = 0
    for length in lengths:
        begin, end = end, end + length
        scale = 1.0
        for t in range(begin, end):
            prediction, evidence = predicted[t], emission[t]
            for j in range(num_states):
                if t == begin:
                    prediction[j] = initial[j]
                    continue
                row, total = turned[j], 0.0
                for i in range(num_states):
                    total += filtered[i] * row[i]
                prediction[j] = total * scale
            total = 0.0
            for k in range(num_states):
                value = prediction[k] * evidence[k]
                filtered[k] = value if value > _SMALLEST else 0.0
                total += value
            totals[t] = total
            scale = 1.0 / total


def _backward(emission, lengths, transitions, totals, context, others, everything, pairs):
    """Turns predictions into contexts, and adds up P(z_t | past) P(z_{t+1}, future | past).

    Writes (N,) what contexts sum to, without the evidence of the step and with it.

    Returns:
        Whether nothing that was lost on the way could have mattered.
    """
    num_states = emission.shape[1]
    future, onward = np.empty(num_states), np.empty(num_states)
    exact = True
    end = len(emission)
    for s in range(len(lengths) - 1, -1, -1):
        begin = end - lengths[s]
        future[:] = 1.0  # P(evidence after t | z_t) / P(evidence after t | evidence up to t)
        for t in range(end - 1, begin - 1, -1):
            weights, evidence, scale = context[t], emission[t], 1.0 / totals[t]
            without = heard = strength = 0.0
            for k in range(num_states):
                weight = weights[k] * future[k]
                weights[k] = weight
                without += weight
                heard += weight * evidence[k]
                relative = future[k] * scale
                strength += relative
                onward[k] = relative * evidence[k]
            others[t], everything[t] = without, heard
            if t == begin:
                exact = exact and strength <= LARGEST
                continue
            weights, evidence, scale = context[t - 1], emission[t - 1], 1.0 / totals[t - 1]
            exact = exact and strength * scale <= LARGEST  # false of NaN
            for i in range(num_states):
                share, row, counts = weights[i] * evidence[i] * scale, transitions[i], pairs[i]
                total = 0.0
                for j in range(num_states):
                    counts[j] += share * onward[j]
                    total += row[j] * onward[j]
                future[i] = total
        end = begin
    return exact


def _finish(log_evidence, peaks, others, everything, context, marginals):
    """Writes log marginals and normalizes log contexts; all but the results are logarithms."""
    num_steps, num_states = log_evidence.shape
    for t in range(num_steps):
        weights, evidence, result = context[t], log_evidence[t], marginals[t]
        without, heard = others[t], everything[t] + peaks[t]
        for k in range(num_states):
            result[k] = weights[k] + evidence[k] - heard
            weights[k] -= without


def _best_path(log_evidence, lengths, log_initial, turned, scores, path):
    """Viterbi: writes the path; `scores` (N, K) is room, `turned` the log transitions transposed.

    States before the best ones are found on the way back, by the same sums.

    Returns:
        log P(path, evidence).
    """
    num_states = log_evidence.shape[1]
    log_joint = 0.0
    end = 0
    for length in lengths:
        begin, end = end, end + length
        for k in range(num_states):
            scores[begin, k] = log_initial[k] + log_evidence[begin, k]
        for t in range(begin + 1, end):
            before, now, evidence = scores[t - 1], scores[t], log_evidence[t]
            for j in range(num_states):
                row = turned[j]
                best = before[0] + row[0]
                for i in range(1, num_states):
                    candidate = before[i] + row[i]
                    best = candidate if candidate > best else best
                now[j] = best + evidence[j]
        state = 0
        for k in range(1, num_states):
            if scores[end - 1, k] > scores[end - 1, state]:
                state = k
        path[end - 1] = state
        log_joint += log_evidence[end - 1, state]
        for t in range(end - 2, begin - 1, -1):
            before, row = scores[t], turned[state]
            state, best = 0, before[0] + row[0]
            for k in range(1, num_states):
                candidate = before[k] + row[k]
                if candidate > best:
                    best, state = candidate, k
            path[t] = state
            log_joint += row[state] + log_evidence[t, state]
        log_joint += log_initial[state]
    return log_joint
