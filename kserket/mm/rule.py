"""The chain's rule in TensorFlow operations: what is served, and what `MarkovChain.call` gives.

    predicted_1 = initial,   predicted_{t+1} = (predicted_t x e_t) transitions     the past
    future_N = 1,            future_t = transitions (e_{t+1} x future_{t+1})       the future

Steps follow each other, but blocks of L steps can advance side by side: a block acts on what is
predicted at its first step as a (K, K) operator. L steps on all blocks give the operators, B steps
along them what enters each block from either side, and L more steps on all blocks every message:
about 4 sqrt(N) small operations instead of 2 N.

Where a sequence starts, what is predicted is `initial` whatever came before, and what follows says
nothing of what came before.

Probabilities and evidence are floored (`kserket.floors`), so that nothing underflows: operators
keep the scales of their rows apart, in logarithms. A chain whose transitions may be zero passes
step by step instead (`exact_context`), and so does one whose states last for durations of their
own (`lasting_context`).

Reference: Särkkä and García-Fernández (2021), Temporal parallelization of Bayesian smoothers.
"""

import numpy as np
import tensorflow as tf

from kserket import floors


def conclude(context, own, above):
    """The three products of what the others say of each step: arrays or tensors (N, K).

    Args:
        context: Log probabilities given all other steps.
        own: Log evidence of the module below.
        above: Log class prior, or 0.0.

    Returns:
        What goes up (without `above`), what goes down (without `own`), and the posterior;
        logarithms, unnormalized.
    """
    return context + own, context + above, context + own + above


def state_evidence(log_reported, reports):
    """What is reported of each step's class, as evidence of its state.

    Args:
        log_reported: (N, K), unnormalized logarithms.
        reports: (K, K) P(class = column | state = row).

    Returns:
        (N, K), unnormalized logarithms.
    """
    peak = tf.reduce_max(log_reported, axis=1, keepdims=True)
    weights = tf.exp(log_reported - peak) @ tf.transpose(reports)
    own_number = log_reported + tf.math.log(_floored(tf.linalg.diag_part(reports)))
    is_lost = weights <= floors.smallest(weights.dtype)  # where nothing else is reported
    return tf.where(is_lost, own_number, tf.math.log(_floored(weights)) + peak)


def context(log_evidence, initial, transitions, starts=None):
    """log P(state | evidence of all other steps of its sequence).

    Args:
        log_evidence: (N, K), unnormalized; a row of equal values says nothing.
        initial: (K,) P(first state).
        transitions: (K, K) P(next state = column | state = row).
        starts: (N,) booleans, true where a sequence starts. The first step always starts one.
            None is one sequence.

    Returns:
        (N, K), unnormalized.
    """
    dtype, num_states = log_evidence.dtype, log_evidence.shape[1]
    pack, unpack = _blocks(log_evidence)
    peak = tf.reduce_max(log_evidence, axis=1, keepdims=True)
    evidence = _floored(tf.exp(pack(log_evidence - peak)))
    ends = None
    if starts is not None:  # where the next step starts a sequence
        ends = tf.concat([starts[1:], starts[:1]], axis=0)[:, None]
        ends = pack(tf.cast(ends, dtype)) > 0

    def onward(weights, ends=None):  # from a step to the next
        reached = weights @ transitions
        if ends is not None:
            anew = tf.reduce_sum(weights, axis=-1, keepdims=True) * initial
            reached = tf.where(ends, anew, reached)
        return _floored(reached)

    def backward(weights, ends=None):  # from a step to the one before
        reached = weights @ tf.transpose(transitions)
        return _floored(reached if ends is None else tf.where(ends, tf.ones_like(reached), reached))

    def grow(step, operators, log_scale):
        operators, scale = _shares(operators * evidence[step][:, None])
        operators = onward(operators, None if ends is None else ends[step][:, None])
        return step + 1, operators, log_scale + tf.math.log(scale[..., 0])

    identity = tf.tile(tf.eye(num_states, dtype=dtype)[None], (tf.shape(evidence)[1], 1, 1))
    _, *operators = tf.while_loop(
        lambda step, *_: step < tf.shape(evidence)[0], grow, (0, identity, identity[..., 0] * 0)
    )

    def enter(weights, operator):
        shares = tf.nn.softmax(tf.math.log(weights) + operator[1])
        return _floored(tf.linalg.matvec(operator[0], shares, transpose_a=True))

    def leave(weights, operator):
        log_weights = tf.math.log(tf.linalg.matvec(operator[0], weights)) + operator[1]
        return _floored(tf.nn.softmax(log_weights))

    first, last = _floored(initial), tf.ones_like(initial)
    entering = tf.scan(enter, tuple(operators), first)
    entering = tf.concat([first[None], entering[:-1]], axis=0)
    leaving = tf.scan(leave, tuple(operators), last, reverse=True)
    leaving = tf.concat([leaving[1:], last[None]], axis=0)

    def past(weights, at):
        return onward(_shares(weights * at[0])[0], *at[1:])

    def future(weights, at):
        return backward(_shares(weights * at[0])[0], *at[1:])

    ends = () if ends is None else (ends,)
    predicted = tf.scan(past, (evidence, *ends), entering)
    predicted = tf.concat([entering[None], predicted[:-1]], axis=0)
    following = tf.concat([evidence[1:], tf.ones_like(evidence[:1])], axis=0)
    foretold = tf.scan(future, (following, *ends), leaving, reverse=True)
    return unpack(tf.math.log(predicted) + tf.math.log(foretold))


