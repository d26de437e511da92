"""Names for what public functions take and return, as editors and type checkers show it."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import keras
import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.floating[Any]]
Integers: TypeAlias = NDArray[np.integer[Any]]
Booleans: TypeAlias = NDArray[np.bool_]

PathLike: TypeAlias = str | os.PathLike[str]
Seed: TypeAlias = int | np.random.Generator | None
Callbacks: TypeAlias = Sequence[keras.callbacks.Callback]
Verbose: TypeAlias = Literal["auto"] | int
Mode: TypeAlias = Literal["learn", "recog"]

# What an `Observation` takes: arrays, paths, HDF5 and Keras datasets, sparse matrices ...
Data: TypeAlias = Any

_Returned = TypeVar("_Returned")


def hook(function: Callable[..., _Returned]) -> Callable[..., _Returned]:
    """Decorates a method whose arguments depend on the subclass that writes it.

    Args:
        function: The method.

    Returns:
        The method, which a type checker lets subclasses define with arguments of their own.
    """
    return function
