"""What distinguishes classes: effect sizes, words, prototypes, transitions."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

import kserket as srk
from kserket import gmm, mlda, vae


class Told(srk.Module):
    """States the classes that it was made with."""

    links_samples = False

    def __init__(self, classes, name="told"):
        super().__init__(name, learnable=False)
        self.classes = srk.Categorical(classes)

    posterior = property(lambda self: self.classes.probs)

    def update(self):
        self.set_forward_msg(self.classes)

    def infer(self, inputs, prior):
        return srk.Inference(self.classes, [None], self.classes)


def graph_of(x, classes, **options):
    top = Told(np.asarray(classes, float))
    top.connect(srk.Observation(x, "x", **options))
    return srk.Graph(top)


@pytest.fixture
def halves():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)) + [5.0, 0.0, 1e6]
    x[:20, 0] += 3.0
    x = np.hstack([x, np.full((40, 1), 7.0)])
    return x, np.eye(2)[np.arange(40) // 20]


def test_effects_are_cohens_d_and_profiles_means(halves):
    x, classes = halves
    found = srk.explain(graph_of(x, classes))
    first, second = x[:20], x[20:]
    pooled = np.sqrt((first.var(axis=0) + second.var(axis=0)) / 2)[:3]
    expected = (first.mean(axis=0) - second.mean(axis=0))[:3] / pooled
    assert_allclose(found.effects[0, :3], expected, rtol=1e-6)
    assert_allclose(found.effects[1], -found.effects[0])
    assert found.effects[0, 3] == 0.0  # a constant
    assert_allclose(found.profile, [first.mean(axis=0), second.mean(axis=0)])
    assert_allclose(found.sizes, 20.0)
    assert found.top(1)[0][0][0] == 0
    assert found.kind == "table" and found.transitions is None


def test_samples_count_by_the_probability_of_their_class(halves):
    x, _ = halves
    rng = np.random.default_rng(1)
    classes = rng.dirichlet(np.ones(3), 40)
    found = srk.explain(graph_of(x, classes))
    for k in range(3):
        weight, rest = classes[:, k], 1.0 - classes[:, k]
        means = [np.average(x, axis=0, weights=part) for part in (weight, rest)]
        spread = weight @ (x - means[0]) ** 2 + rest @ (x - means[1]) ** 2
        expected = (means[0] - means[1])[:3] / np.sqrt(spread[:3] / 40)
        assert_allclose(found.effects[k, :3], expected, rtol=1e-5)


def test_missing_rows_and_empty_classes_explain_nothing(halves):
    x, classes = halves
    x, classes = np.vstack([x, np.full((1, 4), np.nan)]), np.vstack([classes, [1, 0]])
    classes = np.hstack([classes, np.zeros((41, 1))])
    found = srk.explain(graph_of(x, classes, allow_missing=True))
    assert_allclose(found.sizes, [20, 20, 0])
    assert_allclose(found.effects[2], 0.0)
    assert np.isfinite(found.profile).all()


def test_names_and_frames(halves):
    x, classes = halves
    found = srk.explain(graph_of(x, classes), names=["a", "b", "c", "d"])
    assert "class 0 (20): a +" in repr(found)
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(x, columns=["a", "b", "c", "d"])
    found = srk.explain(graph_of(x, classes), x=frame, probabilities=classes)
    assert found.features == ["a", "b", "c", "d"]
    table = found.to_frame()
    assert table.loc[(0, "a"), "effect"] == found.effects[0, 0]
    assert table.loc[(1, "b"), "profile"] == found.profile[1, 1]


def test_words():
    texts = ["red ball", "red cup", "a red"] * 3 + ["dog barks", "a dog", "dog dog"] * 3
    graph = srk.recipes.documents(texts, K=2, seed=0)
    graph.fit(rounds=1, verbose=0)
    found = srk.explain(graph)
    best = [features[0][0] for features in found.top()]
    assert set(best) == {"red", "dog"}
    assert all(effect > 0 for features in found.top() for _, effect in features)
    assert_allclose(found.profile.sum(axis=1), 1.0)
    word = found.features.index("a")
    assert np.abs(found.effects[:, word]).max() < np.abs(found.effects).max() / 2


def test_prototypes_of_images_are_decoded():
    x, labels = srk.datasets.load_digits()
    x = x[labels < 2][:100]
    vae1 = vae.VAE(2, itr=5, batch_size=50, save_dir=None)
    top = gmm.GMM(2, n_init=2, save_dir=None)
    vae1.connect(srk.Observation(x, "images"))
    top.connect(vae1)
    graph = srk.Graph(top, seed=0)
    graph.fit(rounds=1, verbose=0)
    found = srk.explain(graph)
    assert found.kind == "images" and found.image_shape == (8, 8, 1)
    z, r = graph.predict(x, outputs="vae"), top.posterior
    expected = vae1.model.decode(r.T @ z / r.sum(axis=0)[:, None])
    assert_allclose(found.profile, expected, atol=1e-5)
    ax = found.plot(title="digits")
    assert len(ax.get_xticks()) == 2


def test_flat_images_need_their_shape_where_nothing_knows_it(halves):
    _, classes = halves
    x = np.random.default_rng(0).random((40, 64))
    graph = graph_of(x, classes)
    found = srk.explain(graph)
    assert found.kind == "table" and "image_shape=(8, 8)" in repr(found)
    found = srk.explain(graph, image_shape=(4, 16))
    assert found.kind == "images" and found.image_shape == (4, 16, 1)
    assert_allclose(found.profile[1], x[20:].mean(axis=0))
    assert repr(found) == "prototypes of 4 x 16 pixels, drawn by plot(): class 0 (20), 1 (20)"
    with pytest.raises(ValueError, match="image_shape"):
        srk.explain(graph, image_shape=(4, 4))


def test_models_and_estimators_are_explained_by_a_table_in_its_units(halves):
    from sklearn.cluster import KMeans
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from kserket.sklearn import GaussianMixture, GraphClusterer

    x = halves[0][:, :3]
    model = srk.GaussianMixture(2, n_init=1, seed=0)
    model.fit(x, epochs=20, verbose=0)
    estimator = GaussianMixture(2, n_init=1, max_iter=20, random_state=0)
    pipeline = make_pipeline(StandardScaler(), estimator).fit(x)
    kmeans = KMeans(2, n_init=1, random_state=0).fit(x)
    clusterer = GraphClusterer(n_clusters=2, rounds=1, random_state=0).fit(x)
    classes = {model: model.predict(x), pipeline: pipeline.predict_proba(x)}
    for given, expected in classes.items():
        found = srk.explain(given, x=x, names=["a", "b", "c"])
        assert_allclose(found.profile, expected.T @ x / expected.sum(axis=0)[:, None])
        assert found.kind == "table" and found.features == ["a", "b", "c"]
    assert_allclose(srk.explain(clusterer).sizes, clusterer.predict_proba(x).sum(axis=0))
    found = srk.explain(kmeans, x=x, probabilities=np.eye(2)[kmeans.labels_])
    assert_allclose(found.sizes, np.bincount(kmeans.labels_))
    with pytest.raises(ValueError, match="Pipeline holds no data.*`x`"):
        srk.explain(pipeline)
    with pytest.raises(ValueError, match="holds none. Pass them as `x`"):
        srk.explain(model, "obs")
    with pytest.raises(TypeError, match="gives class probabilities"):
        srk.explain(kmeans, x=x)
    with pytest.raises(TypeError, match="answers with several arrays"):
        encoder = srk.VariationalAutoencoder(2, likelihood="gaussian", seed=0)
        encoder.adapt(x)
        srk.explain(encoder, x=x)


def test_a_topic_model_alone_is_explained_by_words():
    counts = np.repeat([[9, 1, 0, 2], [0, 1, 8, 2]], 6, axis=0)
    model = srk.MultimodalLDA(2, seed=0)
    model.fit(counts, epochs=10, verbose=0)
    found = srk.explain(model, x=counts, names=["ball", "is", "dog", "the"])
    assert found.kind == "words" and {words[0][0] for words in found.top()} == {"ball", "dog"}


def test_transitions():
    x = np.random.default_rng(0).normal(size=(60, 2)) + 4.0 * (np.arange(60)[:, None] // 10 % 2)
    graph = srk.recipes.sequence(x, K=2, seed=0)
    graph.fit(rounds=1, verbose=0)
    found = srk.explain(graph)
    assert_allclose(found.transitions, graph["mm"].model.transition_matrix)
    assert found.kind == "table"


def test_pictures_hold_what_distinguishes_most(halves):
    x, classes = halves
    ax = srk.explain(graph_of(x, classes), names=["a", "b", "c", "d"]).plot(2)
    assert ax.get_yticklabels()[0].get_text() == "a" and len(ax.get_yticks()) == 2
    assert len(ax.texts) == 4


def test_a_picture_of_words_has_as_many_for_each_class():
    rng = np.random.default_rng(0)
    classes = np.arange(300) % 3
    rates = np.full((3, 12), 1.0)
    rates[0, :4], rates[1, 4:8], rates[2, 8:] = 30.0, 5.0, 2.0  # the third stands back
    probabilities = np.eye(3)[classes]
    graph = srk.recipes.documents(sparse.csr_matrix(rng.poisson(rates[classes])), K=3, seed=0)
    found = srk.explain(graph, probabilities=probabilities, names=list("abcdefghijkl"))
    shown = [[one.get_text() for one in found.plot(n).get_yticklabels()] for n in (6, 2)]
    assert [sum(word in part for word in shown[0]) for part in ("abcd", "efgh", "ijkl")] == [2] * 3
    assert [len(words) for words in shown] == [6, 3]
    plt.close("all")


def test_what_cannot_be_explained(halves):
    x, classes = halves
    graph = graph_of(x, classes)
    with pytest.raises(TypeError, match="must be a Graph, or a model or estimator"):
        srk.explain(x)
    with pytest.raises(KeyError, match="one of .'x'"):
        srk.explain(graph, "y")
    senses = srk.recipes.senses({"eye": x, "ear": ["one"] * len(x)}, K=2)
    with pytest.raises(KeyError, match=r"`observation`, one of \['eye', 'ear'\]\."):
        srk.explain(senses)
    with pytest.raises(ValueError, match="4 names"):
        srk.explain(graph, names=["a"])
    with pytest.raises(ValueError, match="40 samples.*classes of 3"):
        srk.explain(graph, probabilities=np.ones((3, 2)) / 2)
    top = mlda.MLDA(2, save_dir=None)
    top.connect(srk.Observation(np.ones((5, 3)), "words"))
    with pytest.raises(ValueError, match="states no classes"):
        srk.explain(srk.Graph(top))
