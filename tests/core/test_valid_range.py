"""Values outside of an observation's valid range are not observed, in new data too."""

import numpy as np
import pytest
import tensorflow as tf

import kserket as srk
from kserket import gmm


def table():
    """Two classes in three columns; in the last, the first 30 samples have -999."""
    rng = np.random.default_rng(0)
    classes = np.arange(200) % 2
    x = rng.normal(size=(200, 3)) + 8.0 * classes[:, None]
    x[:30, 2] = -999.0
    return x


def learned(x, **options):
    observation = srk.Observation(x, "table", allow_missing=True, **options)
    mixture = gmm.GMM(2, name="gmm", itr=5, save_dir=None)
    mixture.connect(observation)
    graph = srk.Graph(mixture, seed=0)
    graph.fit(rounds=1, verbose=0)
    return graph


def with_gaps(x):
    return np.where(x == -999.0, np.nan, x)


@pytest.fixture(scope="module")
def graph():
    return learned(table(), valid_range=(-100.0, 100.0))


@pytest.mark.parametrize(
    ("valid_range", "dtype", "kept"),
    [
        ((-100, np.inf), "float64", "float64"),
        ([-100.0, 100.0], "float32", "float32"),
        (([-np.inf, -np.inf, -100.0], 1e9), "float64", "float64"),
        ((-998.5, 100), "int64", "float64"),
        ((-1000, 100), "int64", "int64"),
    ],
)
def test_values_outside_are_gaps(valid_range, dtype, kept):
    x = table().astype(dtype)
    observation = srk.Observation(x, allow_missing=True, valid_range=valid_range)
    expected = x if kept == "int64" else with_gaps(x)
    np.testing.assert_array_equal(observation.data, expected)
    assert observation.data.dtype == kept and not np.isnan(np.asarray(x, float)).any()
    for replace in (observation.set_data, observation.set_forward_msg):
        replace(x[::-1])
        np.testing.assert_array_equal(observation.data, expected[::-1])


def test_data_in_a_file_and_columns_of_a_frame_are_read_likewise(tmp_path):
    x = table()
    np.save(tmp_path / "x.npy", x)
    options = {"allow_missing": True, "valid_range": (-100.0, 100.0)}
    observation = srk.Observation(tmp_path / "x.npy", **options)
    np.testing.assert_array_equal(observation.data, with_gaps(x))
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(x, columns=["a", "b", "c"])
    observation = srk.Observation(frame, **options)
    np.testing.assert_array_equal(observation.data, with_gaps(x))
    observation.set_data(frame[["c", "a", "b"]])
    np.testing.assert_array_equal(observation.data, with_gaps(x))


def test_a_graph_learns_and_answers_as_of_gaps(graph):
    x = table()
    other = learned(with_gaps(x))
    np.testing.assert_array_equal(graph.predict(x), other.predict(with_gaps(x)))
    np.testing.assert_array_equal(graph.predict(x), graph.predict(with_gaps(x)))
    assert graph.evaluate(x) == graph.evaluate(with_gaps(x))
    filled = graph.predict(x, outputs="table")
    np.testing.assert_array_equal(filled[30:], x[30:])
    assert (filled[:30, 2] > -10).all()


def test_a_saved_graph_and_a_served_one_keep_the_range(graph, tmp_path):
    x = table()
    graph.save(tmp_path / "g.kserket")
    loaded = srk.load_graph(tmp_path / "g.kserket")
    np.testing.assert_array_equal(loaded.predict(x), graph.predict(x))
    assert [float(end) for end in loaded["table"].valid_range] == [-100.0, 100.0]
    graph.export(tmp_path / "served")
    x = np.r_[x, [[np.inf, 0.0, 0.0]]]
    served = tf.saved_model.load(str(tmp_path / "served")).signatures["classify"]
    answer = served(table=tf.constant(x, "float32"))["gmm"].numpy()
    np.testing.assert_allclose(answer[:-1], graph.predict(x[:-1]), atol=1e-4)
    assert np.isnan(answer[-1]).all()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"valid_range": (0, 1), "allow_missing": False}, ValueError, "allow_missing=True"),
        ({"valid_range": 5}, ValueError, "pair"),
        ({"valid_range": np.array(5)}, ValueError, "pair"),
        ({"valid_range": (1, 2, 3)}, ValueError, "pair"),
        ({"valid_range": (1, 0)}, ValueError, "low below high"),
        ({"valid_range": (np.nan, 0)}, ValueError, "low below high"),
        ({"valid_range": ([0, 0], 1)}, ValueError, "must fit samples"),
        ({"valid_range": (np.zeros((200, 1)), 1)}, ValueError, "must fit samples"),
        ({"valid_range": ("a", "b")}, TypeError, "valid_range"),
        ({"valid_range": (None, 1)}, TypeError, "valid_range"),
    ],
)
def test_a_range_that_is_none_is_refused(options, error, words):
    with pytest.raises(error, match=words):
        srk.Observation(table(), **{"allow_missing": True, **options})


def test_a_module_that_needs_whole_rows_refuses_what_the_range_leaves_out():
    observation = srk.Observation(table(), allow_missing=True, valid_range=(-100, 100))
    with pytest.raises(ValueError, match="single cells of NaN"):
        srk.vae.VAE(2, likelihood="gaussian", save_dir=None).connect(observation)


def test_data_that_the_range_does_not_fit_are_refused_and_change_nothing():
    low = np.array([-np.inf, -np.inf, -100.0])
    observation = srk.Observation(table(), allow_missing=True, valid_range=(low, 1e9))
    before = observation.data
    for replace in (observation.set_data, observation.set_forward_msg):
        with pytest.raises(ValueError, match=r"must fit samples, which have shape \(2,\)"):
            replace(table()[:, :2])
        assert observation.data is before
