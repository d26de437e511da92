"""Passes along a chain whose states last for durations of a law of their own, exactly.

The state of a step is (k, a): class k, which has lasted a steps. With what `durations.Lasting`
says of leaving and staying,

    (k, a) -> (k, a + 1)    stay[k, a]                        and D -> D
    (k, a) -> (j, 1)        leave[k, a] transitions[k, j]

this is a Markov chain of K x D states. All ages of a class see the same evidence, so only K
numbers a step need logarithms; P(a | k, past) and the futures of ages are kept relative to them.
A step costs O(K D + K^2). What a pass needs of ages is kept for a stretch of steps at a time, and
computed again for the stretches before it.

A sequence begins with a segment, and may end within one.

Reference: Guédon (2003), Estimating hidden semi-Markov chains from discrete sequences; Yu (2010),
Hidden semi-Markov models.
"""

from typing import NamedTuple

import numpy as np

_LARGEST = 700.0  # exponent
_LOWEST, _TINY = -1e300, 1e-300  # instead of -inf and 0, which nothing is left of
_MAX_CELLS = 4_000_000  # of P(age | class, past) kept at a time


class Passes(NamedTuple):
    """What both directions say together, for N steps, K classes and D ages."""

    log_predicted: np.ndarray  # (N, K) log P(z_t | evidence before t)
    log_future: np.ndarray  # (N, K) log P(evidence after t | z_t, evidence before t)
    pairs: np.ndarray  # (K, K) expected number of times that j follows i
    counts: np.ndarray  # (2, K, D) expected times that a class leaves, and stays, at an age
    log_predictive: np.ndarray  # (N,) log P(evidence_t | earlier evidence)


class Filtered(NamedTuple):
    """What steps up to each say."""

    predicted: np.ndarray  # (N, K) log P(z_t | evidence before t)
    filtered: np.ndarray  # (N, K) log P(z_t | evidence up to t)
    ended: np.ndarray  # (N, K) log P(a segment of class k ends at t | evidence up to t)
    scales: np.ndarray  # (N,) log P(evidence_t | earlier evidence)


def smooth(log_evidence, starts, initial, transitions, lasting):
    """Forwards and backwards.

    Args:
        log_evidence: (N, K); -inf for the impossible, one finite value a row.
        starts: (N,) booleans, where a sequence starts; true for the first step.
        initial: (K,) P(first class).
        transitions: (K, K) P(next class = column | class of the segment = row).
        lasting: `durations.Lasting`.

    Returns:
        `Passes`; or the first step, an integer, at which no class is possible.
    """
    num_classes = len(initial)
    future, pairs = np.empty(log_evidence.shape), np.zeros(transitions.shape)
    counts = np.zeros((2, *lasting.leave.shape))
    carry = np.zeros(num_classes), np.ones(lasting.leave.shape)
    ends, (log_matrix,) = np.append(starts[1:], True), _logs(transitions)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        results, stretches = _filter(log_evidence, starts, initial, transitions, lasting)
        if results is None:
            return stretches
        for rows, ages in stretches:
            parts = Filtered(*(part[rows] for part in results))
            last = parts, ages, *carry, future[rows], pairs, counts
            _backward(log_evidence[rows], ends[rows], log_matrix, *lasting, *last)
    return Passes(results.predicted, future, pairs, counts, results.scales)


def best_path(log_evidence, starts, initial, transitions, lasting):
    """Viterbi over segments.

    Args:
        log_evidence: As in `smooth`.
        starts: As in `smooth`.
        initial: As in `smooth`.
        transitions: As in `smooth`.
        lasting: As in `smooth`.

    Returns:
        (N,) integers, and log P(segments, evidence).
    """
    ends, logs = np.append(starts[1:], True), _logs(initial, transitions, *lasting)
    return _best_path(log_evidence, starts, ends, *logs)


