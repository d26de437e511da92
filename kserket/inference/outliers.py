"""Values that lie far out of their column: a sensor's 1e6 among numbers around 20, or -999.

Under a density that follows most samples such a value is next to impossible, so that a mixture
spends a component on a few of them, or on a single one, and sorts all others by one class fewer.

A number that many samples share, and that lies further from all others than these lie from each
other, is where somebody wrote -999 for what was not observed: a stand-in. If another feature tells
the same samples apart, it may say what they are, and is none.
"""

import itertools
from typing import NamedTuple

import numpy as np

from kserket import storage
from kserket.inference import resolution

CENTRAL = 0.99  # share of a column's values that say how far from its median they lie
TIMES = 10.0  # how much further out an outlier lies
FEWEST = 20  # values of a column; of fewer, none lies far out
MAX_VALUES = 4_000_000  # that are looked at
MAX_STAND_IN = 0.5  # share of a column's values that stand-ins make up
MAX_STAND_INS = 3  # at one end, such as -997 (refused), -998 (unknown) and -999 (not asked)
OFTEN = 5  # how many samples share a stand-in
MIN_OTHERS = 10  # different values that are none; columns of fewer hold codes
MAX_GAP = 0.25  # between these, as a share of their range; doses of 1, 10, 100 have wider ones


class Limits(NamedTuple):
    """Where the values of each column that do not lie far out end, infinite where all are such."""

    low: np.ndarray  # (D,), or what fits a row
    high: np.ndarray  # likewise

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
    stand_ins = _limits_of(_stand_in_limits, values)
    is_one = stand_ins.exceeded(values)
    columns = np.flatnonzero(is_one.any(axis=0))
    frequent = {column: is_one[:, [column]] for column in columns}
    told = resolution.told_by_others(np.where(is_one, np.nan, values), frequent)
    for column in told:
        stand_ins.low[column], stand_ins.high[column] = -np.inf, np.inf
    is_one[:, sorted(told)] = False
    limits = _limits_of(_far_limits, np.where(is_one, np.nan, values))
    is_far = limits.exceeded(values) & ~is_one
    limits = Limits(np.maximum(limits.low, stand_ins.low), np.minimum(limits.high, stand_ins.high))
    found = []
    if is_one.any():
        found.append(f"many share one value far from all others: {_shown(values, is_one, names)}")
    if is_far.any():
        found.append(
            f"values lie more than {TIMES:g} times as far from their column's median as "
            f"{CENTRAL:.0%} of them: {_shown(values, is_far, names)}"
        )
    return limits, "; ".join(found) or None


def _shown(values, cells, names):
    """Some of the values (N, D) that Boolean `cells` choose, in words."""
    columns, shown = np.flatnonzero(cells.any(axis=0)), []
    for column in columns[:3]:
        own, median = values[cells[:, column], column], np.nanmedian(values[:, column])
        name = column if names is None else repr(names[column])
        farthest = own[np.abs(own - median).argmax()]
        shown.append(f"{len(own)} of column {name}, such as {farthest:.4g}")
    more = f", and others of {len(columns) - 3} columns" if len(columns) > 3 else ""
    return ", ".join(shown) + more


def _limits_of(function, values):
    """`Limits` from a function of the numbers of one column."""
    columns = [column[~np.isnan(column)].astype(np.float64) for column in values.T]
    return Limits(*np.array([function(column) for column in columns]).reshape(-1, 2).T)


def _stand_in_limits(values):
    """Halfway between a column's (N,) stand-ins and its other values, on either side."""
    grid, counts = np.unique(values, return_counts=True)
    ends = itertools.product(range(MAX_STAND_INS + 1), repeat=2)
    for low, above in sorted(ends, key=sum, reverse=True)[:-1]:  # one side may hide the other
        high = len(grid) - above
        if high - low >= MIN_OTHERS and _are_stand_ins(grid, counts, low, high):
            return (
                (grid[low - 1] + grid[low]) / 2 if low else -np.inf,
                (grid[high - 1] + grid[high]) / 2 if above else np.inf,
            )
    return -np.inf, np.inf


def _are_stand_ins(grid, counts, low, high):
    """Whether a column's values (G,), which occur so often (G,), are stand-ins but low:high."""
    rest, number = grid[low:high], counts[low:high].sum()
    often = np.r_[counts[:low], counts[high:]]
    if often.min() < OFTEN or often.sum() > MAX_STAND_IN * counts.sum():
        return False
    below = np.cumsum(counts[low:high])
    tail = (1.0 - CENTRAL) / 2 * number
    central = rest[np.searchsorted(below, tail) : 1 + np.searchsorted(below, number - tail)]
    width, away = central[-1] - central[0], np.inf
    if low:
        away = min(away, rest[0] - grid[low - 1])
    if high < len(grid):
        away = min(away, grid[high] - rest[-1])
    return np.diff(central).max(initial=0.0) <= MAX_GAP * width < MAX_GAP * away


def _far_limits(values):
    """The least and the largest value of a column (N,) that lie not far out."""
    low, high = -np.inf, np.inf
    while len(values) >= FEWEST:
        median = np.median(values)
        width = TIMES * np.quantile(np.abs(values - median), CENTRAL, method="lower")
        far = np.abs(values - median) > width
        if width == 0.0 or not far.any():
            break
        low, high, values = median - width, median + width, values[~far]
    return low, high
