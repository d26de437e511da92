"""`MarkovModel(joint=True)`: mixture and chain learn together in a graph."""

import numpy as np
import pytest

import kserket as srk
from kserket import gmm, mlda, mm
from kserket.core.beliefs import pass_messages
from kserket.core.prediction import read_data
from kserket.metrics import clustering_accuracy

MEANS = np.array([[0.0, 0.0], [1.2, 0.0], [0.0, 1.2], [1.2, 1.2]])


def steps(seed=0, num_steps=240):
    """Four overlapping classes: two last, from the others another one follows."""
    rng = np.random.default_rng(seed)
    following = np.where(np.arange(4) % 2, (np.arange(4) + 1) % 4, np.arange(4))
    states = np.zeros(num_steps, int)
    for t in range(1, num_steps):
        states[t] = following[states[t - 1]] if rng.random() < 0.85 else rng.integers(4)
    return MEANS[states] + 0.5 * rng.normal(size=(num_steps, 2)), states


def graph_of(x, lengths=None, seed=0, mixture=None, **options):
    gmm1 = gmm.GMM(4, save_dir=None, **(mixture or {}))
    mm1 = mm.MarkovModel(save_dir=None, lengths=lengths, **{"joint": True, "n_init": 8, **options})
    gmm1.connect(srk.Observation(x, allow_missing=True))
    mm1.connect(gmm1)
    return srk.Graph(mm1, seed=seed)


def test_it_is_more_probable_and_never_falls():
    x, states = steps(2, 400)
    alone = graph_of(x, joint=False)
    alone.fit(3, verbose=0)
    together = graph_of(x)
    bounds = together.fit(3, verbose=0).history["gmm/bound"]
    assert np.diff(bounds).min() > -1e-6
    assert together.evaluate(x)["log_likelihood"] > alone.evaluate(x)["log_likelihood"]
    assert clustering_accuracy(states, together.predict(x).argmax(axis=1)) > 0.85
    np.testing.assert_allclose(together["gmm"].posterior, together["mm"].posterior, atol=0.01)


def test_finite_trust_climbs_the_same_bound_round_by_round():
    x, _ = steps(1, 120)
    graph = graph_of(x, trust=2.0, itr=1, mixture={"itr": 2})
    bounds = graph.fit(8, verbose=0).history["gmm/bound"]
    assert np.diff(bounds).min() > -1e-8


@pytest.mark.parametrize("trust", [None, 2.0])
def test_graphs_serve_what_they_conclude(trust, tmp_path):
    x, _ = steps(2, 100)
    graph = graph_of(x, lengths=[60, 40], trust=trust)
    graph.fit(2, verbose=0)
    beliefs = pass_messages(graph, read_data(graph, x), 50, 1e-10)
    for module in (graph["gmm"], graph["mm"]):
        served = graph.predict(x, graph.names[module], tolerance=1e-10)
        np.testing.assert_allclose(served, beliefs.answer(module), atol=1e-7)
    assert "classify" in graph.export(tmp_path / "served")


def test_what_goes_down_says_what_all_other_steps_say_of_the_class():
    x, _ = steps(2, 60)
    graph = graph_of(x, trust=2.0)
    graph.fit(1, verbose=0)
    gmm1, mm1 = graph["gmm"], graph["mm"]
    evidence = np.asarray(gmm1.get_forward_msg())
    smoothed = mm1.model.smooth(evidence)
    down = np.exp(smoothed.log_context) @ mm1.model.reports
    np.testing.assert_allclose(np.asarray(gmm1.get_backward_msg()), down, atol=1e-9)


def test_missing_steps_and_several_sequences():
    x, states = steps(4)
    x[::9] = np.nan
    graph = graph_of(x, lengths=[100, 140])
    graph.fit(2, verbose=0)
    assert np.isfinite(graph.predict(x)).all()
    seen = np.arange(240) % 9 > 0
    assert clustering_accuracy(states[seen], graph.predict(x).argmax(axis=1)[seen]) > 0.7
    assert graph["mm"].model._counted.initial.sum() == pytest.approx(2)


def test_the_seed_decides_and_a_file_goes_on(tmp_path):
    x, _ = steps(5, 120)
    one, other = graph_of(x, seed=1), graph_of(x, seed=1)
    one.fit(2, verbose=0)
    other.fit(1, verbose=0)
    other.save(tmp_path / "order.kserket")
    again = srk.load_graph(tmp_path / "order.kserket")
    assert again["mm"].joint
    again.fit(1, verbose=0)
    for name in ("gmm", "mm"):
        for weight, expected in zip(
            again[name].model.get_weights(), one[name].model.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(weight, expected)


def test_a_plain_loop_does_the_same():
    x, _ = steps(5, 120)
    graph, loop = graph_of(x, seed=1), graph_of(x, seed=1)
    graph.fit(2, verbose=0)
    for _ in range(2):
        loop["gmm"].update()
        loop["mm"].update()
    np.testing.assert_array_equal(graph["mm"].posterior, loop["mm"].posterior)


def test_above_another_reader_and_below_a_class_prior():
    """What other readers say of classes counts, and what the chain hears from above."""
    x, _ = steps(6, 90)
    gmm1 = gmm.GMM(4, save_dir=None, itr=10)
    mm1 = mm.MarkovModel(save_dir=None, joint=True, n_init=3)
    mlda1 = mlda.MLDA(4, save_dir=None, itr=5)
    gmm1.connect(srk.Observation(x))
    mm1.connect(gmm1)
    mlda1.connect(mm1)
    graph = srk.Graph(mlda1, seed=0)
    graph.fit(2, verbose=0)
    assert np.isfinite(graph.predict(x)).all()


def test_a_power_transform_is_learned_first():
    x, _ = steps(7, 90)
    graph = graph_of(np.exp(x), mixture={"power_transform": True, "itr": 5}, n_init=3)
    graph.fit(1, verbose=0)
    assert np.isfinite(graph.evaluate(np.exp(x))["log_likelihood"])


def test_what_cannot_learn_together_is_an_error():
    x, _ = steps(0, 40)
    with pytest.raises(ValueError, match="inference='exact'"):
        mm.MarkovModel(joint=True, inference="sampled")
    for options in ({"inference": "gibbs"}, {"init": "umap", "keep_groups": True}):
        with pytest.raises(ValueError, match="has joint=True"):
            graph_of(x, mixture=options).fit(1, verbose=0)
    mm1 = mm.MarkovModel(save_dir=None, joint=True)
    mm1.connect(srk.Observation(np.full((5, 2), 0.5)))
    with pytest.raises(ValueError, match="has joint=True"):
        mm1.update()
    gmm1 = gmm.GMM(4, save_dir=None)
    gmm1.connect(srk.Observation(x))
    both = [mm.MarkovModel(save_dir=None, joint=True, name=name) for name in ("a", "b")]
    for reader in both:
        reader.connect(gmm1)
    with pytest.raises(ValueError, match="one reader"):
        srk.Graph(*both, seed=0).fit(1, verbose=0)


def test_recognition_does_not_learn():
    x, _ = steps(0, 80)
    graph = graph_of(x)
    graph.fit(1, verbose=0)
    before = [weight.copy() for weight in graph.get_weights()]
    graph["mm"].trainable = graph["gmm"].trainable = False
    graph.fit(1, verbose=0)
    for weight, expected in zip(graph.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)
