"""Graphs that are good to begin with."""

import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.datasets import load_digits, load_iris, load_wine

import kserket as srk
from kserket import metrics, recipes
from kserket.sklearn import GraphClusterer

TEXTS = ["a red ball", "the red cup", "red and round", "it barks", "a dog barks", "the dog"] * 4


@pytest.fixture(scope="module")
def digits():
    x, labels = srk.datasets.load_digits()
    rows = labels < 4
    return x[rows], labels[rows]


@pytest.fixture(scope="module")
def learned(digits):
    pytest.importorskip("umap")
    graph = recipes.images(digits[0][:300], K=4, seed=0)
    graph.fit(rounds=3, verbose=0)
    return graph


def accuracy(graph, labels):
    return metrics.clustering_accuracy(labels, graph.tops[0].posterior.argmax(axis=1))


def test_images_are_sorted_and_the_vae_learns_their_classes(learned, digits):
    labels = digits[1][:300]
    assert accuracy(learned, labels) > 0.95
    assert metrics.clustering_accuracy(labels, learned["gmm"].posterior.argmax(axis=1)) > 0.95
    new = learned.predict(digits[0][300:])
    assert metrics.clustering_accuracy(digits[1][300:], new.argmax(axis=1)) > 0.95


def test_images_of_each_class_are_drawn(learned):
    drawn = learned.generate(20, component=np.arange(20) % 4, seed=0)
    assert drawn.shape == (20, 64)
    classes = learned.predict(drawn).argmax(axis=1)
    assert (classes == np.arange(20) % 4).mean() > 0.8


def test_images_saved_and_served(learned, digits, tmp_path):
    new = digits[0][300:310]
    expected = learned.predict(new)
    learned.save(tmp_path / "digits.kserket")
    assert_allclose(srk.load_graph(tmp_path / "digits.kserket").predict(new), expected, atol=1e-6)
    learned.save(tmp_path / "small.kserket", include_data=False)
    assert_allclose(srk.load_graph(tmp_path / "small.kserket").predict(new), expected, atol=1e-6)
    signatures = learned.export(tmp_path / "served")
    assert {"classify", "encode", "generate"} <= set(signatures)
    served = tf.saved_model.load(str(tmp_path / "served"))
    answer = served.signatures["classify"](images=tf.constant(new))
    assert_allclose(answer["mlda"], expected, atol=1e-4)


def test_images_without_a_number_of_classes(digits):
    pytest.importorskip("umap")
    graph = recipes.images(digits[0][:200], seed=0)
    graph.fit(rounds=1, verbose=0)
    assert 4 <= graph["gmm_view"].K < 20
    with pytest.raises(TypeError, match="draws images"):
        graph.generate(2)


@pytest.mark.parametrize("shape", [(30, 28, 28), (30, 32, 20, 3), (30, 400), (30, 9, 9)])
def test_images_of_any_shape_are_taken(shape):
    graph = recipes.images(np.random.default_rng(0).random(shape), K=3)
    assert ("gradients" in graph.names.values()) == (min(shape[1:3]) >= 16)
    assert graph.round == 0 and graph["mlda"].model is None


def written_out():
    """`sort_images` of the guide."""
    text = (pathlib.Path(__file__).parent.parent / "docs/guides/recipes.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n((?:(?!```).)*def sort_images.*?)```", text, re.DOTALL)
    namespace = {"srk": srk}
    exec(code.partition("\nsame = ")[0], namespace)
    return namespace["sort_images"]


@pytest.mark.parametrize("shape", [(60, 64), (4000, 28, 28), (40, 20, 24, 3)])
def test_the_guide_writes_the_recipe_out(shape):
    x = np.random.default_rng(0).random(shape)
    networks = {"encoder": keras.layers.Flatten()} if len(shape) == 4 else {}
    described = []
    for make in (recipes.images, written_out()):
        srk.Module.reset_names()
        graph = make(x, 10, seed=3, **networks)
        modules = [
            (type(module), module.get_config(), [graph.names[one] for one in module.inputs])
            for module in graph.modules
        ]
        described.append((list(graph.names.values()), modules, graph.seed))
    assert described[0] == described[1]


def test_images_with_networks_of_ones_own(digits):
    pytest.importorskip("umap")
    x = digits[0][:100].reshape(-1, 8, 8, 1)
    encoder = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, 2), keras.layers.Flatten()]
    )
    decoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(64)])
    with pytest.raises(ValueError, match=r"vae: `decoder`.*\(None, 8, 8, 1\).*Reshape\(\(8, 8, 1"):
        recipes.images(x, K=4, encoder=encoder, decoder=decoder).fit(verbose=0)
    decoder.add(keras.layers.Reshape((8, 8, 1)))
    graph = recipes.images(x, K=4, seed=0, encoder=encoder, decoder=decoder)
    assert graph["vae"].latent_dim == 6 and graph["vae"].encoder is encoder
    graph.fit(rounds=1, verbose=0)
    assert accuracy(graph, digits[1][:100]) > 0.9
    assert graph.generate(2, component=[0, 1], seed=0).shape == (2, 8, 8, 1)
    with pytest.raises(ValueError, match="need K"):
        recipes.images(x, encoder=encoder)


