"""A batch dealt out to several devices, and what each must know of the whole.

A strategy of `tf.distribute` runs a model's step once on each device, called a replica, with a
share of the batch's rows, and sums the gradients. With these functions the sum is that of one
device, also where shares differ in size. Several hosts each have rows of their own, and with them
their share of every batch.
"""

import contextlib
import contextvars

import tensorflow as tf

_PLACES = contextvars.ContextVar("places", default=None)


def current_strategy():
    """The strategy under which this is called, or None."""
    return tf.distribute.get_strategy() if tf.distribute.has_strategy() else None


def split_batch(rows, take, strategy):
    """One share of a batch for each replica, in the order of the rows.

    Args:
        rows: Tensor (n,), what the batch consists of.
        take: Function from a part of `rows` to the data of these rows, nested.
        strategy: `tf.distribute.Strategy`.

    Returns:
        What `strategy.run` takes as an argument.
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return take(rows)
    size = tf.shape(rows)[0]

    def share(context):
        index = context.replica_id_in_sync_group
        return take(rows[size * index // replicas : size * (index + 1) // replicas])

    return strategy.experimental_distribute_values_from_function(share)


def split_batch_of_hosts(rows, take, strategy, local_replicas):
    """`split_batch` where this host has some of the rows, the others are elsewhere.

    Args:
        rows: Tensor (n,), what the batch of all hosts consists of; -1 stands for rows that this
            host does not have.
        take: As in `split_batch`.
        strategy: `tf.distribute.MultiWorkerMirroredStrategy`.
        local_replicas: How many replicas this host has.

    Returns:
        What `strategy.run` takes as arguments of `with_places`.
    """
    own = tf.cast(tf.where(rows >= 0)[:, 0], "int32")
    size = tf.shape(own)[0]

    def share(context):
        index = context.replica_id_in_sync_group % local_replicas
        places = own[size * index // local_replicas : size * (index + 1) // local_replicas]
        return take(tf.gather(rows, places)), places, tf.shape(rows)[0]

    return strategy.experimental_distribute_values_from_function(share)


def with_places(step):
    """A step of a share that `split_batch_of_hosts` made, from a step of a batch.

    Args:
        step: Function of a batch.
    """

    def run(share):
        batch, *places = share
        token = _PLACES.set(places)
        try:
            return step(batch)
        finally:
            _PLACES.reset(token)

    return run


def batch_share(size):
    """What of the whole batch the rows are that a model was given.

    Args:
        size: Number of rows that this replica holds.

    Returns:
        How many rows all replicas hold, and a function from a tensor with a row for each of them to
        the rows of this replica.
    """
    if _PLACES.get() is not None:
        places, batch_size = _PLACES.get()
        return batch_size, lambda rows: tf.gather(rows, places)
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return size, lambda rows: rows
    index, replicas = context.replica_id_in_sync_group, context.num_replicas_in_sync
    mine = tf.one_hot(index, replicas) * tf.cast(size, "float32")  # which every device can add
    sizes = tf.cast(context.all_reduce(tf.distribute.ReduceOp.SUM, mine), "int32")
    first = tf.cumsum(sizes, exclusive=True)[index]
    return tf.reduce_sum(sizes), lambda rows: rows[first : first + size]


def scope_of(strategy):
    """The scope of a strategy, or of None."""
    return contextlib.nullcontext() if strategy is None else strategy.scope()
