"""Data recorded on a grid: 0/1 columns, counts, codes, numbers rounded to decimals.

A recorded value stands for all that round to it, so that it is uncertain by gap^2 / 12, the
variance of a uniform distribution as wide as the gap to the next value. A density that does not
know this grows without limit on each value of a column, whatever the other columns say.

Values that follow each other at the smallest gap are numbers, counted or rounded; groups of them
that lie far apart are clusters. Values that stand alone are codes or doses, such as 1, 2 and 9 or
1, 2, 5 and 10: each stands for what lies nearer to it than to the others, however wide that is.

A value that very many share among continuous ones is where a scale ends or a thing is absent: zeros
of a column of amounts, readings beyond a limit. It stands for more than one number, too, and is
taken to be as wide as a grid of two values that vary as the others do. So is a count that is far
more frequent than those next to it, such as the zeros of what most samples lack, unless another
feature tells the same samples apart: then it says something, as dark pixels do.

Reference:
    W. F. Sheppard, On the calculation of the most probable values of frequency-constants for data
    arranged according to equidistant divisions of a scale, Proceedings of the London Mathematical
    Society 29 (1897).
"""

import numpy as np

from kserket import storage

MAX_SAMPLES = 20_000  # that are looked at
FIRST_SAMPLES = 1000  # that show whether a feature repeats its values at all
MIN_REPEATS = 3  # how often a value occurs on average, on a grid
COMMON = 0.95  # share of the data whose values make up the grid; the rest may lie between
MIN_RUN = 4  # so many values that follow each other are numbers on a grid; fewer may be codes
SHARED = 0.05  # share of the data that have one value, if very many share it
TIMES = 5  # how often such a value occurs for one time of the commonest other
PEAK = 0.1  # share of the data that have one value on a grid, if it stands out
TIMES_BESIDE = 3  # how often it occurs for one time of the values next to it
ALONE = 0.2  # correlation with other features below which they do not tell the same samples apart
FINE = 0.05  # of their width; a finer grid of the others is as good as none


def find(x, counted=None):
    """How far the values of each feature lie apart.

    Args:
        x: (N, D) data, an array in memory or in a file; cells of NaN are left out.
        counted: Boolean (N,): rows that are looked at, or None for all.

    Returns:
        (D,) gaps, 0 for a feature that is constant or continuous: one whose values hardly ever
        repeat, none of them very often.
    """
    chosen = np.arange(len(x)) if counted is None else np.flatnonzero(counted)
    if len(chosen) > MAX_SAMPLES:
        chosen = np.random.default_rng(0).permutation(chosen)[:MAX_SAMPLES]
    gaps = np.zeros(x.shape[1])
    first = storage.gather(x, np.sort(chosen[:FIRST_SAMPLES]))
    columns = ((number, values[~np.isnan(values)]) for number, values in enumerate(first.T))
    repeats = [number for number, values in columns if _may_repeat(values)]
    if repeats and len(chosen) > FIRST_SAMPLES:
        first = storage.gather(x, np.sort(chosen))
    wider = {}
    for feature in repeats:
        values = first[:, feature]
        grid, counts = np.unique(values[~np.isnan(values)], return_counts=True)
        gaps[feature] = _width_of_shared(grid, counts)
        if not gaps[feature] and (gap := _gap(grid, counts)):
            gaps[feature] = gap
            often = _stand_out(counts)
            if (width := _width_of_others(grid, counts, often)) > gap:
                wider[feature] = width, values[:, None] == grid[often]
    told = told_by_others(first, {feature: has for feature, (_, has) in wider.items()})
    for feature in wider.keys() - told:
        gaps[feature] = wider[feature][0]
    return gaps


def _width_of_shared(grid, counts):
    """The width of values that very many share among continuous ones; 0 if there are none."""
    often = counts >= SHARED * counts.sum()
    often &= counts >= TIMES * counts[~often].max(initial=1)
    width, others = _width_of_others(grid, counts, often), grid[~often].astype(np.float64)
    on_grid = _repeats(others, counts[~often].sum())
    return 0.0 if on_grid and np.diff(others).min(initial=width) > FINE * width else width


def _width_of_others(grid, counts, often):
    """The gap of two values that vary as those that are not frequent; 0 if these are too few."""
    others, weights = grid[~often].astype(np.float64), counts[~often]
    if not often.any() or weights.sum() <= (1.0 - COMMON) * counts.sum():
        return 0.0
    mean = np.average(others, weights=weights)
    return 2.0 * float(np.sqrt(np.average((others - mean) ** 2, weights=weights)))


def _stand_out(counts):
    """Which values on a grid are far more frequent than those next to them, Boolean (G,)."""
    beside = np.maximum(np.r_[0, counts[:-1]], np.r_[counts[1:], 0])
    return counts >= np.maximum(PEAK * counts.sum(), TIMES_BESIDE * beside)


def told_by_others(x, frequent):
    """The features of which another one tells the samples apart that have a frequent value.

    Args:
        x: (N, D) with NaN for what is missing.
        frequent: For a feature's number, which samples have which of its V frequent values,
            Boolean (N, V).

    Returns:
        Set of numbers.
    """
    if not frequent:
        return set()
    tiny, known = np.finfo(np.float64).tiny, ~np.isnan(x)
    scaled = np.where(known, x, 0.0)
    scaled /= np.maximum(np.abs(scaled).max(axis=0), tiny)
    scaled -= scaled.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    scaled[~known] = 0.0
    scaled /= np.maximum(np.linalg.norm(scaled, axis=0), tiny)
    limit = max(ALONE, 3.0 / np.sqrt(len(x)))
    told = set()
    for feature, has in frequent.items():
        centered = has - has.mean(axis=0)
        correlations = np.abs((centered / np.linalg.norm(centered, axis=0)).T @ scaled)
        if np.delete(correlations, feature, axis=1).max(initial=0.0) >= limit:
            told.add(feature)
    return told


def _gap(grid, counts):
    """The gap between values (G,) that make up a grid; 0 if they do not lie on one.

    It is the smallest between common values at which nearly all data lie in runs of `MIN_RUN`
    values or more, or all in a single run. In a run, one value in a row may be missing.
    """
    if len(grid) < 2 or not _repeats(grid, counts.sum()):
        return 0.0
    order = np.argsort(-counts, kind="stable")
    number = max(2, 1 + np.searchsorted(np.cumsum(counts[order]), COMMON * counts.sum()))
    common = np.sort(grid[order[:number]]).astype(np.float64)
    precision = np.finfo(grid.dtype if grid.dtype.kind == "f" else np.float64).eps
    rounding = 4.0 * precision * np.abs(common).max()  # what is nearer is one value
    gaps = np.diff(common)
    gaps = np.sort(gaps[gaps > rounding])
    steps = np.diff(grid.astype(np.float64))
    for gap in gaps:
        starts = np.r_[0, 1 + np.flatnonzero(steps > 2.0 * gap + rounding)]
        lengths = np.add.reduceat(np.r_[True, steps > rounding], starts)
        in_runs = np.add.reduceat(counts, starts)[lengths >= MIN_RUN].sum()
        if len(starts) == 1 or in_runs >= COMMON * counts.sum():
            return float(gap)
    return float(gaps.max(initial=0.0))


def _may_repeat(values):
    """Whether values (N,) can lie on a grid, or one of them be shared by very many."""
    grid, counts = np.unique(values, return_counts=True)
    return _repeats(grid, len(values)) or counts.max(initial=0) >= SHARED * len(values) > 1


def _repeats(grid, number):
    """Whether so few different values, `grid`, make up so many data."""
    return MIN_REPEATS * len(grid) <= number
