"""What a mixture says of data in TensorFlow operations: inside Keras models and exports."""

import numpy as np
import tensorflow as tf
from keras import ops


def transformed(transform, x, variance=None):
    """Data after a power transform, and their variance to first order.

    Args:
        transform: `inference.power_transform.PowerTransform` of arrays or tensors (D,).
        x: Tensor (N, D), whose precision the answers have.
        variance: Tensor (N, D), or None.

    Returns:
        Tensor (N, D); tensor (N, D) or None.
    """
    power, location, scale, mean, deviation = (tf.cast(part, x.dtype) for part in transform)
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
    """Data (N, D) that `transformed` takes to y (N, D)."""
    power, location, scale, mean, deviation = (tf.cast(part, y.dtype) for part in transform)
    curved = y * deviation + mean
    exponent = tf.where(curved < 0.0, 2.0 - power, power)
    straight = exponent < 1e-6
    safe = tf.where(straight, tf.ones_like(exponent), exponent)
    length = tf.math.log1p(safe * tf.abs(curved)) / safe
    z = tf.sign(curved) * tf.math.expm1(tf.where(straight, tf.abs(curved), length))
    return z * scale + location


def responsibilities(belief, x, variance=None, class_prior=None, inference="variational"):
    """P(component | x) of data under parameters that may still change.

    Args:
        belief: Dict of tensors as in `log_likelihood`, and weight_concentration (K,).
        x: Tensor (N, D), double precision.
        variance: Tensor (N, D), or None.
        class_prior: Tensor (N, K) in the place of the mixing weights, or None.
        inference: "variational" or "gibbs".

    Returns:
        Tensor (N, K).
    """
    if class_prior is None:
        log_prior = expected_log_weights(belief["weight_concentration"], inference)
    else:
        log_prior = ops.log(class_prior)
    return tf.nn.softmax(log_likelihood(belief, x, variance, inference) + log_prior, axis=-1)


def log_likelihood(belief, x, variance=None, inference="variational"):
    """log p(x | component), up to a constant, of data under parameters that may still change.

    Args:
        belief: Dict of tensors in double precision: mean (K, D), mean_precision (K,),
            degrees_of_freedom (K,), scatter (K, D, D).
        x: Tensor (N, D), double precision.
        variance: Tensor (N, D), or None. Rows that hold an infinite variance say nothing.
        inference: "variational" or "gibbs".

    Returns:
        Tensor (N, K).
    """
    names = ("mean", "mean_precision", "degrees_of_freedom", "scatter")
    mean, kappa, nu, scatter = (belief[name] for name in names)
    components, features = mean.shape
    factor = tf.linalg.cholesky(scatter)  # (K, D, D)
    whitened = tf.linalg.triangular_solve(
        factor, tf.transpose(x[None] - mean[:, None], (0, 2, 1))
    )  # (K, D, N)
    distance = tf.transpose(tf.reduce_sum(tf.square(whitened), axis=1))  # (N, K)
    half_log_det = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(factor)), axis=1)
    if inference == "gibbs":
        # Student t with nu - D + 1 degrees of freedom (Murphy 2007, equation 258)
        dof = nu - features + 1.0
        spread = (kappa + 1.0) / kappa
        return (
            tf.math.lgamma(0.5 * (dof + features))
            - tf.math.lgamma(0.5 * dof)
            - half_log_det
            - 0.5 * features * tf.math.log(spread)
            - 0.5 * (dof + features) * tf.math.log1p(distance / spread)
        )
    if variance is not None:
        inverse = tf.linalg.triangular_solve(
            factor, tf.eye(features, batch_shape=[components], dtype="float64")
        )
        distance += variance @ tf.transpose(tf.reduce_sum(tf.square(inverse), axis=1))
    orders = 0.5 * (nu[:, None] - tf.range(features, dtype="float64"))
    log_det = tf.reduce_sum(tf.math.digamma(orders), axis=1) - 2.0 * half_log_det
    result = 0.5 * (log_det - features / kappa - nu * distance)
    if variance is None:
        return result
    missing = tf.reduce_any(tf.math.is_inf(variance), axis=1, keepdims=True)
    return tf.where(missing, tf.zeros_like(result), result)


def frozen_log_likelihood(state, peaks, x, variance=None, inference="variational"):
    """The same in few operations, for exports: parameters are constants of the graph.

    Args:
        state: `inference.gaussian_mixture.State`.
        peaks: What each component's log likelihood is at its own mean, (K,).
        x: Tensor (N, D), whose precision the answer has.
        variance: Tensor (N, D), or None.
        inference: "variational" or "gibbs".

    Returns:
        Tensor (N, K).
    """
    _, means, kappa, nu, scatter = state
    variational = inference == "variational"
    scale = np.sqrt(nu) if variational else np.sqrt(kappa / (kappa + 1.0))
    eye = np.broadcast_to(np.eye(means.shape[1]), scatter.shape)
    whitening = scale[:, None, None] * np.linalg.solve(np.linalg.cholesky(scatter), eye)
    constant = {"dtype": x.dtype}
    means, peaks = tf.constant(means, **constant), tf.constant(peaks, **constant)
    squares = tf.constant(np.square(whitening).sum(axis=1), **constant)  # (K, D)
    transposed = tf.constant(np.swapaxes(whitening, 1, 2), **constant)
    whitened = tf.matmul(x[None] - means[:, None], transposed)  # (K, N, D)
    distance = tf.transpose(tf.reduce_sum(tf.square(whitened), axis=2))
    if variational:
        if variance is not None:
            distance += tf.matmul(variance, tf.transpose(squares))
        return peaks - 0.5 * distance
    return peaks - tf.constant(0.5 * (nu + 1.0), **constant) * tf.math.log(1.0 + distance)


def expected_log_weights(concentration, inference):
    """E[log pi] (variational), or log E[pi] (the sampler's predictive); a tensor (K,)."""
    total = ops.sum(concentration)
    if inference == "gibbs":
        return ops.log(concentration) - ops.log(total)
    return tf.math.digamma(concentration) - tf.math.digamma(total)
