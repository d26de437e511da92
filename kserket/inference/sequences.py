"""Sequences that lie one after another in the rows of an array."""

import numpy as np

from kserket import hosts
from kserket.arrays import as_numbers

MOST_STEPS = 2**31 - 1  # of sequences together
_PIECES = 10  # stretches of time that starts are made from


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


def stretches(lengths, most):
    """Stretches of time of equal size, and the sequences in them.

    Args:
        lengths: (S,) from `check_lengths`.
        most: How many steps to take at most, positive.

    Returns:
        Rows (n,), ascending; lengths of the sequences that they make up, each in one stretch.
    """
    num_steps = lengths.sum()
    if num_steps <= most:
        return np.arange(num_steps), lengths
    number = min(_PIECES, most)
    size = most // number
    first = np.linspace(0, num_steps - size, number).astype(int)
    rows = (first[:, None] + np.arange(size)).ravel()
    starts, _ = first_and_later(lengths)
    begins = np.union1d(np.arange(0, len(rows), size), np.flatnonzero(np.isin(rows, starts)))
    return rows, np.diff(np.append(begins, len(rows)))


def stretches_of_hosts(lengths, most):
    """Steps of all hosts that starts are made from: `stretches` of each, as long as it has steps.

    Args:
        lengths: (S,) of the sequences of this host.
        most: How many steps to take at most.

    Returns:
        Rows (n,) of this host, which `hosts.gather_rows` brings together; lengths of the sequences
        of all hosts.
    """
    _, total = hosts.place_of_rows(int(lengths.sum()))
    share = lengths.sum() if total <= most else max(1, int(most * lengths.sum() // total))
    rows, lengths = stretches(lengths, share)
    return rows, hosts.gather_rows(lengths)
