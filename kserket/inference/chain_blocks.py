"""Passes along a Markov chain in NumPy alone: blocks of steps advance side by side.

A block acts on what is known at its start as a (K, K) operator. With the operators of all blocks,
found side by side, blocks are chained one after another; with what enters each block known, all of
them advance once more, for the steps themselves. Arrays hold blocks on their last axis, so that
every operation is one on long rows.

Reference: Rabiner (1989), A tutorial on hidden Markov models, eqs. 18-37; Särkkä and
García-Fernández (2021), Temporal parallelization of Bayesian smoothers.
"""

from typing import NamedTuple

import numpy as np

from kserket.inference.chain_passes import LARGEST, Pass

_LONG_ROW = 2000  # from here on one operation for each state is faster than one for all
_SMALLEST = 1e-300  # sum of a column that has a path


class _Blocks(NamedTuple):
    """Sequences cut into C blocks of L steps, the last of a sequence padded."""

    real: np.ndarray  # (C, L) which steps are no padding
    later: np.ndarray  # numbers of the blocks that go on with a sequence

    def last_steps(self):
        """For each step of blocks, the numbers of those in which a sequence ends with it."""
        last = np.setdiff1d(np.arange(len(self.real)), self.later - 1)
        at = self.real[last].sum(axis=1) - 1
        return [last[at == t] for t in range(self.real.shape[1])]

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


def smooth(log_evidence, initial, transitions, lengths, filtered=False):
    """Forward-backward with probabilities scaled at every step.

    Args:
        log_evidence: (N, K), one finite value a row.
        initial: (K,) P(z_1).
        transitions: (K, K) P(z_{t+1} = column | z_t = row).
        lengths: (S,) checked.
        filtered: Whether `Pass.log_filtered` is wanted.

    Returns:
        `Pass`; None where the future needs a state that the past has lost, or there is no path.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return _smooth(log_evidence, initial, transitions, lengths, filtered)


def _smooth(log_evidence, initial, transitions, lengths, filtered):
    blocks, evidence, emission, peaks = _packed(log_evidence, lengths, transitions)
    begin, end = _ends(blocks, emission, initial, transitions)
    context, past, scales = _forward(emission, begin, transitions)
    onward, follows = end, np.empty(emission.shape)
    for t in reversed(range(len(emission))):
        future = transitions @ onward
        onward = np.multiply(emission[t], future, out=follows[t])
        onward /= (context[t] * onward).sum(axis=0)
        context[t] *= future
    in_order = scales.T.ravel()
    if not follows.max() <= LARGEST * (in_order * np.append(in_order[1:], 1.0)).min():
        return None
    pairs = past[-1][:, blocks.later - 1] @ follows[0][:, blocks.later].T
    follows.transpose(2, 0, 1)[~blocks.real] = 0.0
    if past.shape[2] > len(initial):
        pairs += (past[:-1] @ follows[1:].swapaxes(1, 2)).sum(axis=0)
    else:
        pairs += np.tensordot(past[:-1], follows[1:], axes=([0, 2], [0, 2]))
    context /= context.sum(axis=1, keepdims=True)
    everything = (context * emission).sum(axis=1, keepdims=True)
    np.log(context, out=context)
    evidence += context
    evidence -= np.log(everything)
    return Pass(
        blocks.unpack(context),
        blocks.unpack(evidence),
        transitions * pairs,
        blocks.unpack(np.log(scales)[:, None])[:, 0] + peaks,
        np.log(blocks.unpack(past)) if filtered else None,
    )


def _cut(lengths, num_states):
    """`_Blocks` of sequences."""
    size = _block_length(lengths, num_states)
    counts = -(-lengths // size)
    position = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    left = np.repeat(lengths, counts) - position * size
    return _Blocks(np.arange(size) < left[:, None], np.flatnonzero(position))


def _packed(log_evidence, lengths, transitions):
    """`_Blocks`, the evidence in them relative to the best state's, its exponential, the best."""
    blocks = _cut(lengths, len(transitions))
    evidence = blocks.pack(log_evidence)
    peaks = evidence.max(axis=1, keepdims=True)
    evidence -= peaks
    return blocks, evidence, np.exp(evidence), blocks.unpack(peaks)[:, 0]


