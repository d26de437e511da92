"""Data that come from files and datasets, and the same results from each."""

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_array_equal
from scipy import sparse

import kserket as srk
from kserket import gmm, storage, vae
from kserket.core import compiled_loop
from kserket.core.autoencoder import coding


class Batches(keras.utils.PyDataset):
    """Batches of seven samples, wrapped as asked."""

    def __init__(self, x, wrap=lambda x: (x,)):
        super().__init__()
        self.x, self.wrap = x, wrap

    def __len__(self):
        return -(-len(self.x) // 7)

    def __getitem__(self, index):
        return self.wrap(self.x[7 * index : 7 * (index + 1)])


def as_npy(x, folder):
    np.save(folder / "x.npy", x)
    return folder / "x.npy"


def as_memmap(x, folder):
    return np.load(as_npy(x, folder), mmap_mode="r")


def as_hdf5(x, folder):
    file = h5py.File(folder / "x.h5", "w")
    return file.create_dataset("x", data=x)


def as_compressed_hdf5(x, folder):
    file = h5py.File(folder / "z.h5", "w")
    return file.create_dataset("x", data=x, compression="gzip", chunks=(10, x.shape[1]))


SOURCES = {
    "npy": as_npy,
    "npy by name": lambda x, folder: str(as_npy(x, folder)),
    "memmap": as_memmap,
    "hdf5": as_hdf5,
    "compressed hdf5": as_compressed_hdf5,
    "PyDataset": lambda x, folder: Batches(x),
    "tf.data": lambda x, folder: tf.data.Dataset.from_tensor_slices(x).batch(7),
}


@pytest.fixture
def small_limits(monkeypatch):
    """Data and messages live in files, and are worked on a few rows at a time."""
    monkeypatch.setattr(storage, "MEMORY_LIMIT", 1000)
    monkeypatch.setattr(storage, "CHUNK_BYTES", 800)
    monkeypatch.setattr(compiled_loop, "MEMORY_LIMIT", 1000)
    monkeypatch.setattr(compiled_loop, "BLOCK_BYTES", 3000)
    monkeypatch.setattr(coding, "CHUNK", 32)


def images(num_samples=150):
    rng = np.random.default_rng(0)
    return rng.random((num_samples, 12)).astype("float32")


def learn(data, allow_missing=False):
    """Two rounds of VAE+GMM, and everything that they lead to."""
    srk.Module.reset_names()
    vae1 = vae.VAE(2, itr=2, batch_size=20, KL_param=0.1, save_dir=None)
    gmm1 = gmm.GMM(3, itr=5, save_dir=None)
    vae1.connect(srk.Observation(data, allow_missing=allow_missing))
    gmm1.connect(vae1)
    graph = srk.Graph(gmm1, seed=0)
    history = graph.fit(rounds=2, verbose=0).history
    messages = [vae1.get_forward_msg(), vae1.get_backward_msg(), gmm1.get_forward_msg()]
    return graph, history, [np.asarray(message) for message in messages]


@pytest.mark.filterwarnings("ignore:.*collapsed", "ignore:.*one class")
@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_what_an_array_gives(kind, tmp_path, small_limits):
    x = images()
    expected_graph, expected_history, expected = learn(x)
    graph, history, messages = learn(SOURCES[kind](x, tmp_path))
    assert history == expected_history
    for got, wanted in zip(messages, expected, strict=True):
        assert_array_equal(got, wanted)
        assert storage.memory_map(got) is not None
    assert_array_equal(graph.predict(x), expected_graph.predict(x))
    assert graph.evaluate(SOURCES[kind](x, tmp_path)) == expected_graph.evaluate(x)


@pytest.mark.filterwarnings("ignore:.*collapsed", "ignore:.*one class")
def test_files_give_what_memory_gives_missing_rows_included(tmp_path, monkeypatch):
    x = images()
    x[::4] = np.nan
    _, history, expected = learn(x, allow_missing=True)
    monkeypatch.setattr(storage, "MEMORY_LIMIT", 1000)
    monkeypatch.setattr(compiled_loop, "MEMORY_LIMIT", 1000)
    monkeypatch.setattr(compiled_loop, "BLOCK_BYTES", 5000)
    _, in_files, messages = learn(as_npy(x, tmp_path), allow_missing=True)
    assert in_files == history
    for got, wanted in zip(messages, expected, strict=True):
        assert_array_equal(got, wanted)


@pytest.mark.parametrize(
    "wrap", [lambda x: x, lambda x: (x, 1), lambda x: ({"x": x},), lambda x: {"x": x, "y": 1}]
)
def test_batches_as_keras_takes_them(wrap):
    x = images(20)
    assert_array_equal(srk.Observation(Batches(x, wrap)).data, x)


def test_contiguous_hdf5_is_mapped_and_not_copied(tmp_path):
    obs = srk.Observation(as_hdf5(images(), tmp_path))
    assert obs.data.filename == str(tmp_path / "x.h5")


def test_data_in_files_are_not_copied_into_a_saved_graph(tmp_path):
    x = images()
    gmm1 = gmm.GMM(2, save_dir=None, seed=0)
    gmm1.connect(srk.Observation(as_npy(x, tmp_path)))
    graph = srk.Graph(gmm1)
    graph.fit(1, verbose=0)
    graph.save(tmp_path / "g.kserket")
    again = srk.load_graph(tmp_path / "g.kserket", data={"obs": as_npy(x, tmp_path)})
    again.fit(1, verbose=0)
    with pytest.raises(RuntimeError, match="not saved with the graph"):
        srk.load_graph(tmp_path / "g.kserket").fit(1, verbose=0)


@pytest.mark.parametrize(
    "data, kind, text",
    [
        ("x.txt", TypeError, "end in .npy"),
        ("none.npy", FileNotFoundError, "none.npy"),
        (tf.data.Dataset.from_tensor_slices(images(9)), TypeError, "Batch the dataset"),
        (tf.data.Dataset.from_tensor_slices(images(9)).batch(3).repeat(), ValueError, "an end"),
        (tf.data.Dataset.from_tensor_slices(images(9)).take(0).batch(3), ValueError, "no samples"),
        (Batches(np.array([["a"]])), TypeError, "one row per sample"),
        (sparse.csr_array((0, 3)), ValueError, "image cannot read the csr_array. There are no"),
        (Batches(np.full((9, 2), np.nan)), ValueError, "not finite"),
    ],
)
def test_errors_say_what_is_wrong(data, kind, text):
    with pytest.raises(kind, match=text):
        srk.Observation(data, name="image")
