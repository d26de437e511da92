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

from kserket import hosts, storage
from kserket.core import devices
from kserket.core.host_group import group_of

MEMORY_LIMIT = 256 * 2**20  # bytes of data that are held whole
BLOCK_BYTES = 32 * 2**20  # else: bytes that are brought into memory at a time


_BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")


def fit(
    model,
    data,
    batch_size,
    epochs,
    seed,
    callbacks=(),
    dtypes=None,
    *,
    initial_epoch=0,
    shuffle=True,
    verbose=0,
    validate=None,
):
    """Trains a compiled Keras model.

    A model made under a `tf.distribute.MirroredStrategy` takes every step on all its devices: each
    gets a share of the batch, in the order of the rows. Under a
    `tf.distribute.MultiWorkerMirroredStrategy` each host gives the rows that it has, and
    takes the part of every batch that consists of them.

    Args:
        model: Compiled and built `keras.Model` whose `train_step` runs on TensorFlow.
        data: What `train_step` takes as one batch, nested, each leaf an array (N, ...).
        batch_size: Samples in a step, of all hosts; the last step of an epoch takes what is left.
        epochs: Number of the epoch before which training ends, as in `keras.Model.fit`.
        seed: Integer; with the epoch it determines the order of the samples.
        callbacks: Keras callbacks. Their batch methods are not called.
        dtypes: Nested like `data`, the type that the model is given of each leaf; None is that of
            every leaf.
        initial_epoch: Number of the first epoch.
        shuffle: Whether each epoch takes the samples in another order.
        verbose: 0, 1, 2 or "auto", as in `keras.Model.fit`.
        validate: Function from an epoch's number and the callbacks to the figures to add, or None.

    Returns:
        A `keras.callbacks.History`.
    """
    leaves = tf.nest.flatten(data)
    dtypes = [leaf.dtype for leaf in leaves] if dtypes is None else tf.nest.flatten(dtypes)
    dtypes = [np.dtype(dtype).newbyteorder("=") for dtype in dtypes]
    group = group_of(model.distribute_strategy)
    with hosts.together(group):
        first, num_samples = hosts.place_of_rows(len(leaves[0]))

    def tensors(index):
        parts = zip(leaves, dtypes, strict=True)
        return tf.nest.pack_sequence_as(data, [_tensor(*part, index) for part in parts])

    blocks = _blocks_function(leaves, dtypes, tensors, batch_size, num_samples)
    callbacks = keras.callbacks.CallbackList(
        callbacks,
        add_history=True,
        add_progbar=verbose != 0,
        model=model,
        epochs=epochs,
        steps=-(-num_samples // batch_size),
        verbose=verbose,
    )
    if not model.optimizer.built:  # some create all their variables again in every build()
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)
    run = _steps_function(model, tensors)
    batch_size = tf.constant(batch_size, "int32")
    model.stop_training = False
    callbacks.on_train_begin()
    logs = None
    for epoch in range(initial_epoch, epochs):
        callbacks.on_epoch_begin(epoch)
        model.reset_metrics()
        order = tf.range(num_samples)
        if shuffle:
            order = tf.random.experimental.stateless_shuffle(
                order, tf.constant([seed, epoch], "int32")
            )
        if group.size > 1:
            is_own = (order >= first) & (order < first + len(leaves[0]))
            order = tf.where(is_own, order - first, -1)
        for block, rows in blocks(order):
            logs = run(block, batch_size, rows)
        logs = {name: float(value) for name, value in logs.items()}
        if validate is not None:
            logs |= validate(epoch, callbacks)
        callbacks.on_epoch_end(epoch, logs)
        with hosts.together(group):
            if hosts.any_host(model.stop_training):
                break
    if epochs > 0:
        model.optimizer.finalize_variable_values(model.trainable_weights)
    callbacks.on_train_end(logs)
    return model.history


def can_fit(model, callbacks):
    """Whether this loop does what Keras' `fit` does for a model and callbacks.

    Args:
        model: Compiled `keras.Model`.
        callbacks: What `keras.Model.fit` takes as `callbacks`.
    """
    if not model.compiled or model.run_eagerly or model.jit_compile:
        return False
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return False
    return not any(_sees_batches(callback) for callback in keras.tree.flatten(callbacks or []))


def reset(model):
    """Forgets the compiled steps of a model, which is compiled with other options."""
    object.__setattr__(model, "_compiled_steps", None)  # neither tracked nor exported


