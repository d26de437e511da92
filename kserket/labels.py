"""What comes in as labels: numbers or strings, one for each sample. One check for every door."""

import numbers
from typing import Any

import numpy as np

from kserket.arrays import read_array
from kserket.typing import Array

_CURE = "Leave such samples out, or give them a class of their own."


def as_labels(labels: Any, name: str, allow_column: bool = False) -> Array:
    """Labels as an array of numbers or of strings.

    Args:
        labels: (N,) integers, floating point numbers, booleans or strings.
        name: What they are, for errors, such as "`y_true`".
        allow_column: Whether they may be (N, 1).

    Returns:
        Array (N,) that holds a label for every sample.

    Raises:
        TypeError: If NumPy cannot read them.
        ValueError: If they are of another shape or kind, or one is masked, missing or infinite.
    """
    if np.ma.is_masked(labels):
        raise ValueError(
            f"{name} is a masked array with {np.ma.count_masked(labels)} masked labels, and needs "
            f"a label for every sample. {_CURE}"
        )
    array = read_array(labels, name, "labels")
    if allow_column and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        hint = ""
        if array.ndim == 2:
            is_column = array.shape[1] == 1
            hint = " Use labels.ravel()." if is_column else " Use probabilities.argmax(axis=1)."
        raise ValueError(
            f"{name} must hold one label per sample, shape (N,).{hint} "
            f"Received: shape {array.shape}"
        )
    if array.dtype.kind == "O" or (array.dtype.kind in "SU" and not hasattr(labels, "dtype")):
        given = np.asarray(labels, dtype=object).reshape(-1)  # before None became text
        array = _of_one_kind(given, name)
    if array.dtype.kind not in "fiubSU":
        raise ValueError(
            f"{name} must hold numbers or strings. Received: dtype {array.dtype}. "
            "Convert with labels.astype(str)."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        wrong = ~np.isfinite(array)
        kind = "NaN or None" if np.isnan(array).any() else "infinite labels"
        _refuse_missing(wrong, kind, name, array)
    return array


def _of_one_kind(labels, name):
    """Objects (N,), numbers or strings, as an array of these."""
    missing = np.array([label is None or _differs_from_itself(label) for label in labels], bool)
    if missing.any():
        _refuse_missing(missing, "NaN or None", name, labels)
    for index, label in enumerate(labels):
        if not isinstance(label, (str, bytes, numbers.Real, np.generic)):
            raise ValueError(
                f"{name} must hold numbers or strings, and a label for every sample. "
                f"Received: {label!r:.60} at index {index}. {_CURE}"
            )
    if len({isinstance(label, (str, bytes)) for label in labels}) > 1:
        raise ValueError(
            f"{name} must hold numbers or strings, not both. Convert with labels.astype(str)."
        )
    array = np.array(labels.tolist())
    if array.dtype.kind == "O":
        raise ValueError(f"{name} must hold numbers or strings that NumPy has a type for.")
    return array


def _differs_from_itself(label):
    """Whether it is NaN, NaT or the like."""
    different = label != label
    return different if isinstance(different, (bool, np.bool_)) else False


def _refuse_missing(wrong, kind, name, labels):
    """Raises ValueError about the samples (N,) that have no label."""
    first = wrong.argmax()
    raise ValueError(
        f"{name} must hold numbers or strings, and a label for every sample. Received: "
        f"{labels[first]!r} at index {first}. It holds {wrong.sum()} {kind}, the first at row "
        f"{first}. {_CURE}"
    )
