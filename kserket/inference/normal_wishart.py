"""Normal-Wishart distributions, stacked over components: the conjugate belief about a Gaussian.

    Lambda_k ~ Wishart(degrees_of_freedom_k, scatter_k^-1)
    mu_k | Lambda_k ~ Normal(mean_k, (mean_precision_k Lambda_k)^-1)

Every function takes the whole stack at once; one distribution is a stack of one.

Reference:
    C. M. Bishop, Pattern Recognition and Machine Learning (2006), sections 2.3.6, 10.2 and
    appendix B. K. P. Murphy, Conjugate Bayesian analysis of the Gaussian distribution (2007).
"""

from typing import NamedTuple

import numpy as np

from kserket.floors import SMALLEST

LOG_2PI = float(np.log(2.0 * np.pi))


class NormalWishart(NamedTuple):
    """A stack of K Normal-Wishart distributions over means and precision matrices of D features.

    `scatter` is the inverse of the Wishart's scale matrix, so that E[Lambda] is
    `degrees_of_freedom * scatter^-1`, and `scatter / degrees_of_freedom` estimates the covariance.
    """

    mean: np.ndarray  # (K, D)
    mean_precision: np.ndarray  # (K,)
    degrees_of_freedom: np.ndarray  # (K,), above D - 1
    scatter: np.ndarray  # (K, D, D), symmetric positive definite


def update(prior, counts, sums, scatters):
    """The posterior after data: conjugacy, from sums about the prior's mean (Bishop 10.60-10.63).

    Args:
        prior: `NormalWishart` stack of one or of K.
        counts: (K,) total weight of the data of each component.
        sums: (K, D) weighted sums of x - prior.mean.
        scatters: (K, D, D) weighted sums of (x - prior.mean)(x - prior.mean)'.

    Returns:
        `NormalWishart` stack of K.
    """
    mean_precision = prior.mean_precision + counts
    shift = sums / mean_precision[:, None]
    scatter = prior.scatter + scatters
    scatter -= sums[:, :, None] * shift[:, None, :]
    return NormalWishart(
        prior.mean + shift, mean_precision, prior.degrees_of_freedom + counts, scatter
    )


def cholesky(scatter):
    """Lower Cholesky factors of a stack of scatter matrices, whatever rounding did to them.

    A matrix that has lost its positive definiteness to rounding is mended by the smallest multiple
    of its own diagonal that gives it back; sound matrices are not touched.

    Args:
        scatter: (K, D, D).

    Returns:
        (K, D, D) lower triangular.

    Raises:
        ValueError: If a matrix is not finite.
    """
    try:
        factors = np.linalg.cholesky(scatter)
    except np.linalg.LinAlgError:
        return np.stack([_mended_cholesky(matrix) for matrix in scatter])
    if not np.isfinite(factors[:, -1, -1]).all():
        raise ValueError(
            "A scatter matrix holds values that are not finite, so it has no Cholesky factor. "
            "Look for values that are not finite, or too large to be squared, in the data."
        )
    return factors


def log_det(factors):
    """Log determinants (K,) of the matrices whose Cholesky factors (K, D, D) are given."""
    return 2.0 * np.log(np.diagonal(factors, axis1=-2, axis2=-1)).sum(axis=-1)


def invert(factors):
    """Inverses (K, D, D) of the matrices whose Cholesky factors (K, D, D) are given."""
    upper = invert_upper(factors)
    diagonal = np.arange(factors.shape[-1])
    inverses = upper + upper.swapaxes(-1, -2)
    inverses[:, diagonal, diagonal] = upper[:, diagonal, diagonal]
    return inverses


def invert_upper(factors):
    """The upper triangles of `invert`, zeros below them."""
    from scipy.linalg.lapack import dpotri

    upper = np.empty_like(factors)
    for triangle, factor in zip(upper, factors, strict=True):
        # A C-ordered lower factor is, read in Fortran's order, its upper transpose.
        triangle[...] = dpotri(factor.T, lower=0)[0]
    return upper


def expected_log_det(stack, scatter_log_det=None):
    """E[log |Lambda_k|], (K,) (Bishop 10.65).

    Args:
        stack: `NormalWishart` of K.
        scatter_log_det: (K,) log determinants of the scatters, where already known.
    """
    from scipy.special import digamma

    num_features = stack.mean.shape[-1]
    if scatter_log_det is None:
        scatter_log_det = log_det(cholesky(stack.scatter))
    halves = _halves(stack.degrees_of_freedom, num_features)
    return digamma(halves).sum(axis=-1) + num_features * np.log(2.0) - scatter_log_det


def log_normalizer(stack, scatter_log_det=None):
    """Log of the integral of the unnormalized density, (K,), up to the same constant for all.

    The ratio of posterior's and prior's normalizers is the marginal likelihood (Murphy, eq. 266),
    see `log_marginal_likelihood`.
    """
    from scipy.special import gammaln

    num_features = stack.mean.shape[-1]
    if scatter_log_det is None:
        scatter_log_det = log_det(cholesky(stack.scatter))
    freedom = stack.degrees_of_freedom
    return (
        gammaln(_halves(freedom, num_features)).sum(axis=-1)
        + 0.5 * num_features * (freedom * np.log(2.0) - np.log(stack.mean_precision))
        - 0.5 * freedom * scatter_log_det
    )


def log_marginal_likelihood(prior, posterior, counts):
    """log p(X_k): the data of each component, its mean and precision integrated out.

    Args:
        prior: `NormalWishart` stack of one or of K.
        posterior: `update(prior, ...)` with those data, stack of K.
        counts: (K,) how many data each has.

    Returns:
        (K,).
    """
    num_features = posterior.mean.shape[-1]
    ratio = log_normalizer(posterior) - log_normalizer(prior)
    return ratio - 0.5 * num_features * counts * LOG_2PI


