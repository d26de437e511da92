"""What travels along an edge while a graph is traced to TensorFlow operations.

The tensor twins of `kserket.core.messages`, without checks. Rows that say nothing are marked in
`missing`, a boolean tensor (N,); None where every row says something.
"""

import re
from typing import Any, NamedTuple

import tensorflow as tf

from kserket.floors import LOG_ZERO


class Categorical(NamedTuple):
    """Probabilities of K classes, as normalised logarithms (N, K)."""

    log_probs: Any

    @property
    def array(self):
        return tf.exp(self.log_probs)


class Gaussian(NamedTuple):
    """A mean (N, D), a diagonal variance (N, D) or None for the identity, and missing rows.

    Data read as one may have samples of any shape: then its mean is (N, ...).
    """

    mean: Any
    variance: Any = None
    missing: Any = None

    @property
    def array(self):
        return self.mean


class Inference(NamedTuple):
    """As `kserket.Inference`: evidence goes up, downward holds one message per input."""

    evidence: Any
    downward: list
    posterior: Any = None


def from_log(log_probs, missing=None):
    """A `Categorical` from logarithms that need not be normalised; missing rows are uniform."""
    if missing is not None:
        log_probs = tf.where(missing[:, None], tf.zeros_like(log_probs), log_probs)
    log_probs = log_probs - tf.reduce_max(log_probs, axis=-1, keepdims=True)
    log_probs = tf.maximum(log_probs, tf.constant(LOG_ZERO, log_probs.dtype))
    return Categorical(tf.nn.log_softmax(log_probs, axis=-1))


def product(categoricals):
    """The product of several `Categorical`s, or None of none."""
    given = [message for message in categoricals if message is not None]
    if len(given) < 2:
        return given[0] if given else None
    return from_log(tf.add_n([message.log_probs for message in given]))


def as_gaussian(message):
    """Reads a message or a tensor (N, ...) as a `Gaussian`, its missing rows at zero."""
    if isinstance(message, Gaussian):
        return message
    x = as_array(message)
    missing = missing_rows(x)
    silent = tf.reshape(missing, [-1] + [1] * (len(x.shape) - 1))
    return Gaussian(tf.where(silent, tf.zeros_like(x), x), None, missing)


def as_array(message):
    """The tensor that stands for a message."""
    return message.array if isinstance(message, (Categorical, Gaussian)) else message


def missing_rows(x):
    """Which rows of data are NaN throughout: (N,) boolean."""
    return tf.reduce_all(tf.not_equal(x, x), axis=list(range(1, len(x.shape))))


def cast(message, dtype):
    """A message with its numbers in another precision."""
    return tf.nest.map_structure(
        lambda part: part if part.dtype == tf.bool else tf.cast(part, dtype), message
    )


def identifier(name):
    """A module's name as TensorFlow takes it for inputs, outputs and models."""
    name = re.sub(r"\W", "_", name, flags=re.ASCII)
    return name if name[:1].isalpha() else f"x{name}"
