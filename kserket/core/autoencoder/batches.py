"""Batches that come one by one: `tf.data`, `PyDataset` and generators, checked like arrays."""

import contextlib
import itertools
import re
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kserket.core.autoencoder.inputs import by_name, check

_MARK = "A batch cannot be used."


class Expected(NamedTuple):
    """What each batch must suit. It travels to the workers of a `PyDataset`.

    Attributes:
        likelihood: "bernoulli" or "gaussian".
        latent_dim: L.
        data_shape: Shape of a sample, None where every shape will do.
        input_names: Of x and the parts of the prior, "x" first.
        check_prior: Function of a dict of these parts, arrays (n, L), and L.
        name: The argument that batches are of, for errors, where it is not x.
    """

    likelihood: str
    latent_dim: int
    data_shape: tuple | None
    input_names: tuple
    check_prior: Callable
    name: str = ""

    def by_columns(self, inputs):
        """Batches go by the place of their columns."""
        return inputs


def expected(model, name=""):
    """What an `Autoencoder` expects of batches, `name` the argument if it is not x."""
    return Expected(*(getattr(model, part) for part in Expected._fields[:-1]), name)


def first_batch(source, expected):
    """The first batch of a source, for its shapes, and the source from its start.

    Args:
        source: `tf.data.Dataset`, `PyDataset` or generator.
        expected: `Expected`.

    Returns:
        `(batch, source)`; a batch of None where nothing is known before training.

    Raises:
        ValueError: If the batch cannot be used, or there is none.
    """
    if isinstance(source, tf.data.Dataset):
        return source.element_spec, source
    if isinstance(source, keras.utils.PyDataset):
        return _check_batch(source[0], expected), source
    if hasattr(source, "__next__"):
        batch = next(source, None)
        if batch is None:
            raise ValueError("`x` is a generator without a batch. Give a new one.")
        return _check_batch(batch, expected), itertools.chain([batch], source)
    return None, source


def checked(source, expected):
    """A source whose batches are checked when they are made.

    Args:
        source: `tf.data.Dataset`, `PyDataset` or generator; a loader of PyTorch is returned
            unchanged.
        expected: `Expected`.

    Raises:
        TypeError: If it is no source of batches.
    """
    if isinstance(source, tf.data.Dataset):

        @tf.autograph.experimental.do_not_convert
        def check(*batch):
            return _check_tensors(batch, source.element_spec, expected)

        return source.map(check)
    if isinstance(source, keras.utils.PyDataset):
        return _Checked(source, expected)
    if hasattr(source, "__next__"):
        return (_check_batch(batch, expected) for batch in source)
    if not type(source).__module__.startswith(("torch.", "tensorflow.")):
        received = repr(source) if source is None else type(source).__name__
        raise TypeError(
            "`x` needs an array, a dict or list of arrays, or batches: a tf.data.Dataset, "
            f"PyDataset or generator. Received: {received}"
        )
    return source


@contextlib.contextmanager
def own_errors():
    """Errors about batches, which TensorFlow wraps in its own, come as the ValueError they were."""
    try:
        yield
    except tf.errors.OpError as error:
        found = re.search(rf"{re.escape(_MARK)}[^\n]*", str(error))
        if found is None:
            raise
        raise ValueError(found.group()) from None


def unpacked(batch):
    """Inputs, target and weights of a batch, as Keras reads it; the last two may be None.

    Raises:
        ValueError: If it is a list or tuple of another length.
    """
    if isinstance(batch, (list, tuple)) and not 1 <= len(batch) <= 3:
        raise ValueError(
            "Batches of `x` must be x, (x,), (x, y) or (x, y, sample_weight). "
            f"Received: {len(batch)} items"
        )
    return keras.utils.unpack_x_y_sample_weight(batch)


def weighted_samples(source, steps, names):
    """Pairs of samples (n, ...) and weights (n,) or None, of one pass.

    Args:
        source: `tf.data.Dataset`, `PyDataset`, or a batch.
        steps: Number of batches at most, or None.
        names: Of the inputs.
    """
    if isinstance(source, keras.utils.PyDataset):
        batches = (source[index] for index in range(steps or source.num_batches or 1))
    elif isinstance(source, tf.data.Dataset):
        is_endless = source.cardinality() == tf.data.INFINITE_CARDINALITY
        batches = source.take(steps or (1 if is_endless else -1))
    else:
        batches = [source]
    for batch in batches:
        x, _, weight = unpacked(batch)
        yield (
            np.asarray(by_name(x, names)["x"]),
            None if weight is None else np.asarray(weight).reshape(-1),
        )


class _Checked(keras.utils.PyDataset):
    """A `PyDataset` that checks what another one makes."""

    def __init__(self, source, expected):
        super().__init__(source.workers, source.use_multiprocessing, source.max_queue_size)
        self.source, self.expected = source, expected

    def __getitem__(self, index):
        return _check_batch(self.source[index], self.expected)

    @property
    def num_batches(self):
        return self.source.num_batches

    def on_epoch_begin(self):
        self.source.on_epoch_begin()

    def on_epoch_end(self):
        self.source.on_epoch_end()


def _check_batch(batch, expected):
    """The batch; ValueError if it cannot be used."""
    try:
        x, _, weight = unpacked(batch)
        check(expected, x, None, weight)
    except (TypeError, ValueError) as error:
        place = f"`{expected.name}`: " if expected.name else ""
        raise ValueError(f"{_MARK} {place}{error}") from None
    return batch


def _check_tensors(batch, spec, expected):
    """`_check_batch` in the graph of a dataset, where a batch (n, ...) may be empty."""
    batch = batch if isinstance(spec, tuple) else batch[0]
    x, _, weight = unpacked(batch)
    given = by_name(x, expected.input_names)
    given = {name: part for name, part in given.items() if part is not None}
    given |= {} if weight is None else {"weight": weight}
    names = list(given)

    def look(*values):
        parts = dict(zip(names, values, strict=True))
        if len(parts["x"]):
            weight = parts.pop("weight", None)
            _check_batch((parts, None, weight), expected)
        return True

    seen = tf.numpy_function(look, list(given.values()), tf.bool)
    with tf.control_dependencies([seen]):
        return tf.nest.map_structure(tf.identity, batch)
