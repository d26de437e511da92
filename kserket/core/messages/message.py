"""What every kind of message is: one row per sample, readable as an array."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from kserket.typing import Array, Booleans

_OF_ARRAYS = {  # what scripts ask of an array without changing it
    *("T", "all", "any", "argmax", "argmin", "argsort", "astype", "clip", "copy", "cumsum", "dot"),
    *("flatten", "max", "mean", "min", "nonzero", "prod", "ravel", "repeat", "reshape", "round"),
    *("size", "squeeze", "std", "sum", "swapaxes", "tolist", "transpose", "var"),
}


class Message(np.lib.mixins.NDArrayOperatorsMixin, abc.ABC):
    """One row per sample of what is known, readable as an array.

    `np.asarray(message)`, `len`, `shape`, `ndim`, `dtype`, indexing, arithmetic and the methods of
    arrays that leave them as they are (`message.argmax(axis=1)`, `message.T`) are those of the
    array that stands for it; `take` keeps the kind.

    Attributes:
        missing: Boolean array (N,), true for rows that say nothing, or None if all say
            something.
    """

    missing: Booleans | None = None
    # Names among the arrays of `to_arrays`: the constructor's arguments; those without samples.
    _arguments: tuple[str, ...] = ()
    _of_all_rows: tuple[str, ...] = ()

    @property
    @abc.abstractmethod
    def array(self) -> Array:
        """The array that stands for the message."""

    @abc.abstractmethod
    def take(self, rows: Any) -> Message | Array:
        """The message of some rows, of the same kind.

        Args:
            rows: A slice or an index array.
        """

    def to_arrays(self) -> dict[str, Array | None]:
        """All that the message is, for `from_arrays`: dict from name to array (N, ...) or None."""
        return {name.strip("_"): value for name, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """The same message again, to the last bit.

        Args:
            arrays: What `to_arrays` returned.

        Raises:
            ValueError: If they are not those of such a message.
        """
        message = cls(*(arrays.get(name) for name in cls._arguments))
        for name in vars(message):  # as they were, not as the constructor rounds them
            if np.shape(arrays.get(name.strip("_"))) != np.shape(getattr(message, name)):
                raise ValueError(f"A {cls.__name__} message misses its {name.strip('_')}.")
            value = arrays.get(name.strip("_"))
            setattr(message, name, None if value is None else frozen(value))
        return message

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        return self.array[index]

    if not TYPE_CHECKING:  # else a wrong name would be of any type

        def __getattr__(self, name: str) -> Any:
            if name in _OF_ARRAYS:
                return getattr(self.array, name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.array, dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return getattr(ufunc, method)(*_as_arrays(inputs), **_as_arrays(kwargs))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function is np.shape:
            return self.shape  # known without computing a `Deferred`
        return function(*_as_arrays(args), **_as_arrays(kwargs))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Takes what was pickled; arrays cannot be written through, as before."""
        for name, value in state.items():
            setattr(self, name, frozen(value) if isinstance(value, np.ndarray) else value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} message, shape={self.shape}{self._preview()}>"

    def _preview(self) -> str:
        """The first and last rows, below the line of the name."""
        rows = np.array2string(self.array, threshold=12, edgeitems=2, precision=3)
        return f"\n{rows}"


def frozen(array):
    """A view (or the memory map itself) that cannot be written through.

    Args:
        array: Array of any shape.
    """
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def _as_arrays(arguments):
    """Arguments of a NumPy function with each message replaced by its array."""
    if isinstance(arguments, Message):
        return arguments.array
    if isinstance(arguments, dict):
        return {name: _as_arrays(value) for name, value in arguments.items()}
    if isinstance(arguments, (list, tuple)):
        return type(arguments)(_as_arrays(value) for value in arguments)
    return arguments
