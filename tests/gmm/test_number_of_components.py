"""`GaussianMixture(None)`, `GMM(None)` and `sparse=True`: numbers that data decide."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import kserket as srk
from kserket import GaussianMixture, gmm, mlda, mm
from kserket.sklearn import GaussianMixture as Estimator
from kserket.sklearn import GraphClusterer

K = 4


@pytest.fixture(scope="module")
def data():
    return srk.datasets.make_mixture(240, K, 3, seed=1)


def mixture(number=None, **options):
    return GaussianMixture(number, n_init=3, seed=0, **options)


@pytest.mark.parametrize(
    "options",
    [{}, {"inference": "gibbs"}, {"power_transform": True}, {"mean_precision": 1.0}],
    ids=str,
)
def test_first_fit_finds_the_number(data, options):
    model = mixture(**options)
    assert model.num_components is None and not model.built
    with pytest.raises(AttributeError, match="fixed when it is made"):
        model.num_components = 3
    with pytest.raises(RuntimeError, match="has not been fitted"):
        model.predict(data.x)
    with pytest.raises(ValueError, match="call fit"):
        model.build((None, 3))
    model.fit(data.x, epochs=20, verbose=0)
    assert model.num_components == K
    classes = model.predict(data.x).argmax(axis=1)
    assert srk.metrics.adjusted_rand_index(data.y, classes) > 0.95
    model.fit(data.x[data.y < 2], epochs=2, verbose=0)
    assert model.num_components == K


@pytest.mark.parametrize(
    "options", [{}, {"inference": "gibbs"}, {"power_transform": True}], ids=str
)
def test_surplus_components_stay_empty(data, options):
    model = mixture(3 * K, sparse=True, **options)
    model.fit(data.x, epochs=20, verbose=0)
    responsibilities = model.predict(data.x)
    assert responsibilities.shape == (240, 3 * K)
    assert len(np.unique(responsibilities.argmax(axis=1))) == K
    model.fit(data.x, epochs=5, verbose=0)
    assert (model.mixing_weights > 0.01).sum() == K


def test_fresh_start_finds_it_again_and_failure_leaves_none(data):
    model = mixture(warm_start=False)
    for x, number in ((data.x, K), (data.x[data.y < 2], 2), (data.x, K)):
        model.fit(x, epochs=5, verbose=0)
        assert model.num_components == number and model.predict(x).shape == (len(x), number)

    def fail(epoch, logs):
        raise RuntimeError("stopped")

    model = mixture()
    callback = keras.callbacks.LambdaCallback(on_epoch_end=fail)
    with pytest.raises(RuntimeError, match="stopped"):
        model.fit(data.x, verbose=0, callbacks=[callback])
    assert model.num_components is None and not model.built and not model.weights
    backup = keras.callbacks.BackupAndRestore("backup")
    with pytest.raises(ValueError, match="BackupAndRestore loads weights before"):
        model.fit(data.x, verbose=0, callbacks=[backup])
    model.fit(data.x, epochs=5, verbose=0)
    assert model.num_components == K


def test_class_prior_has_the_number(data):
    model = mixture()
    prior = np.full((240, 6), 0.05) + 0.7 * np.eye(6)[data.y]
    model.fit({"x": data.x, "class_prior": prior}, epochs=5, verbose=0)
    assert model.num_components == 6


def test_files_hold_it(data, tmp_path):
    model = mixture()
    model.partial_fit(data.x)
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.saving.load_model(path)
    assert loaded.num_components == K and loaded.get_config()["num_components"] is None
    assert_array_equal(loaded.predict(data.x), model.predict(data.x))
    np.save(tmp_path / "x.npy", data.x)
    again = mixture()
    again.partial_fit(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert_array_equal(again.means, model.means)


@pytest.mark.parametrize(
    "arguments, options",
    [
        ((0,), {}),
        ((None,), {"max_components": 0}),
        ((3,), {"sparse": "yes"}),
        ((3,), {"sparse": True, "init": "umap"}),
    ],
)
def test_wrong_options(arguments, options):
    with pytest.raises(ValueError, match="must be|needs init"):
        GaussianMixture(*arguments, **options)
    with pytest.raises(ValueError, match="must be|needs init"):
        gmm.GMM(*arguments, **options)


def test_graph_learns_with_numbers_that_are_found(data, tmp_path):
    rng = np.random.default_rng(0)
    topics = rng.dirichlet(np.full(30, 0.1), K)
    counts = np.array([rng.multinomial(20, topics[label]) for label in data.y])
    gmm1 = gmm.GMM(None, itr=10, n_init=3, save_dir=tmp_path)
    mlda1 = mlda.MLDA(None, itr=10, n_init=2, save_dir=tmp_path)
    gmm1.connect(srk.Observation(data.x, name="x"))
    mlda1.connect(gmm1, srk.Observation(counts, name="words"))
    graph = srk.Graph(mlda1, seed=0)
    assert gmm1.K is None and mlda1.K is None
    graph.fit(2, verbose=0)
    assert gmm1.K == K and mlda1.K == K
    with pytest.raises(AttributeError, match="fixed"):
        gmm1.K = 3
    inputs = {"x": data.x, "words": counts}
    graph.save(tmp_path / "graph.kserket")
    loaded = srk.load_graph(tmp_path / "graph.kserket", inputs)
    for each in (graph, loaded):
        each.fit(1, verbose=0)
    assert_array_equal(loaded.predict(inputs), graph.predict(inputs))
    recog1 = gmm.GMM(None, n_init=3, mode="recog", save_dir=None, load_dir=gmm1.folder)
    recog2 = mlda.MLDA(None, n_init=2, mode="recog", save_dir=None, load_dir=mlda1.folder)
    recog1.connect(srk.Observation(data.x))
    recog2.connect(recog1, srk.Observation(counts))
    recog1.update()
    recog2.update()
    assert recog1.K == recog2.K == K


def test_classes_keep_their_number_in_a_graph_that_starts_afresh(data):
    gmm1 = gmm.GMM(None, itr=3, n_init=2, warm_start=False, save_dir=None)
    mlda1, mm1 = mlda.MLDA(None, itr=5, save_dir=None), mm.MarkovModel(itr=3, save_dir=None)
    gmm1.connect(srk.Observation(data.x))
    mlda1.connect(gmm1)
    mm1.connect(mlda1)
    srk.Graph(mm1, seed=0).fit(2, verbose=0)
    assert gmm1.K == mlda1.K == K and mm1.posterior.shape == (240, K)


def test_estimators(data):
    fitted = Estimator(None, n_init=2, random_state=0).fit(data.x)
    assert fitted.weights_.shape == (K,)
    assert Estimator(9, sparse=True, random_state=0).fit(data.x).weights_.shape == (9,)
    clusterer = GraphClusterer(n_clusters=None, rounds=1, random_state=0).fit(data.x)
    assert len(np.unique(clusterer.labels_)) == K


def test_select_components(data):
    options = {"num_splits": 2, "seed": 0, "n_init": 1}
    table = srk.select_components(data.x, [2, K, 6], **options)
    assert table.found == K and table.components[table.bound.argmax()] == K
    assert table.held_out.argmax() == 1 and table.stability[1] > 0.95
    assert f"{K}*" in repr(table) and len(repr(table).splitlines()) == 5
    axes = table.plot()
    assert len(axes) == 3 and "bound" in axes[0].get_ylabel()
    gmm1 = gmm.GMM(2, itr=2, n_init=1, save_dir=None)
    gmm1.connect(srk.Observation(data.x))
    graph = srk.Graph(gmm1, seed=0)
    graph.fit(1, verbose=0)
    before = graph.predict(data.x)
    of_graph = srk.select_components(graph, [2, K, 6], **options)
    assert repr(of_graph) == repr(table)
    assert_array_equal(graph.predict(data.x), before)
    for wrong in ({"components": [0]}, {"components": []}, {"num_splits": 1}, {"x": data.x[:9]}):
        with pytest.raises(ValueError):
            srk.select_components(**{"x": data.x, **wrong})
    with pytest.raises(TypeError, match="no option"):
        srk.select_components(data.x, [2], inits=3)


def test_select_components_reads_a_graph_as_its_mixture_does(data):
    x = data.x.copy()
    x[::9, 1] = np.nan
    graph = srk.recipes.table(x, K=2, seed=0)
    graph.fit(1, verbose=0)
    options = {"num_splits": 2, "seed": 0, "n_init": 1}
    table = srk.select_components(graph, [2, K], **options)
    options |= {"power_transform": True, "allow_missing": True}
    assert repr(table) == repr(srk.select_components(x, [2, K], **options))


def test_select_components_says_what_a_graph_has_found(data):
    top = gmm.GMM(None, max_components=2, save_dir=None)
    top.connect(srk.Observation(data.x))
    graph = srk.Graph(top, seed=0)
    graph.fit(1, verbose=0)
    options = {"num_splits": 2, "n_init": 1}
    assert srk.select_components(graph, [1], **options).found == top.K == 2 < K


def test_chain_that_learns_with_the_mixture_needs_the_number(data):
    gmm1, mm1 = gmm.GMM(None, itr=3, save_dir=None), mm.MarkovModel(joint=True, save_dir=None)
    gmm1.connect(srk.Observation(data.x))
    mm1.connect(gmm1)
    with pytest.raises(ValueError, match="Give K"):
        srk.Graph(mm1, seed=0).fit(1, verbose=0)
