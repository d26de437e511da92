"""Yeo-Johnson curves against SciPy and differences, and the powers that a mixture learns."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from kserket.inference import gaussian_mixture, power_transform
from kserket.inference.gaussian_mixture import powers
from kserket.inference.power_transform import PowerTransform

POWERS = np.array([0.0, 1e-9, 0.3, 1.0, 1.7, 2.0 - 1e-9, 2.0])


@pytest.fixture
def z():
    return np.random.default_rng(0).normal(size=(200, len(POWERS))) * 2.0


@pytest.fixture
def transform(z):
    transform = PowerTransform.standardizing(z, POWERS, np.ones(len(z)))
    return transform._replace(location=np.arange(7.0), scale=np.arange(1.0, 8.0))


def test_the_curve_is_scipys(z):
    expected = np.stack([stats.yeojohnson(x, p) for x, p in zip(z.T, POWERS, strict=True)], 1)
    assert_allclose(power_transform.yeo_johnson(z, POWERS), expected, rtol=1e-7, atol=1e-12)


def test_its_slope_by_the_power_is_that_of_differences(z):
    inside = np.clip(POWERS, 1e-4, 2.0 - 1e-4)
    for power in (inside, np.full(7, 5e-4)):  # the latter where the series takes over
        high, low = (power_transform.yeo_johnson(z, power + step) for step in (1e-5, -1e-5))
        slope = power_transform.power_slope(z, power)
        assert_allclose(slope, (high - low) / 2e-5, rtol=1e-6, atol=1e-9)
    assert np.isfinite(power_transform.power_slope(z, POWERS)).all()


def test_inverse_and_slope(transform, z):
    x = z * transform.scale + transform.location
    y = transform.forward(x)
    assert_allclose(y.mean(axis=0), 0.0, atol=1e-12)
    assert_allclose(y.var(axis=0), 1.0)
    assert_allclose(transform.inverse(y), x, rtol=1e-9, atol=1e-9)
    steps = transform.forward(x + 1e-6) - transform.forward(x - 1e-6)
    assert_allclose(np.exp(transform.log_slope(x)), steps / 2e-6, rtol=1e-6)


def test_all_real_numbers_have_an_inverse(transform):
    y = np.linspace(-30.0, 30.0, 61)[:, None] * np.ones(7)
    assert_allclose(transform.forward(transform.inverse(y)), y, rtol=1e-6, atol=1e-6)


def test_the_identity_changes_nothing(z):
    identity = PowerTransform.identity(7)
    assert_allclose(identity.forward(z), z, rtol=1e-14)
    assert_allclose(identity.log_slope(z), 0.0)


def evidence(power, z, weights, prior):
    """log p(z, sorted softly, power) of transformed data, by the formula of the Normal-Wishart."""
    each = weights.sum(axis=1)
    transform = PowerTransform.standardizing(z, power, each)
    y = transform.forward(z)
    state = gaussian_mixture.maximize(
        prior, gaussian_mixture.statistics_from_responsibilities(prior, weights, y)
    )
    normalizers = gaussian_mixture.parameters.nw.log_normalizer(state.normal_wishart).sum()
    log_prior = stats.norm(1.0, powers.DEVIATION).logpdf(power).sum()
    return normalizers + each @ transform.log_slope(z).sum(axis=1) + log_prior


def test_learned_powers_are_those_of_the_highest_evidence():
    rng = np.random.default_rng(0)
    classes = np.arange(120) % 2
    x = np.exp(0.5 * rng.normal(size=(120, 2)) + classes[:, None])
    x[:, 1] = -x[:, 1]
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    weights = np.eye(2)[classes] * 0.8 + 0.1
    prior = gaussian_mixture.default_prior(np.zeros(2), np.ones(2), 2)
    found = powers.learn(z, weights, prior, np.ones(2)).power
    grid = np.linspace(0.0, 2.0, 81)
    values = [[evidence(np.array([a, b]), z, weights, prior) for b in grid] for a in grid]
    best = np.unravel_index(np.argmax(values), (81, 81))
    assert_allclose(found, grid[list(best)], atol=0.025)
    assert evidence(found, z, weights, prior) >= np.max(values) - 1e-4
    assert found[0] < 0.7 and found[1] > 1.3


@pytest.mark.parametrize("value", [0.0, -0.01, 3.0])
def test_a_feature_that_never_varies_keeps_its_power(value):
    rng = np.random.default_rng(0)
    z = np.c_[rng.normal(size=30), np.full(30, value)]
    prior = gaussian_mixture.default_prior(np.zeros(2), np.ones(2), 1)
    found = powers.learn(z, np.ones((30, 1)), prior, np.ones(2))
    assert found.power[1] == 1.0 and np.isfinite(found.forward(z)).all()


def test_the_gradient_is_that_of_differences_for_uncertain_data_too():
    rng = np.random.default_rng(0)
    z, weights = rng.normal(size=(40, 3)), rng.dirichlet(np.ones(2), 40)
    prior = gaussian_mixture.default_prior(np.zeros(3), np.ones(3), 2)
    power = np.array([0.4, 1.0, 1.6])
    seen = rng.random((40, 3)) > 0.2
    hidden = powers.Hidden(
        np.where(seen, 0.0, rng.normal(size=(2, 40, 3))), np.stack([np.eye(3)] * 2), seen
    )
    for variance, gaps in (
        (None, None),
        (rng.random((40, 3)), None),
        (rng.random((40, 3)), hidden),
    ):
        arguments = (z if gaps is None else z * seen, weights, prior, variance, gaps)
        steps = 1e-6 * np.eye(3)
        numeric = [
            (powers._loss(power + h, *arguments)[0] - powers._loss(power - h, *arguments)[0]) / 2e-6
            for h in steps
        ]
        assert_allclose(powers._loss(power, *arguments)[1], numeric, rtol=1e-5, atol=1e-4)


def test_best_runs_differ_and_come_in_order():
    runs = [gaussian_mixture.starts._Run(None, None, bound) for bound in (5.0, 9.0, 8.95, 1.0)]
    found = powers.best_runs(runs, 100.0, 3)
    assert [run.bound for run in found] == [9.0, 5.0, 1.0]
    assert powers.best_runs(runs, 1e7, 3) == [runs[0]]  # what differs by rounding alone
