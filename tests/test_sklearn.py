"""The estimators keep scikit-learn's promises."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from kserket import Graph, Observation, datasets, gmm, metrics, mlda, vae
from kserket.sklearn import GaussianMixture, GraphClusterer, vae_graph


@parametrize_with_checks(
    [
        GaussianMixture(2, n_init=2, max_iter=20, random_state=0),
        GraphClusterer(n_clusters=3, rounds=1, random_state=0),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_pipeline_and_grid_search_find_the_number_of_components():
    x, labels, *_ = datasets.make_mixture(400, 3, 2, separation=8.0, seed=0)
    pipeline = make_pipeline(StandardScaler(), GaussianMixture(n_init=3, random_state=0))
    search = GridSearchCV(pipeline, {"gaussianmixture__n_components": [1, 2, 3]}, cv=3).fit(x)
    assert search.best_params_ == {"gaussianmixture__n_components": 3}
    assert metrics.clustering_accuracy(labels, search.predict(x)) > 0.95


def test_any_graph_clusters_and_transforms():
    x, _ = datasets.load_digits()
    clusterer = GraphClusterer(vae_graph, n_clusters=10, rounds=1, random_state=0).fit(x[:300])
    latent = clusterer.transform(x[300:310])
    assert latent.shape == (10, 10)
    assert np.allclose(clusterer.predict_proba(x[:300]).argmax(axis=1), clusterer.labels_)
    assert np.isfinite(clusterer.score(x[:300]))


def test_held_out_data_may_lie_beyond_the_training_data():
    x, *_ = datasets.make_mixture(90, 4, 2, seed=0)
    clusterer = GraphClusterer(vae_graph, n_clusters=2, rounds=1, random_state=0)
    pipeline = make_pipeline(MinMaxScaler(), clusterer)
    scores = cross_val_score(pipeline, x, cv=2, error_score="raise")
    assert np.isfinite(scores).all()


def test_a_graph_survives_pickling():
    x, _ = datasets.load_digits()
    clusterer = GraphClusterer(vae_graph, n_clusters=3, rounds=1, random_state=0).fit(x[:100])
    expected = clusterer.predict_proba(x[:20])
    again = pickle.loads(pickle.dumps(clusterer))
    assert np.array_equal(again.predict_proba(x[:20]), expected)
    graph = pickle.loads(pickle.dumps(clusterer.graph_))
    assert np.array_equal(graph.predict(x[:20]), expected)
    graph.fit(1, verbose=0)
    clusterer.graph_.fit(1, verbose=0)
    assert graph.history.history == clusterer.graph_.history.history


def test_random_state_determines_everything():
    x, *_ = datasets.make_mixture(200, 3, 2, seed=1)
    first = GaussianMixture(3, random_state=4).fit(x)
    again = clone(first).fit(x)
    assert np.array_equal(first.means_, again.means_)


def test_sample_draws_from_the_components():
    x, *_ = datasets.make_mixture(200, 2, 2, seed=2)
    drawn, components = GaussianMixture(2, random_state=0).fit(x).sample(7)
    assert drawn.shape == (7, 2)
    assert components.shape == (7,)


@pytest.mark.parametrize("method", ["predict", "score", "transform", "predict_proba"])
def test_unfitted_graph_is_told(method):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        getattr(GraphClusterer(), method)(np.zeros((2, 2)))


@pytest.mark.parametrize(
    "build, width, prefix", [(None, 64, "x"), (vae_graph, 10, "graphclusterer")]
)
def test_columns_of_a_transform_have_names(build, width, prefix):
    x, _ = datasets.load_digits()
    clusterer = GraphClusterer(build, n_clusters=3, rounds=1, random_state=0).fit(x[:60])
    names = pickle.loads(pickle.dumps(clusterer)).get_feature_names_out()
    assert names.tolist() == [f"{prefix}{column}" for column in range(width)]
    assert clusterer.set_output(transform="default").transform(x[:5]).shape == (5, width)


def test_frames_in_and_out():
    pandas = pytest.importorskip("pandas")
    x, *_ = datasets.make_mixture(60, 3, 2, seed=0)
    frame = pandas.DataFrame(x, columns=["width", "height"], index=[f"row {n}" for n in range(60)])
    clusterer = GraphClusterer(n_clusters=3, rounds=1, random_state=0).fit(frame)
    mixture = GaussianMixture(3, random_state=0).fit(frame)
    for estimator in (clusterer, mixture):
        assert estimator.feature_names_in_.tolist() == ["width", "height"]
        with pytest.raises(ValueError, match="must be in the same order"):
            estimator.predict(frame[["height", "width"]])
    found = clusterer.set_output(transform="pandas").transform(frame)
    pandas.testing.assert_frame_equal(found, frame)


def two_mixtures_graph(X, n_clusters, seed):
    """A topic model over two mixtures over the data."""
    obs, top = Observation(X), mlda.MLDA(n_clusters, itr=5, save_dir=None)
    mixtures = [gmm.GMM(n_clusters, itr=5, n_init=1, save_dir=None) for _ in range(2)]
    for mixture in mixtures:
        mixture.connect(obs)
    top.connect(*mixtures)
    return Graph(top, seed=seed)


def test_several_inputs_of_the_top_are_no_transform():
    x, *_ = datasets.make_mixture(40, 2, 2, seed=0)
    clusterer = GraphClusterer(two_mixtures_graph, n_clusters=2, rounds=1, random_state=0).fit(x)
    assert clusterer.predict(x).shape == (40,)
    with pytest.raises(ValueError, match="must read one module. Received: 2"):
        clusterer.transform(x)


def build_of(*widths, top=None, as_graph=True):
    """A `build` of observations of these numbers of features under a module each."""

    def build(X, n_clusters, seed):
        tops = []
        for width in widths:
            module = gmm.GMM(n_clusters, save_dir=None) if top is None else top()
            module.connect(Observation(X[:, :width]))
            tops.append(module)
        return Graph(*tops, seed=seed) if as_graph else tops[0]

    return build


def small_vae():
    return vae.VAE(2, itr=1, likelihood="gaussian", save_dir=None)


@pytest.mark.parametrize(
    "build, error, said",
    [
        (build_of(3, as_graph=False), TypeError, r"return Graph\(gmm, seed=seed\).*Received: GMM"),
        (lambda *_: None, TypeError, "must return a kserket.Graph. Received: NoneType"),
        (build_of(3, 3), ValueError, "one observation. Received: 2"),
        (build_of(2), ValueError, r"of shape \(3,\), as they are. Received: \(2,\)"),
        (build_of(3, top=small_vae), ValueError, r"_vae \(VAE\) states no class probabilities"),
    ],
)
def test_what_build_must_not_return(build, error, said):
    x, *_ = datasets.make_mixture(40, 2, 3, seed=0)
    clusterer = GraphClusterer(build, n_clusters=2, rounds=1)
    with pytest.raises(error, match=said):
        clusterer.fit(x)
    assert not hasattr(clusterer, "graph_")


@pytest.mark.parametrize("max_iter", [0, 2.5, "many"])
def test_a_number_of_sweeps_that_is_none_is_refused(max_iter):
    with pytest.raises(ValueError, match="`max_iter` must be a positive integer"):
        GaussianMixture(2, max_iter=max_iter).fit(np.eye(3))
