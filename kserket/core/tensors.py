"""What travels along an edge of a graph in TensorFlow operations.

The tensor twins of `kserket.core.messages`, without checks. Rows that say nothing are marked in
`missing`, a boolean tensor (N,); None where every row says something. `from_message` and
`to_message` translate.
"""

import re
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kserket.core import messages
from kserket.floors import LOG_ZERO


class Categorical(NamedTuple):
    """Probabilities of K classes, as normalized logarithms (N, K), and missing rows."""

    log_probs: Any
    missing: Any = None

    @property
    def array(self) -> Any:
        return tf.exp(self.log_probs)


class Gaussian(NamedTuple):
    """A mean (N, D), a diagonal variance (N, D) or None for the identity, and missing rows.

    Data read as one may have samples of any shape: then its mean is (N, ...).
    """

    mean: Any
    variance: Any = None
    missing: Any = None

    @property
    def array(self) -> Any:
        return self.mean


class Inference(NamedTuple):
    """As `kserket.Inference`: evidence goes up, downward holds one message per input."""

    evidence: Any
    downward: list
    posterior: Any = None


def from_log(log_probs: Any, missing: Any = None) -> Categorical:
    """A `Categorical` from logarithms that need not be normalized; missing rows are uniform."""
    if missing is not None:
        log_probs = tf.where(missing[:, None], tf.zeros_like(log_probs), log_probs)
    log_probs = log_probs - tf.reduce_max(log_probs, axis=-1, keepdims=True)
    log_probs = tf.maximum(log_probs, tf.constant(LOG_ZERO, log_probs.dtype))
    return Categorical(tf.nn.log_softmax(log_probs, axis=-1), missing)


def is_categorical(message: Any) -> bool:
    """Whether a message is a `Categorical`."""
    return isinstance(message, Categorical)


def as_categorical(message: Any) -> Categorical:
    """Reads a message or a tensor (N, K) of probabilities as a `Categorical`."""
    return message if is_categorical(message) else from_log(tf.math.log(message))


def without_gaps(message: Any) -> Categorical:
    """Reads a message or a tensor (N, K) of probabilities, its rows of NaN missing."""
    if is_categorical(message):
        return message
    return from_log(tf.math.log(message), missing_rows(message))


def product(given: Any) -> Any:
    """The product of several messages about one variable, or None of none.

    `Categorical`s add their logarithms; others (a tensor stands for N(tensor, I)) their precisions.
    """
    given = [message for message in given if message is not None]
    if len(given) < 2:
        return given[0] if given else None
    if any(map(is_categorical, given)):
        given = [as_categorical(message) for message in given]
        masks = [message.missing for message in given]
        missing = None if any(mask is None for mask in masks) else tf.reduce_all(masks, axis=0)
        return from_log(tf.add_n([message.log_probs for message in given]), missing)
    precision, weighted = 0.0, 0.0
    for message in given:
        one = _precision(message)
        precision, weighted = precision + one, weighted + one * as_array(message)
    return Gaussian(tf.math.divide_no_nan(weighted, precision), 1.0 / precision)


def _precision(message):
    """1 / variance, of the shape of the mean; 0 where rows say nothing."""
    mean = as_array(message)
    if not isinstance(message, Gaussian) or message.variance is None:
        return tf.ones_like(mean)
    if message.missing is None:
        return 1.0 / message.variance
    return tf.where(message.missing[:, None], tf.zeros_like(mean), 1.0 / message.variance)


def as_gaussian(message: Any) -> Gaussian:
    """Reads a message or a tensor (N, ...) as a `Gaussian`, its missing rows at zero."""
    if isinstance(message, Gaussian):
        return message
    x = as_array(message)
    missing = missing_rows(x)
    silent = tf.reshape(missing, [-1] + [1] * (len(x.shape) - 1))
    return Gaussian(tf.where(silent, tf.zeros_like(x), x), None, missing)


def as_array(message: Any) -> Any:
    """The tensor that stands for a message."""
    return message.array if isinstance(message, (Categorical, Gaussian)) else message


def missing_rows(x: Any) -> Any:
    """Which rows of data are NaN throughout: (N,) boolean."""
    return tf.reduce_all(tf.not_equal(x, x), axis=list(range(1, len(x.shape))))


def missing_mask(message: Any) -> Any:
    """Which rows of a message say nothing, (N,) boolean; None where all say something."""
    if isinstance(message, (Categorical, Gaussian)):
        return message.missing
    return missing_rows(message)


def silenced(message: Any) -> Any:
    """A message whose missing rows, where it has a mean, are at zero."""
    if not isinstance(message, Gaussian) or message.missing is None:
        return message
    silent = message.missing[:, None]
    return message._replace(mean=tf.where(silent, tf.zeros_like(message.mean), message.mean))


def cast(message: Any, dtype: Any) -> Any:
    """A message with its numbers in another precision."""
    return tf.nest.map_structure(
        lambda part: part if part is None or part.dtype == tf.bool else tf.cast(part, dtype),
        message,
    )


def from_message(message: Any, dtype: Any) -> Any:
    """A NumPy message or array as what stands for it here; a `Mixture` as its expected means."""
    missing = messages.missing_rows(message)
    mask = None if missing is None else tf.constant(np.array(missing))
    if isinstance(message, messages.Categorical):
        return Categorical(tf.constant(message.log_probs, dtype), mask)
    if not isinstance(message, messages.Gaussian):
        return tf.constant(np.asarray(message), dtype)
    variance = message.variance
    if missing is not None:
        variance = np.where(missing[:, None], 1.0, variance)
    variance = None if variance is None else tf.constant(variance, dtype)
    return Gaussian(tf.constant(message.mean, dtype), variance, mask)


def identifier(name: str) -> str:
    """A module's name as TensorFlow takes it for inputs, outputs and models."""
    name = re.sub(r"\W", "_", name, flags=re.ASCII)
    return name if name[:1].isalpha() else f"x{name}"
