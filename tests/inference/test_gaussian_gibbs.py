"""The collapsed sampler against enumeration of all assignments, compiled and not."""

import itertools
import sys

import numpy as np
import pytest
from scipy.special import gammaln, logsumexp

from kserket.inference import gaussian_gibbs as gg
from kserket.inference import gaussian_gibbs_scan as scan
from kserket.inference import gaussian_mixture as gm
from kserket.inference import normal_wishart as nw


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture(params=["numba", "numpy"])
def backend(request, monkeypatch):
    """With numba, and as for those who do not have it."""
    if request.param == "numba":
        pytest.importorskip("numba")
    else:
        scan._compile.cache_clear()
        monkeypatch.setitem(sys.modules, "numba", None)
    yield request.param
    if request.param == "numpy":
        scan._compile.cache_clear()


def clusters(rng, num_samples=60, num_components=3, num_features=2, distance=2.0):
    angles = 2 * np.pi * np.arange(num_components) / num_components
    centers = np.zeros((num_components, num_features))
    centers[:, :2] = distance * np.c_[np.cos(angles), np.sin(angles)]
    classes = np.arange(num_samples) % num_components
    return centers[classes] + rng.normal(size=(num_samples, num_features)), classes


def prior_of(x, num_components=3):
    return gm.default_prior(x.mean(0), x.var(0), num_components)


def enumerated_log_joint(prior, x, assignments, num_components, class_prior):
    """p(z) p(x | z), the likelihood as a product of Student-t predictives in order."""
    total = 0.0
    for k in range(num_components):
        belief = prior.normal_wishart
        for datum in x[assignments == k]:
            total += nw.log_predictive(belief, datum[None])[0, 0]
            y = datum - belief.mean[0]
            belief = nw.update(belief, np.ones(1), y[None], np.outer(y, y)[None])
    if class_prior is not None:
        return total + np.log(class_prior[np.arange(len(x)), assignments]).sum()
    alpha = prior.weight_concentration
    counts = np.bincount(assignments, minlength=num_components)
    total += gammaln(alpha * num_components) - gammaln(alpha * num_components + len(x))
    return total + (gammaln(counts + alpha) - gammaln(alpha)).sum()


@pytest.mark.parametrize("with_class_prior", [False, True])
def test_log_joint_equals_the_product_of_predictives(rng, with_class_prior):
    x, _ = clusters(rng, 12)
    class_prior = rng.dirichlet(np.ones(3), 12) if with_class_prior else None
    prior = prior_of(x)._replace(weight_concentration=0.6)
    assignments = rng.integers(0, 3, 12)
    expected = enumerated_log_joint(prior, x, assignments, 3, class_prior)
    assert gg.log_joint(
        prior, x, assignments, 3, None if class_prior is None else np.log(class_prior)
    ) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("with_class_prior", [False, True])
def test_conditionals_equal_enumeration(rng, backend, with_class_prior):
    """The class of the first datum changes exactly where its cumulative conditionals say."""
    x, _ = clusters(rng, 5, distance=1.0)
    prior = prior_of(x)._replace(weight_concentration=0.6, mean_precision=0.3)
    class_prior = rng.dirichlet(np.ones(3), 5) if with_class_prior else None
    log_prior = None if class_prior is None else np.log(class_prior)
    run = scan.scanner()
    for others in itertools.product(range(3), repeat=4):
        joint = [
            enumerated_log_joint(prior, x, np.array([k, *others]), 3, class_prior) for k in range(3)
        ]
        thresholds = np.cumsum(np.exp(joint - logsumexp(joint)))[:2]
        for k, threshold in enumerate(thresholds):
            for old in range(3):
                for side, expected in ((-1e-9, k), (1e-9, k + 1)):
                    assignments = np.array([old, *others])
                    chain = scan.start(x - prior.mean, prior, assignments, log_prior, 3)
                    run(chain, np.r_[threshold + side, np.full(4, 0.5)])
                    assert chain.assignments[0] == expected


