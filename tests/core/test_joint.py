"""log p(x) of a mixture under a Markov chain against the sum over all paths and classes."""

import itertools

import numpy as np
import pytest

import kserket as srk
from kserket import gmm, mm


def chain_over_mixture(trust=10.0, lengths=None, power_transform=False, **options):
    """A graph that learned 80 steps of three states."""
    rng = np.random.default_rng(0)
    states = np.arange(80) // 3 % 3
    x = 1.5 * np.array([[0, 0], [1, 0], [0, 1]])[states] + rng.normal(size=(80, 2))
    gmm1 = gmm.GMM(3, itr=5, n_init=1, power_transform=power_transform, save_dir=None)
    mm1 = mm.MarkovModel(itr=5, n_init=2, trust=trust, lengths=lengths, save_dir=None, **options)
    gmm1.connect(srk.Observation(x, allow_missing=True))
    mm1.connect(gmm1)
    graph = srk.Graph(mm1, seed=0)
    graph.fit(rounds=1, verbose=0)
    return graph, x


def enumerated(graph, x):
    """log p(x) of one sequence: sum over states and classes of every step."""
    mixture, chain = graph["gmm"].model, graph["mm"].model
    seen = ~np.isnan(x).any(axis=1)
    densities = np.ones((len(x), 3))
    for k, alone in enumerate(np.eye(3)):
        prior = np.tile(alone, (seen.sum(), 1))
        densities[seen, k] = np.exp(mixture.log_likelihood(x[seen], class_prior=prior))
    total = 0.0
    for states in itertools.product(range(3), repeat=len(x)):
        path = chain.initial_distribution[states[0]]
        path *= chain.transition_matrix[states[:-1], states[1:]].prod()
        total += path * (chain.reports[list(states)] * densities).sum(axis=1).prod()
    return np.log(total)


@pytest.mark.parametrize("trust", [10.0, np.inf])
@pytest.mark.parametrize("power_transform", [False, True])
def test_a_chain_over_a_mixture_equals_enumeration(trust, power_transform):
    graph, x = chain_over_mixture(trust, power_transform=power_transform)
    for part in (x[:1], x[2:7]):
        found = graph.evaluate(part)["log_likelihood"]
        np.testing.assert_allclose(found * len(part), enumerated(graph, part), rtol=1e-9)


def test_missing_steps_are_summed_out():
    graph, x = chain_over_mixture()
    part = x[:5].copy()
    part[[1, 4]] = np.nan
    found = graph.evaluate(part)["log_likelihood"]
    np.testing.assert_allclose(3 * found, enumerated(graph, part), rtol=1e-9)


def test_sequences_add_up():
    graph, x = chain_over_mixture(lengths=[40, 40])
    graph["mm"].lengths = [5, 4]
    found = graph.evaluate(x[:9])["log_likelihood"]
    expected = enumerated(graph, x[:5]) + enumerated(graph, x[5:9])
    np.testing.assert_allclose(9 * found, expected, rtol=1e-9)


def test_transitions_that_cannot_happen():
    graph, x = chain_over_mixture(allowed_transitions=[[1, 1, 0], [0, 1, 1], [1, 0, 1]])
    found = graph.evaluate(x[:5])["log_likelihood"]
    np.testing.assert_allclose(5 * found, enumerated(graph, x[:5]), rtol=1e-9)


def test_graphs_of_other_kinds_have_none():
    gmm1 = gmm.GMM(2, itr=5, save_dir=None)
    x = np.random.default_rng(0).normal(size=(30, 2))
    gmm1.connect(srk.Observation(x))
    graph = srk.Graph(gmm1, seed=0)
    graph.fit(1, verbose=0)
    assert "log_likelihood" not in graph.evaluate(x)
    gmm2 = gmm.GMM(2, itr=5, name="above", save_dir=None)
    gmm2.connect(gmm1)
    graph = srk.Graph(gmm2, seed=0)
    graph.fit(1, verbose=0)
    assert "log_likelihood" not in graph.evaluate(x)
