"""The kinds of message."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from kserket import storage
from kserket.arrays import as_numbers, check_finite
from kserket.floors import LOG_ZERO
from kserket.typing import Array, Booleans, Floats, Integers

SUM_TOLERANCE = 1e-3
_OF_ARRAYS = {  # what scripts ask of an array without changing it
    *("T", "all", "any", "argmax", "argmin", "argsort", "astype", "clip", "copy", "cumsum", "dot"),
    *("flatten", "max", "mean", "min", "nonzero", "prod", "ravel", "repeat", "reshape", "round"),
    *("size", "squeeze", "std", "sum", "swapaxes", "tolist", "transpose", "var"),
}
_ROUNDED = 1e-4  # of correlations in single precision


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
    # Names of the constructor's arguments among the arrays of `to_arrays`.
    _arguments: tuple[str, ...] = ()

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
            setattr(message, name, None if value is None else _frozen(value))
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
            setattr(self, name, _frozen(value) if isinstance(value, np.ndarray) else value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} message, shape={self.shape}>"


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
        sums, wrong = storage.apply(_row_sums, probs)
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
        self._log_probs, self._probs = _frozen(log_probs), _frozen(probs)
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
        self._log_probs, self._probs = _frozen(log_probs), _frozen(probs)
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
                self.missing = _frozen(missing)
                mean = storage.apply(
                    lambda part, silent: np.where(silent[:, None], 0, part).astype(part.dtype),
                    mean,
                    missing,
                )
        check_finite(mean, "The mean of a Gaussian message")
        self._mean = _frozen(mean)
        self._variance = None if variance is None else _frozen(variance)

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
        _, wrong = storage.apply(_row_sums, responsibilities)
        if wrong.any():
            raise ValueError(
                "Rows of a Mixture message's responsibilities must hold probabilities: not "
                f"negative, summing to 1. {int(wrong.sum())} of {len(wrong)} rows do not; the "
                f"first is row {int(wrong.argmax())}. Divide each row by its sum."
            )
        check_finite(means, "The means of a Mixture message")
        check_finite(covariances, "The covariances of a Mixture message")
        _check_covariances(covariances)
        self._responsibilities = _frozen(responsibilities)
        self._means, self._covariances = _frozen(means), _frozen(covariances)
        self._array: Array | None = None  # made when it is first read

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
            self._array = _frozen(
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
            self._array = _frozen(np.asarray(self._compute()))
            self._compute = None
        return self._array

    def take(self, rows: Any) -> Array:
        return self.array[rows]

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: the array, not how it is computed."""
        return {**vars(self), "_array": self.array, "_compute": None}


def _row_sums(probs):
    """Sum of each row (n,), and whether it holds no probabilities."""
    sums = probs.sum(axis=1)
    return sums, ~(np.abs(sums - 1.0) < SUM_TOLERANCE) | (probs < 0).any(axis=1)


def _normalize(probs, sums):
    """Logarithms, floored, and probabilities of rows (n, K) with these sums."""
    with np.errstate(divide="ignore"):
        log_probs = np.log(probs) - np.log(sums)[:, None]
    return np.maximum(log_probs, LOG_ZERO), probs / sums[:, None]


def _normalize_log(log_probs, missing):
    """Normalized logarithms, floored, and probabilities; uniform where `missing` (n,)."""
    log_probs = np.array(log_probs, dtype="float64")
    if missing is not None:
        log_probs[missing] = 0.0
    np.maximum(log_probs, -1e300, out=log_probs)  # finite, so that all impossible is a tie
    log_probs -= log_probs.max(axis=1, keepdims=True)
    np.maximum(log_probs, LOG_ZERO, out=log_probs)
    probs = np.exp(log_probs)
    sums = probs.sum(axis=1, keepdims=True)
    return log_probs - np.log(sums), probs / sums


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


def _as_arrays(arguments):
    """Arguments of a NumPy function with each message replaced by its array."""
    if isinstance(arguments, Message):
        return arguments.array
    if isinstance(arguments, dict):
        return {name: _as_arrays(value) for name, value in arguments.items()}
    if isinstance(arguments, (list, tuple)):
        return type(arguments)(_as_arrays(value) for value in arguments)
    return arguments


def _frozen(array):
    """A view (or the memory map itself) that cannot be written through."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


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
    return _frozen(missing) if missing.any() else None