def test_a_poor_vae_does_not_blur_the_classes_of_the_view(digits):
    """A VAE learns nothing of faint images, whose neighbors are those of bright ones."""
    with pytest.warns(UserWarning, match="reach 0.06 of 1 only"):
        graph = recipes.images(0.06 * digits[0][:150], K=4, seed=0)
    graph.fit(rounds=3, verbose=0)
    assert accuracy(graph, digits[1][:150]) > 0.95
    assert graph["mlda"].model.topics[0].max(axis=1).min() > 0.8


def test_images_that_are_none_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="values in .0, 1..*as 255"):
        recipes.images(rng.integers(0, 256, size=(20, 8, 8)), K=2)
    with pytest.raises(ValueError, match="such as 16"):
        recipes.images(load_digits().data, K=10)
    with pytest.raises(ValueError, match="image_shape|must have shape"):
        recipes.images(rng.random((20, 10)), K=2)
    assert recipes.images(rng.normal(size=(20, 8, 8)), K=2)["vae"].likelihood == "gaussian"


def test_a_table():
    x, labels = load_iris(return_X_y=True)
    graph = recipes.table(x, K=3, seed=0)
    graph.fit(verbose=0)
    assert accuracy(graph, labels) > 0.95
    assert recipes.table(x).tops[0].K is None


@pytest.mark.parametrize("counts", [False, True])
def test_documents(counts):
    texts = np.random.default_rng(0).poisson(1, (24, 5)) + 4 * np.eye(5)[np.arange(24) % 2]
    graph = recipes.documents(sparse.csr_array(texts) if counts else TEXTS, K=2, seed=0)
    graph.fit(verbose=0)
    labels = np.arange(24) % 2 if counts else np.arange(24) % 6 // 3
    assert accuracy(graph, labels) == 1.0
    if not counts:
        red, dog = graph.predict(["a red one", "dog"]).argmax(axis=1)
        assert red != dog


def test_senses_join_and_may_be_missing():
    x, labels = load_wine(return_X_y=True)
    rng = np.random.default_rng(0)
    parts = {"taste": x[:, :7].copy(), "color": x[:, 7:].copy()}
    for part in parts.values():
        part[rng.random(len(x)) < 0.2] = np.nan
    words = [None if rng.random() < 0.5 else ["red", "white", "rose"][label] for label in labels]
    graph = recipes.senses({**parts, "words": words}, K=3, seed=0)
    graph.fit(verbose=0)
    alone = [
        metrics.clustering_accuracy(labels, graph[f"gmm_{name}"].get_forward_msg().probs.argmax(1))
        for name in parts
    ]
    assert accuracy(graph, labels) > max(alone)
    guess = graph.predict({"color": x[:, 7:]}, outputs="words")
    assert guess.shape == (178, 3)


def test_senses_without_a_number_of_classes():
    x, labels = load_iris(return_X_y=True)
    graph = recipes.senses({"sepal": x[:, :2], "petal": x[:, 2:]}, seed=0)
    graph.fit(rounds=2, verbose=0)
    assert 2 <= graph["mlda"].K < 10
    assert metrics.adjusted_rand_index(labels, graph["mlda"].posterior.argmax(axis=1)) > 0.4


def test_senses_are_read_by_what_they_are():
    rng = np.random.default_rng(0)
    x = {"eye": rng.random((30, 8, 8)), "skin": rng.random((30, 40)), "ear": rng.random((30, 3))}
    names = set(recipes.senses(x, K=2).names.values())
    assert {"umap_eye", "umap_skin", "gmm_eye", "gmm_skin", "gmm_ear", "mlda"} <= names
    assert "umap_ear" not in names
    assert {"concatenate", "umap_together", "gmm_together"} <= names
    x["ear"][:20] = np.nan  # few samples have all
    assert "concatenate" not in recipes.senses(x, K=2).names.values()


def test_senses_tell_together_what_none_tells_alone():
    pytest.importorskip("umap")
    x, labels = (part[:300] for part in srk.datasets.load_digits())
    graph = recipes.senses({"upper": x[:, :32], "lower": x[:, 32:]}, K=10, seed=0)
    graph.fit(rounds=1, verbose=0)
    for name in ("gmm_upper", "gmm_lower"):
        alone = graph[name].posterior.argmax(axis=1)
        assert metrics.clustering_accuracy(labels, alone) < 0.9
    assert accuracy(graph, labels) > 0.93


