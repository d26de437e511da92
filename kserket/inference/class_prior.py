"""Class probabilities that come with data, one row per sample: what they say."""

import numpy as np

from kserket import storage
from kserket.floors import SMALLEST
from kserket.hosts import any_host, sum_over_hosts

_ROUNDING = 1e-9  # information below it comes from rounding
DECISIVE = 0.1  # information of a row that says which class its sample is in
_LOWEST_LOG = -30.0  # what one sample weighs at most against a class


def information(class_prior):
    """How much each row tells its sample from the others, from 0 to 1.

    It is the Kullback-Leibler divergence of a row from the uniform one, in units of log K, unless
    the row is near to the mean row: then it is the divergence from that, in units of what one class
    for sure would have. A prior that is the same for all samples says how frequent classes are, and
    nothing about which sample is in which: learning that started from it would stand on a saddle,
    all classes alike.

    Args:
        class_prior: (N, K) probabilities, an array or a memory map; rows are normalized.

    Returns:
        (N,) from 0, of a row that equals the mean or the uniform one but for rounding, to 1, of a
        row that is sure.
    """
    log_mean = _log(mean_row(class_prior))

    def divergence(part):
        part = _rows(part)
        log_size = np.log(max(part.shape[1], 2))
        negative_entropy = np.sum(part * _log(part), axis=1)
        from_uniform = 1.0 + negative_entropy / log_size
        largest = np.maximum(-log_mean[part.argmax(axis=1)], SMALLEST)
        from_mean = (negative_entropy - part @ log_mean) / largest
        result = np.where(from_mean < 0.5 * from_uniform, from_mean, from_uniform)
        return np.where(result < _ROUNDING, 0.0, result)

    return storage.apply(divergence, class_prior)


def decides(class_prior):
    """Whether some row says which class its sample is in, so that learning can start from it.

    Args:
        class_prior: (N, K) probabilities, or None.
    """
    if class_prior is None:
        return False
    return any_host(information(class_prior).max(initial=0.0) >= DECISIVE)


def mean_row(class_prior):
    """How frequent classes are, (K,), by probabilities (N, K)."""
    total = storage.total(lambda part: _rows(part).sum(axis=0), class_prior)
    total, number = sum_over_hosts((total, len(class_prior)))
    return total / number


def match(responsibilities, class_prior):
    """Responsibilities whose components have the numbers that agree best with a class prior.

    Where all rows of the prior are the same, larger components become more probable classes.

    Args:
        responsibilities: (N, K); zeros throughout for samples that do not count.
        class_prior: (N, K) probabilities.

    Returns:
        (N, K), columns permuted.
    """
    from scipy.optimize import linear_sum_assignment

    def agreement(part, prior):
        return part.T @ np.maximum(_log(_rows(prior)), _LOWEST_LOG)

    _, classes = linear_sum_assignment(
        storage.total(agreement, responsibilities, class_prior), maximize=True
    )
    order = np.argsort(classes)
    return storage.apply(lambda part: part[:, order], responsibilities)


def _rows(part):
    """Rows in double precision, divided by their sums."""
    part = np.asarray(part, np.float64)
    return part / part.sum(axis=1, keepdims=True)


def _log(probabilities):
    """Logarithms that are finite."""
    return np.log(np.maximum(probabilities, SMALLEST))
