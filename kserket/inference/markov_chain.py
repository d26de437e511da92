"""Markov chain over hidden states whose evidence comes from elsewhere.

    z_1 ~ initial,   z_t | z_{t-1} ~ transitions[z_{t-1}],   evidence_t(k) ∝ P(x_t | z_t = k)

What the data say arrives as log evidence, one row a step, unnormalized: a row may be shifted by
any constant, and a row of equal values says nothing (a missing step). A per-step class prior is
added to the evidence before calling: to the chain they are the same thing.

Each step's **context** is the other half of its posterior: what all *other* steps say about it,

    context_t(k) ∝ P(z_t = k | evidence of every step but t)
                 ∝ predicted from the past (k) x likelihood of the future (k),

so that P(z_t | everything) ∝ context_t x evidence_t, and a step never hears itself.

Sequences lie one after another in the rows; `lengths` says where they end. A transition of zero is
impossible, whatever the evidence; a sequence that no path explains is an error that names the step.

Reference: Rabiner (1989), A tutorial on hidden Markov models, eqs. 18-37 and 40; for the chunks,
Särkkä and García-Fernández (2021), Temporal parallelization of Bayesian smoothers.
"""

from typing import NamedTuple

import numpy as np

from kserket.arrays import as_numbers
from kserket.inference import chain_scan

_POSITIVE = 1e-100  # no probability below: then scaled probabilities lose nothing
MOST_STEPS = 2**31 - 1  # of sequences together
_MANY = 10_000  # steps for which compiled code is worth its import


class Counts(NamedTuple):
    """Sufficient statistics, sums over sequences: add them to merge (`merge`)."""

    initial: np.ndarray  # (K,) times that a sequence starts in k
    transitions: np.ndarray  # (K, K) times that j follows i


class Smoothed(NamedTuple):
    """What one pass over the evidence says with the parameters held fixed."""

    log_context: np.ndarray  # (N, K) log P(z_t = k | evidence of all other steps)
    log_marginals: np.ndarray  # (N, K) log P(z_t = k | evidence of all steps)
    counts: Counts  # expected under the posterior over paths
    log_likelihood: float  # log sum over paths of P(path) x prod_t exp(log_evidence_t)
    log_predictive: np.ndarray  # (N,) its parts: log P(evidence of t | evidence of earlier steps)


class Segment(NamedTuple):
    """Steps in a row that are in one state."""

    start: int  # row of the first step
    end: int  # row after the last step
    state: int


def normalize(log_weights):
    """Shift rows so that their exponentials sum to one.

    Args:
        log_weights: (..., K), at least one finite value a row.

    Returns:
        Array of the same shape.
    """
    shifted = log_weights - log_weights.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def merge(*counts):
    """Add the statistics of several chunks of data (whole sequences each).

    Args:
        *counts: `Counts`, at least one.

    Returns:
        `Counts`.
    """
    return Counts(*(np.sum(parts, axis=0) for parts in zip(*counts, strict=True)))


def smooth(log_evidence, initial, transitions, lengths=None):
    """Forward-backward: what all steps say about each step, exactly.

    Args:
        log_evidence: (N, K), unnormalized; -inf for the impossible, one finite value a row.
        initial: (K,) P(z_1).
        transitions: (K, K) P(z_{t+1} = column | z_t = row); zeros are impossible.
        lengths: Lengths of the sequences, summing to N. Default: one sequence.

    Returns:
        `Smoothed`.

    Raises:
        ValueError: If shapes do not fit, or no path of states explains a sequence.
    """
    log_evidence, lengths = _checked(log_evidence, initial, lengths)
    passes = _passes(log_evidence, initial, transitions, lengths)
    log_context = normalize(passes.log_predicted + passes.log_future)
    log_marginals = normalize(log_context + log_evidence)
    starts, _ = steps(lengths)
    counts = Counts(np.exp(log_marginals[starts]).sum(axis=0), passes.pairs)
    return Smoothed(
        log_context, log_marginals, counts, passes.log_likelihood, passes.log_predictive
    )