def test_the_chain_visits_assignments_as_often_as_they_are_probable(rng):
    pytest.importorskip("numba")
    x = np.array([[0.0], [0.3], [2.0], [2.2]])
    prior = prior_of(x, 2)
    every = list(itertools.product(range(2), repeat=4))
    joint = np.array([gg.log_joint(prior, x, np.array(z), 2) for z in every])
    probabilities = np.exp(joint - logsumexp(joint))
    visits = np.zeros(16)

    chain = scan.start(x - prior.mean, prior, np.zeros(4, int), None, 2)
    run = scan.scanner()
    for _ in range(20_000):
        run(chain, rng.random(4))
        visits[int("".join(map(str, chain.assignments)), 2)] += 1
    np.testing.assert_allclose(visits / visits.sum(), probabilities, atol=0.02)


def test_both_ways_walk_the_same_chain(rng, monkeypatch):
    pytest.importorskip("numba")
    x, _ = clusters(rng, 90, num_features=5, distance=1.0)
    class_prior = rng.dirichlet(np.ones(7), len(x))
    arguments = {"x": x, "prior": prior_of(x, 7), "num_sweeps": 12, "num_components": 7}
    for messages in ({}, {"log_prior": np.log(class_prior)}):
        fast, fast_trace = gg.sample(rng=4, **arguments, **messages)
        with monkeypatch.context() as patch:
            patch.setattr(scan, "scanner", lambda: scan._scan_in_numpy)
            slow, slow_trace = gg.sample(rng=4, **arguments, **messages)
        np.testing.assert_array_equal(fast.assignments, slow.assignments)
        np.testing.assert_allclose(fast_trace, slow_trace, rtol=1e-9)


def test_what_is_carried_along_stays_true(rng, backend):
    x, _ = clusters(rng, distance=1.0)
    prior = prior_of(x)
    state, trace = gg.sample(x, prior, 9, rng=0, num_components=3)
    assert len(trace) == 9
    np.testing.assert_array_equal(state.counts, np.bincount(state.assignments, minlength=3))
    expected = gg.log_joint(prior, x, state.assignments, 3)
    assert state.log_joint == pytest.approx(expected, rel=1e-9)
    assert trace[-1] == state.log_joint


def test_clusters_are_found_and_the_chain_goes_on(rng, backend):
    x, classes = clusters(rng, distance=10.0)
    prior = prior_of(x)
    state, _ = gg.sample(x, prior, 5, rng=0, num_components=3)
    assert len(set(zip(state.assignments, classes, strict=True))) == 3
    more, _ = gg.sample(x, prior, 5, rng=1, assignments=state.assignments, num_components=3)
    np.testing.assert_array_equal(more.assignments, state.assignments)
    none, trace = gg.sample(x, prior, 0, rng=1, assignments=classes, num_components=3)
    np.testing.assert_array_equal(none.assignments, classes)
    assert len(trace) == 0
    assert none.log_joint == pytest.approx(gg.log_joint(prior, x, classes, 3), rel=1e-9)


def test_a_class_prior_of_certainty_pins_the_classes(rng, backend):
    x, _ = clusters(rng)
    classes = rng.integers(0, 3, len(x))
    state, _ = gg.sample(
        x, prior_of(x), 3, rng=0, log_prior=np.where(np.eye(3)[classes] > 0, 0.0, -np.inf)
    )
    np.testing.assert_array_equal(state.assignments, classes)


def test_a_start_under_a_class_prior_keeps_its_ids(rng, backend):
    x, classes = clusters(rng, distance=10.0)
    guess = np.where(rng.random(len(x)) < 0.6, classes, rng.integers(0, 3, len(x)))
    state, _ = gg.sample(x, prior_of(x), 10, rng=0, log_prior=np.log(0.1 + 0.7 * np.eye(3)[guess]))
    assert (state.assignments == classes).mean() > 0.98


