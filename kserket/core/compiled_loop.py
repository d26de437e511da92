"""Training in compiled loops over data held in memory, many steps a call.

Keras' `fit` hands every batch from Python to TensorFlow; for small networks that costs more
than the arithmetic. Here batching and all steps over what is in memory are one call, so epoch
callbacks remain and batch callbacks do not. Data that would take more than `MEMORY_LIMIT` are
brought into memory some batches at a time, in the same order, for the same result.
"""

import functools

import keras
import numpy as np
import tensorflow as tf

from kserket import storage
from kserket.core import devices

MEMORY_LIMIT = 256 * 2**20  # bytes of data that are held whole
BLOCK_BYTES = 32 * 2**20  # else: bytes that are brought into memory at a time


def fit(model, data, batch_size, epochs, seed, callbacks=(), dtype=None):
    """Trains a compiled Keras model.

    A model made under a `tf.distribute.MirroredStrategy` takes every step on all its devices: each
    gets a share of the batch, in the order of the rows.

    Args:
        model: Compiled and built `keras.Model` whose `train_step` runs on TensorFlow.
        data: What `train_step` takes as one batch, nested, each leaf an array (N, ...).
        batch_size: Samples in a step; the last step of an epoch takes what is left.
        epochs: Passes over the data.
        seed: Integer; with the epoch it determines the order of the samples.
        callbacks: Keras callbacks. Their batch methods are not called.
        dtype: Type that the model is given; None is that of each leaf.

    Returns:
        A `keras.callbacks.History`.
    """
    blocks = _blocks_function(data, batch_size, dtype)
    strategy = model.distribute_strategy
    callbacks = keras.callbacks.CallbackList(
        callbacks, add_history=True, model=model, epochs=epochs, steps=1, verbose=0
    )
    if not model.optimizer.built:  # some make all their variables anew in every build()
        with strategy.scope():
            model.optimizer.build(model.trainable_variables)
    run = _steps_function(model, data, dtype)
    num_samples = len(tf.nest.flatten(data)[0])
    batch_size = tf.constant(batch_size, "int32")
    model.stop_training = False
    callbacks.on_train_begin()
    logs = None
    for epoch in range(epochs):
        callbacks.on_epoch_begin(epoch)
        model.reset_metrics()
        order = tf.random.experimental.stateless_shuffle(
            tf.range(num_samples), tf.constant([seed, epoch], "int32")
        )
        for block, rows in blocks(order):
            logs = run(block, batch_size, rows)
        logs = {name: float(value) for name, value in logs.items()}
        callbacks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    callbacks.on_train_end(logs)
    return model.history


def _blocks_function(data, batch_size, dtype):
    """Function from the order of all rows to pairs: tensors in memory, the order of their rows."""
    leaves = tf.nest.flatten(data)
    row_bytes = sum(
        int(np.prod(leaf.shape[1:])) * np.dtype(dtype or leaf.dtype).itemsize for leaf in leaves
    )
    if row_bytes * len(leaves[0]) <= MEMORY_LIMIT:
        tensors = _tensors(data, dtype, slice(None))
        return lambda order: [(tensors, order)]
    block_rows = max(1, BLOCK_BYTES // row_bytes // batch_size) * batch_size

    def blocks(order):
        order = order.numpy()
        for start in range(0, len(order), block_rows):
            index = order[start : start + block_rows]
            yield _tensors(data, dtype, index), tf.range(len(index))

    return blocks


def _tensors(data, dtype, index):
    """The rows of an index, as tensors."""
    return tf.nest.map_structure(
        lambda leaf: tf.convert_to_tensor(
            np.asarray(leaf, dtype)
            if isinstance(index, slice)
            else storage.gather(leaf, index, dtype)
        ),
        data,
    )


def _steps_function(model, data, dtype):
    """The compiled steps of this model, made once for each `compile()`."""
    cache = getattr(model, "_resident_cache", None)
    if cache is None or cache["optimizer"] is not model.optimizer:
        if model.distribute_strategy.num_replicas_in_sync > 1:
            # makes the variables of the model's metrics, which the loop cannot on several devices
            model.test_on_batch(*_tensors(data, dtype, np.zeros(1, int)))
        # As Keras traces train_step. TensorFlow knows a partial from those of other models, which
        # it would take for one function that is traced over and over, and warn.
        run = tf.function(functools.partial(_make_steps(model)), autograph=False)
        cache = {"optimizer": model.optimizer, "steps": run}
        object.__setattr__(model, "_resident_cache", cache)  # neither tracked nor exported
    return cache["steps"]


def _make_steps(model):
    strategy = model.distribute_strategy

    def run_steps(data, batch_size, order):
        num_samples = tf.shape(order)[0]

        def take(rows):
            return tf.nest.map_structure(lambda leaf: tf.gather(leaf, rows), data)

        def step(start):
            batch = devices.split_batch(order[start : start + batch_size], take, strategy)
            strategy.run(model.train_step, (batch,))
            return (start + batch_size,)

        tf.while_loop(lambda start: start < num_samples, step, (tf.constant(0),))
        return model.get_metrics_result()

    return run_steps
