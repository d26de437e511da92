"""The range of an observation's values: what lies outside is read as not observed.

The word is that of the netCDF climate and forecast conventions.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import tensorflow as tf

from kserket import storage
from kserket.arrays import as_numbers
from kserket.core.options import shown
from kserket.inference.outliers import Limits
from kserket.typing import Array


class ValidRange(Limits):
    """The least and the largest value, numbers or arrays that fit a sample."""

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
        valid_range = cls(low, high)
        valid_range.check_fits(sample_shape)
        if not (low < high).all():
            raise ValueError(
                "`valid_range` must be a pair (low, high) with low below high, infinite where "
                f"there is no limit. Received: {shown(given[0])} and {shown(given[1])}"
            )
        return valid_range

    def check_fits(self, sample_shape: tuple[int, ...]) -> None:
        """Raises ValueError unless the range fits samples of this shape."""
        ends = np.shape(self.low), np.shape(self.high)
        try:
            fits = np.broadcast_shapes(*ends, sample_shape) == sample_shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(
                f"`valid_range` must fit samples, which have shape {sample_shape}. Its ends have "
                f"shapes {ends[0]} and {ends[1]}: give numbers, or as many as there are features."
            )

    def apply(self, data: Array) -> Array:
        """Data (N, ...) with NaN outside of the range; the same array where all lie inside."""
        if storage.every(lambda part: ~self.exceeded(part), data):
            return data
        return storage.apply(lambda part: np.where(self.exceeded(part), np.nan, part), data)

    def apply_tensor(self, data: tf.Tensor) -> tf.Tensor:
        """`apply` to a tensor of floating point numbers."""
        low, high = (tf.constant(end, data.dtype) for end in self)
        return tf.where((data < low) | (data > high), tf.constant(np.nan, data.dtype), data)