def sample_paths(log_evidence, initial, transitions, num_paths, *, lengths=None, rng):
    """Draw whole paths from their posterior: filter forwards, sample backwards.

    Args:
        log_evidence: As in `smooth`.
        initial: (K,) P(z_1).
        transitions: (K, K) P(z_{t+1} = column | z_t = row).
        num_paths: S.
        lengths: As in `smooth`.
        rng: Numpy Generator.

    Returns:
        (S, N) integers.

    Reference:
        Scott (2002), Bayesian methods for hidden Markov models, section 2.1.3.
    """
    log_evidence, lengths = _checked(log_evidence, initial, lengths)
    log_filtered = _passes(log_evidence, initial, transitions, lengths).log_filtered
    into = _log(transitions).T
    last = np.zeros(len(log_evidence), dtype=bool)
    last[np.cumsum(lengths) - 1] = True
    uniforms = rng.random((len(log_evidence), num_paths, 1))
    paths = np.empty((len(log_evidence), num_paths), dtype=np.int64)
    for t in reversed(range(len(log_evidence))):
        log_weights = log_filtered[t] if last[t] else log_filtered[t] + into[paths[t + 1]]
        weights = np.exp(log_weights - log_weights.max(axis=-1, keepdims=True))
        paths[t] = _draw(np.broadcast_to(weights, (num_paths, len(into))), uniforms[t])
    return paths.T


def count(paths, num_states, lengths=None):
    """Average number of starts and transitions in sampled paths.

    Args:
        paths: (S, N) integers.
        num_states: K.
        lengths: As in `smooth`.

    Returns:
        `Counts`, means over the S paths.
    """
    starts, after = steps(check_lengths(lengths, paths.shape[1]))
    pairs = paths[:, after - 1] * num_states + paths[:, after]
    transitions = np.bincount(pairs.ravel(), minlength=num_states**2)
    initial = np.bincount(paths[:, starts].ravel(), minlength=num_states)
    shape = (num_states, num_states)
    return Counts(initial / len(paths), transitions.reshape(shape) / len(paths))


def most_likely_path(log_evidence, initial, transitions, lengths=None):
    """Viterbi: the path with the highest posterior probability.

    Args:
        log_evidence: As in `smooth`.
        initial: (K,) P(z_1).
        transitions: (K, K) P(z_{t+1} = column | z_t = row).
        lengths: As in `smooth`.

    Returns:
        (N,) integers and the path's log P(path, evidence).
    """
    log_evidence, lengths = _checked(log_evidence, initial, lengths)
    log_initial, log_transitions = _log(initial), _log(transitions)
    first, after = steps(lengths)
    starts = np.zeros(len(log_evidence), bool)
    starts[first] = True
    scans = chain_scan.scans() if len(log_evidence) >= _MANY else None
    if scans is not None and scans.compiled:
        path = np.empty(len(log_evidence), np.int64)
        before = np.empty(log_evidence.shape, np.int32)
        scans.best_path(log_evidence, starts, log_initial, log_transitions, before, path)
    else:
        path = chain_scan.best_path_in_blocks(log_evidence, starts, log_initial, log_transitions)
    log_joint = log_evidence[np.arange(len(path)), path]
    log_joint[first] += log_initial[path[first]]
    log_joint[after] += log_transitions[path[after - 1], path[after]]
    if (log_joint == -np.inf).any():  # raises
        _passes(log_evidence, initial, transitions, lengths)
    return path, float(log_joint.sum())


def segments(path, lengths=None):
    """Stretches of a path in which the state stays the same.

    Args:
        path: (N,) integers.
        lengths: As in `smooth`. A segment ends where its sequence does.

    Returns:
        List of `Segment`, in order.
    """
    path = np.asarray(path)
    starts, _ = steps(check_lengths(lengths, len(path)))
    changes = np.flatnonzero(path[1:] != path[:-1]) + 1
    begins = np.union1d(starts, changes)
    ends = np.append(begins[1:], len(path))
    return [
        Segment(int(begin), int(end), int(path[begin]))
        for begin, end in zip(begins, ends, strict=True)
    ]


