"""A start by UMAP: what hangs together is one group, whatever its shape."""

import sys
import tracemalloc

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import make_moons

import kserket as srk
from kserket import GaussianMixture, gmm, metrics
from kserket.inference import umap_clusters as umap_clusters_module
from kserket.inference.umap_clusters import group_probabilities, umap_clusters

pytest.importorskip("umap")


@pytest.fixture(scope="module")
def moons():
    return make_moons(300, noise=0.04, random_state=0)


@pytest.fixture(scope="module")
def groups(moons):
    return umap_clusters(moons[0], 2, np.random.default_rng(0))


def test_crescents_are_told_apart_where_k_means_cuts_them(moons, groups):
    x, labels = moons
    by_distance = KMeans(2, n_init=10, random_state=0).fit_predict(x)
    assert metrics.clustering_accuracy(labels, by_distance) < 0.9
    assert metrics.clustering_accuracy(labels, groups) == 1.0


def test_groups_repeat_with_the_seed(moons, groups):
    np.testing.assert_array_equal(groups, umap_clusters(moons[0], 2, np.random.default_rng(0)))


def test_the_origin_does_not_matter(moons, groups):
    found = umap_clusters(moons[0] + [1e9, 0.0], 2, np.random.default_rng(0))
    assert metrics.clustering_accuracy(groups, found) > 0.99


def test_rows_that_do_not_count_move_nothing(moons, groups):
    x, _ = moons
    extended = np.concatenate([x, np.full((5, 2), 1e6)])
    counted = np.arange(len(extended)) < len(x)
    found = umap_clusters(extended, 2, np.random.default_rng(0), counted)
    np.testing.assert_array_equal(found[:-5], groups)
    np.testing.assert_array_equal(found[-5:], -1)


def test_of_many_data_a_sample_is_embedded(moons, monkeypatch):
    monkeypatch.setattr(umap_clusters_module, "MAX_SAMPLES", 250)
    found = umap_clusters(moons[0], 2, np.random.default_rng(0))
    looked_at = found >= 0
    assert looked_at.sum() == 250
    assert metrics.clustering_accuracy(moons[1][looked_at], found[looked_at]) == 1.0


def test_data_in_a_file_stay_there_but_for_the_sample(moons, groups, monkeypatch, tmp_path):
    monkeypatch.setattr(umap_clusters_module, "MAX_SAMPLES", 250)
    np.save(tmp_path / "x.npy", np.tile(moons[0], (200, 50)))  # 48 MB
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    tracemalloc.start()
    found = umap_clusters(x, 2, np.random.default_rng(0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found >= 0).sum() == 250
    assert peak < x.nbytes / 4


def test_a_group_is_told_almost_for_certain_and_no_group_says_nothing():
    told = group_probabilities([1, -1, 0], 2)
    np.testing.assert_allclose(told, [[0.005, 0.995], [0.5, 0.5], [0.995, 0.005]])


def test_the_mixture_begins_where_the_groups_are(moons):
    """Sweeps from there end at another, better bound than those from k-means."""
    x, labels = moons
    x = np.concatenate([x, np.random.default_rng(1).standard_normal((len(x), 1))], axis=1)
    x[:, 2] *= 0.1
    models = {init: GaussianMixture(2, init=init, seed=0) for init in ("kmeans", "umap")}
    scores = {}
    for init, model in models.items():
        model.fit(x, epochs=1, verbose=0)
        scores[init] = metrics.clustering_accuracy(labels, model.predict(x).argmax(axis=1))
    assert scores["umap"] > scores["kmeans"]


@pytest.mark.parametrize("inference", ["variational", "gibbs"])
def test_a_class_prior_decides_the_start_where_there_is_one(moons, inference, monkeypatch):
    x, labels = moons
    monkeypatch.setitem(sys.modules, "umap", None)  # importing it would raise
    prior = np.where(np.eye(2)[labels] > 0, 0.9, 0.1)
    model = GaussianMixture(2, init="umap", inference=inference, seed=0)
    model.fit({"x": x, "class_prior": prior}, epochs=2, verbose=0)
    assert model.is_fitted


def test_a_second_fit_does_not_embed_again(moons, monkeypatch):
    model = GaussianMixture(2, init="umap", seed=0)
    model.fit(moons[0], epochs=1, verbose=0)
    monkeypatch.setitem(sys.modules, "umap", None)
    model.fit(moons[0], epochs=1, verbose=0)
    assert GaussianMixture.from_config(model.get_config()).init == "umap"


def test_missing_package_and_too_few_data_are_told(moons, monkeypatch):
    model = GaussianMixture(2, init="umap")
    with pytest.raises(ValueError, match="init='kmeans'"):
        model.fit(moons[0][:12], verbose=0)
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match=r"kserket\[umap\]"):
        model.fit(moons[0], verbose=0)
    assert not model.is_fitted


