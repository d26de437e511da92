"""An array that is computed when it is first read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kserket.core.messages.message import Message, frozen
from kserket.typing import Array


class Deferred(Message):
    """An array that is computed when it is first read.

    Args:
        shape: Its shape, known beforehand.
        compute: Callable without arguments that returns the array.
    """

    def __init__(self, shape: Iterable[int], compute: Callable[[], ArrayLike]) -> None:
        self._shape = tuple(shape)
        self._compute: Any = compute
        self._array: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def array(self) -> Array:
        if self._array is None:
            self._array = frozen(np.asarray(self._compute()))
            self._compute = None
        return self._array

    def take(self, rows: Any) -> Array:
        return self.array[rows]

    def _preview(self) -> str:
        return "" if self._array is None else super()._preview()

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: the array, not how it is computed."""
        return {**vars(self), "_array": self.array, "_compute": None}