def sample(initial, transitions, lengths, rng):
    """Draw state sequences from the chain itself.

    Args:
        initial: (K,) P(z_1).
        transitions: (K, K) P(z_{t+1} = column | z_t = row).
        lengths: Length of each sequence.
        rng: Numpy Generator.

    Returns:
        (sum of lengths,) integers, the sequences one after another.
    """
    cumulative = np.cumsum(transitions, axis=1)
    states = []
    for length in lengths:
        uniforms = rng.random((length, 1))
        state = int(_draw(initial[None], uniforms[:1])[0])
        states.append(state)
        for u in uniforms[1:, 0]:
            row = cumulative[state]
            state = int(np.searchsorted(row, u * row[-1], side="right"))
            states.append(state)
    return np.array(states, dtype=np.int64)


def check_lengths(lengths, num_rows=None):
    """Lengths of sequences as an array.

    Args:
        lengths: Positive whole numbers of any numeric type (S,), or None for a single sequence.
        num_rows: N, to which they must sum; None does not ask.

    Returns:
        Integers (S,); None for None where N is not known.

    Raises:
        TypeError: If they are not numbers.
        ValueError: If they are not positive whole numbers, or do not sum to N.
    """
    if lengths is None:
        return None if num_rows is None else np.array([num_rows])
    given = as_numbers(lengths, "`lengths`")
    if given.ndim != 1 or not given.size or not ((given > 0) & (given % 1 == 0)).all():
        raise ValueError(
            "`lengths` must be a list of positive integers, one per sequence. "
            f"Received: lengths={lengths!r:.100}"
        )
    if given.sum(dtype="float64") > MOST_STEPS:
        raise ValueError(
            f"`lengths` must sum to at most {MOST_STEPS} steps. Received: lengths={lengths!r:.100}"
        )
    checked = given.astype(np.int64)
    if num_rows is not None and checked.sum() != num_rows:
        raise ValueError(
            f"`lengths` must sum to the number of steps, {num_rows}. "
            f"Received: {len(checked)} lengths that sum to {checked.sum()}."
        )
    return checked


def steps(lengths):
    """Which rows begin a sequence and which follow another.

    Args:
        lengths: (S,) from `check_lengths`.

    Returns:
        Indices of first steps (S,) and of all others (N - S,).
    """
    starts = np.cumsum(lengths) - lengths
    return starts, np.delete(np.arange(lengths.sum()), starts)


def _checked(log_evidence, initial, lengths):
    """Evidence (N, K) as float64 and lengths (S,), or a ValueError."""
    log_evidence = np.asarray(log_evidence, dtype=np.float64)
    if log_evidence.ndim != 2 or log_evidence.shape[1] != len(initial) or not len(log_evidence):
        raise ValueError(
            f"Log evidence must have shape (N, {len(initial)}), one row a step and one column a "
            f"state. Received: shape {log_evidence.shape}"
        )
    wrong = ~np.isfinite(log_evidence.max(axis=1))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            "Every row of log evidence needs a finite largest value: some state must be possible. "
            f"Received: {int(wrong.sum())} rows without, the first is row {row}: "
            f"{log_evidence[row]}. A row of zeros says nothing."
        )
    return log_evidence, check_lengths(lengths, len(log_evidence))


def _log(probabilities):
    """Logarithms, -inf for 0."""
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(probabilities, dtype=np.float64))


def _emission(log_evidence):
    """exp of the evidence, each row's best state at one and none at zero; (N, K)."""
    shifted = log_evidence - log_evidence.max(axis=1, keepdims=True)
    return np.exp(np.maximum(shifted, -690.0))


