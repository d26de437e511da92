"""Columns that have names: new data are read by these."""

import csv
import json
import pickle
import sys

import h5py
import keras
import numpy as np
import pytest

import kserket as srk
from kserket import cli, gmm, mlda, views


class Frame:
    """What a DataFrame of pandas or polars shares with the other."""

    def __init__(self, values, columns):
        self.values, self.columns = np.asarray(values), columns

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)

    def __iter__(self):
        return iter(self.columns)

    def __getitem__(self, names):
        return Frame(self.values[:, [self.columns.index(name) for name in names]], [*names])


RNG = np.random.default_rng(0)
CLASSES = np.arange(90) % 3
X = np.array([[0.0, 9, 3], [9, 3, 0], [3, 0, 9]])[CLASSES] + 0.3 * RNG.normal(size=(90, 3))
FRAME = Frame(X, ["height", "width", "weight"])
OTHER = FRAME[["weight", "height", "width"]]
RENAMED = Frame(X, ["height", "depth", "weight"])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    graph = srk.recipes.table(FRAME, K=3, seed=0)
    graph.fit(rounds=1, verbose=0)
    file = tmp_path_factory.mktemp("columns") / "table.kserket"
    graph.save(file)
    return file


def test_a_loaded_graph_reads_columns_by_name(path):
    graph = srk.load_graph(path)
    expected = graph.predict(X)
    assert (expected.argmax(1)[:3] == expected.argmax(1)[3:6]).all()
    for frame in (FRAME, OTHER):
        np.testing.assert_array_equal(graph.predict(frame), expected)
    explained = srk.explain(graph, x=OTHER)
    assert explained.features == list(FRAME.columns)
    np.testing.assert_allclose(explained.profile, srk.explain(graph).profile)
    assert srk.explain(graph).features == list(FRAME.columns)
    graph["table"].set_data(OTHER)
    np.testing.assert_array_equal(graph["table"].data, X)


def test_other_columns_are_an_error_and_change_nothing(path):
    graph = srk.load_graph(path)
    for use in (graph.predict, graph["table"].set_data):
        with pytest.raises(ValueError, match="'width' missing, 'depth' unknown.*to go by"):
            use(RENAMED)
    with pytest.raises(ValueError, match="'width' missing"):
        graph.predict(FRAME[["height", "weight"]])
    assert graph.predict(X).shape == (90, 3)
    assert graph["table"].columns == list(FRAME.columns)


