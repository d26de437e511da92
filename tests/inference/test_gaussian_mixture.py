"""Variational mixtures against Bishop's formulas written out, and on data that break others."""

import numpy as np
import pytest
from scipy.special import digamma, gammaln, logsumexp, multigammaln

from kserket.inference import gaussian_mixture as gm
from kserket.inference import normal_wishart as nw
from kserket.inference import quadratic_form
from kserket.inference.gaussian_mixture import starts


def logs(probabilities):
    """Logarithms, minus infinity of 0; None of None."""
    with np.errstate(divide="ignore"):
        return None if probabilities is None else np.log(probabilities)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def clusters(rng, num_samples=240, num_components=3, num_features=4, distance=2.0):
    centers = distance * rng.normal(size=(num_components, num_features))
    classes = np.arange(num_samples) % num_components
    mixing = rng.normal(size=(num_components, num_features, num_features))
    noise = np.einsum("nij,nj->ni", mixing[classes], rng.normal(size=(num_samples, num_features)))
    return centers[classes] + 0.5 * noise, classes


def prior_of(x, num_components=3, variance=0.0):
    return gm.default_prior(
        x.mean(0), x.var(0) + np.mean(np.atleast_2d(variance), axis=0), num_components
    )


def some_state(rng, x, prior, num_components=3):
    responsibilities = rng.dirichlet(np.ones(num_components), len(x))
    return gm.maximize(prior, gm.statistics_from_responsibilities(prior, responsibilities, x))


def random_prior(rng, x):
    root = rng.normal(size=(x.shape[1], 2 * x.shape[1]))
    return gm.Prior(0.7, rng.normal(size=x.shape[1]), 0.4, x.shape[1] + 1.5, root @ root.T)


@pytest.fixture(params=["products", "solves"])
def way(request, monkeypatch):
    """Both ways to the quadratic forms, which must not differ."""
    if request.param == "solves":
        monkeypatch.setattr(quadratic_form, "MAX_FEATURES_OF_PRODUCTS", 0)


def bishop_e_step(state, x, variance=None):
    """Bishop 10.64-10.66 datum by datum; with a variance, its trace term."""
    alpha, mean, beta, nu, scatter = state
    num_components, num_features = mean.shape
    log_weights = digamma(alpha) - digamma(alpha.sum())
    density = np.empty((len(x), num_components))
    for k in range(num_components):
        scale = np.linalg.inv(scatter[k])
        log_det = digamma((nu[k] - np.arange(num_features)) / 2).sum()
        log_det += num_features * np.log(2) + np.linalg.slogdet(scale)[1]
        for n in range(len(x)):
            distance = num_features / beta[k] + nu[k] * (x[n] - mean[k]) @ scale @ (x[n] - mean[k])
            if variance is not None:
                distance += nu[k] * (np.diag(scale) * variance[n]).sum()
            density[n, k] = 0.5 * (log_det - num_features * np.log(2 * np.pi) - distance)
    return log_weights, density


def bishop_bound(prior, state, r, x):
    """The seven terms of Bishop 10.71-10.77."""
    alpha, m, beta, nu, scatter = state
    num_components, num_features = m.shape
    alpha0, m0, beta0, nu0, scatter0 = prior
    log_weights = digamma(alpha) - digamma(alpha.sum())
    counts = r.sum(0)
    scale = np.linalg.inv(scatter)
    log_det = np.array([digamma((v - np.arange(num_features)) / 2).sum() for v in nu])
    log_det += num_features * np.log(2) + np.linalg.slogdet(scale)[1]

    def log_b(scatter, nu):
        return (
            0.5 * nu * np.linalg.slogdet(scatter)[1]
            - 0.5 * nu * num_features * np.log(2)
            - multigammaln(nu / 2, num_features)
        )

    def log_c(alpha):
        return gammaln(alpha.sum()) - gammaln(alpha).sum()

    bound = (r * log_weights).sum() - (r * np.log(np.maximum(r, 1e-300))).sum()
    bound += log_c(np.full(num_components, alpha0)) + (alpha0 - 1) * log_weights.sum()
    bound -= ((alpha - 1) * log_weights).sum() + log_c(alpha)
    for k in range(num_components):
        mean = r[:, k] @ x / counts[k]
        spread = (r[:, k, None] * (x - mean)).T @ (x - mean) / counts[k]
        between = m[k] - m0
        bound += (
            0.5
            * counts[k]
            * (
                log_det[k]
                - num_features / beta[k]
                - nu[k] * np.trace(spread @ scale[k])
                - nu[k] * (mean - m[k]) @ scale[k] @ (mean - m[k])
                - num_features * np.log(2 * np.pi)
            )
        )
        bound += 0.5 * (
            num_features * np.log(beta0 / (2 * np.pi))
            + log_det[k]
            - num_features * beta0 / beta[k]
            - beta0 * nu[k] * between @ scale[k] @ between
        )
        bound += log_b(scatter0, nu0) + (nu0 - num_features - 1) / 2 * log_det[k]
        bound -= 0.5 * nu[k] * np.trace(scatter0 @ scale[k])
        entropy = -log_b(scatter[k], nu[k]) - (nu[k] - num_features - 1) / 2 * log_det[k]
        entropy += nu[k] * num_features / 2
        bound -= 0.5 * log_det[k] + 0.5 * num_features * np.log(beta[k] / (2 * np.pi))
        bound -= -0.5 * num_features - entropy
    return bound


