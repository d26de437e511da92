"""What data may come in, beside arrays, and how each becomes one."""

import itertools
import pathlib

import h5py
import keras
import numpy as np
import tensorflow as tf

from kserket import storage
from kserket.arrays import as_numbers

ADVICE = "Batches are x, (x, ...) or {'x': x}, arrays with one row per sample"


def as_array(data, name):
    """Data as an array or a memory map: everything else here may slice it and read it twice.

    Args:
        data: Array or list of rows (returned as they are); path of an `.npy` file, which is mapped;
            HDF5 dataset, which is mapped where it lies in one piece; `keras.utils.PyDataset` or
            `tf.data.Dataset` of batches; scipy sparse matrix. What can be read only from front to
            back, or only in blocks, is copied once, to a scratch file if it is large. Of batches
            that are tuples the first entry is taken, of dicts "x".
        name: Who will hold the data, for errors.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If the path is of another kind of file, or batches hold something else.
        ValueError: If a dataset has no end or no samples, or its samples differ in shape.
    """
    if isinstance(data, (str, pathlib.PurePath)):
        if not str(data).endswith(".npy"):
            raise TypeError(
                f"{name} reads files that end in .npy. Received: {data}. Open others first, such "
                "as np.load(path)['x'] or np.loadtxt(path)."
            )
        return _mapped(data, name)
    try:
        if isinstance(data, h5py.Dataset):
            return _from_hdf5(data, name)
        if type(data).__module__.startswith("scipy.sparse"):
            return _from_sparse(data)
        if is_dataset(data):
            return storage.collect(_samples(batch, name) for batch in _batches(data, name))
    except ValueError as error:
        raise ValueError(f"{name} cannot read the {type(data).__name__}. {error}") from error
    return data


def is_dataset(data):
    """Whether these are batches of Keras or TensorFlow."""
    return isinstance(data, (keras.utils.PyDataset, tf.data.Dataset))


def read_named(dataset):
    """The inputs in a dataset's batches, read once.

    Args:
        dataset: `tf.data.Dataset` or `keras.utils.PyDataset` of batches x or (x, y), or of dicts of
            inputs instead of x.

    Returns:
        Array x (N, ...), or dict of arrays; x alone may be larger than memory.

    Raises:
        TypeError: If batches hold something else than numbers.
        ValueError: If there is no end or no batch, samples differ in shape, or have weights.
    """
    batches = (_inputs(batch) for batch in _batches(dataset, "x"))
    first = next(batches, None)
    if first is None:
        raise ValueError("The dataset is empty. Give one with a batch at least.")
    batches = itertools.chain([first], batches)
    if not isinstance(first, dict):
        return storage.collect(_samples(batch, "x") for batch in batches)
    parts = {name: [] for name in first}
    for batch in batches:
        for name, arrays in parts.items():
            arrays.append(as_numbers(batch[name], f"`{name}`"))
    return {name: storage.collect(arrays) for name, arrays in parts.items()}


def _inputs(batch):
    """The inputs in a batch of a dataset."""
    if not isinstance(batch, (tuple, list)):
        return batch
    if len(batch) > 2 and batch[2] is not None:
        raise ValueError(
            "Weights of samples in a dataset are not read. Give x and sample_weight as arrays."
        )
    return batch[0]


def _mapped(path, name):
    """The array in an `.npy` file, mapped."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ValueError(
            f"{name} cannot read {path}, which is damaged or holds something else than an array of "
            f"numbers: {error}. Write it with np.save(path, array)."
        ) from error


def _from_hdf5(dataset, name):
    """The file mapped where the dataset lies in it as in memory; else its rows, copied."""
    if not dataset:
        raise TypeError(f"{name} cannot read a dataset of a closed HDF5 file. Open the file again.")
    offset = dataset.id.get_offset()
    if offset is None or dataset.file.driver not in ("sec2", "stdio"):
        return storage.collect(dataset[rows] for rows in storage.chunks(dataset))
    dataset.file.flush()
    return np.memmap(dataset.file.filename, dataset.dtype, "r", offset, dataset.shape)


def _from_sparse(matrix):
    """All values of a scipy sparse matrix, its zeros too."""
    rows = matrix.tocsr()
    return storage.collect(rows[part].toarray() for part in storage.chunks(rows))


def _batches(data, name):
    """The batches of one pass."""
    if isinstance(data, tf.data.Dataset):
        if data.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError(f"{name} needs a dataset with an end: leave out repeat().")
        return data
    if data.num_batches is None:
        raise ValueError(f"{name} needs a PyDataset with an end: its num_batches is None.")
    return (data[index] for index in range(data.num_batches))


def _samples(batch, name):
    """The samples of one batch, (n, ...)."""
    if isinstance(batch, (tuple, list)):
        batch = batch[0]
    if isinstance(batch, dict):
        batch = batch.get("x")
    batch = as_numbers(batch, f"{ADVICE}; {name}")
    if batch.ndim < 2:
        raise TypeError(
            f"{ADVICE}; {name} received {batch.dtype} of shape {batch.shape}. "
            "Batch the dataset: dataset.batch(256)."
        )
    return batch