def exact_context(log_evidence, initial, transitions, starts=None):
    """`context` of a chain with transitions of zero, which no evidence overcomes.

    One step after another, in logarithms, of which those of zero are -inf.

    Args:
        log_evidence: (N, K), unnormalized and finite.
        initial: (K,) P(first state).
        transitions: (K, K) P(next state = column | state = row).
        starts: As in `context`.

    Returns:
        (N, K), unnormalized; -inf for a state that no path leads to.
    """
    peak = tf.reduce_max(log_evidence, axis=1, keepdims=True)
    num_steps, log_transitions = tf.shape(log_evidence)[0], tf.math.log(transitions)
    evidence = tf.pad(log_evidence - peak, ((0, 1), (0, 0)))  # one step at least
    first, last = tf.math.log(initial), tf.zeros_like(initial)
    ends = tf.zeros_like(evidence[:, 0], "bool")
    if starts is not None:  # where the next step starts a sequence
        ends = tf.concat([starts, [False, False]], axis=0)[1 : num_steps + 2]

    def past(log_weights, at):
        reached = _log_sum((log_weights + at[0])[:, None] + log_transitions, axis=0)
        return tf.where(at[1], first, reached)

    def future(log_weights, at):
        reached = _log_sum(log_transitions + log_weights + at[0], axis=1)
        return tf.where(at[1], last, reached)

    predicted = tf.scan(past, (evidence, ends), first)
    following = tf.concat([evidence[1:], tf.zeros_like(evidence[:1])], axis=0)
    foretold = tf.scan(future, (following, ends), last, reverse=True)
    predicted = tf.concat([first[None], predicted], axis=0)
    return (predicted[:-1] + foretold)[:num_steps]


