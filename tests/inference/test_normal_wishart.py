"""Normal-Wishart beliefs against closed forms, sampling and scipy's distributions."""

import numpy as np
import pytest
from scipy import stats

from kserket.inference import normal_wishart as nw


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def random_stack(rng, num_components=3, num_features=4):
    roots = rng.normal(size=(num_components, num_features, 2 * num_features))
    return nw.NormalWishart(
        mean=rng.normal(size=(num_components, num_features)),
        mean_precision=rng.uniform(0.5, 3.0, num_components),
        degrees_of_freedom=num_features + rng.uniform(0.5, 9.0, num_components),
        scatter=roots @ roots.swapaxes(1, 2),
    )


def about(x, origin):
    """The sums that `update` asks for, of one component's data."""
    deviations = x - origin
    return np.array([float(len(x))]), deviations.sum(0)[None], (deviations.T @ deviations)[None]


def one(stack, k):
    return nw.NormalWishart(*(field[k : k + 1] for field in stack))


def test_factors_give_determinant_and_inverse(rng):
    scatter = random_stack(rng).scatter
    factors = nw.cholesky(scatter)
    np.testing.assert_allclose(nw.log_det(factors), np.linalg.slogdet(scatter)[1], rtol=1e-12)
    inverse = nw.invert(factors)
    np.testing.assert_allclose(inverse @ scatter, np.tile(np.eye(4), (3, 1, 1)), atol=1e-10)
    np.testing.assert_array_equal(inverse, inverse.swapaxes(1, 2))


def test_an_indefinite_matrix_is_mended_and_the_others_left_alone(rng):
    scatter = random_stack(rng).scatter
    factors = nw.cholesky(scatter)
    direction = rng.normal(size=4)
    broken = np.outer(direction, direction) - 1e-15 * np.eye(4)
    mended = nw.cholesky(np.stack([scatter[0], broken, scatter[2]]))
    np.testing.assert_array_equal(mended[[0, 2]], factors[[0, 2]])
    np.testing.assert_allclose(mended[1] @ mended[1].T, broken, atol=1e-9)
    assert (np.diagonal(mended[1]) > 0).all()
    with pytest.raises(ValueError, match="not finite"):
        nw.cholesky(np.full((1, 2, 2), np.nan))


def test_update_in_two_steps_is_update_in_one(rng):
    prior = one(random_stack(rng), 0)
    x = rng.normal(size=(12, 4))
    whole = nw.update(prior, *about(x, prior.mean[0]))
    first = nw.update(prior, *about(x[:5], prior.mean[0]))
    second = nw.update(first, *about(x[5:], first.mean[0]))
    for a, b in zip(whole, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_expectations_equal_averages_over_samples(rng):
    stack = one(random_stack(rng, num_features=2), 0)
    precision = stats.wishart(
        df=stack.degrees_of_freedom[0], scale=np.linalg.inv(stack.scatter[0])
    ).rvs(20_000, random_state=rng)
    log_dets = np.linalg.slogdet(precision)[1]
    expected = nw.expected_log_det(stack)[0]
    assert abs(log_dets.mean() - expected) < 5 * log_dets.std() / np.sqrt(20_000)

    x = rng.normal(size=2)
    roots = np.linalg.cholesky(np.linalg.inv(precision * stack.mean_precision[0]))
    means = stack.mean[0] + np.einsum("nij,nj->ni", roots, rng.normal(size=(20_000, 2)))
    distance = np.einsum("ni,nij,nj->n", x - means, precision, x - means)
    densities = 0.5 * (log_dets - distance) - np.log(2 * np.pi)
    distance = np.einsum(
        "i,ij,j", x - stack.mean[0], np.linalg.inv(stack.scatter[0]), x - stack.mean[0]
    )
    expected = 0.5 * (nw.expected_log_det(stack)[0] - 2 * np.log(2 * np.pi))
    expected -= 0.5 * (2 / stack.mean_precision[0] + stack.degrees_of_freedom[0] * distance)
    assert abs(densities.mean() - expected) < 5 * densities.std() / np.sqrt(20_000)


def test_predictive_is_the_multivariate_t(rng):
    stack = random_stack(rng)
    x = rng.normal(size=(6, 4))
    result = nw.log_predictive(stack, x)
    for k in range(3):
        freedom = stack.degrees_of_freedom[k] + 1 - 4
        shape = stack.scatter[k] * (1 + 1 / stack.mean_precision[k]) / freedom
        expected = stats.multivariate_t(stack.mean[k], shape, freedom).logpdf(x)
        np.testing.assert_allclose(result[:, k], expected, rtol=1e-9)


def test_predictive_is_a_ratio_of_marginal_likelihoods(rng):
    prior = one(random_stack(rng), 0)
    x = rng.normal(size=(7, 4))
    without = nw.update(prior, *about(x[:-1], prior.mean[0]))
    with_it = nw.update(prior, *about(x, prior.mean[0]))
    ratio = nw.log_marginal_likelihood(prior, with_it, 7) - nw.log_marginal_likelihood(
        prior, without, 6
    )
    np.testing.assert_allclose(nw.log_predictive(without, x[-1:])[0], ratio, rtol=1e-9)


def test_marginal_likelihood_of_one_datum_is_the_priors_predictive(rng):
    prior = one(random_stack(rng), 0)
    x = rng.normal(size=(1, 4))
    posterior = nw.update(prior, *about(x, prior.mean[0]))
    evidence = nw.log_marginal_likelihood(prior, posterior, 1)
    np.testing.assert_allclose(evidence, nw.log_predictive(prior, x)[0], rtol=1e-9)


def test_divergence_of_a_belief_from_itself_is_zero_and_else_positive(rng):
    stack = random_stack(rng)
    np.testing.assert_allclose(nw.kl_divergence(stack, stack), 0.0, atol=1e-9)
    assert (nw.kl_divergence(stack, one(random_stack(rng), 0)) > 0).all()


def test_divergence_in_one_dimension_is_that_of_normal_gammas(rng):
    def log_density(belief, mean, precision):
        freedom, scatter = belief.degrees_of_freedom[0], belief.scatter[0, 0, 0]
        log_gamma = stats.gamma(freedom / 2, scale=2 / scatter).logpdf(precision)
        deviation = 1 / np.sqrt(belief.mean_precision[0] * precision)
        return log_gamma + stats.norm(belief.mean[0, 0], deviation).logpdf(mean)

    p, q = one(random_stack(rng, 2, 1), 0), one(random_stack(rng, 2, 1), 1)
    precision = stats.gamma(q.degrees_of_freedom[0] / 2, scale=2 / q.scatter[0, 0, 0]).rvs(
        200_000, random_state=rng
    )
    deviation = 1 / np.sqrt(q.mean_precision[0] * precision)
    mean = q.mean[0, 0] + deviation * rng.normal(size=200_000)
    ratio = log_density(q, mean, precision) - log_density(p, mean, precision)
    error = 5 * ratio.std() / np.sqrt(len(ratio))
    assert abs(nw.kl_divergence(q, p)[0] - ratio.mean()) < error
