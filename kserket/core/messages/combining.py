"""Messages read as a kind, multiplied, compared."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kserket import storage
from kserket.core.messages.kinds import SUM_TOLERANCE, Categorical, Deferred, Gaussian, Message
from kserket.hosts import mean_over_hosts, sum_over_hosts
from kserket.typing import Array, Booleans


def as_categorical(message: ArrayLike, num_classes: int | None = None) -> Categorical:
    """Reads a message or an array as a `Categorical`.

    Args:
        message: A `Categorical`, or an array (N, K) of probabilities.
        num_classes: The K that is expected, if known.

    Returns:
        A `Categorical`.

    Raises:
        ValueError: If the rows are not probabilities of `num_classes` classes.
    """
    if not isinstance(message, Categorical):
        message = Categorical(message)
    if num_classes is not None and message.shape[1] != num_classes:
        raise ValueError(
            f"Expected probabilities of {num_classes} classes, shape (N, {num_classes}). "
            f"Received: shape {message.shape}"
        )
    return message


def without_gaps(message: ArrayLike) -> Categorical:
    """Reads a message or an array (N, K) of probabilities, its rows of NaN missing.

    Args:
        message: A `Categorical`, or an array (N, K).

    Returns:
        A `Categorical`.

    Raises:
        ValueError: If the other rows are not probabilities.
    """
    missing = missing_rows(message)
    if isinstance(message, Message) or missing is None:
        return as_categorical(message)
    uniform = 1.0 / np.shape(message)[1]
    return Categorical(np.where(missing[:, None], uniform, message), missing)


def as_gaussian(message: ArrayLike) -> Gaussian:
    """Reads a message or an array (N, D) as a `Gaussian`; an array becomes its mean."""
    if isinstance(message, Gaussian):
        return message
    return Gaussian(message)


def is_categorical(message: ArrayLike) -> bool:
    """Whether a message is `Categorical`, or an array whose rows are probabilities."""
    if isinstance(message, Message) and not isinstance(message, Deferred):
        return isinstance(message, Categorical)
    array = np.asarray(message)
    return (
        array.ndim == 2
        and array.dtype.kind in "fiub"
        and array.shape[1] > 0
        and storage.every(
            lambda part: (
                np.isclose(part.sum(axis=1), 1.0, atol=SUM_TOLERANCE) & (part >= 0).all(axis=1)
            ),
            array,
        )
    )


def product(messages: Sequence[Message | ArrayLike | None]) -> Message | Any:
    """The product of densities that several modules state about one variable.

    Categorical messages add their log probabilities; Gaussian ones (a `Mixture` or an array
    standing for N(array, I)) add their precisions. A single message is returned unchanged.

    Args:
        messages: Messages or arrays of one shape (N, K) or (N, D). None stands for no opinion.

    Returns:
        A message, or None if there was no message.

    Raises:
        ValueError: If shapes differ, or some state class probabilities and others do not.
    """
    messages = [message for message in messages if message is not None]
    if len(messages) < 2:
        return messages[0] if messages else None
    shapes = [np.shape(message) for message in messages]
    if len(set(shapes)) > 1:
        raise ValueError(
            f"Messages about one variable must have one shape. Received: shapes {shapes}"
        )
    some_categorical = any(isinstance(message, Categorical) for message in messages)
    if some_categorical or all(is_categorical(message) for message in messages):
        messages = [as_categorical(message) for message in messages]
        spoken = [message.log_probs for message in messages]
        silent = [message.missing for message in messages]
        missing = None if any(mask is None for mask in silent) else np.logical_and.reduce(silent)
        return Categorical.from_log(storage.apply(lambda *parts: sum(parts), *spoken), missing)
    messages = [as_gaussian(message) for message in messages]
    means, variances = zip(*((m.mean, m.variance) for m in messages), strict=True)
    return Gaussian(*storage.apply(_multiply, *means, *variances))


def join(parts: Sequence[Message | Array]) -> Message | Array:
    """Rows of several messages of one kind, or arrays, one after another.

    Args:
        parts: List of messages or arrays, at least one.

    Returns:
        One message or array.
    """
    kind = type(parts[0])
    if not issubclass(kind, Message):
        return np.concatenate(parts)
    arrays = [part.to_arrays() for part in parts]
    joined = {}
    for name in {name for each in arrays for name in each}:
        values = [each.get(name) for each in arrays]
        if name == "missing" and any(mask is not None for mask in values):
            pairs = zip(values, parts, strict=True)
            values = [np.zeros(len(part), bool) if mask is None else mask for mask, part in pairs]
        is_shared = name in kind._of_all_rows or values[0] is None
        joined[name] = values[0] if is_shared else np.concatenate(values)
    return kind.from_arrays(joined)


def missing_rows(message: ArrayLike) -> Booleans | None:
    """Which rows say nothing: marked so, or NaN throughout.

    Args:
        message: A message or an array (N, ...).

    Returns:
        Boolean array (N,), or None if every row says something.
    """
    if isinstance(message, Message):
        return message.missing
    array = np.asarray(message)
    if array.dtype.kind != "f":
        return None
    mask = storage.apply(_is_nan, array)
    return mask if mask.any() else None


def silent(message: ArrayLike) -> Any:
    """A message or array of the same kind and shape that says nothing in any row.

    Args:
        message: A message or an array (N, ...).
    """
    shape = np.shape(message)
    if is_categorical(message):
        return Categorical(np.full(shape, 1.0 / shape[1]), np.full(shape[:1], True))
    if isinstance(message, Gaussian):
        return Gaussian(np.zeros(shape), np.full(shape, np.inf))
    return np.full(shape, np.nan, "float32")


def change(before: Any, after: Any) -> float:
    """How much a message changed: the mean absolute difference, relative for real vectors.

    For class probabilities it is the mean total variation distance, between 0 and 1; for
    real vectors the root mean square difference over the spread of the new message.

    Args:
        before: The earlier message, or None.
        after: The later message, or None.

    Returns:
        A float; infinity if there was none before or the shapes differ, 0 for two Nones.
    """
    if before is after:
        return 0.0
    if before is None or after is None or np.shape(before) != np.shape(after):
        return float("inf")
    if isinstance(before, Categorical) and isinstance(after, Categorical):
        differences = storage.apply(_total_variation, before.probs, after.probs)
        return mean_over_hosts(differences)
    before, after = np.asarray(before), np.asarray(after)
    total = storage.total(lambda part: part.sum(axis=0, dtype="float64"), after)
    total, number, size = sum_over_hosts((total, len(after), after.size))
    mean = total / number
    spread = storage.total(lambda part: np.square(part - mean).sum(), after)
    difference = storage.total(
        lambda old, new: np.square(np.asarray(new, "float64") - old).sum(), before, after
    )
    spread, difference = sum_over_hosts((spread, difference))
    return float(np.sqrt(difference / (spread if spread > 0 else size)))


def _multiply(*means_and_variances):
    """Mean and variance of a product of Gaussians: their means, then their variances or None."""
    half = len(means_and_variances) // 2
    precision, weighted = 0.0, 0.0
    for mean, variance in zip(means_and_variances[:half], means_and_variances[half:], strict=True):
        one = np.ones(mean.shape) if variance is None else 1.0 / variance
        precision, weighted = precision + one, weighted + one * mean
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = 1.0 / precision
        return np.where(precision > 0, weighted * variance, 0.0), variance


def _total_variation(before, after):
    """Half the absolute differences of the rows (n, K)."""
    return 0.5 * np.abs(before - after).sum(axis=1)


def _is_nan(rows):
    """Which rows (n, ...) are NaN throughout; few are read beyond their first value."""
    rows = rows.reshape(len(rows), -1)
    mask = np.isnan(rows[:, 0])
    mask[mask] = np.isnan(rows[mask]).all(axis=1)
    return mask