def test_a_sequence():
    states = np.arange(200) // 20 % 2
    x = states[:, None] + 0.5 * np.random.default_rng(0).normal(size=(200, 2))
    graph = recipes.sequence(x, K=2, seed=0, lengths=[100, 100])
    graph.fit(verbose=0)
    assert accuracy(graph, states) > 0.95
    assert recipes.sequence(x)["gmm"].K is None


def test_time_joins_several_senses():
    rng = np.random.default_rng(0)
    states = np.arange(300) // 15 % 3
    x = {
        "light": states[:, None] + rng.normal(size=(300, 1)),
        "sound": np.eye(3)[states] + rng.normal(size=(300, 3)),
        "words": [["red", "blue", "green"][k] if rng.random() < 0.2 else None for k in states],
    }
    x["light"][rng.random(300) < 0.2] = np.nan
    apart = recipes.senses(x, K=3, seed=0)
    graph = recipes.sequence(x, K=3, seed=0, lengths=[150, 150])
    for one in (apart, graph):
        one.fit(rounds=3, verbose=0)
    assert accuracy(graph, states) > accuracy(apart, states) + 0.1
    assert accuracy(graph, states) > 0.9
    told = metrics.clustering_accuracy(states, graph["mlda"].posterior.argmax(axis=1))
    assert told > accuracy(apart, states) + 0.1  # the chain tells what is below
    graph["mm"].lengths = None
    light = graph.predict({"light": x["light"][:45]}, outputs="words")
    assert light.shape == (45, 3)
    assert not recipes.sequence(x, K=3)["mm"].joint
    with pytest.raises(ValueError, match="one sense"):
        recipes.sequence({}, K=3)


def test_recipes_are_estimators(digits):
    pytest.importorskip("umap")
    x, labels = digits[0][:100], digits[1][:100]
    estimator = GraphClusterer(recipes.images, n_clusters=4, rounds=2, random_state=0).fit(x)
    assert metrics.clustering_accuracy(labels, estimator.labels_) > 0.9
    table = GraphClusterer(recipes.table, n_clusters=2, random_state=0).fit(x[:, 20:23])
    assert table.predict(x[:5, 20:23]).shape == (5,)


def test_images_in_other_units_are_refused_or_warned_of():
    pytest.importorskip("umap")
    x = srk.datasets.load_digits()[0][:60].reshape(-1, 8, 8)
    with pytest.raises(ValueError, match=r"'eye' must have values in .0, 1.*as 255"):
        recipes.senses({"eye": (255 * x).astype("uint8"), "ear": ["one"] * 60}, K=2)
    rows = x.copy()
    rows[::7] = np.nan
    graph = recipes.images(rows, seed=0)  # without K there is no VAE that knows the range
    graph.fit(rounds=1, verbose=0)
    assert np.isfinite(graph.predict(rows)).all()
    with pytest.warns(UserWarning, match=r"images seems to come in other units.*0\.9"):
        graph.predict(255 * x[:2])


def test_dense_counts_of_words_are_warned_of():
    counts = np.random.default_rng(0).poisson(0.3, size=(40, 30))
    with pytest.warns(UserWarning, match=r"'ear' holds whole numbers.*csr_matrix"):
        recipes.senses({"ear": counts}, K=2)
    for quiet in (sparse.csr_matrix(counts), counts - 1.0, counts + 1, 0.5 * counts):
        recipes.senses({"ear": quiet}, K=2)


def test_a_sequence_of_which_steps_are_missing():
    states = np.arange(200) // 20 % 2
    x = states[:, None] + 0.4 * np.random.default_rng(0).normal(size=(200, 2))
    x[::9] = np.nan
    graph = recipes.sequence(x, K=2, seed=0)
    graph.fit(rounds=1, verbose=0)
    assert graph["mm"].joint and accuracy(graph, states) > 0.95
    x[5, 1] = np.nan  # a single cell
    assert metrics.clustering_accuracy(states, graph.predict(x).argmax(axis=1)) > 0.95
    apart = recipes.sequence(x, K=2, seed=0)
    apart.fit(rounds=1, verbose=0)
    assert not apart["mm"].joint and accuracy(apart, states) > 0.95


@pytest.mark.parametrize(
    ("x", "lengths", "message"),
    [
        (np.zeros((4, 10, 3)), None, r"reshape\(-1, 3\) with lengths=\[10\] \* 4"),
        (np.zeros((40, 3)), [10, 20], "number of steps, 40.*sum to 30"),
        ({"eye": np.zeros((40, 3))}, [10, 20], "number of steps, 40.*sum to 30"),
        ({"eye": np.zeros((40, 3)), "ear": ["one"] * 39}, None, r"\{'eye': 40, 'ear': 39\}"),
    ],
)
def test_what_is_no_sequence_is_refused_at_once(x, lengths, message):
    with pytest.raises(ValueError, match=message):
        recipes.sequence(x, K=2, lengths=lengths)
