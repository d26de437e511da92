"""A vector through the classes that a sample may belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from kserket import storage
from kserket.arrays import as_numbers, check_finite
from kserket.core.messages.categorical import Categorical, row_sums
from kserket.core.messages.message import Message, frozen
from kserket.typing import Array, Floats

_ROUNDED = 1e-4  # of correlations in single precision


class Mixture(Message):
    """A distribution over real vectors through the classes that each sample may belong to.

    As an array it is each sample's expected mean: `responsibilities @ means`, (N, D).

    Args:
        responsibilities: Array (N, K), rows summing to one.
        means: Array (K, D).
        covariances: Array (K, D, D).

    Raises:
        TypeError: If they are not real numbers.
        ValueError: If the shapes do not agree, rows of `responsibilities` are not probabilities, or
            a mean or covariance is not finite.
    """

    _arguments = ("responsibilities", "means", "covariances")
    _of_all_rows = ("means", "covariances")

    def __init__(
        self, responsibilities: ArrayLike, means: ArrayLike, covariances: ArrayLike
    ) -> None:
        responsibilities, means, covariances = (
            as_numbers(part, f"The {name} of a Mixture message")
            for name, part in zip(
                self._arguments, (responsibilities, means, covariances), strict=True
            )
        )
        shapes = responsibilities.shape, means.shape, covariances.shape
        if responsibilities.ndim != 2 or means.ndim != 2 or shapes[0][1] != shapes[1][0]:
            raise ValueError(
                "A Mixture message needs responsibilities (N, K), means (K, D) and covariances "
                f"(K, D, D). Received: shapes {shapes[0]}, {shapes[1]}, {shapes[2]}"
            )
        if shapes[2] != shapes[1] + shapes[1][1:]:
            raise ValueError(
                f"Covariances of a Mixture message must have shape {shapes[1] + shapes[1][1:]}. "
                f"Received: shape {shapes[2]}"
            )
        _, wrong = storage.apply(row_sums, responsibilities)
        if wrong.any():
            raise ValueError(
                "Rows of a Mixture message's responsibilities must hold probabilities: not "
                f"negative, summing to 1. {int(wrong.sum())} of {len(wrong)} rows do not; the "
                f"first is row {int(wrong.argmax())}. Divide each row by its sum."
            )
        check_finite(means, "The means of a Mixture message")
        check_finite(covariances, "The covariances of a Mixture message")
        _check_covariances(covariances)
        self._responsibilities = frozen(responsibilities)
        self._means, self._covariances = frozen(means), frozen(covariances)
        self._array: Array | None = None  # made when it is first read

    @classmethod
    def of_classes(cls, classes: Categorical, means: Floats, covariances: Floats) -> Self:
        """A message from class probabilities and from parameters that a model has learned.

        Args:
            classes: `Categorical` (N, K).
            means: Array (K, D).
            covariances: Array (K, D, D), symmetric and positive definite.

        Raises:
            ValueError: If a mean or covariance is not finite.
        """
        check_finite(means, "The means of a Mixture message")
        check_finite(covariances, "The covariances of a Mixture message")
        self = cls.__new__(cls)
        self._responsibilities, self._array = classes.probs, None
        self._means, self._covariances = frozen(means), frozen(covariances)
        return self

    @property
    def responsibilities(self) -> Floats:
        """Class probabilities (N, K)."""
        return self._responsibilities

    @property
    def means(self) -> Floats:
        """Class means (K, D)."""
        return self._means

    @property
    def covariances(self) -> Floats:
        """Class covariances (K, D, D)."""
        return self._covariances

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self._responsibilities), self._means.shape[1]

    @property
    def array(self) -> Array:
        if self._array is None:
            self._array = frozen(
                storage.apply(
                    lambda part: part @ self._means,
                    self._responsibilities,
                    row_bytes=self._means[0].nbytes,
                )
            )
        return self._array

    def to_arrays(self) -> dict[str, Array | None]:
        return super().to_arrays() | {"array": None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        return super().from_arrays({**arrays, "array": None})

    def take(self, rows: Any) -> Mixture:
        return Mixture(self._responsibilities[rows], self._means, self._covariances)


def _check_covariances(covariances):
    """Raises ValueError unless matrices (K, D, D) are symmetric and not negative, but for rounding.

    They are looked at in units in which variances are 1, and may be singular.
    """
    variances = np.diagonal(covariances, axis1=1, axis2=2).astype(float)
    scale = np.sqrt(np.where(variances > 0, variances, 1.0))
    scaled = covariances / scale[:, :, None] / scale[:, None, :]
    fits = (variances >= 0).all() and (abs(scaled - scaled.transpose(0, 2, 1)) <= _ROUNDED).all()
    try:
        np.linalg.cholesky(scaled + _ROUNDED * np.eye(scaled.shape[1]))
    except np.linalg.LinAlgError:
        fits = False
    if not fits:
        raise ValueError(
            "Covariances of a Mixture message must be symmetric matrices without negative "
            "eigenvalues."
        )