def sample_paths(log_evidence, starts, initial, transitions, lasting, num_paths, rng):
    """Draws whole paths: filters forwards, samples classes and ages backwards.

    Args:
        log_evidence: As in `smooth`.
        starts: As in `smooth`.
        initial: As in `smooth`.
        transitions: As in `smooth`.
        lasting: As in `smooth`.
        num_paths: S.
        rng: Numpy Generator.

    Returns:
        (S, N) integers; or the first step, an integer, at which no class is possible.
    """
    leave, stay = lasting
    ends, last = np.append(starts[1:], True), leave.shape[1] - 1
    paths = np.empty((num_paths, len(log_evidence)), np.int64)
    (log_matrix,) = _logs(transitions)
    state = age = None
    with np.errstate(divide="ignore", invalid="ignore"):
        results, stretches = _filter(log_evidence, starts, initial, transitions, lasting)
        if results is None:
            return stretches
        for rows, ages in stretches:
            for t in reversed(range(rows.start, rows.stop)):
                held = ages[t - rows.start]
                if ends[t]:
                    state = _draw(np.tile(results.filtered[t], (num_paths, 1)), rng)
                    age = _draw(np.log(held[state]), rng)
                else:
                    into = results.ended[t] + log_matrix.T[state]
                    staying = np.log(held * stay)[state]
                    one = np.arange(num_paths)
                    from_young = np.where(age > 0, staying[one, age - 1], -np.inf)
                    from_old = np.where(age == last, staying[:, last], -np.inf)
                    begins = np.where(age == 0, np.logaddexp.reduce(into, axis=1), -np.inf)
                    here = results.filtered[t, state]
                    ways = np.stack([begins, here + from_young, here + from_old], axis=1)
                    way = _draw(ways, rng)
                    state = np.where(way == 0, _draw(into, rng), state)
                    leaving = np.log(held * leave)[state]
                    younger = np.where(way == 1, age - 1, last)
                    age = np.where(way == 0, _draw(leaving, rng), younger)
                paths[:, t] = state
    return paths


def sample(initial, transitions, lasting, lengths, rng):
    """Draws sequences of classes from the chain itself.

    Args:
        initial: As in `smooth`.
        transitions: As in `smooth`.
        lasting: As in `smooth`.
        lengths: Length of each sequence.
        rng: Numpy Generator.

    Returns:
        (sum of lengths,) integers, the sequences one after another.
    """
    leave, last = lasting.leave, lasting.leave.shape[1] - 1
    states = []
    for length in lengths:
        state, age = int(rng.choice(len(initial), p=initial)), 0
        for uniform in rng.random(length):
            states.append(state)
            if uniform < leave[state, age]:
                state, age = int(rng.choice(len(initial), p=transitions[state])), 0
            else:
                age = min(age + 1, last)
    return np.array(states, dtype=np.int64)


