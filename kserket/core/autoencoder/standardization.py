"""Location and scale of the data, learned from the data without a gradient."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kserket import hosts, storage

LIMIT = 1e30  # of values and their scales: their squares are numbers in float32 no more


class Standardization(keras.layers.Layer):
    """Brings each feature to mean 0 and variance 1, and back.

    As `keras.layers.Normalization`, it is adapted once, to the first data, and keeps what it found
    in weights that are not trainable. Until then it changes nothing. A constant feature is
    divided by its own size, so that results never depend on units.

    float32 cannot hold 1e9 + 0.1. The location is therefore kept in two parts, and data in
    double precision are centered before they are rounded.
    """

    def __init__(self, **kwargs):
        super().__init__(trainable=False, dtype="float32", autocast=False, **kwargs)

    def build(self, input_shape):
        shape = tuple(input_shape[1:])
        self.location = self._add("location", (2, *shape), "zeros")  # its sum, the larger first
        self.scale = self._add("scale", shape, "ones")
        self.count = self._add("count", (), "zeros")
        self.built = True

    def _add(self, name, shape, initializer):
        return self.add_weight(
            name=f"standardization_{name}",
            shape=shape,
            initializer=initializer,
            trainable=False,
            autocast=False,
        )

    @property
    def is_adapted(self):
        """Whether location and scale were learned or loaded."""
        return bool(self.count.numpy() > 0)

    def adapt(self, batches):
        """Learns location and scale.

        Args:
            batches: Iterable of pairs of samples (n, ...) and their weights (n,) or None.

        Raises:
            ValueError: If a value is too large or a scale too small for single precision.
        """
        size, mean, variance, rounding = _moments(batches)
        spread, distance = np.sqrt(variance), np.abs(mean)
        is_constant = spread <= rounding * distance
        scale = np.where(is_constant, np.where(distance > 0, distance, 1.0), spread)
        if not (distance.max() < LIMIT and 1 / LIMIT < scale.min() and scale.max() < LIMIT):
            raise ValueError(
                f"`x` needs features of sizes from {1 / LIMIT:g} to {LIMIT:g}. Received "
                f"means of up to {distance.max():.3g} and standard deviations from "
                f"{scale.min():.3g} to {scale.max():.3g}. Give the features in other units."
            )
        high = mean.astype("float32")
        self.location.assign(np.stack([high, mean - high]))
        self.scale.assign(scale)
        self.count.assign(size)

    def call(self, x, x_low=None):
        """Data as multiples of their scale from their location, float32.

        Args:
            x: Tensor (N, ...) of any type.
            x_low: What x lacks of the value that it was rounded from, (N, ...), or None.
        """
        x = ops.convert_to_tensor(x)
        if not is_exact_in_single(x.dtype):
            x, whole = ops.cast(x, "float32"), ops.cast(x, "float64")
            x_low = ops.cast(whole - ops.cast(x, "float64"), "float32")
        high, low = self.location[0], self.location[1]
        rest = -low if x_low is None else x_low - low
        return (ops.cast(x, "float32") - high + rest) / self.scale

    def invert(self, standardized):
        """The data (N, ...) that `call` would give this for, in single precision."""
        return standardized * self.scale + self.location[1] + self.location[0]

    def invert_array(self, standardized):
        """`invert` of an array, in double precision where single would show steps."""
        location, scale = self.location.numpy().astype("float64").sum(axis=0), self.scale.numpy()
        data = standardized * scale.astype("float64") + location
        is_coarse = (np.finfo("float32").eps * np.abs(location) > 1e-3 * scale).any()
        return data if is_coarse else data.astype("float32")

    def log_volume(self):
        """log of the volume that unit volume of standardized data takes: sum of log scales."""
        return ops.sum(ops.log(self.scale))

    def load_own_variables(self, store):
        if store.keys():
            super().load_own_variables(store)
        else:
            for weight, value in zip(self.weights, self.unchanged().values(), strict=True):
                weight.assign(value)

    def unchanged(self):
        """Weights by name that change nothing: what files hold that have no such layer."""
        values = np.zeros(self.location.shape), np.ones(self.scale.shape), np.ones(())
        return dict(zip([weight.name for weight in self.weights], values, strict=True))


def is_exact_in_single(dtype):
    """Whether float32 holds all numbers of a type."""
    dtype = tf.as_dtype(dtype)
    return dtype == tf.bfloat16 or np.can_cast(dtype.as_numpy_dtype, np.float32)


def split(x):
    """Data as two float32 arrays whose sum they are, the second None where float32 holds them.

    Args:
        x: Array (N, ...).
    """
    if is_exact_in_single(x.dtype):
        return x, None

    def parts(chunk):
        high = chunk.astype("float32")
        return high, (chunk.astype("float64") - high).astype("float32")

    return storage.apply(parts, x)


def in_single(inputs, likelihood):
    """Checked inputs whose x is split in two, where float32 does not hold it.

    Args:
        inputs: Dict of arrays, "x" among them.
        likelihood: The model's.

    Returns:
        Such a dict, or x alone where there is nothing beside it.
    """
    inputs = dict(inputs)
    if likelihood == "gaussian":
        inputs["x"], x_low = split(inputs["x"])
        inputs |= {} if x_low is None else {"x_low": x_low}
    return inputs if len(inputs) > 1 else inputs["x"]


def array_batches(x, weight=None):
    """The chunks of an array and of its weights, as `Standardization.adapt` takes them.

    Args:
        x: Array (N, ...).
        weight: (N,) or None.
    """
    for rows in storage.chunks(x, weight):
        yield storage.read(x, rows), storage.read(weight, rows)


def _moments(batches):
    """Sum of weights, mean and variance (...) in one pass, and the rounding error of the data.

    Everything is measured from the first sample, which a constant feature never leaves.

    Reference: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing
    sample variances", 1979.
    """
    size, first = 0.0, None
    for x, weight in batches:
        if first is None:
            is_float = x.dtype.kind == "f"
            rounding = 2 * np.finfo(x.dtype if is_float else "float64").eps
            first = np.asarray(x[0] if len(x) else np.zeros(x.shape[1:]), "float64")
            mean, squares = np.zeros_like(first), np.zeros_like(first)
        deviation = np.asarray(x, "float64") - first
        weight = np.ones(len(x)) if weight is None else np.asarray(weight, "float64")
        total = weight.sum()
        if total == 0:
            continue
        own = np.tensordot(weight, deviation, axes=1) / total
        squares += np.tensordot(weight, np.square(deviation - own), axes=1)
        squares += np.square(own - mean) * (size * total / (size + total))
        mean += (own - mean) * (total / (size + total))
        size += total
    if hosts.num_hosts() > 1:
        size, first, mean, squares = _merged(size, first, mean, squares)
        rounding = hosts.gather_rows(np.array([rounding])).max()
    if size == 0:
        raise ValueError("There are no samples to learn location and scale from.")
    return size, first + mean, squares / size, rounding


def _merged(*own):
    """Sum of weights, first sample, mean and squares about it of the rows of all hosts."""
    parts = [hosts.gather_rows(np.asarray(part)[None]) for part in own]
    size, first, mean, squares = (part[0] for part in parts)
    for total, start, center, others in zip(*(part[1:] for part in parts), strict=True):
        if total > 0 and size == 0:
            size, first, mean, squares = total, start, center, others
        elif total > 0:
            step = (start - first) + center - mean
            squares = squares + others + np.square(step) * (size * total / (size + total))
            mean = mean + step * (total / (size + total))
            size = size + total
    return size, first, mean, squares
