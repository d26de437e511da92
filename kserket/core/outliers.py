"""Values that lie far out of their column, such as a sensor's 1e6 among numbers around 20.

Under a density that follows most samples such a value is next to impossible, so that a mixture
spends a component on a few of them, or on a single one, and sorts all others by one class fewer.
"""

from typing import NamedTuple

import numpy as np

from kserket import storage

CENTRAL = 0.99  # share of a column's values that say how far from its median they lie
TIMES = 10.0  # how much further out an outlier lies
FEWEST = 20  # values of a column; of fewer, none lies far out
MAX_VALUES = 4_000_000  # that are looked at


class Limits(NamedTuple):
    """Where the values of each column that are no outliers end, infinite without outliers."""

    low: np.ndarray  # (D,)
    high: np.ndarray  # (D,)

    def exceeded(self, x):
        """Which cells of x (N, D) lie far out, Boolean."""
        return (x < self.low) | (x > self.high)


def find(x, names=None):
    """Looks for values that lie far out.

    Args:
        x: (N, D) data, an array in memory or in a file; cells of NaN are left out.
        names: Names (D,) of the columns, or None.

    Returns:
        `Limits`, and what was found in words, None where nothing was.
    """
    values = storage.sample(x, max(1000, MAX_VALUES // max(1, x.shape[1])))
    limits = Limits(*np.array([_limits(column) for column in values.T]).reshape(-1, 2).T)
    exceeded = limits.exceeded(values)
    columns = np.flatnonzero(exceeded.any(axis=0))
    if not len(columns):
        return limits, None
    shown = []
    for column in columns[:3]:
        own, median = values[exceeded[:, column], column], np.nanmedian(values[:, column])
        name = column if names is None else repr(names[column])
        farthest = own[np.abs(own - median).argmax()]
        shown.append(f"{len(own)} of column {name}, such as {farthest:.4g}")
    more = f", and others of {len(columns) - 3} columns" if len(columns) > 3 else ""
    return limits, (
        f"values lie more than {TIMES:g} times as far from their column's median as "
        f"{CENTRAL:.0%} of them: {', '.join(shown)}{more}"
    )


def _limits(values):
    """The least and the largest value of a column (N,) that lie not far out."""
    values, low, high = values[~np.isnan(values)].astype(np.float64), -np.inf, np.inf
    while len(values) >= FEWEST:
        median = np.median(values)
        width = TIMES * np.quantile(np.abs(values - median), CENTRAL, method="lower")
        far = np.abs(values - median) > width
        if width == 0.0 or not far.any():
            break
        low, high, values = median - width, median + width, values[~far]
    return low, high
