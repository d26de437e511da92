"""Sequences that lie one after another in the rows of an array."""

import numpy as np

from kserket.arrays import as_numbers

MOST_STEPS = 2**31 - 1  # of sequences together


def check_lengths(lengths, num_rows=None):
    """Lengths of sequences as an array.

    Args:
        lengths: Positive whole numbers of any numeric type (S,), or None for a single sequence.
        num_rows: N, to which they must sum; None does not ask.

    Returns:
        Integers (S,); None for None where N is not known.

    Raises:
        TypeError: If they are not numbers.
        ValueError: If they are not positive whole numbers, or do not sum to N.
    """
    if lengths is None:
        return None if num_rows is None else np.array([num_rows])
    given = as_numbers(lengths, "`lengths`")
    if given.ndim != 1 or not given.size or not ((given > 0) & (given % 1 == 0)).all():
        raise ValueError(
            "`lengths` must be a list of positive integers, one per sequence. "
            f"Received: lengths={lengths!r:.100}"
        )
    if given.sum(dtype="float64") > MOST_STEPS:
        raise ValueError(
            f"`lengths` must sum to at most {MOST_STEPS} steps. Received: lengths={lengths!r:.100}"
        )
    checked = given.astype(np.int64)
    if num_rows is not None and checked.sum() != num_rows:
        raise ValueError(
            f"`lengths` must sum to the number of steps, {num_rows}. "
            f"Received: {len(checked)} lengths that sum to {checked.sum()}."
        )
    return checked


def first_and_later(lengths):
    """Which rows begin a sequence and which follow another.

    Args:
        lengths: (S,) from `check_lengths`.

    Returns:
        Indices of first steps (S,) and of all others (N - S,).
    """
    starts = np.cumsum(lengths) - lengths
    return starts, np.delete(np.arange(lengths.sum()), starts)