def _draw(weights, uniforms):
    """Draw an index from each row in proportion to its weights; (S, K), (S, 1) -> (S,)."""
    cumulative = np.cumsum(weights, axis=1)
    return np.sum(cumulative <= uniforms * cumulative[:, -1:], axis=1)


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


class _Passes(NamedTuple):
    """What passes over the evidence give, for N steps and K states."""

    log_predicted: np.ndarray  # (N, K) log P(z_t | evidence before t)
    log_filtered: np.ndarray  # (N, K) log P(z_t | evidence up to t)
    log_future: np.ndarray  # (N, K) log P(evidence after t | z_t), up to a constant a row
    pairs: np.ndarray  # (K, K) expected number of times that j follows i
    log_likelihood: float
    log_predictive: np.ndarray  # (N,)


def _passes(log_evidence, initial, transitions, lengths):
    """Forwards and backwards, in the way that suits these probabilities and this many steps."""
    initial, transitions = (np.asarray(part, np.float64) for part in (initial, transitions))
    has_zeros = min(initial.min(), transitions.min()) < _POSITIVE
    scans = chain_scan.scans() if has_zeros or len(log_evidence) >= _MANY else None
    if has_zeros or (scans is not None and scans.compiled):
        return _passes_by_step(log_evidence, initial, transitions, lengths, scans)
    return _passes_in_chunks(log_evidence, initial, transitions, lengths)


def _passes_by_step(log_evidence, initial, transitions, lengths, scans):
    """`_passes` in logarithms, exact for any probabilities."""
    log_transitions = _log(transitions)
    first, after = steps(lengths)
    starts = np.zeros(len(log_evidence), bool)
    starts[first] = True
    predicted, filtered, future = (np.empty(log_evidence.shape) for _ in range(3))
    scales = np.empty(len(log_evidence))
    forwards = (transitions, log_transitions)
    backwards = tuple(np.ascontiguousarray(part.T) for part in forwards)
    impossible = scans.forward(
        log_evidence, starts, _log(initial), *forwards, predicted, filtered, scales
    )
    if impossible >= 0:
        sequence = np.searchsorted(np.cumsum(lengths), impossible, side="right")
        raise ValueError(
            f"No path of states explains sequence {sequence}: at row {impossible} every state that "
            "the transitions allow is excluded by the evidence. Allow more transitions, or let the "
            "evidence exclude less: a row of equal values is a missing step."
        )
    scans.backward(log_evidence, starts, *backwards, scales, future)
    onward = future[after] + log_evidence[after] - scales[after, None]
    large = (onward > 600.0).any(axis=1)  # too large for a product of probabilities
    before = filtered[after - 1]
    pairs = transitions * (np.exp(before[~large]).T @ np.exp(onward[~large]))
    for t in np.flatnonzero(large):
        pairs += np.exp(before[t, :, None] + log_transitions + onward[t])
    return _Passes(predicted, filtered, future, pairs, float(scales.sum()), scales)


def _passes_in_chunks(log_evidence, initial, transitions, lengths):
    """`_passes` with probabilities scaled at every step, all of them above 1e-100.

    Sequences are cut into chunks that advance side by side. A chunk acts on what is predicted at
    its start as a (K, K) matrix; with those matrices the chunks of a sequence are chained, first
    to last for the past and last to first for the future.

    Args:
        log_evidence: (N, K).
        initial: (K,) P(z_1).
        transitions: (K, K) P(z_{t+1} = column | z_t = row).
        lengths: (S,) checked.

    Returns:
        `_Passes`.
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
    _, after = steps(lengths)
    onward = _emission(log_evidence)[after] * future[after]
    onward /= np.sum(predicted[after] * onward, axis=1, keepdims=True)
    return _Passes(
        np.log(predicted),
        _log(filtered),
        np.log(future),
        transitions * (filtered[after - 1].T @ onward),
        log_likelihood,
        np.log(unpack(scales)[:, 0]) + peaks,
    )
