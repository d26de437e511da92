"""`TtoT` and `NamingGame` in graphs of mixtures."""

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk
from kserket import gmm, mlda, tt
from kserket.inference import experts, naming_game

N = 300


def blind_to_a_pair(seed, num_samples=N):
    """What two agents see of five classes; each is nearly blind to another pair of them."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_samples) % 5
    means_a = np.array([[0, 0], [0.8, 0.4], [6, 6], [-6, 6], [6, -6]])
    means_b = np.array([[0, 0], [6, 6], [-6, 6], [6, -6], [6.8, -5.6]])
    noise = rng.normal(size=(2, num_samples, 2))
    return means_a[labels] + noise[0], means_b[labels] + noise[1], labels


def agents(node, seed=0, gaps=()):
    """A graph of two mixtures under `node`; `gaps` are rows that the second one has not seen."""
    a, b, labels = blind_to_a_pair(seed)
    b = b.copy()
    b[list(gaps)] = np.nan
    mixtures = [gmm.GMM(5, itr=1, name=name, save_dir=None) for name in ("anna", "ben")]
    for mixture, x in zip(mixtures, (a, b), strict=True):
        mixture.connect(srk.Observation(x, name=f"seen_by_{mixture.name}", allow_missing=True))
    node.labels = labels
    node.connect(*mixtures)
    return srk.Graph(node, seed=seed)


def sources(*messages):
    nodes = []
    for message in messages:
        node = srk.Module("source")
        node.set_forward_msg(message)
        nodes.append(node)
    return nodes


def test_talking_tells_what_no_agent_sees():
    graph = agents(tt.NamingGame(itr=5, save_dir=None))
    history = graph.fit(rounds=25, verbose=0).history
    assert history["naming/sign_ari"][-1] > 0.9
    assert history["naming/own_agreement"][-1] < 0.8 < history["naming/agreement"][-1]


def test_the_product_tells_it_too():
    graph = agents(tt.TtoT(save_dir=None))
    assert graph.fit(rounds=15, verbose=0).history["tt/ari"][-1] > 0.9


def test_one_agent_alone_names_new_data():
    graph = agents(tt.NamingGame(itr=5, save_dir=None))
    graph.fit(rounds=10, verbose=0)
    a, b, labels = blind_to_a_pair(9)
    together = graph.predict({"seen_by_anna": a, "seen_by_ben": b})
    alone = graph.predict({"seen_by_ben": b})
    assert together.shape == alone.shape == (N, 5)
    right = srk.metrics.clustering_accuracy
    assert right(labels, together.argmax(1)) > right(labels, alone.argmax(1)) > 0.6
    named = graph.generate(4, component=2, seed=0)
    assert {name: part.shape for name, part in named.items()} == {
        "seen_by_anna": (4, 2),
        "seen_by_ben": (4, 2),
    }


def test_each_expert_hears_the_others_in_its_own_numbers():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(3, 0.3), size=(3, 50))
    probs[1:] = 0.5 * probs[1:] + 0.5 * probs[0]
    order = np.array([2, 0, 1])
    below = sources(probs[0], probs[1][:, order], probs[2])
    node = tt.TtoT(smoothing=0, save_dir=None)
    node.connect(*below)
    node.update()
    inverse = np.argsort(node.model.numbering[0])
    assert_array_equal(inverse[node.model.numbering[1]], np.argsort(order))
    for m in range(3):
        product = np.prod(np.delete(probs, m, axis=0), axis=0)
        product /= product.sum(axis=1, keepdims=True)
        expected = product[:, order] if m == 1 else product
        assert_allclose(below[m].get_backward_msg(), expected, rtol=1e-9)
    everything = np.prod(probs, axis=0)[:, node.model.numbering[0]]
    assert_allclose(node.posterior, everything / everything.sum(1, keepdims=True), rtol=1e-9)


def test_what_no_agent_has_seen_has_no_sign():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(3), size=(2, 20))
    probs[:, 4] = np.nan
    probs[1, 7] = np.nan
    node = tt.NamingGame(itr=3, category=np.arange(20) % 3, save_dir=None, seed=0)
    node.connect(*sources(*probs))
    node.update()
    assert_array_equal(np.flatnonzero(node.signs == -1), [4])
    assert_allclose(node.posterior[4], 1 / 3)
    assert_array_equal(np.flatnonzero(node.get_forward_msg().missing), [4])


def test_an_agent_hears_the_sign_that_it_knows_by_another_number():
    probs = np.repeat(np.eye(3), 10, axis=0) * 0.94 + 0.02
    below = sources(probs, probs[:, [1, 2, 0]])
    node = tt.NamingGame(save_dir=None, seed=0)
    node.connect(*below)
    node.update()
    for source in below:
        told = np.asarray(source.get_backward_msg()).argmax(axis=1)
        assert_array_equal(told, np.asarray(source.get_forward_msg()).argmax(axis=1))


@pytest.mark.parametrize("protocol", naming_game.PROTOCOLS)
def test_a_game_goes_on_from_a_file_as_if_nothing_had_been(protocol, tmp_path):
    graph = agents(tt.NamingGame(itr=2, protocol=protocol, save_dir=None), gaps=[3, 50])
    graph.fit(rounds=2, verbose=0)
    graph.save(tmp_path / "game.kserket")
    again = srk.load_graph(tmp_path / "game.kserket")
    for each in (graph, again):
        each.fit(rounds=2, verbose=0)
    assert_array_equal(graph["naming"].signs, again["naming"].signs)
    assert_array_equal(graph["naming"].posterior, again["naming"].posterior)
    hears = graph["anna"].get_backward_msg() is not None
    assert hears == (protocol != "none")


def test_agents_are_matched_to_signs_that_exist():
    rng = np.random.default_rng(0)
    words = rng.integers(3, size=60)
    words[:5] = naming_game.UNNAMED
    probs = 0.9 * np.eye(3)[words] + 1 / 30
    node = tt.NamingGame(itr=2, save_dir=None, seed=0)
    node.connect(*sources(probs[:, [1, 2, 0]], probs[:, [2, 0, 1]]))
    node.signs = words
    node.update()
    assert_array_equal(node.model.numbering, [[2, 0, 1], [1, 2, 0]])
    assert (node.signs[5:] == words[5:]).mean() > 0.8
    assert (node.signs[:5] >= 0).all()


@pytest.mark.parametrize("signs", [[0, 1], np.zeros(5), [0, 1, 2, 0, 1], [0, -2, 1, 0, 1]])
def test_signs_that_do_not_fit(signs):
    node = tt.NamingGame(save_dir=None)
    node.connect(*sources(np.full((5, 2), 0.5), np.full((5, 2), 0.5)))
    node.signs = signs
    with pytest.raises(ValueError, match=r"signs of module000_naming.*\(5,\), from 0 to 1"):
        node.update()
    assert node.model is None and node.signs is signs


def test_any_graph_that_ends_in_a_classifier_is_an_agent():
    a, b, labels = blind_to_a_pair(0)
    alone = gmm.GMM(5, itr=1, name="anna", save_dir=None)
    alone.connect(srk.Observation(a))
    senses = [gmm.GMM(5, itr=1, name=f"sense{i}", save_dir=None) for i in range(2)]
    for sense in senses:
        sense.connect(srk.Observation(b + np.random.default_rng(1).normal(size=b.shape)))
    topics = mlda.MLDA(5, itr=20, name="ben", save_dir=None)
    topics.connect(*senses)
    words = srk.Module("own")
    words.set_forward_msg(0.5 * np.eye(5)[labels // 2 * 2 % 5] + 0.1)
    node = tt.NamingGame(itr=5, category=labels, save_dir=None)
    node.connect(alone, topics, words)
    history = srk.Graph(node, seed=0).fit(rounds=6, verbose=0).history
    assert history["naming/sign_ari"][-1] > max(
        history[f"naming/{name}_ari"][0] for name in ("anna", "ben", "own")
    )
    assert senses[0].get_backward_msg() is not None


def test_each_agent_imagines_what_a_sign_means_to_it():
    graph = agents(tt.NamingGame(itr=5, save_dir=None))
    graph.fit(rounds=15, verbose=0)
    a, b, _ = blind_to_a_pair(0)
    for sign in range(5):
        chosen = graph["naming"].signs == sign
        imagined = graph.generate(500, component=sign, seed=1)
        for view, name in ((a, "seen_by_anna"), (b, "seen_by_ben")):
            assert_allclose(imagined[name].mean(axis=0), view[chosen].mean(axis=0), atol=0.4)


def test_other_samples_are_named_anew():
    graph = agents(tt.NamingGame(itr=2, save_dir=None))
    graph.fit(rounds=1, verbose=0)
    a, b, labels = blind_to_a_pair(5, num_samples=40)
    graph["naming"].labels = labels
    graph["seen_by_anna"].set_data(a)
    graph["seen_by_ben"].set_data(b)
    assert graph["naming"].signs is None
    graph.fit(rounds=1, verbose=0)
    assert graph["naming"].signs.shape == (40,)


@pytest.mark.parametrize(
    "inputs, said",
    [
        ([np.full((5, 2), 0.5)], "two modules or more"),
        ([np.full((5, 2), 0.5), np.full((5, 3), 1 / 3)], "equal numbers of classes.*2 by.*3 by"),
        ([np.full((5, 2), 0.5), np.full((5, 2), 0.7)], "class probabilities.*module001_source"),
    ],
)
@pytest.mark.parametrize("make", [tt.TtoT, tt.NamingGame])
def test_what_cannot_be_joined(make, inputs, said):
    node_inputs = sources(*inputs)
    node = make(save_dir=None)
    node.connect(*node_inputs)
    with pytest.raises(ValueError, match=said):
        node.update()


def test_options_are_checked():
    with pytest.raises(ValueError, match="protocol.*'metropolis'"):
        tt.NamingGame(protocol="shout")
    with pytest.raises(ValueError, match="smoothing"):
        tt.TtoT(smoothing=-1)
    node = tt.NamingGame(4, save_dir=None)
    node.connect(*sources(np.full((5, 2), 0.5), np.full((5, 2), 0.5)))
    with pytest.raises(ValueError, match="K=4.*2 classes"):
        node.update()


@pytest.mark.parametrize("make", [tt.TtoT, tt.NamingGame])
def test_served_as_predicted(make, tmp_path):
    import tensorflow as tf

    graph = agents(make(save_dir=None), gaps=[3, 50])
    graph.fit(rounds=2, verbose=0)
    a, b, _ = blind_to_a_pair(9, num_samples=30)
    a[4], b[7], a[9], b[9] = np.nan, np.nan, np.nan, np.nan
    expected = graph.predict({"seen_by_anna": a, "seen_by_ben": b}, tolerance=1e-10)
    assert graph.program.is_compiled
    assert_allclose(expected[9], graph.predict({"seen_by_anna": a[9:10]})[0], atol=1e-6)
    graph.export(tmp_path / "served", dtype="float64")
    served = tf.saved_model.load(str(tmp_path / "served")).signatures["classify"]
    answer = served(seen_by_anna=tf.constant(a), seen_by_ben=tf.constant(b))
    assert_allclose(next(iter(answer.values())).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("num_experts", [1, 2, 4])
@pytest.mark.parametrize("has_prior", [False, True])
@pytest.mark.parametrize("kind", [np.asarray, tf.constant])
def test_joined_experts_are_multiplied_class_by_class(num_experts, has_prior, kind):
    rng = np.random.default_rng(num_experts)
    densities = rng.gamma(0.5, size=(num_experts, 6, 3)) + 1e-3
    prior = rng.dirichlet(np.ones(3), 6) if has_prior else np.ones((6, 3))
    logs = [kind(part) for part in np.log(densities)]
    found = experts.conclude(logs, kind(np.log(prior)) if has_prior else None)
    evidence, posterior = np.ones((6, 3)), np.ones((6, 3))
    heard = np.ones((num_experts, 6, 3))
    for n in range(6):  # written out in probabilities
        for c in range(3):
            for m in range(num_experts):
                evidence[n, c] *= densities[m, n, c]
                heard[m, n, c] = prior[n, c]
                for other in range(num_experts):
                    heard[m, n, c] *= densities[other, n, c] if other != m else 1.0
            posterior[n, c] = evidence[n, c] * prior[n, c]
    np.testing.assert_allclose(np.exp(found[0]), evidence, rtol=1e-10)
    np.testing.assert_allclose(np.exp(found[1]), posterior, rtol=1e-10)
    np.testing.assert_allclose([np.exp(part) for part in found[2]], heard, rtol=1e-10)
