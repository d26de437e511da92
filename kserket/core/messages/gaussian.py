"""A mean and a variance per sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kserket import storage
from kserket.arrays import as_numbers, check_finite
from kserket.core.messages.message import Message, frozen
from kserket.typing import Floats


class Gaussian(Message):
    """A mean and a diagonal variance per sample.

    Args:
        mean: Array (N, D).
        variance: Array (N, D) of positive numbers; infinite in every column of a row that
            says nothing. None means the identity.

    Raises:
        TypeError: If they are not real numbers.
        ValueError: If the shapes differ, a mean is not finite, a variance is not positive, or a
            value is masked.
    """

    _arguments = ("mean", "variance")

    def __init__(self, mean: ArrayLike, variance: ArrayLike | None = None) -> None:
        mean = as_numbers(mean, "The mean of a Gaussian message")
        if mean.ndim != 2:
            raise ValueError(
                f"A Gaussian message needs a mean of shape (N, D). Received: shape {mean.shape}"
            )
        if variance is not None:
            variance = as_numbers(variance, "The variance of a Gaussian message")
            if variance.shape != mean.shape:
                raise ValueError(
                    "Mean and variance of a Gaussian message must have one shape. "
                    f"Received: mean {mean.shape}, variance {variance.shape}"
                )
            if not storage.every(lambda part: part > 0, variance):
                wrong = storage.total(lambda part: int((~(part > 0)).sum()), variance)
                raise ValueError(
                    "Variances of a Gaussian message must be positive. Received: "
                    f"{wrong} values that are not."
                )
            missing = storage.apply(lambda part: np.isinf(part).all(axis=1), variance)
            if missing.any():
                self.missing = frozen(missing)
                mean = storage.apply(
                    lambda part, silent: np.where(silent[:, None], 0, part).astype(part.dtype),
                    mean,
                    missing,
                )
        check_finite(mean, "The mean of a Gaussian message")
        self._mean = frozen(mean)
        self._variance = None if variance is None else frozen(variance)

    @property
    def mean(self) -> Floats:
        """Means (N, D)."""
        return self._mean

    @property
    def variance(self) -> Floats | None:
        """Variances (N, D), or None for the identity."""
        return self._variance

    array = mean

    def take(self, rows: Any) -> Gaussian:
        variance = None if self._variance is None else self._variance[rows]
        return Gaussian(self._mean[rows], variance)
