"""Columns that have names: new data are read by these."""

import csv

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

    def __getitem__(self, names):
        return Frame(self.values[:, [self.columns.index(name) for name in names]], names)


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
    with pytest.raises(ValueError, match="No module predicts .*images.*only reads it"):
        graph.predict({"seen": X}, outputs="images")
