"""Passes along a Markov chain in NumPy alone: blocks of steps advance side by side.

A block acts on what is known at its start as a (K, K) operator. With the operators of all blocks,
found side by side, blocks are chained one after another; with what enters each block known, all of
them advance once more, for the steps themselves. Arrays hold blocks on their last axis, so that
every operation is one on long rows.

Reference: Rabiner (1989), A tutorial on hidden Markov models, eqs. 18-37; Särkkä and
García-Fernández (2021), Temporal parallelization of Bayesian smoothers.
"""

import math
from typing import NamedTuple

import numpy as np

from kserket.inference.chain_smoothing import LOWEST, Pass

_MAX_CELLS = 400_000  # of all operators of a step together
_LONG_ROW = 2000  # from here on one operation for each state is faster than one for all


class _Blocks(NamedTuple):
    """Sequences cut into C blocks of L steps, the last of a sequence padded."""

    real: np.ndarray  # (C, L) which steps are no padding
    later: np.ndarray  # numbers of the blocks that go on with a sequence

    def pack(self, values):
        """(N, K) as (L, K, C), padded with zeros."""
        packed = np.zeros((*self.real.shape, values.shape[1]))
        if self.real.ravel()[: len(values)].all():
            packed.reshape(-1, values.shape[1])[: len(values)] = values
        else:
            packed[self.real] = values
        return np.ascontiguousarray(packed.transpose(1, 2, 0))

    def unpack(self, values):
        """(L, K, C) as (N, K)."""
        values, num_steps = values.transpose(2, 0, 1), np.count_nonzero(self.real)
        if self.real.ravel()[:num_steps].all():
            return values.reshape(self.real.size, -1)[:num_steps]
        return values[self.real]


def smooth(log_evidence, initial, transitions, lengths):
    """Forward-backward with probabilities scaled at every step, all of them positive.

    Args:
        log_evidence: (N, K), one finite value a row.
        initial: (K,) P(z_1), none below 1e-100.
        transitions: (K, K) P(z_{t+1} = column | z_t = row), likewise.
        lengths: (S,) checked.

    Returns:
        `Pass`.
    """
    blocks, evidence, emission, peaks = _packed(log_evidence, lengths, transitions)
    begin, end = _ends(blocks, emission, initial, transitions)
    context, filtered, scales = _forward(emission, begin, transitions)
    onward, follows = end, np.empty(emission.shape)
    for t in reversed(range(len(emission))):
        future = transitions @ onward
        onward = np.multiply(emission[t], future, out=follows[t])
        onward /= (context[t] * onward).sum(axis=0)
        context[t] *= future
    pairs = filtered[-1][:, blocks.later - 1] @ follows[0][:, blocks.later].T
    follows.transpose(2, 0, 1)[~blocks.real] = 0.0
    if filtered.shape[2] > len(initial):
        pairs += (filtered[:-1] @ follows[1:].swapaxes(1, 2)).sum(axis=0)
    else:
        pairs += np.tensordot(filtered[:-1], follows[1:], axes=([0, 2], [0, 2]))
    context /= context.sum(axis=1, keepdims=True)
    everything = (context * emission).sum(axis=1, keepdims=True)
    np.log(context, out=context)
    evidence += context
    evidence -= np.log(everything)
    predictive = blocks.unpack(np.log(scales)[:, None])[:, 0] + peaks
    return Pass(blocks.unpack(context), blocks.unpack(evidence), transitions * pairs, predictive)


def log_filtered(log_evidence, initial, transitions, lengths):
    """log P(z_t | evidence up to t), (N, K), of chains as in `smooth`."""
    blocks, _, emission, _ = _packed(log_evidence, lengths, transitions)
    begin, _ = _ends(blocks, emission, initial, transitions)
    with np.errstate(divide="ignore"):
        return np.log(blocks.unpack(_forward(emission, begin, transitions)[1]))


