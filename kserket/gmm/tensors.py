"""Power transforms in TensorFlow operations."""

import tensorflow as tf


def transformed(transform, x, variance=None):
    """Data after a power transform, and their variance to first order.

    Args:
        transform: `inference.power_transform.PowerTransform` of tensors (D,).
        x: Tensor (N, D), whose precision the answers have.
        variance: Tensor (N, D), or None.

    Returns:
        Tensor (N, D); tensor (N, D) or None.
    """
    power, location, scale, mean, deviation = transform
    z = (x - location) / scale
    exponent = tf.where(z < 0.0, 2.0 - power, power)
    length = tf.math.log1p(tf.abs(z))
    grown = exponent * length
    near = grown < 1e-2  # LiteRT computes expm1(s) as exp(s) - 1
    series = length * (1.0 + grown * (0.5 + grown / 6.0 * (1.0 + grown / 4.0)))
    raised = tf.math.expm1(grown) / tf.where(near, tf.ones_like(exponent), exponent)
    y = (tf.sign(z) * tf.where(near, series, raised) - mean) / deviation
    if variance is None:
        return y, None
    slope = tf.exp((power - 1.0) * tf.sign(z) * length) / (scale * deviation)
    return y, variance * tf.square(slope)


def untransformed(transform, y):
    """The inverse of `transformed`.

    Args:
        transform: `inference.power_transform.PowerTransform` of tensors (D,).
        y: Tensor (N, D).

    Returns:
        Tensor (N, D) of data.
    """
    power, location, scale, mean, deviation = transform
    curved = y * deviation + mean
    exponent = tf.where(curved < 0.0, 2.0 - power, power)
    straight = exponent < 1e-6
    safe = tf.where(straight, tf.ones_like(exponent), exponent)
    length = tf.math.log1p(safe * tf.abs(curved)) / safe
    z = tf.sign(curved) * tf.math.expm1(tf.where(straight, tf.abs(curved), length))
    return z * scale + location
