"""Training on data held in memory, one compiled loop an epoch.

Keras' `fit` hands every batch from Python to TensorFlow; for small networks that costs more
than the arithmetic. Here shuffling, batching and all steps of an epoch are one call, so epoch
callbacks remain and batch callbacks do not.
"""

import keras
import tensorflow as tf

from kserket.core import replicas


def fit(model, data, batch_size, epochs, seed, callbacks=()):
    """Trains a compiled Keras model on tensors in memory.

    A model made under a `tf.distribute.MirroredStrategy` takes every step on all its devices: each
    gets a share of the batch, in the order of the rows.

    Args:
        model: Compiled and built `keras.Model` whose `train_step` runs on TensorFlow.
        data: What `train_step` takes as one batch, nested, each leaf an array (N, ...).
        batch_size: Samples in a step; the last step of an epoch takes what is left.
        epochs: Passes over the data.
        seed: Integer; with the epoch it determines the order of the samples.
        callbacks: Keras callbacks. Their batch methods are not called.

    Returns:
        A `keras.callbacks.History`.
    """
    data = tf.nest.map_structure(tf.convert_to_tensor, data)
    strategy = model.distribute_strategy
    callbacks = keras.callbacks.CallbackList(
        callbacks, add_history=True, model=model, epochs=epochs, steps=1, verbose=0
    )
    with strategy.scope():
        model.optimizer.build(model.trainable_variables)
    run_epoch = _epoch_function(model, data)
    batch_size = tf.constant(batch_size, "int32")
    model.stop_training = False
    callbacks.on_train_begin()
    logs = None
    for epoch in range(epochs):
        callbacks.on_epoch_begin(epoch)
        logs = run_epoch(data, batch_size, tf.constant([seed, epoch], "int32"))
        logs = {name: float(value) for name, value in logs.items()}
        callbacks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    callbacks.on_train_end(logs)
    return model.history


def _epoch_function(model, data):
    """The compiled epoch of this model, made once for each `compile()`."""
    cache = getattr(model, "_resident_cache", None)
    if cache is None or cache["optimizer"] is not model.optimizer:
        if model.distribute_strategy.num_replicas_in_sync > 1:
            # makes the variables of the model's metrics, which the loop cannot on several devices
            model.test_on_batch(*tf.nest.map_structure(lambda leaf: leaf[:1], data))
        run_epoch = tf.function(_make_epoch(model), autograph=False)  # as Keras traces train_step
        cache = {"optimizer": model.optimizer, "epoch": run_epoch}
        object.__setattr__(model, "_resident_cache", cache)  # neither tracked nor exported
    return cache["epoch"]


def _make_epoch(model):
    strategy = model.distribute_strategy

    def run_epoch(data, batch_size, seed):
        num_samples = tf.shape(tf.nest.flatten(data)[0])[0]
        order = tf.random.experimental.stateless_shuffle(tf.range(num_samples), seed)
        model.reset_metrics()

        def take(rows):
            return tf.nest.map_structure(lambda leaf: tf.gather(leaf, rows), data)

        def step(start):
            batch = replicas.deal_out(order[start : start + batch_size], take, strategy)
            strategy.run(model.train_step, (batch,))
            return (start + batch_size,)

        tf.while_loop(lambda start: start < num_samples, step, (tf.constant(0),))
        return model.get_metrics_result()

    return run_epoch
