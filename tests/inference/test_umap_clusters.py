"""A start by UMAP: what hangs together is one group, whatever its shape."""

import sys

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import make_moons

from kserket import GaussianMixture, metrics
from kserket.inference import umap_clusters as umap_clusters_module
from kserket.inference.umap_clusters import umap_clusters

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
    assert metrics.clustering_accuracy(labels, groups.argmax(axis=1)) == 1.0


def test_rows_are_probabilities_and_repeat_with_the_seed(moons, groups):
    np.testing.assert_allclose(groups.sum(axis=1), 1.0)
    assert (groups > 0).all()
    np.testing.assert_array_equal(groups, umap_clusters(moons[0], 2, np.random.default_rng(0)))


def test_rows_that_do_not_count_move_nothing(moons, groups):
    x, _ = moons
    extended = np.concatenate([x, np.full((5, 2), 1e6)])
    counted = np.arange(len(extended)) < len(x)
    found = umap_clusters(extended, 2, np.random.default_rng(0), counted)
    np.testing.assert_array_equal(found[:-5], groups)
    np.testing.assert_array_equal(found[-5:], 0.5)


def test_of_many_data_a_sample_is_embedded(moons, monkeypatch):
    monkeypatch.setattr(umap_clusters_module, "MAX_SAMPLES", 250)
    found = umap_clusters(moons[0], 2, np.random.default_rng(0))
    looked_at = (found != 0.5).any(axis=1)
    assert looked_at.sum() == 250
    assert metrics.clustering_accuracy(moons[1][looked_at], found[looked_at].argmax(axis=1)) == 1.0


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
