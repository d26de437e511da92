"""Whether new data lie where those lie that a graph holds, or are in other units.

Images learned from as 0..255 and given as 0..1 are next to black, and each model answers for them
as surely as for others. How large a sample is, is the largest magnitude of its values: where most
new samples are ten times as large as the largest that is known, or ten times as small as the
smallest, they come in other units.
"""

from typing import Any, NamedTuple

import numpy as np

from kserket import storage
from kserket.typing import Array

TIMES = 10.0  # how much larger or smaller samples of other units are
FEWEST = 20  # samples that are known, or nothing is said
_FEWEST_VALUES = 10  # of a sample, of which not all are small by chance
_MOST_VALUES = 4_000_000  # that are looked at, of those known
_MOST_NEW = 200  # samples that show what most of new ones are like


class Sizes(NamedTuple):
    """How large samples are: the largest magnitude of each, of those that are not all zero."""

    number: int
    least: float
    most: float
    are_counts: bool  # all are whole numbers and not negative: a document may be of any length

    def differ(self, median, num_values):
        """Whether most samples of `num_values` values are far larger, or far smaller, than these.

        Args:
            median: Size of half of the samples at most.
            num_values: Number of values of a sample.
        """
        is_small = median < self.least / TIMES and num_values >= _FEWEST_VALUES
        return is_small or median > self.most * TIMES


def sizes_of(x: Any) -> Sizes | None:
    """How large samples are.

    Args:
        x: (N, ...) data, an array in memory or in a file; NaN is left out.

    Returns:
        `Sizes`, or None where all values are zero or missing.
    """
    values, sizes = _sizes(x, max(100, _MOST_VALUES // max(1, int(np.prod(x.shape[1:])))))
    if not len(sizes):
        return None
    return Sizes(len(sizes), float(sizes.min()), float(sizes.max()), are_counts(values))


def _sizes(x, most):
    """At most so many samples (n, D), and how large those are that are not all zero."""
    values = storage.sample(x, most)
    values = values.reshape(len(values), -1)
    sizes = np.maximum(np.fmax.reduce(values, axis=1), -1.0 * np.fmin.reduce(values, axis=1))
    return values, sizes[sizes > 0]


def are_counts(values: Array) -> bool:
    """Whether all values (n, ...) are whole numbers and not negative, but for NaN."""
    return bool(np.all(np.isnan(values) | ((values >= 0) & (values % 1 == 0))))


def difference(known: Sizes | None, x: Any) -> str | None:
    """How new data differ from those that are known, in words; None where they do not.

    Args:
        known: Of the data that were learned from.
        x: (N, ...) new data.
    """
    if known is None or known.number < FEWEST:
        return None
    values, sizes = _sizes(x, _MOST_NEW)
    median = float(np.sort(sizes)[len(sizes) // 2]) if len(sizes) else known.most
    if not known.differ(median, values.shape[1]):
        return None
    if known.are_counts and are_counts(values):
        return None
    return (
        f"the largest value of a sample is about {median:.3g}, and was {known.least:.3g} to "
        f"{known.most:.3g} in those that the graph holds"
    )
