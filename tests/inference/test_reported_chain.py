"""Learning a chain from reports: against enumeration, and what it is for."""

import itertools

import numpy as np
import pytest

from kserket.inference import markov_chain, reported_chain
from kserket.inference.reported_chain import Prior, State


def make_state(rng, num_states, trust=3.0):
    return State(
        rng.dirichlet(np.ones(num_states)),
        rng.dirichlet(np.ones(num_states), size=num_states),
        np.stack([rng.dirichlet(1.0 + trust * row) for row in np.eye(num_states)]),
    )


def make_reports(rng, confusion, num_steps, sharpness=20.0):
    """A cycle through the states, and a reporter that is sure and often wrong."""
    states = np.arange(num_steps) % len(confusion)
    told = np.array([rng.choice(len(confusion), p=confusion[state]) for state in states])
    return states, sharpness * np.eye(len(confusion))[told]


def confusion_of_two():
    """Five states: 3 goes by the name of 2, and 4 by two names; 5 % of chance everywhere."""
    confusion = np.eye(5)
    confusion[3] = [0, 0, 1, 0, 0]
    confusion[4] = [0, 0, 0, 0.5, 0.5]
    return 0.95 * confusion + 0.01


def agreement(states, posterior):
    """Share of steps whose state is found, under the best numbering."""
    from scipy.optimize import linear_sum_assignment

    table = np.zeros((posterior.shape[1],) * 2)
    np.add.at(table, (states, posterior.argmax(axis=1)), 1)
    return table[linear_sum_assignment(table, maximize=True)].sum() / len(states)


def posterior_of(log_reported, state, lengths=None):
    evidence = reported_chain.state_evidence(log_reported, state.reports)
    return np.exp(
        markov_chain.smooth(evidence, state.initial, state.transitions, lengths).log_marginals
    )


def test_statistics_equal_enumeration():
    rng = np.random.default_rng(0)
    state = make_state(rng, 3)
    log_reported = 2.0 * rng.normal(size=(4, 3))
    log_prior = rng.normal(size=(4, 3))
    transitions, reports, total = np.zeros((3, 3)), np.zeros((3, 3)), 0.0
    for path in itertools.product(range(3), repeat=4):
        for classes in itertools.product(range(3), repeat=4):
            joint = state.initial[path[0]]
            joint *= np.exp(log_reported[range(4), classes] + log_prior[range(4), path]).prod()
            joint *= np.prod(state.transitions[path[:-1], path[1:]])
            joint *= np.prod(state.reports[path, classes])
            total += joint
            np.add.at(transitions, (path[:-1], path[1:]), joint)
            np.add.at(reports, (path, classes), joint)
    found = reported_chain.expect(log_reported, state, log_prior=log_prior)
    np.testing.assert_allclose(found.log_likelihood, np.log(total))
    np.testing.assert_allclose(found.transitions, transitions / total)
    np.testing.assert_allclose(found.reports, reports / total)


@pytest.mark.parametrize("trust", [10.0, np.inf])
def test_the_objective_never_falls(trust):
    rng = np.random.default_rng(1)
    _, log_reported = make_reports(rng, confusion_of_two(), 200, sharpness=3.0)
    prior = Prior(trust=trust)
    for _ in range(3):
        start = make_state(rng, 5)
        if np.isinf(trust):
            start = start._replace(reports=np.eye(5))
        objectives = reported_chain.climb(
            log_reported, start, prior, max_sweeps=40, tolerance=0.0
        ).objectives
        assert np.diff(objectives).min() > -1e-8