def _sees_batches(callback):
    """Whether a callback has work to do at each batch."""
    if isinstance(callback, keras.callbacks.ModelCheckpoint):
        return callback.save_freq != "epoch"
    if type(callback) is keras.callbacks.ProgbarLogger:
        return False
    own = (getattr(callback, name) for name in _BATCH_HOOKS)
    default = (getattr(keras.callbacks.Callback, name) for name in _BATCH_HOOKS)
    return any(
        getattr(mine, "__func__", mine) is not theirs
        for mine, theirs in zip(own, default, strict=True)
    )


def _blocks_function(leaves, dtypes, tensors, batch_size, num_samples):
    """Function from the order of all rows to pairs: tensors in memory, the order of their rows.

    In an order, -1 stands for a row that another host has. All hosts have as many blocks.
    """
    row_bytes = sum(
        int(np.prod(leaf.shape[1:])) * dtype.itemsize
        for leaf, dtype in zip(leaves, dtypes, strict=True)
    )
    if row_bytes * num_samples <= MEMORY_LIMIT:
        whole = tensors(slice(None))
        return lambda order: [(whole, order)]
    block_rows = max(1, BLOCK_BYTES // row_bytes // batch_size) * batch_size

    def blocks(order):
        order = order.numpy()
        for start in range(0, len(order), block_rows):
            index = order[start : start + block_rows]
            is_own = index >= 0
            places = np.where(is_own, np.cumsum(is_own) - 1, -1)
            yield tensors(index[is_own]), tf.constant(places, "int32")

    return blocks


def _tensor(leaf, dtype, index):
    """The rows of an index, as a tensor."""
    if isinstance(index, slice):
        return tf.convert_to_tensor(np.asarray(leaf[index], dtype))
    return tf.convert_to_tensor(storage.gather(leaf, index, dtype))


def _steps_function(model, tensors):
    """The compiled steps of this model, made once for each `compile()`."""
    cache = getattr(model, "_compiled_steps", None)
    if cache is None or cache["optimizer"] is not model.optimizer:
        strategy = model.distribute_strategy
        several = strategy if strategy.num_replicas_in_sync > 1 else None
        with devices.scope_of(several):  # the variables of metrics, which a loop cannot make
            model._symbolic_build(data_batch=tensors(np.zeros(1, int)))
        # As Keras traces train_step. TensorFlow knows a partial from those of other models, which
        # it would take for one function that is traced over and over, and warn.
        run = functools.partial(_make_steps(model))
        if group_of(strategy).size > 1:
            run = _traced_alike(run)
        else:
            run = tf.function(run, autograph=False)
        cache = {"optimizer": model.optimizer, "steps": run}
        object.__setattr__(model, "_compiled_steps", cache)
    return cache["steps"]


def _traced_alike(run_steps):
    """Compiled steps, made once for each structure of data whatever the number of rows.

    Hosts have as many rows as they have. Did one make its steps once more for another number, its
    exchanges would no longer meet those of the others.
    """
    made = {}

    def run(data, batch_size, order):
        spec = tf.nest.map_structure(_with_any_rows, (data, batch_size, order))
        if str(spec) not in made:
            made[str(spec)] = tf.function(run_steps, input_signature=spec, autograph=False)
        return made[str(spec)](data, batch_size, order)

    return run


def _with_any_rows(tensor):
    shape = [None, *tensor.shape[1:]] if tensor.shape.rank else []
    return tf.TensorSpec(shape, tensor.dtype)


def _make_steps(model):
    strategy = model.distribute_strategy
    group, train = group_of(strategy), model.train_step
    if group.size > 1:
        train = devices.with_places(train)

    def split(rows, take):
        if group.size > 1:
            return devices.split_batch_of_hosts(rows, take, strategy, group.local_replicas)
        return devices.split_batch(rows, take, strategy)

    def run_steps(data, batch_size, order):
        num_samples = tf.shape(order)[0]

        def take(rows):
            return tf.nest.map_structure(lambda leaf: tf.gather(leaf, rows), data)

        def step(start):
            strategy.run(train, (split(order[start : start + batch_size], take),))
            return (start + batch_size,)

        tf.while_loop(lambda start: start < num_samples, step, (tf.constant(0),))
        return model.get_metrics_result()

    return run_steps
