"""log p(x) of a mixture under a Markov chain against the sum over all paths and classes."""

import itertools

import numpy as np
import pytest

import kserket as srk
from kserket import gmm, mlda, mm


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


def topics_over_mixtures(chain=False):
    """A graph of topics over two mixtures, with a chain above or not."""
    rng = np.random.default_rng(1)
    states = np.arange(60) // 4 % 2
    parts = [2.0 * states[:, None] * scale + rng.normal(size=(60, 2)) for scale in (1, -1)]
    mixtures = [gmm.GMM(k, itr=5, n_init=1, name=f"gmm_{k}", save_dir=None) for k in (2, 3)]
    for mixture, x in zip(mixtures, parts, strict=True):
        mixture.connect(srk.Observation(x, name=f"of_{mixture.name}"))
    top = mlda.MLDA(2, itr=10, alpha=0, save_dir=None)
    top.connect(*mixtures)
    if chain:
        above = mm.MarkovModel(itr=5, n_init=2, save_dir=None)
        above.connect(top)
        top = above
    graph = srk.Graph(top, seed=0)
    graph.fit(1, verbose=0)
    return graph, dict(zip(graph.observations, parts, strict=True))


def densities_of_topics(graph, data):
    """p(x of one sample in both mixtures | topic), (N, 2), summed over their classes."""
    result = 1.0
    for name, x, phi in zip(
        ("gmm_2", "gmm_3"), data.values(), graph["mlda"].model.topics, strict=True
    ):
        mixture = graph[name].model
        classes = [
            np.exp(mixture.log_likelihood(x, class_prior=np.tile(row, (len(x), 1))))
            for row in np.eye(mixture.num_components)
        ]
        result = result * (np.stack(classes, axis=1) @ np.asarray(phi).T)
    return result


def test_topics_over_mixtures_equal_enumeration():
    graph, data = topics_over_mixtures()
    part = {name: x[:7] for name, x in data.items()}
    expected = densities_of_topics(graph, part) @ graph["mlda"].model.topic_weights
    found = graph.evaluate(part)["log_likelihood"]
    np.testing.assert_allclose(found, np.log(expected).mean(), rtol=1e-9)


def test_a_chain_over_topics_equals_enumeration():
    graph, data = topics_over_mixtures(chain=True)
    part = {name: x[:5] for name, x in data.items()}
    densities, chain, total = densities_of_topics(graph, part), graph["mm"].model, 0.0
    for states in itertools.product(range(2), repeat=5):
        path = chain.initial_distribution[states[0]]
        path *= chain.transition_matrix[states[:-1], states[1:]].prod()
        total += path * (chain.reports[list(states)] * densities).sum(axis=1).prod()
    found = graph.evaluate(part)["log_likelihood"]
    np.testing.assert_allclose(5 * found, np.log(total), rtol=1e-9)


def test_a_modality_that_is_missing_is_summed_out():
    graph, data = topics_over_mixtures()
    part = {name: x[:4].copy() for name, x in data.items()}
    first, second = part
    part[second][[1, 3]] = np.nan
    found = graph.evaluate({**part})["log_likelihood"]
    alone = [1, 3]
    weights = graph["mlda"].model.topic_weights
    both = {name: x[[0, 2]] for name, x in part.items()}
    expected = np.log(densities_of_topics(graph, both) @ weights).sum()
    mixture, phi = graph["gmm_2"].model, np.asarray(graph["mlda"].model.topics[0])
    classes = [
        np.exp(mixture.log_likelihood(part[first][alone], class_prior=np.tile(row, (2, 1))))
        for row in np.eye(2)
    ]
    expected += np.log(np.stack(classes, axis=1) @ phi.T @ weights).sum()
    np.testing.assert_allclose(4 * found, expected, rtol=1e-9)


def test_topics_that_mix_have_none():
    x = np.random.default_rng(0).normal(size=(30, 2))
    gmm1, top = gmm.GMM(2, itr=3, save_dir=None), mlda.MLDA(2, itr=3, alpha=0.1, save_dir=None)
    gmm1.connect(srk.Observation(x))
    top.connect(gmm1)
    graph = srk.Graph(top, seed=0)
    graph.fit(1, verbose=0)
    assert graph["mlda"].model.is_mixed
    assert "log_likelihood" not in graph.evaluate(x)