def _packed(log_evidence, lengths, transitions):
    """`_Blocks`, the evidence in them relative to the best state's, its exponential, the best."""
    size = _block_length(lengths, len(transitions))
    counts = -(-lengths // size)
    position = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    left = np.repeat(lengths, counts) - position * size
    blocks = _Blocks(np.arange(size) < left[:, None], np.flatnonzero(position))
    evidence = blocks.pack(log_evidence)
    peaks = evidence.max(axis=1, keepdims=True)
    evidence -= peaks
    emission = np.maximum(evidence, LOWEST)
    np.exp(emission, out=emission)
    return blocks, evidence, emission, blocks.unpack(peaks)[:, 0]


def _ends(blocks, emission, initial, transitions):
    """What enters blocks from the past and from the future, (K, C) each."""
    num_blocks, size = emission.shape[2], len(initial)
    begin = np.repeat(initial[:, None], num_blocks, axis=1)
    end = np.ones_like(begin)
    if not len(blocks.later):
        return begin, end
    # operators[j, i, c]: P(evidence of the block, next state j | first state i)
    operators = np.repeat(np.eye(size)[..., None], num_blocks, axis=2)
    turned, log_scales = np.ascontiguousarray(transitions.T), np.zeros((size, num_blocks))
    for e in emission:
        operators *= e[:, None]
        scales = operators.sum(axis=0)
        operators /= scales
        log_scales += np.log(scales)
        operators = (turned @ operators.reshape(size, -1)).reshape(operators.shape)
    operators *= np.exp(log_scales - log_scales.max(axis=0))
    operators = np.ascontiguousarray(operators.transpose(2, 0, 1))
    for c in blocks.later:
        state = operators[c - 1] @ begin[:, c - 1]
        begin[:, c] = state / state.sum()
    for c in blocks.later[::-1]:
        likelihood = end[:, c] @ operators[c]
        end[:, c - 1] = likelihood / likelihood.max()
    return begin, end


def _forward(emission, begin, transitions):
    """P(z_t | before t) and P(z_t | up to t), (L, K, C), and what emissions sum to, (L, C)."""
    predicted, filtered = np.empty(emission.shape), np.empty(emission.shape)
    scales = np.empty((len(emission), emission.shape[2]))
    turned, state = np.ascontiguousarray(transitions.T), begin
    for t, e in enumerate(emission):
        predicted[t] = state
        np.multiply(state, e, out=filtered[t])
        filtered[t].sum(axis=0, out=scales[t])
        filtered[t] /= scales[t]
        state = turned @ filtered[t]
    return predicted, filtered, scales


def _block_length(lengths, num_states):
    """Length of the blocks into which sequences are cut so that the whole pass is cheapest.

    Cutting lets all blocks advance together, at K times the arithmetic. Costs are in microseconds.
    """
    longest = int(lengths.max())
    candidates = [*2 ** np.arange(2, longest.bit_length()), longest]

    def cost(size):
        counts = -(-lengths // size)
        cuts, steps = np.sum(counts - 1), counts.sum() * size
        arithmetic = 0.02 * num_states + 0.001 * num_states**2
        if cuts:
            arithmetic += 0.003 * num_states**2 + 0.0002 * num_states**3
        return 50 * size + 12 * cuts + arithmetic * steps

    return min(candidates, key=cost)


def best_path(log_evidence, starts, log_initial, log_transitions):
    """Viterbi.

    Args:
        log_evidence: (N, K).
        starts: (N,) booleans, where a sequence starts.
        log_initial: (K,) log P(first state).
        log_transitions: (K, K) log P(next state = column | state = row).

    Returns:
        (N,) integers.
    """
    num_steps, size = log_evidence.shape
    num_blocks = min(math.isqrt(4 * num_steps), max(1, _MAX_CELLS // size**3), num_steps)
    length = -(-num_steps // num_blocks)
    num_blocks = -(-num_steps // length)
    evidence = np.zeros((num_blocks * length, size))
    evidence[:num_steps] = log_evidence
    evidence = evidence.reshape(num_blocks, length, size).transpose(1, 2, 0)
    evidence = np.ascontiguousarray(evidence)  # (L, K, B)
    ends = np.ones(num_blocks * length, bool)  # whether the next step starts a sequence
    ends[: num_steps - 1] = starts[1:]
    ends = ends.reshape(num_blocks, length).T
    ending = [np.flatnonzero(row) for row in ends]
    into = log_initial[:, None]

    entering = np.repeat(into, num_blocks, axis=1)
    if num_blocks > 1:
        # operators[j, i, b]: the best way from the first state i to the next block's state j
        with np.errstate(divide="ignore"):
            operators = np.repeat(np.log(np.eye(size))[..., None], num_blocks, axis=2)
        for i in range(length):
            operators = operators + evidence[i][:, None]
            ended = operators[..., ending[i]] if len(ending[i]) else None
            operators = _onward(operators, log_transitions[..., None, None])
            if ended is not None:
                operators[..., ending[i]] = ended.max(axis=0) + into[..., None]
        operators = np.ascontiguousarray(operators.transpose(2, 0, 1))
        for b in range(1, num_blocks):
            entering[:, b] = (operators[b - 1] + entering[:, b - 1]).max(axis=1)

    before = np.zeros((length, size, num_blocks), np.int32)
    score = entering
    for i in range(length):
        score = score + evidence[i]
        ended = score[:, ending[i]] if len(ending[i]) else None
        score = _onward(score, log_transitions[..., None], before[i])
        if ended is not None:
            before[i][:, ending[i]] = ended.argmax(axis=0)
            score[:, ending[i]] = ended.max(axis=0) + into

    places = np.arange(num_blocks)
    first = np.repeat(np.arange(size)[:, None], num_blocks, axis=1)
    for i in reversed(range(length)):  # from each state after a block to the one it began with
        first = before[i].take(first * num_blocks + places)
    state = np.zeros(num_blocks, np.int64)  # after each block
    for b in reversed(range(1, num_blocks)):
        state[b - 1] = first[state[b], b]
    path = np.empty((length, num_blocks), np.int64)
    for i in reversed(range(length)):
        state = path[i] = before[i].take(state * num_blocks + places)
    return path.T.ravel()[:num_steps]


def _onward(score, log_transitions, before=None):
    """The best way to each next state: scores (K, ...), from those of each state.

    `before` (K, ...) receives the state before each; where several are best, the first.
    """
    if score.size < _LONG_ROW:
        through = score[:, None] + log_transitions
        if before is not None:
            before[...] = through.argmax(axis=0)
        return through.max(axis=0)
    best = score[0] + log_transitions[0]
    for i in range(1, len(score)):
        other = score[i] + log_transitions[i]
        if before is not None:
            np.copyto(before, i, where=other > best)
        np.maximum(best, other, out=best)
    return best