def lasting_context(log_evidence, initial, transitions, lasting, starts=None):
    """`context` of a chain whose states last for durations of a law of their own.

    One step after another, in logarithms, over states and how long they have lasted.

    Args:
        log_evidence: (N, K), unnormalized and finite.
        initial: (K,) P(first state).
        transitions: (K, K) P(state of the next segment = column | state = row).
        lasting: `inference.durations.Lasting`, (K, D) each.
        starts: As in `context`.

    Returns:
        (N, K), unnormalized; -inf for a state that no path leads to.
    """
    dtype, num_steps = log_evidence.dtype, tf.shape(log_evidence)[0]
    peak = tf.reduce_max(log_evidence, axis=1, keepdims=True)
    evidence = tf.pad(log_evidence - peak, ((0, 1), (0, 0)))  # one step at least
    log_transitions = tf.math.log(transitions)
    log_leave, log_stay = (tf.math.log(tf.cast(part, dtype)) for part in lasting)
    never = tf.fill(tf.shape(log_leave[:, 1:]), tf.constant(-np.inf, dtype))
    first = tf.concat([tf.math.log(initial)[:, None], never], axis=1)
    last = tf.zeros_like(log_leave)
    ends = tf.zeros_like(evidence[:, 0], "bool")
    if starts is not None:  # where the next step starts a sequence
        ends = tf.concat([starts, [False, False]], axis=0)[1 : num_steps + 2]

    def past(log_weights, at):
        here = log_weights + at[0][:, None]
        ended = _log_total(here + log_leave, axis=1)
        begins = _log_total(ended[:, None] + log_transitions, axis=0)
        onward = here + log_stay
        reached = tf.concat([begins[:, None], onward[:, :-1]], axis=1)
        oldest = _log_total(tf.stack([reached[:, -1], onward[:, -1]]), axis=0)
        reached = tf.concat([reached[:, :-1], oldest[:, None]], axis=1)
        return tf.where(at[1], first, reached - tf.reduce_max(reached))

    def future(log_weights, at):
        ahead = log_weights + at[0][:, None]
        leaving = log_leave + _log_total(log_transitions + ahead[:, 0], axis=1)[:, None]
        staying = log_stay + tf.concat([ahead[:, 1:], ahead[:, -1:]], axis=1)
        reached = _log_total(tf.stack([leaving, staying]), axis=0)
        return tf.where(at[1], last, reached - tf.reduce_max(reached))

    predicted = tf.scan(past, (evidence, ends), first)
    following = tf.concat([evidence[1:], tf.zeros_like(evidence[:1])], axis=0)
    foretold = tf.scan(future, (following, ends), last, reverse=True)
    predicted = tf.concat([first[None], predicted], axis=0)
    return _log_total(predicted[:-1] + foretold, axis=2)[:num_steps]


def _log_sum(log_weights, axis):
    """Logarithm of sums of exponentials over an axis, less the largest of them."""
    reached = _log_total(log_weights, axis)
    return reached - tf.reduce_max(reached)


def _log_total(log_weights, axis):
    """Logarithm of sums of exponentials over an axis."""
    peak = tf.maximum(tf.reduce_max(log_weights, axis=axis, keepdims=True), -1e30)
    sums = tf.math.log(tf.reduce_sum(tf.exp(log_weights - peak), axis=axis))
    return sums + tf.squeeze(peak, axis)


def _blocks(rows):
    """Functions that put rows (N, C) into B blocks of L side by side, and back.

    The first gives (L, B, C), step i of every block; the last block ends with rows of zeros. B is
    sqrt(N); in single precision it is fixed, since LiteRT scans only over elements of known shape.
    """
    num_rows = tf.shape(rows)[0]
    num_blocks = tf.cast(tf.math.ceil(tf.sqrt(tf.cast(num_rows, "float32"))), "int32")
    num_blocks = 32 if rows.dtype == tf.float32 else tf.maximum(num_blocks, 1)
    length = tf.maximum((num_rows + num_blocks - 1) // num_blocks, 1)

    def pack(rows):
        padded = tf.pad(rows, ((0, num_blocks * length - num_rows), (0, 0)))
        return tf.transpose(tf.reshape(padded, (num_blocks, length, rows.shape[1])), (1, 0, 2))

    def unpack(blocks):
        blocks = tf.transpose(blocks, (1, 0, 2))
        return tf.reshape(blocks, (-1, blocks.shape[2]))[:num_rows]

    return pack, unpack


def _shares(weights):
    """Weights (..., K) divided by their sums, and the sums (..., 1)."""
    sums = tf.reduce_sum(weights, axis=-1, keepdims=True)
    return weights / sums, sums


def _floored(weights):
    return tf.maximum(weights, floors.smallest(weights.dtype))