def _filter(log_evidence, starts, initial, transitions, lasting):
    """`Filtered`, and stretches from the last to the first: slices and P(age | class, past).

    None and the first step at which no class is possible, if there is one.
    """
    (num_steps, num_classes), cells = log_evidence.shape, lasting.leave.size
    size = max(1, min(num_steps, _MAX_CELLS // cells))
    slices = [slice(at, min(at + size, num_steps)) for at in range(0, num_steps, size)]
    results = Filtered(*(np.empty(log_evidence.shape) for _ in range(3)), np.empty(num_steps))
    ages = np.empty((size, *lasting.leave.shape))
    logs = _logs(initial, transitions)
    carry = np.ones(lasting.leave.shape), np.zeros(num_classes), np.zeros(num_classes)
    kept = []

    def run(rows, carry):
        parts = Filtered(*(part[rows] for part in results))
        return _forward(log_evidence[rows], starts[rows], *logs, *lasting, *carry, parts, ages)

    for rows in slices:
        kept.append(tuple(part.copy() for part in carry))
        impossible = run(rows, carry)
        if impossible >= 0:
            return None, rows.start + impossible

    def stretches():
        yield slices[-1], ages
        for rows, carry in zip(slices[-2::-1], kept[-2::-1], strict=True):
            run(rows, carry)
            yield rows, ages

    return results, stretches()


def _forward(
    log_evidence, starts, log_initial, log_matrix, leave, stay, age, reached, left, results, ages
):
    """Fills `results`, a `Filtered`, and `ages` (N, K, D), P(age | class, evidence before).

    `age` (K, D), `reached` and `left` (K,), the last rows of ages, `filtered` and `ended`, come
    from the step before and are left for the next.

    Returns:
        The first step at which no class is possible, or -1.
    """
    predicted, filtered, ended, scales = results
    for t, evidence in enumerate(log_evidence):
        if starts[t]:
            predicted[t] = log_initial
            age[:] = 0.0
            age[:, 0] = 1.0
        else:
            begins = np.logaddexp.reduce(left[:, None] + log_matrix, axis=0)
            onward = age * stay
            stayed = onward.sum(axis=1)
            goes_on = reached + np.log(stayed)
            predicted[t] = np.logaddexp(begins, goes_on)
            least = np.maximum(predicted[t], _LOWEST)
            onward *= (np.exp(goes_on - least) / np.maximum(stayed, _TINY))[:, None]
            age[:, 1:] = onward[:, :-1]
            age[:, 0] = np.exp(begins - least)
            age[:, -1] += onward[:, -1]
        ages[t] = age
        reached[:] = predicted[t] + evidence
        scales[t] = np.logaddexp.reduce(reached)
        if scales[t] == -np.inf:
            return t
        reached -= scales[t]
        filtered[t] = reached
        left[:] = reached + np.log((age * leave).sum(axis=1))
        ended[t] = left
    return -1


def _backward(
    log_evidence,
    ends,
    log_matrix,
    leave,
    stay,
    results,
    ages,
    beyond,
    onward,
    future,
    pairs,
    counts,
):
    """Writes `future` and adds to `pairs` and `counts`.

    `beyond` (K,) and `onward` (K, D) come from the step after and are left for the one before:
    log P(evidence from there on | class), with its scale, and a factor of each age.
    """
    _, filtered, ended, scales = results
    leaves, stays = counts
    for t in reversed(range(len(log_evidence))):
        if ends[t]:
            beyond[:] = 0.0
            onward[:] = 1.0
        else:
            log_pairs = log_matrix + (beyond + np.log(onward[:, 0]))
            out = np.logaddexp.reduce(log_pairs, axis=1)
            pairs += np.exp(ended[t][:, None] + log_pairs)
            older = np.concatenate([onward[:, 1:], onward[:, -1:]], axis=1)
            older *= stay
            left = np.exp(np.minimum(filtered[t] + out, _LARGEST))
            stayed = np.exp(np.minimum(filtered[t] + beyond, _LARGEST))
            leaves += ages[t] * leave * left[:, None]
            stays += ages[t] * older * stayed[:, None]
            peak = np.maximum(np.maximum(out, beyond), _LOWEST)
            older *= np.exp(beyond - peak)[:, None]
            onward[:] = leave * np.exp(out - peak)[:, None] + older
            most = onward.max(axis=1)
            onward /= np.maximum(most, _TINY)[:, None]
            beyond[:] = peak + np.log(most)
        future[t] = beyond + np.log((ages[t] * onward).sum(axis=1))
        beyond += log_evidence[t] - scales[t]


def _best_path(log_evidence, starts, ends, log_initial, log_matrix, log_leave, log_stay):
    """Viterbi: the path, and log P(segments, evidence) of all sequences."""
    (num_classes, num_ages), num_steps = log_leave.shape, len(log_evidence)
    lasted, came = np.empty((2, num_steps, num_classes), np.int64)
    # of the best segments of each class: how long that which ends here has lasted, and which
    # class was left for that which begins here
    score, old = np.empty_like(log_leave), np.zeros(num_classes, np.int64)
    left, best, every = np.zeros(num_classes), 0.0, np.arange(num_classes)
    for t, evidence in enumerate(log_evidence):
        if starts[t]:
            came[t] = left.argmax()
            score[:] = -np.inf
            score[:, 0] = log_initial + evidence
            old[:] = num_ages
        else:
            through = left[:, None] + log_matrix
            came[t] = through.argmax(axis=0)
            onward = score + log_stay
            score[:, 1:] = onward[:, :-1]
            score[:, 0] = through[came[t], every]
            is_older = onward[:, -1] > score[:, -1]
            score[is_older, -1] = onward[is_older, -1]
            old = np.where(is_older, old + 1, num_ages)
            score += evidence[:, None]
        final = score if ends[t] else score + log_leave
        at = final.argmax(axis=1)
        left = final[every, at]
        lasted[t] = np.where(at < num_ages - 1, at + 1, old)
        if ends[t]:
            best += left.max()
    path, state, t = np.empty(num_steps, np.int64), left.argmax(), num_steps - 1
    while t >= 0:
        begin = t - lasted[t, state]
        path[begin + 1 : t + 1] = state
        state = came[begin + 1, state]
        t = begin
    return path, float(best)


def _logs(*probabilities):
    with np.errstate(divide="ignore"):
        return [np.log(np.asarray(part, np.float64)) for part in probabilities]


def _draw(log_weights, rng):
    """An index from each row, in proportion to the exponentials; (S, K) -> (S,)."""
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    cumulative = np.cumsum(weights, axis=1)
    uniforms = rng.random((len(weights), 1))
    return np.sum(cumulative <= uniforms * cumulative[:, -1:], axis=1)