def _ends(blocks, emission, initial, transitions):
    """What enters blocks from the past and from the future, (K, C) each."""
    num_blocks, size = emission.shape[2], len(initial)
    begin = np.repeat(initial[:, None], num_blocks, axis=1)
    end = np.ones_like(begin)
    if not len(blocks.later):
        return begin, end
    # operators[j, i, c]: P(evidence of the block, next state j | first state i), i's sum apart
    operators = np.repeat(np.eye(size)[..., None], num_blocks, axis=2)
    turned, log_scales = np.ascontiguousarray(transitions.T), np.zeros((size, num_blocks))
    for e in emission:
        operators *= e[:, None]
        scales = operators.sum(axis=0)
        operators /= np.maximum(scales, _SMALLEST)  # no path from a state: its column stays zero
        log_scales += np.log(scales)
        operators = (turned @ operators.reshape(size, -1)).reshape(operators.shape)
    operators = np.ascontiguousarray(operators.transpose(2, 0, 1))
    likelihoods = np.exp(log_scales - log_scales.max(axis=0))
    log_scales -= log_scales.max(axis=0)
    for c in blocks.later:
        log_weights = np.log(begin[:, c - 1]) + log_scales[:, c - 1]
        state = operators[c - 1] @ np.exp(log_weights - log_weights.max())
        begin[:, c] = state / state.sum()
    for c in blocks.later[::-1]:
        likelihood = (end[:, c] @ operators[c]) * likelihoods[:, c]
        end[:, c - 1] = likelihood / (begin[:, c] @ likelihood)
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


def best_path(log_evidence, log_initial, log_transitions, lengths):
    """Viterbi.

    Args:
        log_evidence: (N, K).
        log_initial: (K,) log P(first state).
        log_transitions: (K, K) log P(next state = column | state = row).
        lengths: (S,) checked.

    Returns:
        (N,) integers, the first of states that are equally good, and log P(path, evidence).
    """
    size = len(log_initial)
    blocks = _cut(lengths, size)
    evidence = blocks.pack(log_evidence)
    length, _, num_blocks = evidence.shape
    entering = np.repeat(log_initial[:, None], num_blocks, axis=1)
    if len(blocks.later):
        # operators[j, i, c]: the best way from the first state i to the next block's state j
        with np.errstate(divide="ignore"):
            operators = np.repeat(np.log(np.eye(size))[..., None], num_blocks, axis=2)
        onward = _Onward(operators, log_transitions)
        for e in evidence:
            operators += e[:, None]
            onward(operators)
        operators = np.ascontiguousarray(operators.transpose(2, 0, 1))
        for c in blocks.later:
            entering[:, c] = (operators[c - 1] + entering[:, c - 1]).max(axis=1)

    before = np.zeros(evidence.shape, np.int8 if size <= np.iinfo(np.int8).max else np.int32)
    score, onward = entering, _Onward(entering, log_transitions)
    last = blocks.last_steps()
    for t, e in enumerate(evidence):
        score += e
        ended = score[:, last[t]].argmax(axis=0) if len(last[t]) else None
        onward(score, before[t])
        if ended is not None:
            before[t][:, last[t]] = ended  # whatever follows in the block

    places = np.arange(num_blocks)
    first = np.repeat(np.arange(size)[:, None], num_blocks, axis=1)
    for choice in before[::-1]:  # from each state after a block to the one it began with
        first = choice.take(np.multiply(first, num_blocks, dtype=np.intp) + places)
    state = np.zeros(num_blocks, np.intp)  # after each block
    for c in blocks.later[::-1]:
        state[c - 1] = first[state[c], c]
    path = np.empty((length, 1, num_blocks), np.int64)
    for t in reversed(range(length)):
        state = path[t, 0] = before[t].take(state * num_blocks + places).astype(np.intp)
    path = blocks.unpack(path)[:, 0]
    return path, _log_joint(path, log_evidence, log_initial, log_transitions, lengths)


class _Onward:
    """The best way to each next state, written over scores of states (K, ..., C)."""

    def __init__(self, score, log_transitions):
        self._steps = log_transitions.reshape(*log_transitions.shape, *[1] * (score.ndim - 1))
        self._best, self._other = np.empty_like(score), np.empty_like(score)
        self._is_better = np.empty(score.shape, bool)

    def __call__(self, score, before=None):
        """`before` (K, C), zeros, receives the state before; where several are best, the first."""
        if score.size < _LONG_ROW:
            through = score[:, None] + self._steps
            if before is not None:
                before[...] = through.argmax(axis=0)
            through.max(axis=0, out=score)
            return
        best, other, is_better = self._best, self._other, self._is_better
        np.add(score[0], self._steps[0], out=best)
        for i in range(1, len(score)):
            np.add(score[i], self._steps[i], out=other)
            if before is not None:
                np.greater(other, best, out=is_better)
                np.maximum(before, np.multiply(is_better, i, dtype=before.dtype), out=before)
            np.maximum(best, other, out=best)
        score[...] = best


def _log_joint(path, log_evidence, log_initial, log_transitions, lengths):
    """log P(path, evidence)."""
    num_steps, num_states = log_evidence.shape
    starts = np.cumsum(lengths) - lengths
    entered = np.empty(num_steps)
    entered[1:] = log_transitions.ravel().take(path[:-1] * num_states + path[1:])
    entered[starts] = log_initial[path[starts]]
    heard = log_evidence.ravel().take(np.arange(num_steps) * num_states + path)
    return float(entered.sum() + heard.sum())
