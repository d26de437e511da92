"""A mixture and a chain learned together: exactness by enumeration, and what never falls."""

import itertools

import numpy as np
import pytest

from kserket.inference import joint_starts, mixture_chain, reported_chain
from kserket.inference.gaussian_mixture import learning
from kserket.inference.gaussian_mixture.data import Data

OPTIONS = learning.Options(3, n_init=1, tolerance=None)


def sequences(seed=0, num_steps=90, stay=0.9):
    """Steps of three overlapping classes that last, and the classes."""
    rng = np.random.default_rng(seed)
    states = np.zeros(num_steps, int)
    for t in range(1, num_steps):
        states[t] = states[t - 1] if rng.random() < stay else rng.integers(3)
    means = np.array([[0.0, 0.0], [1.5, 0.0], [0.0, 1.5]])
    return means[states] + rng.normal(size=(num_steps, 2)), states


def random_chain(rng):
    return reported_chain.State(
        rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(3), 3), rng.dirichlet(np.ones(3), 3)
    )


@pytest.mark.parametrize("with_prior", [False, True])
def test_classes_states_and_evidence_equal_enumeration(with_prior):
    rng = np.random.default_rng(1)
    chain, logs = random_chain(rng), 2 * rng.normal(size=(4, 3))
    log_prior = rng.normal(size=(4, 3)) if with_prior else np.zeros((4, 3))
    found = reported_chain.infer(logs, chain, None, log_prior if with_prior else None)
    classes, reports, pairs, total = np.zeros((4, 3)), np.zeros((3, 3)), np.zeros((3, 3)), 0.0
    steps = np.arange(4)
    for z in map(list, itertools.product(range(3), repeat=4)):
        for c in map(list, itertools.product(range(3), repeat=4)):
            weight = chain.initial[z[0]] * chain.transitions[z[:-1], z[1:]].prod()
            weight *= chain.reports[z, c].prod()
            weight *= np.exp(logs[steps, c].sum() + log_prior[steps, z].sum())
            total += weight
            classes[steps, c] += weight
            np.add.at(reports, (z, c), weight)
            np.add.at(pairs, (z[:-1], z[1:]), weight)
    np.testing.assert_allclose(found.statistics.log_likelihood, np.log(total), rtol=1e-12)
    np.testing.assert_allclose(found.classes, classes / total, atol=1e-12)
    np.testing.assert_allclose(found.statistics.reports, reports / total, atol=1e-12)
    np.testing.assert_allclose(found.statistics.transitions, pairs / total, atol=1e-12)


@pytest.mark.parametrize("trust", [3.0, np.inf])
@pytest.mark.parametrize("case", ["one", "lengths", "missing", "prior"])
def test_the_bound_never_falls(trust, case):
    x, _ = sequences()
    missing = np.arange(90) % 7 == 3 if case == "missing" else None
    lengths = np.array([30, 1, 59]) if case == "lengths" else None
    log_prior = np.random.default_rng(0).normal(size=(90, 3)) if case == "prior" else None
    order = mixture_chain.Order(reported_chain.Prior(trust=trust), None, lengths, log_prior, 4)
    bounds = []
    found, fit = mixture_chain.learn(
        Data(x, missing=missing, log_prior=log_prior),
        OPTIONS,
        order,
        rng=np.random.default_rng(0),
        num_sweeps=12,
        callback=lambda sweep, total, bound, reach: bounds.append(bound),
    )
    assert len(bounds) == 12
    assert np.diff(bounds).min() > -1e-8
    assert found.figure == fit.bound == bounds[-1]


def test_a_worse_start_never_wins():
    x, _ = sequences(1)
    bounds = []
    for n_init in (1, 6, 20):
        order = mixture_chain.Order(reported_chain.Prior(trust=np.inf), n_init=n_init)
        _, fit = mixture_chain.learn(Data(x), OPTIONS, order, rng=np.random.default_rng(2))
        bounds.append(fit.bound)
    assert bounds[0] <= bounds[1] + 1e-3 and bounds[1] <= bounds[2] + 1e-3


