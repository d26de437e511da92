"""The range of an observation's values: what lies outside is read as not observed.

The word is that of the netCDF climate and forecast conventions.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
import tensorflow as tf

from kserket import storage
from kserket.arrays import as_numbers
from kserket.core.options import shown
from kserket.typing import Array


class ValidRange(NamedTuple):
    """The least and the largest value, numbers or arrays that fit a sample."""

    low: Array
    high: Array

    @classmethod
    def checked(cls, given: Any, sample_shape: tuple[int, ...]) -> Self:
        """The range that an option gives.

        Args:
            given: The option.
            sample_shape: Of the samples that it is about.

        Raises:
            TypeError: If it holds anything but numbers.
            ValueError: If it is no pair, does not fit the samples, or has a value of NaN or no
                room between its ends.
        """
        is_list = isinstance(given, (tuple, list)) or (isinstance(given, np.ndarray) and given.ndim)
        if not is_list or len(given) != 2:
            raise ValueError(
                "`valid_range` must be a pair (low, high) of numbers, or of arrays with one for "
                f"each feature. Received: {shown(given)}"
            )
        low, high = (np.asarray(as_numbers(end, "`valid_range`"), np.float64) for end in given)
        try:
            fits = np.broadcast_shapes(low.shape, high.shape, sample_shape) == sample_shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(
                f"`valid_range` must fit samples of shape {sample_shape}. Received ends of shapes "
                f"{low.shape} and {high.shape}."
            )
        if not (low < high).all():
            raise ValueError(
                "`valid_range` must be a pair (low, high) with low below high, infinite where "
                f"there is no limit. Received: {shown(given[0])} and {shown(given[1])}"
            )
        return cls(low, high)

    def apply(self, data: Array) -> Array:
        """Data (N, ...) with NaN outside of the range; the same array where all lie inside."""
        if storage.every(lambda part: ~self._outside(part), data):
            return data
        return storage.apply(lambda part: np.where(self._outside(part), np.nan, part), data)

    def apply_tensor(self, data: tf.Tensor) -> tf.Tensor:
        """`apply` to a tensor of floating point numbers."""
        low, high = (tf.constant(end, data.dtype) for end in self)
        return tf.where((data < low) | (data > high), tf.constant(np.nan, data.dtype), data)

    def _outside(self, data):
        return (data < self.low) | (data > self.high)
