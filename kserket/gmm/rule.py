"""What a mixture concludes: from its weights a density, from that and a prior its messages.

`terms` and `density` are TensorFlow operations, for graphs that predict and for exports. `conclude`
is plain arithmetic, for arrays and tensors alike.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kserket import storage
from kserket.gmm.tensors import transformed, untransformed
from kserket.inference.power_transform import PowerTransform

_ELIMINATED_AT_ONCE = 2000  # numbers of the precisions of a row, up to which rows go together


class Terms(NamedTuple):
    """What densities and messages need of a mixture's weights, in double precision.

    Attributes:
        mean: (K, D) component means, transformed where there are power transforms.
        whitening: (K, D, D): distances are lengths of (x - mean) @ whitening.
        peak: (K,) log density at the mean.
        exponent: (K,) of the sampler's Student t densities; None for Gaussian ones.
        resolution: (D,) variance of data recorded on a grid; None where none are.
        log_weights: (K,) logarithms of the mixing weights.
        degrees_of_freedom: (K,).
        orders: (K, D + 1): what the first 0, 1, ... D features add to twice the log density at the
            mean, beside determinants; None for the sampler.
        means: (K, D) what is sent down: means, or medians under power transforms.
        factors: (K, D, D) Cholesky factors of the components' covariances.
        transform: `PowerTransform` of (D,), or None.
    """

    mean: object
    whitening: object
    peak: object
    exponent: object
    resolution: object
    log_weights: object
    degrees_of_freedom: object
    orders: object
    means: object
    factors: object
    transform: object = None

    def cast(self, dtype):
        """The same in another precision."""
        return tf.nest.map_structure(
            lambda part: None if part is None else tf.cast(part, dtype), self
        )


def terms(weights, inference):
    """`Terms` of weights that may still change.

    Args:
        weights: Dict of tensors in double precision: weight_concentration (K,), mean (K, D),
            mean_precision (K,), degrees_of_freedom (K,), scatter (K, D, D), resolution (D,), and
            with power transforms transform_power (D,) and so on.
        inference: "variational" or "gibbs".

    Returns:
        `Terms`.

    Reference:
        Bishop, "Pattern Recognition and Machine Learning", equations 10.64 to 10.66; Murphy,
        "Conjugate Bayesian analysis of the Gaussian distribution", equation 258.
    """
    names = ("weight_concentration", "mean", "mean_precision", "degrees_of_freedom", "scatter")
    concentration, mean, kappa, nu, scatter = (tf.convert_to_tensor(weights[n]) for n in names)
    components, features = mean.shape
    factor = tf.linalg.cholesky(scatter)
    eye = tf.eye(features, batch_shape=[components], dtype=scatter.dtype)
    whitening = tf.linalg.triangular_solve(factor, eye)
    half_log_det = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(factor)), axis=1)
    total = tf.reduce_sum(concentration)
    resolution = exponent = transform = orders = None
    if inference == "gibbs":
        log_weights = tf.math.log(concentration) - tf.math.log(total)
        exponent = 0.5 * (nu + 1.0)
        peak = tf.math.lgamma(exponent) - tf.math.lgamma(exponent - 0.5 * features) - half_log_det
        peak += 0.5 * features * tf.math.log(kappa / (kappa + 1.0) / np.pi)
        scale = tf.sqrt(kappa / (kappa + 1.0))
    else:
        log_weights = tf.math.digamma(concentration) - tf.math.digamma(total)
        digammas = tf.math.digamma(0.5 * (nu[:, None] - tf.range(features, dtype=nu.dtype)))
        log_det = tf.reduce_sum(digammas, axis=1) - 2.0 * half_log_det
        peak = 0.5 * (log_det - features * (1.0 / kappa + np.log(np.pi)))
        each = digammas - 1.0 / kappa[:, None] - np.log(np.pi)
        orders = tf.pad(tf.cumsum(each, axis=1), [[0, 0], [1, 0]])
        scale = tf.sqrt(nu)
        resolution = tf.square(weights["resolution"]) / 12.0
        if tf.executing_eagerly() and not np.any(resolution):
            resolution = None
    whitening = tf.linalg.matrix_transpose(scale[:, None, None] * whitening)
    means = mean
    if "transform_power" in weights:
        names = (f"transform_{name}" for name in PowerTransform._fields)
        transform = PowerTransform(*(tf.convert_to_tensor(weights[name]) for name in names))
        means = untransformed(transform, mean)
    factors = factor / tf.sqrt(nu)[:, None, None]
    parts = mean, whitening, peak, exponent, resolution, log_weights, nu, orders
    return Terms(*parts, means, factors, transform)


def density(terms, x, variance=None, allow_gaps=False):
    """log p(x | component), of data after a power transform where there is one.

    Args:
        terms: `Terms`.
        x: Tensor (N, D), whose precision the answer has.
        variance: Tensor (N, D), finite, or None where data are exact, but for their resolution.
        allow_gaps: Whether cells of x may be NaN: they were not observed, and are integrated out
            (of a mixture learned by variational inference).

    Returns:
        Tensor (N, K).
    """
    terms = terms.cast(x.dtype)
    if variance is None and terms.resolution is not None:
        variance = terms.resolution[None]
    if terms.transform is not None:
        x, variance = transformed(terms.transform, x, variance)
    if not allow_gaps:
        return _whole_density(terms, x, variance)
    return tf.cond(
        tf.reduce_any(tf.not_equal(x, x)),
        lambda: _marginal_density(terms, x, variance),
        lambda: _whole_density(terms, x, variance),
    )


def _whole_density(terms, x, variance):
    """`density` of rows without gaps."""
    whitened = tf.matmul(x[None] - terms.mean[:, None], terms.whitening)  # (K, N, D)
    distance = tf.transpose(tf.reduce_sum(tf.square(whitened), axis=2))
    if terms.exponent is not None:
        return terms.peak - terms.exponent * tf.math.log(1.0 + distance)
    if variance is not None:
        precisions = tf.reduce_sum(tf.square(terms.whitening), axis=2)  # (K, D)
        distance += tf.matmul(variance, precisions, transpose_b=True)
    return terms.peak - 0.5 * distance


def _marginal_density(terms, x, variance):
    """`density` of rows of which some cells are NaN.

    The marginal of a Normal-Wishart distribution over some features is one again, as in
    `inference.gaussian_mixture.gaps`. Its precision is what is left of the whole one when the
    others are eliminated, one after the other, which LiteRT can.
    """
    components, features = terms.mean.shape
    if components * features**2 > _ELIMINATED_AT_ONCE:  # one row at a time
        rows = x if variance is None else (x, tf.broadcast_to(variance, tf.shape(x)))

        def one(row):
            row, spread = (row, None) if variance is None else row
            return _eliminate(terms, row[None], None if spread is None else spread[None])[0]

        return tf.map_fn(one, rows, fn_output_signature=x.dtype)
    return _eliminate(terms, x, variance)


def _eliminate(terms, x, variance):
    """`_marginal_density` of a few rows."""
    features, gone = x.shape[1], tf.not_equal(x, x)
    precision = tf.matmul(terms.whitening, terms.whitening, transpose_b=True)
    nu = terms.degrees_of_freedom
    shape = [tf.shape(x)[0], *precision.shape]
    start = tf.broadcast_to(precision[None], shape), tf.zeros(shape[:2], x.dtype)

    def step(feature, precision, log_pivots):
        column = tf.gather(precision, feature, axis=3)  # (N, K, D)
        pivot = tf.gather(column, feature, axis=2)
        eliminate = tf.gather(gone, feature, axis=1)[:, None]
        safe = tf.where(eliminate, pivot, tf.ones_like(pivot))
        less = column[..., :, None] * column[..., None, :] / safe[..., None, None]
        precision = tf.where(eliminate[..., None, None], precision - less, precision)
        return (
            feature + 1,
            precision,
            log_pivots + tf.math.log(tf.where(eliminate, safe / nu, tf.ones_like(safe))),
        )

    _, precision, log_pivots = tf.while_loop(
        lambda feature, *_: feature < features, step, (tf.constant(0), *start)
    )
    deviations = tf.where(gone[:, None], tf.zeros([], x.dtype), x[:, None] - terms.mean)
    moved = tf.linalg.matvec(precision, deviations)
    distance = tf.reduce_sum(deviations * moved, axis=2)  # (N, K)
    lost = tf.reduce_sum(tf.cast(gone, x.dtype), axis=1)[:, None]
    if variance is not None:
        spread = tf.where(gone, tf.zeros_like(x), variance)[:, None]
        distance += tf.reduce_sum(tf.linalg.diag_part(precision) * spread, axis=2)
    less = tf.gather(tf.transpose(terms.orders), tf.cast(lost[:, 0], "int32"))  # (N, K)
    peak = terms.peak - 0.5 * (less + log_pivots)
    return peak - 0.5 * (1.0 - lost / nu) * distance


def conclude(likelihood, log_weights, log_prior=None, heard=None):
    """Logarithms of what is sent up and of the posterior, (N, K) each, not normalized.

    A class prior replaces the mixing weights, and evidence holds neither: what came from
    above is not sent back. Without one, the weights are part of the evidence.

    Args:
        likelihood: (N, K) log p(x | component).
        log_weights: (K,).
        log_prior: (N, K), or None.
        heard: (N, 1), 0 for rows that say nothing and 1 for others; None if all say something.

    Returns:
        Evidence and posterior, arrays or tensors as the arguments.
    """
    if heard is not None:
        likelihood = likelihood * heard
    if log_prior is None:
        posterior = likelihood + log_weights
        return posterior, posterior
    return likelihood, likelihood + log_prior


def conclude_rows(data, likelihood, log_weights):
    """`conclude` of checked arrays, which may lie in files.

    Args:
        data: `inference.gaussian_mixture.data.Data`.
        likelihood: (N, K) log p(x | component), and whatever else is known of classes.
        log_weights: (K,).

    Returns:
        Evidence and posterior, logarithms (N, K) that are not normalized.
    """
    heard = None if data.missing is None else ~data.missing[:, None]
    if data.log_prior is None:
        both = storage.apply(
            lambda part, heard: conclude(part, log_weights, None, heard)[0], likelihood, heard
        )
        return both, both
    return storage.apply(
        lambda part, prior, heard: conclude(part, log_weights, prior, heard),
        likelihood,
        data.log_prior,
        heard,
    )


def draw(terms, latent, seed):
    """Draws data in TensorFlow operations.

    Args:
        terms: `Terms`.
        latent: Tensor (N, K) of class probabilities, whose precision the answer has.
        seed: Tensor of two integers.

    Returns:
        Tensor (N, D).
    """
    terms = terms.cast(latent.dtype)
    mean = latent @ terms.mean
    noise = tf.random.stateless_normal(tf.shape(mean), seed, dtype=latent.dtype)
    x = mean + tf.einsum("nk,kij,nj->ni", latent, terms.factors, noise)
    return x if terms.transform is None else untransformed(terms.transform, x)
