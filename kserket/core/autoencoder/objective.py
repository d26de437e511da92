"""What autoencoders minimize, sample by sample."""

import math

import keras
import tensorflow as tf
from keras import ops

MAX_LOG_VARIANCE = 80.0  # exp(88) is infinite in float32, exp(-88) is 0
MAX_FACTORS = 126  # 2^-126 is the smallest normal number in float32


@tf.custom_gradient
def cross_entropy(x, logits):
    """-log p(x | logits) of Bernoulli features, summed: (N, D), (N, D) -> (N,).

    One tanh gives both sigmoid(logits) and softplus(logits) = relu(logits) - log sigmoid(|logits|),
    and the gradient sigmoid(logits) - x is written out. Each part is summed alone, and one
    logarithm serves many factors: in a small network passes over (N, D) cost as much time as
    products of matrices.
    """
    half_tanh = 0.5 * tf.math.tanh(0.5 * logits)
    log_sigmoid = _sum_of_logs(0.5 + tf.abs(half_tanh))
    positive = tf.reduce_sum(tf.nn.relu(logits), axis=-1)
    with tf.control_dependencies([positive, half_tanh]):  # then logits are free to be overwritten
        told = tf.reduce_sum(x * logits, axis=-1)

    def gradient(upstream):
        return None, (half_tanh + 0.5 - x) * upstream[:, None]

    return positive - told - log_sigmoid, gradient


def _sum_of_logs(factors):
    """Sum of logarithms of factors from 1/2 to 1, (N, D) -> (N,)."""
    size = factors.shape[-1]
    group = max(number for number in range(1, MAX_FACTORS + 1) if size % number == 0)
    products = tf.reduce_prod(tf.reshape(factors, (-1, size // group, group)), axis=-1)
    return tf.reduce_sum(tf.math.log(products), axis=-1)


def bounded(log_variance):
    """A log variance whose exponential float32 can hold; its gradient is passed on unchanged."""
    limited = ops.clip(log_variance, -MAX_LOG_VARIANCE, MAX_LOG_VARIANCE)
    return log_variance + ops.stop_gradient(limited - log_variance)


def gaussian_cost(x, mean, log_variance):
    """-log N(x; mean, exp(log_variance)), summed: (N, D), (N, D), one for all -> (N,)."""
    squares = ops.square(x - mean) / ops.exp(log_variance)
    return 0.5 * ops.sum(squares + log_variance + math.log(2 * math.pi), axis=-1)


def float32(tensor):
    """The tensor in single precision, under any policy."""
    return ops.cast(tensor, "float32")


def rows(tensor):
    """(N, ...) as (N, D)."""
    return ops.reshape(tensor, (-1, math.prod(tensor.shape[1:])))


def constant(tensor):
    """In single precision, and no gradient flows into it."""
    return ops.stop_gradient(float32(tensor))


class PerSample(keras.losses.Loss):
    """Weighs and adds costs that are known already."""

    def call(self, y_true, y_pred):
        return y_pred
