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
Where transitions are zero, a probability below 1e-260 may count as zero, too, unless evidence of
other steps asks for that state: then all passes are exact in logarithms.

With `lasting`, a state lasts for a duration of a law of its own, and transitions say which state
follows when it ends (`segment_passes`).

Reference: Rabiner (1989), A tutorial on hidden Markov models, eqs. 18-37 and 40.
"""

from typing import NamedTuple

import numpy as np

from kserket.inference import chain_blocks, chain_passes, chain_scan, segment_passes
from kserket.inference.chain_passes import log, normalize
from kserket.inference.sequences import check_lengths, first_and_later


class Counts(NamedTuple):
    """Sufficient statistics, sums over sequences: add them to merge (`merge`)."""

    initial: np.ndarray  # (K,) times that a sequence starts in k
    transitions: np.ndarray  # (K, K) times that j follows i
    durations: np.ndarray | None = None  # (2, K, D) times that it leaves, and stays, at each age


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


def merge(*counts):
    """Add the statistics of several chunks of data (whole sequences each).

    Args:
        *counts: `Counts`, at least one.

    Returns:
        `Counts`.
    """
    return Counts(*map(total, zip(*counts, strict=True)))


def total(parts):
    """The sum of arrays, or None of nothing but None."""
    return None if parts[0] is None else np.sum(parts, axis=0)


def smooth(log_evidence, initial, transitions, lengths=None, lasting=None):
    """Forward-backward: what all steps say about each step, exactly.

    Args:
        log_evidence: (N, K), unnormalized; -inf for the impossible, one finite value a row.
        initial: (K,) P(z_1).
        transitions: (K, K) P(z_{t+1} = column | z_t = row); zeros are impossible.
        lengths: Lengths of the sequences, summing to N. Default: one sequence.
        lasting: `durations.Lasting` of states that last for a duration of their own, or None.

    Returns:
        `Smoothed`.

    Raises:
        ValueError: If shapes do not fit, or no path of states explains a sequence.
    """
    log_evidence, lengths = _checked(log_evidence, initial, lengths)
    starts = np.cumsum(lengths) - lengths
    if lasting is not None:
        is_start = _are_starts(lengths)
        passes = segment_passes.smooth(log_evidence, is_start, initial, transitions, lasting)
        if not isinstance(passes, tuple):
            raise chain_passes.no_path(passes, lengths)
        log_context = normalize(passes.log_predicted + passes.log_future)
        log_marginals = normalize(log_context + log_evidence)
        initial = np.exp(log_marginals[starts]).sum(axis=0)
        counts, scales = Counts(initial, passes.pairs, passes.counts), passes.log_predictive
        return Smoothed(log_context, log_marginals, counts, float(scales.sum()), scales)
    log_context, log_marginals, pairs, log_predictive, _ = _pass(
        log_evidence, initial, transitions, lengths
    )
    counts = Counts(np.exp(log_marginals[starts]).sum(axis=0), pairs)
    return Smoothed(log_context, log_marginals, counts, float(log_predictive.sum()), log_predictive)


def _pass(log_evidence, initial, transitions, lengths, **options):
    """The `Pass` of the fastest way that loses nothing."""
    chain = [np.ascontiguousarray(part, np.float64) for part in (initial, transitions)]
    kernels = chain_scan.compiled()
    if kernels is None:
        found = chain_blocks.smooth(log_evidence, *chain, lengths, **options)
    else:
        found = chain_scan.smooth(kernels, log_evidence, *chain, lengths, **options)
    return chain_passes.smooth(log_evidence, *chain, lengths) if found is None else found


def sample_paths(log_evidence, initial, transitions, num_paths, *, lengths=None, lasting=None, rng):
    """Draw whole paths from their posterior: filter forwards, sample backwards.

    Args:
        log_evidence: As in `smooth`.
        initial: (K,) P(z_1).
        transitions: (K, K) P(z_{t+1} = column | z_t = row).
        num_paths: S.
        lengths: As in `smooth`.
        lasting: As in `smooth`.
        rng: Numpy Generator.

    Returns:
        (S, N) integers.

    Reference:
        Scott (2002), Bayesian methods for hidden Markov models, section 2.1.3.
    """
    log_evidence, lengths = _checked(log_evidence, initial, lengths)
    if lasting is not None:
        is_start = _are_starts(lengths)
        paths = segment_passes.sample_paths(
            log_evidence, is_start, initial, transitions, lasting, num_paths, rng
        )
        if not isinstance(paths, np.ndarray):
            raise chain_passes.no_path(paths, lengths)
        return paths
    passes = _pass(log_evidence, initial, transitions, lengths, filtered=True)
    log_filtered = passes.log_filtered
    into = log(transitions).T
    last = np.zeros(len(log_evidence), dtype=bool)
    last[np.cumsum(lengths) - 1] = True
    uniforms = rng.random((len(log_evidence), num_paths, 1))
    paths = np.empty((len(log_evidence), num_paths), dtype=np.int64)
    for t in reversed(range(len(log_evidence))):
        log_weights = log_filtered[t] if last[t] else log_filtered[t] + into[paths[t + 1]]
        weights = np.exp(log_weights - log_weights.max(axis=-1, keepdims=True))
        paths[t] = _draw(np.broadcast_to(weights, (num_paths, len(into))), uniforms[t])
    return paths.T


def count(paths, num_states, lengths=None, limit=None):
    """Average number of starts and transitions in sampled paths.

    Args:
        paths: (S, N) integers.
        num_states: K.
        lengths: As in `smooth`.
        limit: D, to count durations, and only transitions to other states; None counts all.

    Returns:
        `Counts`, means over the S paths.
    """
    lengths = check_lengths(lengths, paths.shape[1])
    starts, after = first_and_later(lengths)
    pairs = paths[:, after - 1] * num_states + paths[:, after]
    transitions = np.bincount(pairs.ravel(), minlength=num_states**2)
    transitions = transitions.reshape(num_states, num_states) / len(paths)
    initial = np.bincount(paths[:, starts].ravel(), minlength=num_states) / len(paths)
    if limit is None:
        return Counts(initial, transitions)
    stays = np.append(paths[:, 1:] == paths[:, :-1], np.zeros((len(paths), 1), bool), axis=1)
    stays[:, starts[1:] - 1] = False
    steps = np.arange(paths.shape[1])
    begins = np.append(np.ones((len(paths), 1), bool), ~stays[:, :-1], axis=1)
    age = steps - np.maximum.accumulate(np.where(begins, steps, 0), axis=1)
    followed = np.delete(steps, np.cumsum(lengths) - 1)  # by a step of their sequence
    kind = 1 * stays[:, followed]
    place = (kind * num_states + paths[:, followed]) * limit + np.minimum(age, limit - 1)[
        :, followed
    ]
    durations = np.bincount(place.ravel(), minlength=2 * num_states * limit) / len(paths)
    transitions[np.diag_indices(num_states)] = 0.0
    return Counts(initial, transitions, durations.reshape(2, num_states, limit))


def most_likely_path(log_evidence, initial, transitions, lengths=None, lasting=None):
    """Viterbi: the path with the highest posterior probability.

    Args:
        log_evidence: As in `smooth`.
        initial: (K,) P(z_1).
        transitions: (K, K) P(z_{t+1} = column | z_t = row).
        lengths: As in `smooth`.
        lasting: As in `smooth`.

    Returns:
        (N,) integers and the path's log P(path, evidence).
    """
    log_evidence, lengths = _checked(log_evidence, initial, lengths)
    if lasting is not None:
        starts = _are_starts(lengths)
        path, log_joint = segment_passes.best_path(
            log_evidence, starts, initial, transitions, lasting
        )
        if log_joint == -np.inf:  # raises
            smooth(log_evidence, initial, transitions, lengths, lasting)
        return path, log_joint
    chain, kernels = (log(initial), log(transitions)), chain_scan.compiled()
    if kernels is None:
        path, log_joint = chain_blocks.best_path(log_evidence, *chain, lengths)
    else:
        path, log_joint = chain_scan.best_path(kernels, log_evidence, *chain, lengths)
    if log_joint == -np.inf:  # raises
        _pass(log_evidence, initial, transitions, lengths)
    return path, log_joint


def segments(path, lengths=None):
    """Stretches of a path in which the state stays the same.

    Args:
        path: (N,) integers.
        lengths: As in `smooth`. A segment ends where its sequence does.

    Returns:
        List of `Segment`, in order.
    """
    path = np.asarray(path)
    starts, _ = first_and_later(check_lengths(lengths, len(path)))
    changes = np.flatnonzero(path[1:] != path[:-1]) + 1
    begins = np.union1d(starts, changes)
    ends = np.append(begins[1:], len(path))
    return [
        Segment(int(begin), int(end), int(path[begin]))
        for begin, end in zip(begins, ends, strict=True)
    ]


def sample(initial, transitions, lengths, rng, lasting=None):
    """Draw state sequences from the chain itself.

    Args:
        initial: (K,) P(z_1).
        transitions: (K, K) P(z_{t+1} = column | z_t = row).
        lengths: Length of each sequence.
        rng: Numpy Generator.
        lasting: As in `smooth`.

    Returns:
        (sum of lengths,) integers, the sequences one after another.
    """
    if lasting is not None:
        return segment_passes.sample(initial, transitions, lasting, lengths, rng)
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


def _checked(log_evidence, initial, lengths):
    """Evidence (N, K) as float64 and lengths (S,), or a ValueError."""
    log_evidence = np.ascontiguousarray(log_evidence, dtype=np.float64)
    if log_evidence.ndim != 2 or log_evidence.shape[1] != len(initial) or not len(log_evidence):
        raise ValueError(
            f"Log evidence must have shape (N, {len(initial)}), one row a step and one column a "
            f"state. Received: shape {log_evidence.shape}"
        )
    with np.errstate(invalid="ignore", over="ignore"):
        all_finite = np.isfinite(log_evidence.sum())
    wrong = () if all_finite else ~np.isfinite(log_evidence.max(axis=1))
    if np.any(wrong):
        row = int(np.argmax(wrong))
        raise ValueError(
            "Every row of log evidence needs a finite largest value: some state must be possible. "
            f"Received: {int(wrong.sum())} rows without, the first is row {row}: "
            f"{log_evidence[row]}. A row of zeros says nothing."
        )
    return log_evidence, check_lengths(lengths, len(log_evidence))


def _are_starts(lengths):
    """Booleans (N,), true where a sequence starts."""
    starts = np.zeros(lengths.sum(), bool)
    starts[np.cumsum(lengths) - lengths] = True
    return starts


def _draw(weights, uniforms):
    """Draw an index from each row in proportion to its weights; (S, K), (S, 1) -> (S,)."""
    cumulative = np.cumsum(weights, axis=1)
    return np.sum(cumulative <= uniforms * cumulative[:, -1:], axis=1)
