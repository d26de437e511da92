"""What may be data: finite numbers, one row per sample."""

import math

import numpy as np

from kserket import storage
from kserket.arrays import as_numbers, check_finite
from kserket.core.sources import as_array


def check_data(data, name, allow_missing=None, allow_gaps=False):
    """Data as an array of finite numbers with one row per sample.

    Args:
        data: What a user gave: anything that `sources.as_array` takes.
        name: Who holds it, for the error.
        allow_missing: Whether rows that are NaN or masked throughout pass. None is no, and an
            error does not tell of the option.
        allow_gaps: Whether single cells of data (N, D) may be NaN or masked, too.

    Returns:
        The array, or a memory map.

    Raises:
        TypeError: If `data` are not numbers.
        ValueError: If they are empty, ragged, not finite or masked.
    """
    data = as_numbers(as_array(data, name), name, allow_missing, allow_gaps)
    if len(data.shape) == 0 or 0 in data.shape:
        raise ValueError(
            f"{name} needs at least one sample and one feature, shape (N, ...). "
            f"Received: shape {tuple(data.shape)}"
        )
    if len(data.shape) == 1:
        raise ValueError(
            f"{name} needs one row per sample, shape (N, D). Received: shape {data.shape}. "
            "Use data.reshape(-1, 1) for one feature, data.reshape(1, -1) for one sample."
        )
    check_finite(data, name, allow_missing, allow_gaps and len(data.shape) == 2)
    return data


def has_gaps(data):
    """Whether single cells of data (N, D) in memory or in a file are NaN, and not whole rows."""
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.dtype.kind != "f":
        return False
    return not storage.every(lambda x: np.isnan(x).any(axis=1) == np.isnan(x).all(axis=1), data)


def shape_cure(shape, expected):
    """How data become samples of another shape; empty if nothing is plain.

    Args:
        shape: That of the data.
        expected: Shape of a sample.

    Returns:
        The end of an error: a sentence with a space before it, or "".
    """
    shape, expected = tuple(shape), tuple(expected)
    if shape == expected:
        return " Of one sample pass x[None]."
    if len(expected) == 3 and shape[1:] != expected and shape[1:] == (expected[-1], *expected[:-1]):
        return " If channels come first there, pass np.moveaxis(x, 1, -1)."
    long = [tuple(size for size in part if size != 1) for part in (shape[1:], expected)]
    is_flat = 1 in map(len, long) and math.prod(shape[1:]) == math.prod(expected)
    if long[0] == long[1] or is_flat:
        return f" Pass x.reshape({', '.join(map(str, (-1, *expected)))})."
    return ""