def test_an_emptied_class_can_fill_again(rng, backend):
    x, _ = clusters(rng, distance=3.0)
    start = np.zeros(len(x), int)
    state, _ = gg.sample(x, prior_of(x), 60, rng=0, assignments=start, num_components=3)
    assert (state.counts > 0).all()


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(np.repeat(np.eye(3), 8, axis=0), id="duplicates"),
        pytest.param(np.eye(3), id="fewer data than components"),
        pytest.param(np.array([[0.1, 0.2, 0.7]]), id="one datum"),
        pytest.param(np.zeros((10, 2)), id="all zero"),
        pytest.param(np.c_[np.arange(20.0), np.arange(20.0)], id="a repeated feature"),
        pytest.param(np.r_[np.arange(40.0).reshape(20, 2), [[1e9, 0.0]]], id="an outlier"),
        pytest.param(1e6 * np.arange(40.0).reshape(20, 2), id="large units"),
        pytest.param(1e-6 * np.arange(40.0).reshape(20, 2), id="small units"),
    ],
)
def test_awkward_data(x, backend):
    prior = gm.default_prior(np.median(x, axis=0), np.median((x - np.median(x)) ** 2, axis=0), 5)
    state, trace = gg.sample(x, prior, 12, rng=0, num_components=5)
    assert np.isfinite(trace).all()
    expected = gg.log_joint(prior, x, state.assignments, 5)
    assert state.log_joint == pytest.approx(expected, rel=1e-6)
    posterior = gg.posterior_state(prior, x, state.assignments, 5)
    np.linalg.cholesky(posterior.scatter)
    assert np.isfinite(gg.log_predictive(posterior, x)).all()


def test_posterior_given_the_classes_is_the_conjugate_one(rng):
    x, classes = clusters(rng)
    prior = prior_of(x, 4)
    state = gg.posterior_state(prior, x, classes, 4)
    np.testing.assert_allclose(state.weight_concentration, [21, 21, 21, 1])
    for k in range(3):
        y = x[classes == k] - prior.mean
        belief = nw.update(prior.normal_wishart, np.array([20.0]), y.sum(0)[None], (y.T @ y)[None])
        for field, expected in zip(state[1:], belief, strict=True):
            np.testing.assert_allclose(field[k], expected[0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        gg.log_predictive(state, x), nw.log_predictive(state.normal_wishart, x)
    )


def test_the_callback_sees_every_sweep_and_may_stop(rng):
    x, _ = clusters(rng)
    seen = []

    def callback(sweep, num_sweeps, value, reached):
        seen.append((sweep, num_sweeps, value, reached))
        if sweep == 3:
            raise StopIteration

    state, trace = gg.sample(x, prior_of(x), 9, rng=0, num_components=3, callback=callback)
    assert [row[:2] for row in seen] == [(1, 9), (2, 9), (3, 9)]
    np.testing.assert_array_equal(trace, [row[2] for row in seen])
    assert state.log_joint == trace[-1] == seen[-1][3].log_joint
    np.testing.assert_array_equal(seen[-1][3].assignments, state.assignments)


def test_arguments_that_do_not_agree_are_refused(rng):
    x, classes = clusters(rng)
    prior = prior_of(x)
    with pytest.raises(ValueError, match="number of components"):
        gg.sample(x, prior)
    with pytest.raises(ValueError, match=r"`x`.*Received: x of shape \(60, 1\)"):
        gg.sample(x[:, :1], prior, num_components=3)
    with pytest.raises(ValueError, match="`log_prior`"):
        gg.sample(x, prior, log_prior=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="one class for each"):
        gg.sample(x, prior, assignments=classes[:5], num_components=3)
    with pytest.raises(ValueError, match="from 0 to 1"):
        gg.sample(x, prior, assignments=classes, num_components=2)