def test_kept_groups_hold_where_sweeps_would_leave_them(moons):
    x, labels = moons
    scores = {}
    for keep in (False, True):
        module = gmm.GMM(2, init="umap", keep_groups=keep, warm_start=False, save_dir=None, seed=0)
        module.connect(srk.Observation(x))
        module.update()
        scores[keep] = metrics.clustering_accuracy(labels, module.posterior.argmax(axis=1))
    assert scores[True] > scores[False]
    classes = module.posterior.argmax(axis=1)
    module.update()  # starts afresh, and numbers stay
    np.testing.assert_array_equal(module.posterior.argmax(axis=1), classes)


def test_groups_and_a_class_prior_speak_together(moons):
    """Where they are all that is said, the posterior is their product, of fits and in rounds."""
    x = moons[0]
    prior = np.tile([0.3, 0.7], (len(x), 1))
    source = srk.Observation(x)
    module = gmm.GMM(2, itr=1, init="umap", keep_groups=True, save_dir=None, seed=0)
    module.connect(source)
    module.update()
    module.set_backward_msg(prior)
    module.update()
    kept = group_probabilities(module.get_state()["groups"], 2)
    expected = kept * prior * np.exp(module.model.component_log_likelihood(x))
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(module.posterior, expected, rtol=1e-6, atol=1e-12)
    evidence = module.get_forward_msg().probs * prior
    evidence /= evidence.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(evidence, expected, rtol=1e-6, atol=1e-12)


def test_an_update_that_starts_under_a_class_prior_keeps_groups_found_before(moons):
    x, labels = moons
    module = gmm.GMM(
        2, itr=1, init="umap", keep_groups=True, warm_start=False, save_dir=None, seed=0
    )
    module.connect(srk.Observation(x))
    module.update()
    groups = module.get_state()["groups"]
    prior = np.where(groups[:, None] == [0, 1], 0.6, 0.4)
    prior[labels != groups] = 0.5
    module.set_backward_msg(prior)
    module.update()
    np.testing.assert_array_equal(module.get_state()["groups"], groups)
    np.testing.assert_array_equal(module.posterior.argmax(axis=1), groups)


def test_groups_of_a_mixture_alone_give_way_to_a_class_prior(moons):
    x = moons[0]
    module = gmm.GMM(2, itr=1, init="umap", keep_groups="alone", save_dir=None, seed=0)
    module.connect(srk.Observation(x))
    module.update()
    groups = module.get_state()["groups"]
    np.testing.assert_array_equal(module.posterior.argmax(axis=1), groups)
    other = np.where(np.arange(len(x))[:, None] % 2 == [0, 1], 0.999, 0.001)
    module.set_backward_msg(other)
    module.update()
    likelihood = np.exp(module.model.component_log_likelihood(x))
    expected = likelihood / likelihood.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(module.get_forward_msg(), expected, rtol=1e-6, atol=1e-12)
    module.set_backward_msg(None)
    module.update()
    np.testing.assert_array_equal(module.posterior.argmax(axis=1), groups)
    assert module.model.from_config(module.model.get_config()).keep_groups == "alone"
    with pytest.raises(ValueError, match="keep_groups"):
        gmm.GMM(2, init="umap", keep_groups="never")


def test_rows_that_are_missing_are_in_no_group(moons):
    x = moons[0].copy()
    x[::7] = np.nan
    module = gmm.GMM(2, itr=1, init="umap", keep_groups=True, save_dir=None, seed=0)
    module.connect(srk.Observation(x, allow_missing=True))
    module.update()
    np.testing.assert_allclose(module.get_forward_msg().probs[::7], 0.5)
    seen = np.isfinite(x[:, 0])
    groups = module.get_state()["groups"]
    assert (groups[~seen] == -1).all()
    np.testing.assert_array_equal(module.posterior[seen].argmax(axis=1), groups[seen])


def test_kept_groups_are_saved_and_new_data_are_in_none(moons, tmp_path):
    x = moons[0]
    module = gmm.GMM(2, itr=1, init="umap", keep_groups=True, save_dir=None, seed=0)
    module.connect(srk.Observation(x, name="obs"))
    graph = srk.Graph(module, seed=0)
    graph.fit(1, verbose=0)
    graph.save(tmp_path / "graph.kserket")
    loaded = srk.load_graph(tmp_path / "graph.kserket")
    for each in (graph, loaded):
        each.fit(1, verbose=0)
        np.testing.assert_array_equal(each.tops[0].posterior, module.posterior)
    np.testing.assert_allclose(graph.predict(x), module.model.predict(x))
    assert (graph.predict(x) != module.posterior).any()


def test_groups_are_kept_of_a_start_by_umap_only():
    with pytest.raises(ValueError, match="init='umap'"):
        GaussianMixture(2, keep_groups=True)
    model = GaussianMixture(2, init="umap", keep_groups=True)
    assert GaussianMixture.from_config(model.get_config()).keep_groups