def log_predictive(stack, x, factors=None, variance=None):
    """Student-t log density of a new datum, mean and precision integrated out (Bishop 10.81).

    Of a datum that is itself a Gaussian q = N(x_n, diag(variance_n)) it is a lower bound of the
    density's expectation under q: the Student t falls with log(1 + distance / freedom), which is
    concave, so that no expectation is below its value at the expected distance.

    Args:
        stack: `NormalWishart` of K.
        x: (N, D).
        factors: (K, D, D) Cholesky factors of the scatters, where already known.
        variance: (N, D), or None for 0.

    Returns:
        (N, K) log p(x_n | component k), or the bound of its expectation.
    """
    if factors is None:
        factors = cholesky(stack.scatter)
    distances = _distances(stack, x, factors)
    if variance is not None:
        distances += variance @ np.diagonal(invert(factors), axis1=1, axis2=2).T
    return _student_t(stack, distances, factors)


def log_predictive_from_expected(stack, expected, factors):
    """`log_predictive` of data (N, D) whose E[log N(x_n; mu_k, Lambda_k^-1)] is known.

    Args:
        stack: `NormalWishart` of K.
        expected: (N, K) expected log densities.
        factors: (K, D, D) Cholesky factors of the scatters.

    Returns:
        (N, K).
    """
    num_features = stack.mean.shape[-1]
    constant = expected_log_det(stack, log_det(factors))
    constant = constant - num_features * (LOG_2PI + 1.0 / stack.mean_precision)
    distances = np.maximum((constant - 2.0 * expected) / stack.degrees_of_freedom, 0.0)
    return _student_t(stack, distances, factors)


def _student_t(stack, distances, factors):
    """Student-t log densities (N, K) at squared distances (N, K) from the means."""
    from scipy.special import gammaln

    num_features = stack.mean.shape[-1]
    shrink = stack.mean_precision / (stack.mean_precision + 1.0)
    freedom = stack.degrees_of_freedom + 1.0
    constant = (
        gammaln(0.5 * freedom)
        - gammaln(0.5 * (freedom - num_features))
        + 0.5 * num_features * np.log(shrink / np.pi)
        - 0.5 * log_det(factors)
    )
    return constant - 0.5 * freedom * np.log1p(shrink * distances)


def kl_divergence(posterior, prior):
    """KL(posterior_k || prior), (K,): what each component's belief costs in the bound.

    Args:
        posterior: `NormalWishart` stack of K.
        prior: `NormalWishart` stack of one or of K.
    """
    factors = cholesky(posterior.scatter)
    precision = posterior.degrees_of_freedom[:, None, None] * invert(factors)
    shift = posterior.mean - prior.mean
    scatter_log_det = log_det(factors)
    return kl_divergence_from_moments(
        posterior,
        prior,
        scatter_log_det,
        expected_log_det(posterior, scatter_log_det),
        trace=(precision * prior.scatter).sum(axis=(1, 2)),
        mean_distance=np.einsum("ki,kij,kj->k", shift, precision, shift),
    )


def kl_divergence_from_moments(
    posterior,
    prior,
    scatter_log_det,
    expected_log_det,
    trace,
    mean_distance,
    prior_log_normalizer=None,
):
    """`kl_divergence` for a caller who already holds what is costly in it.

    Args:
        posterior: `NormalWishart` stack of K.
        prior: `NormalWishart` stack of one or of K.
        scatter_log_det: (K,) log |posterior.scatter|.
        expected_log_det: (K,) E[log |Lambda|].
        trace: (K,) tr(prior.scatter E[Lambda]).
        mean_distance: (K,) (m - m0)' E[Lambda] (m - m0) between the two means.
        prior_log_normalizer: `log_normalizer(prior)`, where already known.

    Returns:
        (K,).
    """
    num_features = posterior.mean.shape[-1]
    freedom = posterior.degrees_of_freedom
    expected_energy_change = (
        (freedom - prior.degrees_of_freedom) * expected_log_det
        + num_features * (prior.mean_precision / posterior.mean_precision - 1.0)
        + prior.mean_precision * mean_distance
        + trace
        - num_features * freedom
    )
    if prior_log_normalizer is None:
        prior_log_normalizer = log_normalizer(prior)
    normalizers = prior_log_normalizer - log_normalizer(posterior, scatter_log_det)
    return normalizers + 0.5 * expected_energy_change


def _halves(degrees_of_freedom, num_features):
    """(K, D) arguments (nu_k - d) / 2, d = 0..D-1, of the multivariate gamma function."""
    return 0.5 * (np.asarray(degrees_of_freedom)[:, None] - np.arange(num_features))


def _distances(stack, x, factors):
    """(N, K) squared distances (x_n - m_k)' scatter_k^-1 (x_n - m_k)."""
    from scipy.linalg import solve_triangular

    distances = np.empty((len(x), len(stack.mean)))
    for k, (mean, factor) in enumerate(zip(stack.mean, factors, strict=True)):
        solved = solve_triangular(factor, (x - mean).T, lower=True, check_finite=False)
        distances[:, k] = np.einsum("dn,dn->n", solved, solved)
    return distances


def _mended_cholesky(matrix):
    """Cholesky factor (D, D) of a symmetric matrix, loaded along its diagonal until it has one."""
    diagonal = np.abs(np.diagonal(matrix))
    diagonal = np.where(diagonal > 0.0, diagonal, max(diagonal.max(), SMALLEST))
    for load in (0.0, *10.0 ** np.arange(-14.0, 1.0)):
        try:
            return np.linalg.cholesky(matrix + np.diag(load * diagonal))
        except np.linalg.LinAlgError:
            continue
    return np.diag(np.sqrt(diagonal))
