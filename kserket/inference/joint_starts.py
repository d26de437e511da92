"""Where a mixture and a chain over its classes may begin: first guesses of several kinds.

Each kind sees another order. Segments of time find states that stay, as do runs of random classes
that never look at the data; clusters of neighboring steps find what follows what; and clusters of
single steps under a random permutation as transitions find orders that go round.
"""

from typing import NamedTuple

import numpy as np

from kserket.inference import class_prior, markov_chain
from kserket.inference.gaussian_mixture.starts import kmeans

_RUNS = 5, 50  # steps in a segment, at least and at most


class Start(NamedTuple):
    """A first guess."""

    classes: np.ndarray  # (N, K)
    transitions: np.ndarray | None  # (K, K); None: count them in the classes


def starts(x, num_classes, number, rng, *, lengths, allowed=None, log_prior=None):
    """First guesses, one after another, in turn of each kind.

    Args:
        x: (N, D) steps, each feature with about unit variance.
        num_classes: K.
        number: How many.
        rng: Numpy Generator.
        lengths: Lengths (S,) of the sequences.
        allowed: Booleans (K, K), the transitions that may happen, or None for all.
        log_prior: (N, K) log class prior of each step, whose numbering is taken, or None.

    Yields:
        `Start`.
    """
    makers = [_segments, _permuted, _permuted_data, _neighbors, _permuted_data, _permuted_data]
    makers += [_runs, _permuted, _permuted_data, _sticky, _permuted_data, _permuted_data]
    goes_up = allowed is not None and not np.tril(allowed, -1).any()
    for index in range(number):
        if goes_up:  # no order that goes round
            makers = [_parts, _segments, _neighbors, _runs, _sticky]
        labels, transitions = makers[index % len(makers)](x, num_classes, lengths, rng)
        if goes_up:
            place = np.concatenate([(np.arange(n) + 0.5) / n for n in lengths])
            counts = np.maximum(np.bincount(labels, minlength=num_classes), 1)
            mean_place = np.bincount(labels, place, minlength=num_classes) / counts
            labels = np.argsort(np.argsort(mean_place))[labels]
        elif allowed is not None:
            labels, transitions = rng.permutation(num_classes)[labels], None
        classes = np.eye(num_classes)[labels]
        if log_prior is not None:
            classes = class_prior.match(classes, np.exp(markov_chain.normalize(log_prior)))
        yield Start(0.9 * classes + 0.1 / num_classes, transitions)


def _segments(x, num_classes, lengths, rng):
    """Clusters of means and spreads of segments of one length."""
    segment, _ = _cut(lengths, rng)
    counts = np.bincount(segment)[:, None]
    mean = np.stack([np.bincount(segment, column) for column in x.T], axis=1) / counts
    square = np.stack([np.bincount(segment, column) for column in (x**2).T], axis=1) / counts
    spread = np.sqrt(np.maximum(square - mean**2, 0.0))
    features = np.concatenate([mean, spread], axis=1)
    return _clusters(features, num_classes, rng)[segment], None


def _runs(x, num_classes, lengths, rng):
    """Random classes that stay for a while."""
    segment, number = _cut(lengths, rng)
    return rng.integers(num_classes, size=number)[segment], None


def _parts(x, num_classes, lengths, rng):
    """Each sequence in parts of about one length, one a class."""
    parts = [np.arange(length) * num_classes // length for length in lengths]
    return np.concatenate(parts), None


def _neighbors(x, num_classes, lengths, rng):
    """Clusters of steps with one or two to either side."""
    reach = int(rng.integers(1, 3))
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    steps = np.arange(len(x))[:, None] + np.arange(-reach, reach + 1)
    inside = steps.clip(0, len(x) - 1)
    beyond = (steps != inside) | (sequence[inside] != sequence[:, None])
    windows = x[inside]
    windows[beyond] = 0.0
    return _clusters(windows.reshape(len(x), -1), num_classes, rng), None


def _sticky(x, num_classes, lengths, rng):
    """Clusters of steps, which stay."""
    labels = _clusters(x, num_classes, rng)
    return labels, 0.95 * np.eye(num_classes) + 0.05 / num_classes


def _permuted(x, num_classes, lengths, rng):
    """Clusters of steps, in a random order that goes round."""
    return _clusters(x, num_classes, rng), _permutation(num_classes, rng)


def _permuted_data(x, num_classes, lengths, rng):
    """Steps sorted to the nearest of K random ones, in an order in which some states may stay."""
    centers = x[rng.choice(len(x), num_classes, replace=len(x) < num_classes)]
    distances = (centers**2).sum(axis=1) - 2.0 * x @ centers.T
    transitions, stays = (
        _permutation(num_classes, rng),
        rng.random(num_classes) < rng.choice([0, 0.5]),
    )
    transitions[stays] = 0.8 * np.eye(num_classes)[stays] + 0.2 / num_classes
    return distances.argmin(axis=1), transitions


def _permutation(num_classes, rng):
    """Transitions to one other state each, mostly."""
    return 0.8 * np.eye(num_classes)[rng.permutation(num_classes)] + 0.2 / num_classes


def _cut(lengths, rng):
    """The segment (N,) of each step, all of one random length, and how many there are."""
    low, high = np.log(_RUNS)
    size = max(2, min(round(np.exp(rng.uniform(low, high))), int(lengths.max()) // 2))
    per_sequence = -(-lengths // size)
    first = np.cumsum(per_sequence) - per_sequence
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.repeat(first, lengths) + within // size, int(per_sequence.sum())


def _clusters(features, num_classes, rng):
    """Labels (n,) by k-means."""
    return kmeans(features, num_classes, None, rng).labels_
