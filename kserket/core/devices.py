"""A batch dealt out to several devices, and what each must know of the whole.

`tf.distribute.MirroredStrategy` runs a model's step once on each device, called a replica, with a
share of the batch's rows, and sums the gradients. With these functions the sum is that of one
device, also where shares differ in size.
"""

import contextlib

import tensorflow as tf

_SEVERAL_HOSTS = (
    tf.distribute.MultiWorkerMirroredStrategy,
    tf.distribute.ParameterServerStrategy,
)


def capture_strategy_scope():
    """The scope of the strategy under which this is called, to be entered later, often.

    Returns:
        Function without arguments that returns a context.

    Raises:
        ValueError: If it is a strategy for several hosts.
    """
    if not tf.distribute.has_strategy():
        return contextlib.nullcontext
    strategy = tf.distribute.get_strategy()
    if isinstance(strategy, _SEVERAL_HOSTS):
        raise ValueError(
            "Keras 3 on TensorFlow does not train on several hosts: make modules under "
            f"tf.distribute.MirroredStrategy or none. Received: {type(strategy).__name__}"
        )
    return strategy.scope


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


def batch_offset(size):
    """Where the rows that a model was given stand in the whole batch.

    Args:
        size: Number of rows that this replica holds.

    Returns:
        `(first, batch_size)`: the place of its first row, and the rows of all replicas; (0, size)
        on one device.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return 0, size
    index, replicas = context.replica_id_in_sync_group, context.num_replicas_in_sync
    mine = tf.one_hot(index, replicas) * tf.cast(size, "float32")  # which every device can add
    sizes = tf.cast(context.all_reduce(tf.distribute.ReduceOp.SUM, mine), "int32")
    return tf.cumsum(sizes, exclusive=True)[index], tf.reduce_sum(sizes)