def test_statistics_of_parts_add_up():
    rng = np.random.default_rng(2)
    state, log_reported = make_state(rng, 4), rng.normal(size=(50, 4))
    whole = reported_chain.expect(log_reported, state, [20, 30])
    parts = reported_chain.merge(
        reported_chain.expect(log_reported[:20], state),
        reported_chain.expect(log_reported[20:], state),
    )
    for one, other in zip(whole[:-1], parts[:-1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)


def test_one_sweep_is_counts_plus_pseudo_counts():
    counts = np.array([[8.0, 0.0], [1.0, 3.0]])
    statistics = reported_chain.Statistics(np.array([1.0, 0.0]), counts, counts, 0.0)
    state = reported_chain.maximize(statistics, Prior(transitions=0.5, reports=1.0, trust=2.0))
    np.testing.assert_allclose(state.transitions, [[8.5 / 9, 0.5 / 9], [1.5 / 5, 3.5 / 5]])
    np.testing.assert_allclose(state.reports, [[11 / 12, 1 / 12], [2 / 8, 6 / 8]])
    np.testing.assert_allclose(state.initial, [2 / 3, 1 / 3])
    trusting = reported_chain.maximize(statistics, Prior(trust=np.inf))
    np.testing.assert_array_equal(trusting.reports, np.eye(2))


@pytest.mark.parametrize("seed", range(5))
def test_states_that_go_by_one_name_are_told_apart_by_their_order(seed):
    rng = np.random.default_rng(seed)
    states, log_reported = make_reports(rng, confusion_of_two(), 600)
    assert agreement(states, log_reported) < 0.85
    state = reported_chain.fit(log_reported, Prior(), rng=rng).state
    assert agreement(states, posterior_of(log_reported, state)) > 0.99
    # numbers are those of the classes wherever a class stands for one state
    posterior = posterior_of(log_reported, state).argmax(axis=1)
    assert all(np.mean(posterior[states == k] == k) > 0.95 for k in (0, 1))


def test_without_order_states_stay_the_reported_classes():
    rng = np.random.default_rng(3)
    _, log_reported = make_reports(rng, confusion_of_two(), 600)
    log_reported = rng.permutation(log_reported)
    state = reported_chain.fit(log_reported, Prior(), rng=rng).state
    posterior = posterior_of(log_reported, state)
    assert np.mean(posterior.argmax(axis=1) == log_reported.argmax(axis=1)) > 0.97


def test_infinite_trust_recovers_the_transitions_of_a_visible_chain():
    rng = np.random.default_rng(4)
    transitions = np.array([[0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.7, 0.2, 0.1]])
    states = markov_chain.sample(np.full(3, 1 / 3), transitions, [5000], rng)
    log_reported = 30.0 * np.eye(3)[states]
    fit = reported_chain.fit(log_reported, Prior(trust=np.inf), rng=rng)
    counts = markov_chain.count(states[None], 3).transitions + Prior().transitions
    np.testing.assert_allclose(
        fit.state.transitions, counts / counts.sum(axis=1, keepdims=True), atol=1e-6
    )
    assert fit.converged


def test_sampled_counts_learn_the_same_chain():
    rng = np.random.default_rng(5)
    _, log_reported = make_reports(rng, np.eye(3), 300, sharpness=4.0)
    start = reported_chain.trusting(3)
    options = {"prior": Prior(trust=np.inf), "max_sweeps": 20}
    exact = reported_chain.climb(log_reported, start, **options).state
    sampled = reported_chain.climb(log_reported, start, num_paths=100, rng=rng, **options).state
    np.testing.assert_allclose(sampled.transitions, exact.transitions, atol=0.02)


def test_a_class_prior_gives_states_their_numbers():
    rng = np.random.default_rng(6)
    states, log_reported = make_reports(rng, np.eye(4), 200)
    order = np.array([2, 0, 3, 1])
    log_prior = 3.0 * np.eye(4)[order[states]]
    state = reported_chain.fit(log_reported, Prior(), rng=rng, log_prior=log_prior).state
    evidence = reported_chain.state_evidence(log_reported, state.reports, log_prior)
    smoothed = markov_chain.smooth(evidence, state.initial, state.transitions)
    np.testing.assert_array_equal(smoothed.log_marginals.argmax(axis=1), order[states])


def test_rows_that_say_nothing_add_nothing_at_the_end():
    rng = np.random.default_rng(7)
    state, log_reported = make_state(rng, 3), rng.normal(size=(20, 3))
    padded = np.concatenate([log_reported, np.zeros((5, 3))])
    plain = reported_chain.expect(log_reported, state)
    more = reported_chain.expect(padded, state)
    np.testing.assert_allclose(more.log_likelihood, plain.log_likelihood)
    np.testing.assert_allclose(
        posterior_of(padded, state)[:20], posterior_of(log_reported, state), atol=1e-12
    )


def test_the_same_seed_learns_the_same():
    _, log_reported = make_reports(np.random.default_rng(8), confusion_of_two(), 200)
    one, other = (
        reported_chain.fit(log_reported, Prior(), rng=np.random.default_rng(0)).state
        for _ in range(2)
    )
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_more_states_than_steps():
    log_reported = 5.0 * np.eye(6)[[0, 1, 2]]
    state = reported_chain.fit(log_reported, Prior(), rng=np.random.default_rng(0)).state
    np.testing.assert_allclose(state.transitions.sum(axis=1), 1.0)
    np.testing.assert_array_equal(posterior_of(log_reported, state).argmax(axis=1), [0, 1, 2])