def test_e_step_equals_the_formulas_point_by_point(rng, way):
    x, _ = clusters(rng, 40)
    variance = rng.uniform(0, 2, x.shape)
    prior = random_prior(rng, x)
    state = some_state(rng, x, prior)
    for spread in (None, variance):
        log_weights, density = bishop_e_step(state, x, spread)
        np.testing.assert_allclose(gm.log_likelihood(state, x, spread), density, rtol=1e-9)
        log_r, normalizer = gm.log_responsibilities(state, x, spread)
        np.testing.assert_allclose(normalizer, logsumexp(density + log_weights, axis=1), rtol=1e-9)
        expected = density + log_weights - normalizer[:, None]
        np.testing.assert_allclose(log_r, expected, rtol=1e-8, atol=1e-8)


def test_statistics_equal_sums_point_by_point(rng, way):
    x, _ = clusters(rng, 50)
    variance = rng.uniform(0, 2, x.shape)
    weight = rng.uniform(0, 3, len(x))
    prior = random_prior(rng, x)
    state = some_state(rng, x, prior)
    log_weights, density = bishop_e_step(state, x, variance)
    joint = density + log_weights
    r = np.exp(joint - logsumexp(joint, axis=1, keepdims=True)) * weight[:, None]
    y = x - prior.mean
    second = np.einsum("ni,nj->nij", y, y) + np.einsum("ni,ij->nij", variance, np.eye(4))
    result = gm.statistics(prior, state, x, variance, sample_weight=weight)
    np.testing.assert_allclose(result.counts, r.sum(0), rtol=1e-9)
    np.testing.assert_allclose(result.sums, r.T @ y, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(result.scatters, np.einsum("nk,nij->kij", r, second), rtol=1e-8)
    assert result.log_evidence == pytest.approx(weight @ logsumexp(joint, axis=1), rel=1e-10)
    assert result.weight == pytest.approx(weight.sum())
    given = gm.statistics_from_responsibilities(prior, r / weight[:, None], x, variance, weight)
    for a, b in zip(given[:3], result[:3], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_update_equals_the_formulas(rng):
    x, _ = clusters(rng, 60)
    prior = random_prior(rng, x)
    r = rng.dirichlet(np.ones(3), len(x))
    state = gm.maximize(prior, gm.statistics_from_responsibilities(prior, r, x))
    for k in range(3):
        count = r[:, k].sum()
        mean = r[:, k] @ x / count
        spread = (r[:, k, None] * (x - mean)).T @ (x - mean)
        between = mean - prior.mean
        scatter = prior.scatter + spread
        scatter += (
            prior.mean_precision
            * count
            / (prior.mean_precision + count)
            * np.outer(between, between)
        )
        np.testing.assert_allclose(state.scatter[k], scatter, rtol=1e-9, atol=1e-9)
        expected = (prior.mean_precision * prior.mean + count * mean) / (
            prior.mean_precision + count
        )
        np.testing.assert_allclose(state.mean[k], expected, rtol=1e-10)
        assert state.weight_concentration[k] == pytest.approx(0.7 + count)


def test_a_states_statistics_give_it_back(rng):
    x, _ = clusters(rng, 60)
    prior = random_prior(rng, x)
    sums = gm.statistics_from_responsibilities(prior, rng.dirichlet(np.ones(3), len(x)), x)
    again = gm.statistics_of(prior, gm.maximize(prior, sums))
    for a, b in zip(again[:3], sums[:3], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    assert again.weight == pytest.approx(sums.weight)


def test_bound_equals_the_seven_terms(rng, way):
    x, _ = clusters(rng, 60)
    prior = random_prior(rng, x)
    state = some_state(rng, x, prior)
    log_r, _ = gm.log_responsibilities(state, x)
    expected = bishop_bound(prior, state, np.exp(log_r), x)
    sums = gm.statistics(prior, state, x)
    assert gm.lower_bound(prior, state, sums) == pytest.approx(expected, rel=1e-10)
    _, trace, _ = gm.fit(x, prior, state, num_sweeps=1)
    assert trace[0] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("with_variance", [False, True])
@pytest.mark.parametrize("with_class_prior", [False, True])
@pytest.mark.parametrize("with_weight", [False, True])
def test_no_sweep_lowers_the_bound(rng, way, with_variance, with_class_prior, with_weight):
    x, _ = clusters(rng, distance=1.0)
    variance = rng.uniform(0, 1, x.shape) if with_variance else None
    class_prior = rng.dirichlet(np.ones(3), len(x)) if with_class_prior else None
    weight = rng.uniform(0, 3, len(x)) if with_weight else None
    prior = prior_of(x)
    state = some_state(rng, x, prior)
    bounds = []
    for _ in range(25):
        sums = gm.statistics(prior, state, x, variance, logs(class_prior), weight)
        bounds.append(gm.lower_bound(prior, state, sums, with_class_prior))
        state = gm.maximize(prior, sums)
    assert bounds[-1] > bounds[0] + 1.0
    assert np.diff(bounds).min() > -1e-9 * abs(bounds[-1])
    _, trace, _ = gm.fit(
        x, prior, some_state(rng, x, prior), variance, logs(class_prior), weight, tolerance=None
    )
    assert len(trace) == 100
    assert np.diff(trace).min() > -1e-9 * abs(trace[-1])


def test_statistics_of_chunks_merge_to_those_of_the_whole(rng, way):
    x, _ = clusters(rng, 101)
    class_prior = rng.dirichlet(np.ones(3), len(x))
    weight = rng.uniform(0, 3, len(x))
    prior = prior_of(x)
    state = some_state(rng, x, prior)
    whole = gm.statistics(prior, state, x, None, logs(class_prior), weight)
    parts = gm.merge(
        *(
            gm.statistics(prior, state, x[rows], None, logs(class_prior[rows]), weight[rows])
            for rows in (slice(0, 7), slice(7, 64), slice(64, 101))
        )
    )
    streamed = gm.statistics(prior, state, x, None, logs(class_prior), weight, chunk_size=9)
    for other in (parts, streamed):
        for a, b in zip(whole, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    after = [gm.maximize(prior, sums) for sums in (whole, parts)]
    for a, b in zip(*after, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


class Slices:
    """Data that can only be sliced, as a dataset in a file."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __len__(self):
        return len(self.array)

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return self.array[rows]


def test_data_in_a_file_give_the_result_of_data_in_memory(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(starts, "max_start_samples", lambda num_features: 100)
    x, _ = clusters(rng)
    x = x.astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    prior = prior_of(x.astype(float))
    results = [
        gm.fit(data, prior, num_components=3, rng=0, num_sweeps=20, chunk_size=50)[0]
        for data in (x, np.load(tmp_path / "x.npy", mmap_mode="r"), Slices(x))
    ]
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_sample_weights_count_repetitions(rng, way):
    x, _ = clusters(rng, 60)
    repeats = rng.integers(0, 4, len(x))
    prior = prior_of(x)
    state = some_state(rng, x, prior)
    weighted, weighted_trace, _ = gm.fit(x, prior, state, sample_weight=repeats, num_sweeps=5)
    repeated, repeated_trace, _ = gm.fit(np.repeat(x, repeats, axis=0), prior, state, num_sweeps=5)
    np.testing.assert_allclose(weighted_trace, repeated_trace, rtol=1e-10)
    np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=1e-8, atol=1e-10)


def test_clusters_are_found(rng):
    x, classes = clusters(rng, 3000, distance=8.0)
    state, _, start_bounds = gm.fit(x, prior_of(x), num_components=3, rng=0)
    found = gm.log_responsibilities(state, x)[0].argmax(1)
    assert len({(a, b) for a, b in zip(found, classes, strict=True)}) == 3
    assert len(start_bounds) == 30
    np.testing.assert_allclose(gm.mean_weights(state), 1 / 3, atol=0.01)
    order = [found[classes == k][0] for k in range(3)]
    for k in range(3):
        np.testing.assert_allclose(state.mean[order[k]], x[classes == k].mean(0), atol=0.5)
        difference = gm.covariances(state)[order[k]] - np.cov(x[classes == k].T)
        assert np.linalg.norm(difference) < 0.2 * np.linalg.norm(np.cov(x[classes == k].T))


@pytest.mark.parametrize("scale", [1e6, 1e-6])
def test_results_do_not_depend_on_units(rng, scale):
    x, _ = clusters(rng)
    variance = rng.uniform(0, 0.3, x.shape)
    here = gm.fit(x, prior_of(x, 3, variance), variance=variance, num_components=3, rng=1)
    there_x, there_variance = scale * x, scale**2 * variance
    there = gm.fit(
        there_x,
        prior_of(there_x, 3, there_variance),
        variance=there_variance,
        num_components=3,
        rng=1,
    )
    np.testing.assert_allclose(there[0].mean, scale * here[0].mean, rtol=1e-6)
    np.testing.assert_allclose(there[0].scatter, scale**2 * here[0].scatter, rtol=1e-6)
    np.testing.assert_allclose(
        np.exp(gm.log_responsibilities(there[0], there_x, there_variance)[0]),
        np.exp(gm.log_responsibilities(here[0], x, variance)[0]),
        atol=1e-6,
    )
    change = x.size * np.log(scale)
    np.testing.assert_allclose(there[1] + change, here[1], rtol=1e-8)


def test_each_feature_may_have_units_of_its_own(rng):
    x, _ = clusters(rng)
    units = np.array([1e-5, 1.0, 1e4, 3.0])
    prior, other = prior_of(x), prior_of(x * units)
    start = rng.dirichlet(np.ones(3), len(x))
    states = []
    for p, data in ((prior, x), (other, x * units)):
        sums = gm.statistics_from_responsibilities(p, start, data)
        states.append(gm.fit(data, p, gm.maximize(p, sums), num_sweeps=20)[0])
    np.testing.assert_allclose(states[1].mean, states[0].mean * units, rtol=1e-6)


def test_a_large_offset_loses_nothing(rng):
    x = np.round(clusters(rng)[0] * 2**20) / 2**20
    state = gm.fit(x, prior_of(x), num_components=3, rng=0, num_sweeps=20)[0]
    moved = x + 2.0**20
    other = gm.fit(moved, prior_of(moved), num_components=3, rng=0, num_sweeps=20)[0]
    np.testing.assert_allclose(other.mean - 2.0**20, state.mean, atol=1e-6)
    np.testing.assert_allclose(other.scatter, state.scatter, rtol=1e-5, atol=1e-5)


def sound(state, x, **messages):
    """Everything finite, every scatter positive definite, responsibilities summing to one."""
    for field in state:
        assert np.isfinite(field).all()
    np.linalg.cholesky(state.scatter)
    log_r, normalizer = gm.log_responsibilities(state, x, **messages)
    assert np.isfinite(normalizer).all()
    np.testing.assert_allclose(np.exp(log_r).sum(1), 1.0, rtol=1e-9)


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(np.random.default_rng(0).random((60, 784)) > 0.9, id="784 features"),
        pytest.param(np.repeat(np.eye(3), 20, axis=0), id="duplicates"),
        pytest.param(np.eye(3), id="fewer data than components"),
        pytest.param(np.array([[0.1, 0.2, 0.7]]), id="one datum"),
        pytest.param(np.zeros((10, 2)), id="all zero"),
        pytest.param(np.full((10, 2), 0.1), id="all the same"),
        pytest.param(np.c_[np.arange(20.0), np.zeros(20)], id="a constant feature"),
        pytest.param(np.c_[np.arange(20.0), np.arange(20.0)], id="a repeated feature"),
        pytest.param(np.arange(40).reshape(20, 2), id="integers"),
        pytest.param(np.r_[np.zeros((20, 2)), [[1e9, 1e9]]], id="an outlier"),
    ],
)
def test_awkward_data(x):
    numbers = x.astype(float)
    prior = prior_of(numbers, 5)
    sweeps = 3 if x.shape[1] > 100 else 10
    state, trace, _ = gm.fit(x, prior, num_components=5, rng=0, num_sweeps=sweeps, n_init=1)
    assert state.mean.shape == (5, x.shape[1])
    assert np.isfinite(trace).all()
    assert np.diff(trace).min(initial=0.0) > -1e-9 * abs(trace[-1])
    sound(state, numbers)


def test_an_empty_component_keeps_the_prior(rng):
    x, _ = clusters(rng, 30)
    prior = prior_of(x)
    r = np.zeros((30, 3))
    r[:, 0] = 1.0
    state = gm.maximize(prior, gm.statistics_from_responsibilities(prior, r, x))
    untouched = gm.maximize(prior, gm.no_statistics(1, len(prior.mean)))
    for field, before in zip(state, untouched, strict=True):
        np.testing.assert_allclose(field[1:], np.repeat(before, 2, axis=0), atol=1e-12)
    sound(gm.fit(x, prior, state)[0], x)


def test_data_of_weight_zero_and_no_data_at_all(rng):
    x, _ = clusters(rng, 30)
    prior = prior_of(x)
    weight = np.r_[np.ones(20), np.zeros(10)]
    x_with_others = np.r_[x[:20], 1e3 * x[20:]]
    few = gm.fit(x[:20], prior, num_components=3, rng=0)[0]
    more = gm.fit(x_with_others, prior, num_components=3, rng=0, sample_weight=weight)[0]
    np.testing.assert_allclose(more.mean, few.mean, rtol=1e-8, atol=1e-10)
    nothing = gm.fit(x, prior, num_components=3, rng=0, sample_weight=np.zeros(30))[0]
    np.testing.assert_allclose(nothing.mean, np.repeat(prior.mean[None], 3, 0))


@pytest.mark.parametrize("with_class_prior", [False, True])
def test_rows_of_infinite_variance_say_nothing(rng, way, with_class_prior):
    x, _ = clusters(rng, 90)
    variance = rng.uniform(0, 0.2, x.shape)
    class_prior = rng.dirichlet(np.ones(3), len(x)) if with_class_prior else None
    lost = np.arange(len(x)) % 4 == 0
    x[lost], variance[lost] = np.nan, np.inf
    prior = prior_of(x[~lost], 3)
    state = some_state(rng, x[~lost], prior)
    state = gm.fit(x, prior, state, variance, logs(class_prior), num_sweeps=5)[0]
    without = [
        gm.statistics(prior, state, x[~lost], variance[~lost], p)
        for p in ([None] if class_prior is None else [logs(class_prior[~lost])])
    ][0]
    with_them = gm.statistics(prior, state, x, variance, logs(class_prior))
    for a, b in zip(without, with_them, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    log_r, normalizer = gm.log_responsibilities(state, x, variance, logs(class_prior))
    expected = np.exp(gm.expected_log_weights(state))
    expected = np.tile(expected / expected.sum(), (len(x), 1))
    if with_class_prior:
        expected = class_prior
    np.testing.assert_allclose(np.exp(log_r[lost]), expected[lost], rtol=1e-9)
    assert (normalizer[lost] == 0).all()
    assert (gm.log_likelihood(state, x, variance)[lost] == 0).all()
    started = gm.initialize(x, variance, 3, np.random.default_rng(0))
    np.testing.assert_allclose(started[lost], 1 / 3)
    sound(gm.fit(x, prior, None, variance, logs(class_prior), num_components=3, rng=0)[0], x[~lost])


def test_a_known_variance_counts_as_the_average_over_it(rng):
    """E_q of log density and of second moments, against quadrature over q."""
    x, _ = clusters(rng, 30)
    variance = rng.uniform(0.1, 2, x.shape)
    prior = prior_of(x)
    state = some_state(rng, x, prior)
    # Plus and minus sqrt(D) deviations along each axis have the same first two moments as q.
    points = np.concatenate([np.eye(4), -np.eye(4)]) * 2.0
    spread = x[None] + points[:, None] * np.sqrt(variance)
    averaged = np.mean([gm.log_likelihood(state, s) for s in spread], axis=0)
    np.testing.assert_allclose(gm.log_likelihood(state, x, variance), averaged, rtol=1e-9)
    r = rng.dirichlet(np.ones(3), len(x))
    expected = gm.merge(*(gm.statistics_from_responsibilities(prior, r, s) for s in spread))
    exact = gm.statistics_from_responsibilities(prior, r, x, variance)
    np.testing.assert_allclose(exact.scatters, expected.scatters / 8, rtol=1e-9, atol=1e-9)


def test_a_class_prior_of_certainty_pins_the_assignment(rng):
    x, _ = clusters(rng, 60)
    classes = rng.integers(0, 3, len(x))
    class_prior = np.eye(3)[classes]
    state = gm.fit(x, prior_of(x), log_prior=logs(class_prior), rng=0)[0]
    log_r, _ = gm.log_responsibilities(state, x, log_prior=logs(class_prior))
    np.testing.assert_array_equal(np.exp(log_r), class_prior)
    np.testing.assert_allclose(state.weight_concentration, 1 + class_prior.sum(0))


def test_a_class_prior_stands_in_place_of_the_mixing_weights(rng):
    x, _ = clusters(rng, 60)
    state = some_state(rng, x, prior_of(x))
    class_prior = rng.dirichlet(np.ones(3), len(x))
    log_r, normalizer = gm.log_responsibilities(state, x, log_prior=logs(class_prior))
    joint = gm.log_likelihood(state, x) + np.log(class_prior)
    np.testing.assert_allclose(normalizer, logsumexp(joint, axis=1), rtol=1e-10)
    np.testing.assert_allclose(log_r, joint - normalizer[:, None], rtol=1e-9, atol=1e-9)


def test_a_start_under_a_class_prior_keeps_its_ids(rng):
    x, classes = clusters(rng, distance=8.0)
    guess = np.where(rng.random(len(x)) < 0.6, classes, rng.integers(0, 3, len(x)))
    class_prior = 0.1 + 0.7 * np.eye(3)[guess]
    state, _, start_bounds = gm.fit(x, prior_of(x), log_prior=logs(class_prior), rng=0)
    found = gm.log_responsibilities(state, x, log_prior=logs(class_prior))[0].argmax(1)
    assert (found == classes).mean() > 0.98
    assert len(start_bounds) == 0


def test_a_few_known_classes_name_all_of_them(rng):
    x, classes = clusters(rng, distance=8.0)
    class_prior = np.full((len(x), 3), 1 / 3)
    class_prior[:12] = np.eye(3)[classes[:12]]
    state = gm.fit(x, prior_of(x), log_prior=logs(class_prior), rng=0)[0]
    found = gm.log_responsibilities(state, x)[0].argmax(1)
    assert (found == classes).mean() > 0.98


def test_a_class_prior_that_says_nothing_does_not_spoil_the_start(rng):
    x, classes = clusters(rng, distance=8.0)
    state = gm.fit(x, prior_of(x), log_prior=logs(np.full((len(x), 3), 1 / 3)), rng=0)[0]
    found = gm.log_responsibilities(state, x)[0].argmax(1)
    assert len({(a, b) for a, b in zip(found, classes, strict=True)}) == 3


def test_a_warm_start_goes_on_from_where_it_stands(rng):
    x, _ = clusters(rng)
    prior = prior_of(x)
    state, _, _ = gm.fit(x, prior, num_components=3, rng=0, num_sweeps=3, tolerance=None)
    rest, _, start_bounds = gm.fit(x, prior, state, num_sweeps=4, tolerance=None)
    straight = gm.fit(x, prior, num_components=3, rng=0, num_sweeps=7, tolerance=None)[0]
    assert len(start_bounds) == 0
    # The starts are compared after as many sweeps as are asked for at most.
    again = gm.fit(x, prior, state, num_sweeps=4, tolerance=None)[0]
    for a, b, c in zip(rest, again, straight, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.shape == c.shape


def test_a_seed_gives_the_same_fit(rng):
    x, _ = clusters(rng)
    first, second = (gm.fit(x, prior_of(x), num_components=3, rng=5)[0] for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_callback_sees_every_sweep_and_may_stop(rng):
    x, _ = clusters(rng)
    seen = []

    def callback(sweep, num_sweeps, bound, reached):
        seen.append((sweep, num_sweeps, bound, reached))
        if sweep == 4:
            raise StopIteration

    prior = prior_of(x)
    state, trace, _ = gm.fit(
        x, prior, num_components=3, rng=0, num_sweeps=9, tolerance=None, callback=callback
    )
    assert [row[:2] for row in seen] == [(1, 9), (2, 9), (3, 9), (4, 9)]
    np.testing.assert_array_equal(trace, [row[2] for row in seen])
    assert seen[-1][3] is state
    sound(state, x)


def test_sweeps_stop_when_the_bound_has_settled(rng):
    x, _ = clusters(rng, distance=8.0)
    prior = prior_of(x)
    trace = gm.fit(x, prior, num_components=3, rng=0, tolerance=1e-6)[1]
    assert len(trace) < 100
    assert np.diff(trace)[-1] < 1e-6 * len(x)


def test_the_prior_scales_with_the_data():
    prior = gm.default_prior(np.array([1.0, 2.0, 3.0]), np.array([4.0, 1.0, 0.0]), 8)
    scaled = gm.default_prior(np.array([10.0, 20.0, 30.0]), np.array([400.0, 100.0, 0.0]), 8)
    np.testing.assert_allclose(np.diag(prior.scatter), np.array([4.0, 1.0, 4.0]) / 8 ** (2 / 3))
    np.testing.assert_allclose(scaled.scatter, 100 * prior.scatter)
    assert prior.degrees_of_freedom > 3 - 1


@pytest.mark.parametrize("with_class_prior", [False, True])
def test_the_empirical_prior_is_the_best_by_the_bound(rng, with_class_prior):
    classes = np.repeat(np.arange(3), (300, 180, 120))
    shape = np.linalg.cholesky(np.eye(4) + 0.8 * (1.0 - np.eye(4)))
    x = (
        4.0 * np.eye(4)[classes]
        + (1.0 + 0.3 * classes[:, None]) * rng.normal(size=(600, 4)) @ shape.T
    )
    class_prior = 0.1 + 0.7 * np.eye(3)[classes] if with_class_prior else None
    default = prior_of(x)
    prior = gm.start(x, default, 3, log_prior=logs(class_prior), rng=0).prior
    bounds = []
    for p in (default, prior):
        state, trace, _ = gm.fit(x, p, log_prior=logs(class_prior), num_components=3, rng=0)
        bounds.append(trace[-1])
    assert bounds[1] > bounds[0] + 1.0
    sums = gm.statistics(prior, state, x, log_prior=logs(class_prior))
    here = gm.lower_bound(prior, state, sums, with_class_prior)
    covariance = prior.scatter / prior.degrees_of_freedom
    tilted = prior.scatter.copy()
    tilted[0, 1] = tilted[1, 0] = 0.8 * tilted[0, 1]
    for other in (
        *(prior._replace(scatter=change * prior.scatter) for change in (0.8, 1.25)),
        *(prior._replace(mean_precision=change * prior.mean_precision) for change in (0.8, 1.25)),
        *(
            prior._replace(degrees_of_freedom=freedom, scatter=freedom * covariance)
            for freedom in (0.8 * prior.degrees_of_freedom, 1.25 * prior.degrees_of_freedom)
        ),
        prior._replace(scatter=tilted),
        *(
            prior._replace(weight_concentration=change * prior.weight_concentration)
            for change in (0.8, 1.25)
            if not with_class_prior
        ),
    ):
        assert gm.lower_bound(other, state, sums, with_class_prior) < here


@pytest.mark.parametrize("num_features", [3, 160])  # two ways to the quadratic forms
def test_degrees_of_freedom_tell_shared_covariances_from_different_ones(rng, num_features):
    classes = np.arange(900) % 3
    noise = rng.normal(size=(900, num_features))
    distant = 30.0 * np.eye(num_features)[classes]
    alike = gm.start(distant + noise, prior_of(distant + noise), 3, n_init=2, rng=0).prior
    different = distant + noise * np.array([0.3, 1.0, 3.0])[classes, None]
    apart = gm.start(different, prior_of(different), 3, n_init=2, rng=0).prior
    assert num_features <= apart.degrees_of_freedom < 2 * num_features
    assert alike.degrees_of_freedom > 4 * num_features
    assert alike.degrees_of_freedom <= 900


def test_a_shared_covariance_is_estimated_from_all_components(rng):
    num_features, classes = 12, np.arange(120) % 4
    shape = rng.normal(size=(num_features, num_features)) / 3.0 + np.eye(num_features)
    covariance = shape @ shape.T
    x = 9.0 * np.eye(num_features)[classes] @ shape.T
    x += rng.normal(size=(120, num_features)) @ shape.T
    learned = gm.start(x, prior_of(x, 4), 4, rng=0).prior
    errors = []
    for prior in (learned, prior_of(x, 4)):
        state = gm.fit(x, prior, num_components=4, rng=0)[0]
        errors.append(np.linalg.norm(gm.covariances(state) - covariance, axis=(1, 2)).max())
    assert errors[0] < 0.6 * errors[1]


def test_even_weights_are_known_to_be_even(rng):
    learned = {}
    for name, sizes in {"even": (200, 200, 200), "uneven": (540, 40, 20)}.items():
        x = 9.0 * np.repeat(np.eye(3), sizes, axis=0) + rng.normal(size=(600, 3))
        learned[name] = gm.start(x, prior_of(x), 3, rng=0).prior.weight_concentration
        given = gm.start(x, prior_of(x), 3, rng=0, learn_weights=False).prior
        assert given.weight_concentration == 1.0
    assert learned["even"] > 20.0
    assert 1.0 <= learned["uneven"] < 2.0


def test_of_many_starts_the_best_is_taken(rng):
    x = rng.normal(size=(1500, 4)) + 4.0 * rng.normal(size=(15, 4))[np.arange(1500) % 15]
    prior = prior_of(x, 15)
    alone = [gm.start(x, prior, 15, n_init=1, rng=seed).bounds.item() for seed in range(5)]
    many = gm.start(x, prior, 15, rng=0)
    assert len(many.bounds) == 30
    assert many.bounds.max() > np.mean(alone) + 5.0
    assert many.bounds.max() > np.max(alone) - 1.0
    sums = gm.statistics(many.prior, many.state, x)
    assert gm.lower_bound(many.prior, many.state, sums) >= many.bounds.max() - 1e-6 * len(x)


def test_of_many_features_there_are_fewer_starts(rng, monkeypatch):
    numbers = [starts.num_starts(features) for features in (2, 150, 200, 500)]
    assert numbers == [30, 30, 17, 4]
    monkeypatch.setattr(starts, "CHEAP_FEATURES", 4)
    x = rng.normal(size=(20, 10))
    assert len(gm.start(x, prior_of(x, 2), 2, rng=0).bounds) == 5


def test_the_empirical_prior_scales_with_the_data(rng):
    x, _ = clusters(rng)
    here = gm.start(x, prior_of(x), 3, rng=0).prior
    there = gm.start(1e6 * x, prior_of(1e6 * x), 3, rng=0).prior
    np.testing.assert_allclose(there.scatter, 1e12 * here.scatter, rtol=1e-6)
    assert there.mean_precision == pytest.approx(here.mean_precision, rel=1e-6)
    assert there.degrees_of_freedom == pytest.approx(here.degrees_of_freedom, rel=1e-6)


def test_the_empirical_prior_does_not_collapse(rng):
    for x in (np.repeat(np.eye(3), 20, axis=0), np.zeros((10, 2)), np.ones((1, 2))):
        default = prior_of(x, 5)
        prior = gm.start(x, default, 5, rng=0).prior
        assert (np.linalg.eigvalsh(prior.scatter) > 1e-5 * np.diag(default.scatter).min()).all()
        assert prior.degrees_of_freedom >= x.shape[1]
        sound(gm.fit(x, prior, num_components=5, rng=0)[0], x)


def test_shapes_that_do_not_agree_are_refused(rng):
    x, _ = clusters(rng)
    prior = prior_of(x)
    with pytest.raises(ValueError, match=r"`variance`.*Received: variance of shape \(3, 4\)"):
        gm.fit(x, prior, variance=np.ones((3, 4)), num_components=3)
    with pytest.raises(ValueError, match="`log_prior`"):
        gm.fit(x, prior, log_prior=np.zeros((3, 4)))
    with pytest.raises(ValueError, match="`x`"):
        gm.fit(x[:, :3], prior, num_components=3)
    with pytest.raises(ValueError, match="one number of components"):
        gm.fit(x, prior)
    with pytest.raises(ValueError, match="one number of components"):
        gm.fit(x, prior, num_components=2, log_prior=np.zeros((len(x), 3)))


def test_beliefs_of_a_state_are_normal_wisharts(rng):
    x, _ = clusters(rng)
    prior = prior_of(x)
    state = some_state(rng, x, prior)
    assert nw.log_predictive(state.normal_wishart, x).shape == (len(x), 3)
    assert isinstance(prior.normal_wishart, nw.NormalWishart)
