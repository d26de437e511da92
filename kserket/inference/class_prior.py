"""Class probabilities that come with data, one row per sample: what they say."""

import numpy as np

from kserket import storage

_ROUNDING = 1e-9  # information below it comes from rounding


def information(class_prior):
    """How much each row tells its sample from the others, in units of log K.

    It is the Kullback-Leibler divergence of a row from the mean row. A prior that is the same for
    all samples says how frequent classes are, and nothing about which sample is in which: learning
    that started from it would stand on a saddle, all classes alike.

    Args:
        class_prior: (N, K) probabilities, an array or a memory map; rows are normalized.

    Returns:
        (N,) from 0, of a row that equals the mean but for rounding.
    """
    mean = storage.total(lambda part: _rows(part).sum(axis=0), class_prior)
    log_mean = _log(mean / len(class_prior))

    def divergence(part):
        part = _rows(part)
        result = np.sum(part * (_log(part) - log_mean), axis=1) / np.log(max(part.shape[1], 2))
        return np.where(result < _ROUNDING, 0.0, result)

    return storage.apply(divergence, class_prior)


def _rows(part):
    """Rows in double precision, divided by their sums."""
    part = np.asarray(part, np.float64)
    return part / part.sum(axis=1, keepdims=True)


def _log(probabilities):
    """Logarithms that are finite."""
    return np.log(np.maximum(probabilities, np.finfo(float).tiny))
