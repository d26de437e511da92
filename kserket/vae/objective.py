"""How far q(z|x) is from the prior."""

from keras import ops

from kserket.core.autoencoder.objective import constant


def kl_divergence(z_mean, z_log_variance, mu=None, mu_variance=None):
    """KL( N(z_mean, exp(z_log_variance)) || N(mu, mu_variance) ), summed over dimensions.

    Args:
        z_mean: Tensor (N, L).
        z_log_variance: Tensor (N, L).
        mu: Tensor (N, L), or None for 0. No gradient flows into it.
        mu_variance: Tensor (N, L), or None for 1. Likewise.

    Returns:
        Tensor (N,).
    """
    distance = ops.square(z_mean if mu is None else z_mean - constant(mu))
    variance, log_ratio = ops.exp(z_log_variance), z_log_variance
    if mu_variance is not None:
        mu_variance = constant(mu_variance)
        distance, variance = distance / mu_variance, variance / mu_variance
        log_ratio = log_ratio - ops.log(mu_variance)
    return 0.5 * ops.sum(distance + variance - log_ratio - 1.0, axis=-1)
