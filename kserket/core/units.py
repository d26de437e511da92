"""Whether new data lie where those lie that a graph holds, or are in other units.

Images learned from as 0..255 and given as 0..1 are next to black, and each model answers for them
as surely as for others. How large a sample is, is the largest magnitude of its values: where most
new samples are ten times as large as the largest that is known, or ten times as small as the
smallest, they come in other units.
"""

from typing import Any, NamedTuple

import numpy as np

from kserket import storage

TIMES = 10.0  # how much larger or smaller samples of other units are
FEWEST = 20  # samples that are known, or nothing is said
_FEWEST_VALUES = 10  # of a sample, of which not all are small by chance
_MOST_VALUES = 4_000_000  # that are looked at


class Sizes(NamedTuple):
    """How large samples are: the largest magnitude of each, of those that are not all zero."""

    number: int
    least: float
    median: float
    most: float
    are_counts: bool  # all are whole numbers and not negative: a document may be of any length


def sizes_of(x: Any) -> Sizes | None:
    """How large samples are.

    Args:
        x: (N, ...) data, an array in memory or in a file; NaN is left out.

    Returns:
        `Sizes`, or None where all values are zero or missing.
    """
    most_rows = max(100, _MOST_VALUES // max(1, int(np.prod(x.shape[1:]))))
    if len(x) > most_rows:
        x = storage.gather(x, np.sort(np.random.default_rng(0).permutation(len(x))[:most_rows]))
    values = np.asarray(x).reshape(len(x), -1)
    sizes = np.maximum(np.fmax.reduce(values, axis=1), -1.0 * np.fmin.reduce(values, axis=1))
    sizes = sizes[sizes > 0]
    if not len(sizes):
        return None
    are_counts = bool(np.all(np.isnan(values) | ((values >= 0) & (values % 1 == 0))))
    least, most = sizes.min(), sizes.max()
    return Sizes(len(sizes), float(least), float(np.median(sizes)), float(most), are_counts)


def difference(known: Sizes | None, x: Any) -> str | None:
    """How new data differ from those that are known, in words; None where they do not.

    Args:
        known: Of the data that were learned from.
        x: (N, ...) new data.
    """
    if known is None or known.number < FEWEST:
        return None
    new = sizes_of(x)
    if new is None or (known.are_counts and new.are_counts):
        return None
    is_small = new.median < known.least / TIMES and np.prod(x.shape[1:]) >= _FEWEST_VALUES
    if not is_small and new.median <= known.most * TIMES:
        return None
    return (
        f"the largest value of a sample is about {new.median:.3g}, and was {known.least:.3g} to "
        f"{known.most:.3g} in those that the graph holds"
    )