def test_the_command_reads_a_csv_by_its_header(path, tmp_path):
    for name, frame in (("same", FRAME), ("other", OTHER)):
        data, answer = tmp_path / f"{name}.csv", tmp_path / f"{name}.npy"
        with open(data, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([frame.columns, *frame.values.tolist()])
        cli.main(["predict", str(path), str(data), "--out", str(answer)])
    np.testing.assert_array_equal(np.load(tmp_path / "same.npy"), np.load(tmp_path / "other.npy"))


@pytest.mark.parametrize("columns", [5, "abc", [1, 2, 3], ["a", None]])
def test_a_file_with_other_columns_is_refused(columns, tmp_path):
    graph = srk.recipes.table(FRAME, K=3, seed=0)
    graph["table"].columns = columns
    graph.save(tmp_path / "table.kserket")
    with pytest.raises(ValueError, match="cannot have columns="):
        srk.load_graph(tmp_path / "table.kserket")


# Models -----------------------------------------------------------------------------------


def fitted(model, x, held_out=None):
    """A model that has learned from x in a step or two."""
    options = {}
    if isinstance(model, srk.VariationalAutoencoder):
        model.compile("adam")
        options = {"validation_data": held_out}
    model.fit(x, epochs=2, verbose=0, **options)
    return model


def autoencoder():
    return srk.VariationalAutoencoder(2, likelihood="gaussian", encoder_units=4, seed=0)


COUNTS = Frame(np.round(np.abs(X)), FRAME.columns)
SHARES = Frame(COUNTS.values / COUNTS.values.sum(axis=1, keepdims=True), FRAME.columns)
MODELS = {  # how one is made, what it learns from, and what reads data
    "mixture": (
        lambda: srk.GaussianMixture(3, n_init=1, seed=0),
        FRAME,
        ("predict", "evaluate", "lower_bound", "component_log_likelihood", "score_samples"),
    ),
    "chain": (
        lambda: srk.MarkovChain(3, n_init=1, seed=0),
        SHARES,
        ("predict", "evaluate", "most_likely_path", "sequence_log_likelihood"),
    ),
    "topics": (
        lambda: srk.MultimodalLDA(3, n_init=1, seed=0),
        COUNTS,
        ("predict", "evaluate", "log_likelihood"),
    ),
    "autoencoder": (autoencoder, FRAME, ("evaluate", "encode", "predict")),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_reads_columns_by_name(kind, tmp_path):
    make, frame, doors = MODELS[kind]
    other, renamed = frame[OTHER.columns], Frame(frame.values, RENAMED.columns)
    model, by_place = fitted(make(), frame, other), fitted(make(), frame.values, frame.values)
    assert by_place.columns is None
    assert_same(model.history.history, by_place.history.history)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    names = [frame.columns] if kind == "topics" else frame.columns
    for one in (model, loaded):
        assert one.columns == names
    for door in doors:
        expected = getattr(by_place, door)(frame.values)
        for one in (model, loaded):
            assert_same(getattr(one, door)(other), expected)
        with pytest.raises(ValueError, match="'width' missing, 'depth' unknown.*to go by"):
            getattr(model, door)(renamed)
    with pytest.raises(ValueError, match="'width' missing"):
        model.fit(renamed, verbose=0)
    assert model.columns == names
    if hasattr(model, "partial_fit"):
        model.partial_fit(other)
        by_place.partial_fit(frame.values)
        assert_same(model.get_weights(), by_place.get_weights())


def assert_same(found, expected):
    """That two nests of arrays are equal, but for the order in which memory is summed."""
    for pair in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(*pair, rtol=1e-9, atol=1e-12)


def test_names_come_with_the_first_frame_and_not_from_a_fit_that_fails():
    model = srk.GaussianMixture(3, n_init=1, seed=0)
    with pytest.raises(ValueError, match="finite"):
        model.fit(Frame(np.where(X > 9, np.nan, X), FRAME.columns), verbose=0)
    assert model.columns is None
    fitted(model, X)
    assert model.columns is None
    np.testing.assert_array_equal(model.predict(OTHER), model.predict(OTHER.values))
    model.partial_fit(FRAME)
    assert model.columns == FRAME.columns
    np.testing.assert_array_equal(model.predict(OTHER), model.predict(X))


def test_variances_and_priors_go_by_names():
    model = fitted(srk.GaussianMixture(3, n_init=1, seed=0), FRAME)
    variance = Frame(0.01 * X**2, FRAME.columns)
    inputs = {"x": OTHER, "variance": variance[["width", "weight", "height"]]}
    np.testing.assert_array_equal(
        model.predict(inputs), model.predict({"x": X, "variance": variance.values})
    )
    mu = Frame(RNG.normal(size=(90, 2)), ["a", "b"])
    model = fitted(autoencoder(), [FRAME, mu])
    expected = model.evaluate([X, mu.values], verbose=0)
    assert model.evaluate({"x": OTHER, "mu": mu[["b", "a"]]}, verbose=0) == expected
    with pytest.raises(ValueError, match="mu of .* has the columns 'a', 'b'"):
        model.fit([FRAME, Frame(mu.values, ["a", "c"])], verbose=0)


def test_each_modality_has_names_of_its_own():
    sounds = Frame(COUNTS.values[:, ::-1], ["ring", "buzz", "hum"])
    model = fitted(srk.MultimodalLDA(3, n_init=1, seed=0), [COUNTS, sounds])
    assert model.columns == [COUNTS.columns, sounds.columns]
    expected = model.predict([COUNTS.values, sounds.values])
    inputs = [COUNTS[OTHER.columns], sounds[["hum", "ring", "buzz"]]]
    np.testing.assert_array_equal(model.predict(inputs), expected)
    alone = model.predict([None, sounds.values])
    np.testing.assert_array_equal(model.predict({"x": [None, inputs[1]]}), alone)
    with pytest.raises(ValueError, match="Modality 0 of .*'ring'"):
        model.predict(inputs[::-1][:1] + inputs[:1])


@pytest.mark.parametrize(
    "written", [b"[1]", b"{", b'{"x": [1]}', b'{"x": "abc"}', b'{"x/99999": ["a"]}', b"\xff"]
)
def test_a_model_file_with_other_columns_is_refused(written, tmp_path):
    model = fitted(srk.GaussianMixture(3, n_init=1, seed=0), FRAME)
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    with h5py.File(path, "r+") as file:
        columns = next(entry for entry in found_in(file) if entry.name.endswith("/columns"))
        assert json.loads(bytes(columns[()])) == {"x": FRAME.columns}
        group = columns.parent
        del group["columns"]
        group["columns"] = np.frombuffer(written, "uint8")
    with pytest.raises(ValueError, match="names of columns"):
        model.load_weights(path)


def found_in(file):
    """All data sets of an HDF5 file."""
    entries = []
    file.visititems(lambda _, entry: entries.append(entry) if hasattr(entry, "dtype") else None)
    return entries


def test_models_of_a_graph_know_what_it_observes(path):
    graph = srk.load_graph(path)
    model = graph["gmm"].model
    assert model.columns == FRAME.columns
    np.testing.assert_array_equal(model.predict(OTHER), model.predict(X))
    graph["table"].set_forward_msg(OTHER)
    np.testing.assert_array_equal(graph["table"].data, X)


def test_numbers_of_components_are_compared_by_names():
    variance = Frame(0.01 * np.ones((90, 3)) * [1.0, 2.0, 3.0], FRAME.columns)
    frames = {"x": FRAME, "variance": variance[OTHER.columns]}
    options = {"num_splits": 2, "seed": 0, "n_init": 1}
    found = srk.select_components(frames, [2], **options)
    expected = srk.select_components({"x": X, "variance": variance.values}, [2], **options)
    np.testing.assert_allclose(found.bound, expected.bound)


# DataFrames out ---------------------------------------------------------------------------


def test_answers_are_frames_with_the_index_of_the_question(path):
    pandas = pytest.importorskip("pandas")
    index = [f"row {number}" for number in range(90)]
    frame = pandas.DataFrame(OTHER.values, columns=OTHER.columns, index=index)
    graph = srk.load_graph(path)
    answer = graph.predict(frame, as_frame=True)
    assert list(answer.columns) == ["gmm/0", "gmm/1", "gmm/2"] and list(answer.index) == index
    np.testing.assert_array_equal(answer, graph.predict(X))
    both = graph.predict(frame, outputs=["gmm", "table"], as_frame=True)
    assert list(both["table"].columns) == FRAME.columns and list(both["table"].index) == index
    assert graph.predict(X, as_frame=True).index.equals(pandas.RangeIndex(90))
    for kind, names in {"mixture": "component", "chain": "state", "topics": "topic"}.items():
        make, data, _ = MODELS[kind]
        model = fitted(make(), data)
        answer = model.predict(
            pandas.DataFrame(data.values, columns=data.columns, index=index), as_frame=True
        )
        assert list(answer.columns) == [f"{names}/{k}" for k in range(3)]
        assert list(answer.index) == index
    answer = fitted(autoencoder(), FRAME).predict(frame, as_frame=True, verbose=0)
    assert list(answer["z_mean"].columns) == ["z_mean/0", "z_mean/1"]
    assert list(answer["reconstruction"].columns) == FRAME.columns
    assert list(answer["reconstruction"].index) == index


def test_rows_in_two_orders_have_no_index(path):
    pandas = pytest.importorskip("pandas")
    model = fitted(srk.GaussianMixture(3, n_init=1, seed=0), X)
    x = pandas.DataFrame(X)
    with pytest.raises(ValueError, match=r"different names.*reset_index"):
        model.predict({"x": x, "variance": 0 * x[::-1] + 1}, as_frame=True)


@pytest.fixture(scope="module")
def shuffled():
    """A frame (90, 3), and one of the same rows by name in another order; pandas."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=FRAME.columns, index=[f"row {n}" for n in range(90)])
    return frame, frame.sample(frac=1, random_state=0), pandas


def senses_of(first, second, **options):
    top = gmm.GMM(3, n_init=1, save_dir=None, **options)
    top.connect(srk.Observation(first, "eye"))
    other = gmm.GMM(3, n_init=1, name="other", save_dir=None)
    other.connect(srk.Observation(second, "hand"))
    joint = mlda.MLDA(3, save_dir=None)
    joint.connect(top, other)
    return srk.Graph(joint, seed=0)


def test_rows_of_the_same_names_in_different_order_are_an_error(shuffled):
    frame, other, pandas = shuffled
    error = {"match": r"eye and hand have rows.*hand\.loc\[eye\.index\].*reset_index"}
    with pytest.raises(ValueError, **error):
        srk.recipes.senses({"eye": frame, "hand": other}, K=3)
    with pytest.raises(ValueError, **error):
        senses_of(frame, other).fit(1, verbose=0)
    text = pandas.Series(["red ball"] * 90, index=other.index)
    with pytest.raises(ValueError, match="eye and words"):
        srk.recipes.senses({"eye": frame, "words": text}, K=3)
    graph = senses_of(frame, other.loc[frame.index])
    graph.fit(1, verbose=0)
    expected = graph.predict({"eye": X, "hand": X})
    for ask in (graph.predict, graph.evaluate):
        with pytest.raises(ValueError, **error):
            ask({"eye": frame[:5], "hand": frame[:5][::-1]})
    with pytest.raises(ValueError, match="eye and `y_true`"):
        graph.evaluate({"eye": frame}, pandas.Series(CLASSES, index=other.index))
    same = {"eye": frame, "hand": frame.copy()}
    np.testing.assert_array_equal(graph.predict(same), expected)
    for index in (range(90), [f"other {n}" for n in range(90)]):  # by place
        answer = graph.predict({"eye": frame, "hand": frame.set_axis(index)})
        np.testing.assert_array_equal(answer, expected)
    graph["hand"].set_data(other)
    with pytest.raises(ValueError, **error):
        graph.fit(1, verbose=0)
    graph["hand"].set_data(X)
    graph.fit(1, verbose=0)


def test_labels_in_another_order_than_the_data_are_an_error(shuffled):
    frame, other, pandas = shuffled
    numbered = frame.reset_index(drop=True).sample(frac=1, random_state=0)
    labels = pandas.Series(CLASSES)  # in the order of the rows before
    graph = senses_of(numbered, X, category=labels)
    with pytest.raises(ValueError, match="eye and `category`"):
        graph.fit(1, verbose=0)
    graph["gmm"].labels = labels.loc[numbered.index]
    graph.fit(1, verbose=0, validation_data=({"eye": frame}, CLASSES))
    with pytest.raises(ValueError, match="validation_data"):
        graph.fit(
            1,
            verbose=0,
            validation_data=({"eye": frame}, pandas.Series(CLASSES, index=other.index)),
        )
    again = pickle.loads(pickle.dumps(graph["gmm"]))
    assert again._row_names is None and again.inputs[0]._row_names is None
    guess = pandas.Series(CLASSES, index=frame.index)
    assert srk.metrics.clustering_accuracy(guess, guess) == 1.0
    with pytest.raises(ValueError, match="`y_true` and `y_pred`"):
        srk.metrics.clustering_accuracy(guess, guess[::-1])
    model = srk.GaussianMixture(3, n_init=1, seed=0)
    with pytest.raises(ValueError, match="in different order"):
        model.fit({"x": frame, "variance": other.abs()})


def test_a_frame_needs_pandas_and_rows_of_numbers(path, monkeypatch):
    graph, model = srk.load_graph(path), fitted(srk.GaussianMixture(3, n_init=1, seed=0), X)
    for ask in (graph.predict, model.predict):
        with pytest.raises(ValueError, match="`as_frame` must be True or False"):
            ask(X, as_frame="yes")
    monkeypatch.setitem(sys.modules, "pandas", None)
    for ask in (graph.predict, model.predict):
        with pytest.raises(ImportError, match="pip install pandas"):
            ask(X, as_frame=True)


def test_a_frame_of_counts_is_no_list_of_sentences():
    for graph in (
        srk.recipes.documents(COUNTS, K=3),
        srk.recipes.senses({"x": COUNTS, "y": COUNTS.values}, K=3),
    ):
        observation = next(iter(graph.observations.values()))
        assert observation.columns == COUNTS.columns and len(observation.data) == 90


def test_numbered_columns_go_by_their_place():
    observation = srk.Observation(Frame(X, range(3)))
    assert observation.columns is None
    np.testing.assert_array_equal(observation.read_samples(OTHER, "x"), OTHER.values)


def test_a_data_frame_of_pandas():
    pandas = pytest.importorskip("pandas")
    observation = srk.Observation(pandas.DataFrame(X, columns=FRAME.columns))
    other = pandas.DataFrame(OTHER.values, columns=OTHER.columns)
    np.testing.assert_array_equal(observation.read_samples(other, "x"), X)


def test_observations_are_shown():
    assert repr(srk.Observation(X, "table", allow_missing=True)).startswith("<Observation ")
    assert "allow_missing=True" in repr(srk.Observation(X, allow_missing=True))
    assert "0." not in repr(srk.Observation(X))


def test_what_nothing_predicts_cannot_be_asked_for():
    seen, view = srk.Observation(X, "seen"), views.OrientedGradients(cell_size=2)
    images = srk.Observation(RNG.random((90, 8, 8)), "images")
    view.connect(images)
    below, top = gmm.GMM(3, save_dir=None), gmm.GMM(3, save_dir=None)
    below.connect(view)
    top.connect(seen)
    joined = mlda.MLDA(3, save_dir=None)
    joined.connect(below, top)
    graph = srk.Graph(joined, seed=0)
    graph.fit(rounds=1, verbose=0)
    with pytest.raises(ValueError, match="No module predicts images: gradients only reads it"):
        graph.predict({"seen": X}, outputs="images")
