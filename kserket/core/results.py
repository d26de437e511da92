"""Serket's result folders: the only place that writes them.

A module's folder holds text files for people (`np.loadtxt` reads them) and one file of
parameters: named arrays and a JSON text that says what they are, in HDF5 (`.h5`) or as a
TensorFlow checkpoint (`.ckpt`, a prefix of two files). Nothing is pickled. Every file is
written under a temporary name and then renamed, so that a reader never meets half a file.
"""

import contextlib
import hashlib
import json
import os
import pathlib

import numpy as np

from kserket.version import __version__

FORMAT = 1
_METADATA = "kserket"  # attribute (HDF5) or string tensor (checkpoint) that holds the JSON text
_CHECKPOINT_PARTS = (".data-00000-of-00001", ".index")  # the index last: it completes the pair


def write_text(path, array):
    """Writes an array as text, one row a line.

    Integers are written as such, single precision with 7 significant digits, double with 12.

    Args:
        path: The file's path. Its folder must exist.
        array: Array of one or more dimensions; those after the first share a line.
    """
    array = np.asarray(array)
    rows = array.reshape(len(array), -1)
    form = {"f": "%.7g" if rows.dtype.itemsize <= 4 else "%.12g"}.get(rows.dtype.kind, "%d")
    line = " ".join([form] * rows.shape[1]) + "\n"
    chunk = max(1, 100_000 // rows.shape[1])
    with replacing(path) as temporary, open(temporary, "w", encoding="ascii") as file:
        for start in range(0, len(rows), chunk):
            part = rows[start : start + chunk]
            file.write((line * len(part)) % tuple(part.ravel().tolist()))


def write_parameters(path, arrays, metadata):
    """Writes named arrays and what they are.

    Args:
        path: Path that ends in `.h5` (HDF5) or `.ckpt` (TensorFlow checkpoint prefix).
        arrays: Dict from name to array.
        metadata: Dict of JSON values. Format, version and fingerprint are added.

    Returns:
        The fingerprint: a hexadecimal digest of names, shapes and values.
    """
    fingerprint = digest(arrays)
    metadata = {
        "format": FORMAT,
        "kserket": __version__,
        **metadata,
        "fingerprint": fingerprint,
    }
    text = json.dumps(metadata, sort_keys=True)
    if str(path).endswith(".ckpt"):
        _write_checkpoint(path, arrays, text)
    else:
        _write_hdf5(path, arrays, text)
    return fingerprint


def read_parameters(path):
    """Reads what `write_parameters` wrote, and checks that it is whole.

    Args:
        path: The path given to `write_parameters`.

    Returns:
        `(arrays, metadata)`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, foreign, of a newer format, or its parts do not belong
            together.
    """
    is_checkpoint = str(path).endswith(".ckpt")
    parts = [f"{path}{part}" for part in _CHECKPOINT_PARTS] if is_checkpoint else [str(path)]
    for part in parts:
        if not os.path.isfile(part):
            raise FileNotFoundError(f"There is no file {part}.")
    try:
        text, arrays = (_read_checkpoint if is_checkpoint else _read_hdf5)(path)
        metadata = json.loads(text)
        known = isinstance(metadata, dict) and isinstance(metadata.get("format"), int)
    except Exception as error:  # whatever TensorFlow, h5py or json find wrong with foreign bytes
        raise ValueError(
            f"{path} cannot be read: it is damaged, or kserket did not write it "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no text'}). "
            "Learn again, or restore the whole folder from a copy."
        ) from error
    if not known:
        raise ValueError(f"{path} was not written by kserket.")
    if metadata["format"] > FORMAT:
        raise ValueError(
            f"{path} has format {metadata['format']}, newer than this version of kserket "
            f"({__version__}) reads. Install kserket {metadata.get('kserket', '')} or later."
        )
    if metadata.get("fingerprint") != digest(arrays):
        raise ValueError(
            f"{path}: the files do not belong together: what they hold is not what was written. "
            "Learn again, or restore the whole folder from a copy."
        )
    return arrays, metadata


def digest(arrays):
    """A short digest of named arrays: equal if and only if names and values are."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update(f"{name} {array.dtype.str} {array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()[:16]


def _write_hdf5(path, arrays, text):
    import h5py

    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs[_METADATA] = text
        for name, array in arrays.items():
            file.create_dataset(name, data=np.asarray(array))


def _read_hdf5(path):
    import h5py

    with h5py.File(path, "r") as file:
        arrays = {}
        for name, dataset in _datasets(file):
            if dataset.external:
                raise ValueError(f"{name} is no plain dataset")
            if dataset.size * dataset.dtype.itemsize > 64 * os.path.getsize(path) + 2**20:
                raise ValueError(f"{name} claims a size that the file cannot hold")
            arrays[name] = dataset[()]
        return str(file.attrs[_METADATA]), arrays


def _datasets(group):
    """Name and dataset of everything in an HDF5 group, "optimizer/0" where groups are nested."""
    import h5py

    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is a link out of the file")
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _datasets(item)
        else:
            yield item.name.lstrip("/"), item


def _write_checkpoint(path, arrays, text):
    import tensorflow as tf

    names = [_METADATA, *arrays]
    tensors = [tf.constant(text), *(tf.constant(np.asarray(array)) for array in arrays.values())]
    with contextlib.ExitStack() as stack:
        temporary = f"{path}.{os.getpid()}.tmp"
        stack.callback(_remove, *(temporary + part for part in _CHECKPOINT_PARTS))
        tf.raw_ops.SaveV2(
            prefix=temporary,
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=tensors,
        )
        for part in _CHECKPOINT_PARTS:
            os.replace(temporary + part, f"{path}{part}")


def _read_checkpoint(path):
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(path))
    names = sorted(reader.get_variable_to_shape_map())
    arrays = {name: np.asarray(reader.get_tensor(name)) for name in names if name != _METADATA}
    return reader.get_tensor(_METADATA).decode(), arrays


@contextlib.contextmanager
def replacing(path):
    """A temporary path beside `path` that takes its name when all went well."""
    path = pathlib.Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        _remove(temporary)


def _remove(*paths):
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
