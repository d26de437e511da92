"""Probabilities of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kserket import storage
from kserket.arrays import as_numbers, row_max
from kserket.core.messages.message import Message, frozen
from kserket.floors import LOG_ZERO
from kserket.typing import Floats, Integers

SUM_TOLERANCE = 1e-3


class Categorical(Message):
    """Probabilities of K classes, one row per sample.

    Kept as logarithms, so that products of very sure messages neither underflow nor lose
    their order.

    Args:
        probs: Array (N, K), not negative, rows summing to one.
        missing: Optional boolean array (N,): rows that say nothing. They become uniform.

    Raises:
        TypeError: If `probs` are not real numbers.
        ValueError: If `probs` is not (N, K), not finite, negative, masked, or a row does not sum
            to one.
    """

    _arguments = ("probs", "missing")

    def __init__(self, probs: ArrayLike, missing: ArrayLike | None = None) -> None:
        probs = as_numbers(probs, "A Categorical message")
        if probs.ndim != 2 or probs.shape[1] == 0:
            raise ValueError(
                "A Categorical message needs probabilities of shape (N, K). "
                f"Received: shape {probs.shape}"
            )
        probs = storage.apply(lambda part: np.asarray(part, "float64"), probs)
        missing = _as_mask(missing, len(probs))
        if missing is not None:
            uniform = 1.0 / probs.shape[1]
            probs = storage.apply(
                lambda part, silent: np.where(silent[:, None], uniform, part), probs, missing
            )
        sums, wrong = storage.apply(row_sums, probs)
        if wrong.any():
            row = int(np.argmax(wrong))
            mend = "Divide each row by its sum."
            if not np.isfinite(probs[row]).all():
                mend = "Mark rows that say nothing by `missing`, or make them uniform."
            elif (probs[row] < 0).any():
                mend = "Logarithms are read by Categorical.from_log."
            raise ValueError(
                "Rows of a Categorical message must hold probabilities: not negative, summing "
                f"to 1. {int(wrong.sum())} of {len(probs)} rows do not; the first is row {row}: "
                f"{np.array2string(probs[row], precision=4, threshold=8)} with sum {sums[row]:g}. "
                f"{mend}"
            )
        log_probs, probs = storage.apply(_normalize, probs, sums)
        self._log_probs, self._probs = frozen(log_probs), frozen(probs)
        self.missing = missing

    @classmethod
    def from_log(cls, log_probs: ArrayLike, missing: ArrayLike | None = None) -> Categorical:
        """A message from logarithms of probabilities that need not be normalized.

        Args:
            log_probs: Array (N, K). Minus infinity is allowed, NaN and infinity are not.
            missing: Optional boolean array (N,) of rows that say nothing.

        Returns:
            A `Categorical`.

        Raises:
            TypeError: If they are not real numbers.
            ValueError: If the array is not (N, K), or a value is masked, NaN or infinity.
        """
        log_probs = as_numbers(log_probs, "A Categorical message")
        if log_probs.ndim != 2 or log_probs.shape[1] == 0:
            raise ValueError(
                "A Categorical message needs log probabilities of shape (N, K). "
                f"Received: shape {log_probs.shape}"
            )
        if not storage.every(lambda part: part < np.inf, log_probs):
            wrong = storage.total(lambda part: int((~(part < np.inf)).sum()), log_probs)
            raise ValueError(
                "Log probabilities of a Categorical message must not be NaN or infinity. "
                f"Received: {wrong} such values."
            )
        missing = _as_mask(missing, len(log_probs))
        log_probs, probs = storage.apply(_normalize_log, log_probs, missing)
        self = cls.__new__(cls)
        self._log_probs, self._probs = frozen(log_probs), frozen(probs)
        self.missing = missing
        return self

    @property
    def probs(self) -> Floats:
        """Probabilities (N, K), rows summing to one."""
        return self._probs

    @property
    def log_probs(self) -> Floats:
        """Their logarithms (N, K), finite: `LOG_ZERO` stands for the logarithm of 0."""
        return self._log_probs

    array = probs

    @property
    def classes(self) -> Integers:
        """The most probable class of each row, (N,)."""
        return storage.apply(lambda part: part.argmax(axis=1), self._probs)

    def take(self, rows: Any) -> Categorical:
        missing = None if self.missing is None else self.missing[rows]
        return Categorical.from_log(self._log_probs[rows], missing)


def row_sums(probs):
    """Sum of each row, and whether it holds no probabilities.

    Args:
        probs: Array (n, K).

    Returns:
        Arrays (n,) and booleans (n,).
    """
    sums = probs.sum(axis=1)
    wrong = ~(np.abs(sums - 1.0) < SUM_TOLERANCE)
    if probs.size and not probs.min() >= 0:
        wrong |= (probs < 0).any(axis=1)
    return sums, wrong


def _normalize(probs, sums):
    """Logarithms, floored, and probabilities of rows (n, K) with these sums."""
    with np.errstate(divide="ignore"):
        log_probs = np.log(probs)
    log_probs -= np.log(sums)[:, None]
    return np.maximum(log_probs, LOG_ZERO, out=log_probs), probs / sums[:, None]


def _normalize_log(log_probs, missing):
    """Normalized logarithms, floored, and probabilities; uniform where `missing` (n,)."""
    log_probs = np.array(log_probs, dtype="float64")
    if missing is not None:
        log_probs[missing] = 0.0
    np.maximum(log_probs, -1e300, out=log_probs)  # finite, so that all impossible is a tie
    log_probs -= row_max(log_probs)[:, None]
    np.maximum(log_probs, LOG_ZERO, out=log_probs)
    probs = np.exp(log_probs)
    sums = probs.sum(axis=1, keepdims=True)
    log_probs -= np.log(sums)
    probs /= sums
    return log_probs, probs


def _as_mask(missing, length):
    """The mask (N,) as booleans, or None if no row is missing."""
    if missing is None:
        return None
    missing = as_numbers(missing, "`missing`")
    if missing.shape != (length,) or not np.isin(missing, (0, 1)).all():
        raise ValueError(
            f"`missing` must have shape ({length},), True or False for each sample. "
            f"Received: shape {missing.shape}, dtype {missing.dtype}"
        )
    missing = missing.astype(bool)
    return frozen(missing) if missing.any() else None