def test_zero_transitions_stay_zero_and_states_go_up():
    x, _ = sequences()
    states = np.repeat([0, 1, 2, 0, 1, 2], 15)
    x = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])[states] + 0.5 * x
    allowed = np.triu(np.ones((3, 3), bool)) & ~np.triu(np.ones((3, 3), bool), 2)
    prior = reported_chain.Prior(trust=np.inf, allowed=allowed)
    order = mixture_chain.Order(prior, lengths=np.array([45, 45]), n_init=6)
    _, fit = mixture_chain.learn(Data(x), OPTIONS, order, rng=np.random.default_rng(0))
    assert (fit.chain.transitions[~allowed] == 0).all()
    order = np.argsort(fit.mixture.mean @ [1.0, 2.0])  # (0, 0), (3, 0), (0, 3)
    np.testing.assert_array_equal(order, [0, 1, 2])


def test_more_steps_than_starts_are_made_from(monkeypatch):
    monkeypatch.setattr(mixture_chain, "MAX_START_STEPS", 1000)
    x, _ = sequences(num_steps=3000)
    missing = np.zeros(3000, bool)
    missing[::5] = True
    lengths = np.array([700, 1300, 1000])
    data = Data(x, missing=missing)
    few, order = mixture_chain._pieces(
        data, mixture_chain.Order(reported_chain.Prior(), lengths=lengths)
    )
    assert len(few.x) == 1000 == order.lengths.sum() and few.missing.dtype == bool
    assert len(order.lengths) >= 10
    order = mixture_chain.Order(reported_chain.Prior(trust=np.inf), lengths=lengths, n_init=3)
    _, fit = mixture_chain.learn(data, OPTIONS, order, rng=np.random.default_rng(0), num_sweeps=2)
    np.testing.assert_allclose(fit.statistics.transitions.sum(), 2997)


@pytest.mark.parametrize("allowed", [None, "left-right", "ring"])
def test_starts_are_probabilities_within_their_sequences(allowed):
    rng = np.random.default_rng(0)
    x, lengths = rng.normal(size=(80, 2)), np.array([1, 30, 2, 47])
    steps = np.eye(4, dtype=bool)
    mask = {
        None: None,
        "left-right": steps | np.roll(steps, 1, 1) & ~np.tri(4, dtype=bool),
        "ring": steps | np.roll(steps, 1, 1),
    }[allowed]
    guesses = list(joint_starts.starts(x, 4, 13, rng, lengths=lengths, allowed=mask))
    assert len(guesses) == 13
    for classes, transitions in guesses:
        np.testing.assert_allclose(classes.sum(axis=1), 1)
        if transitions is not None:
            np.testing.assert_allclose(transitions.sum(axis=1), 1)


def test_segments_never_cross_sequences():
    rng = np.random.default_rng(0)
    lengths = np.array([1, 30, 2, 47])
    sequence = np.repeat(np.arange(4), lengths)
    for _ in range(20):
        segment, number = joint_starts._cut(lengths, rng)
        assert segment.max() + 1 == number
        assert all(len(np.unique(sequence[segment == s])) == 1 for s in range(number))


def test_a_prior_that_decides_gives_classes_their_numbers():
    x, states = sequences(stay=0.8)
    log_prior = np.log(0.9 * np.eye(3)[states] + 0.1 / 3)
    order = mixture_chain.Order(reported_chain.Prior(trust=np.inf), log_prior=log_prior)
    found, _ = mixture_chain.learn(Data(x), OPTIONS, order, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(np.argsort(found.state.mean @ [1.0, 2.0]), [0, 1, 2])


def test_the_prior_that_is_given_is_kept():
    x, _ = sequences()
    options = OPTIONS._replace(hyper_parameters={"mean_precision": 0.5})
    order = mixture_chain.Order(reported_chain.Prior(trust=np.inf), n_init=2)
    found, _ = mixture_chain.learn(Data(x), options, order, rng=np.random.default_rng(0))
    assert found.prior.mean_precision == 0.5 and found.prior.degrees_of_freedom == 4.0


def test_classes_of_reports_that_say_nothing_else():
    """A report of one class alone, under reports of zero, is no division by zero."""
    chain = reported_chain.trusting(2)
    found = reported_chain.infer(np.array([[0.0, -800.0], [-800.0, 0.0]]), chain)
    np.testing.assert_allclose(found.classes, np.eye(2), atol=1e-300)
