"""Serket's result folders: the only place that writes them.

A module's folder holds text files for people (`np.loadtxt` reads them) and one file of
parameters: named arrays and a JSON text that says what they are, in HDF5 (`.h5`) or as a
TensorFlow checkpoint (`.ckpt`, a prefix of two files). Nothing is pickled. Every file is
written under a temporary name and then renamed, so that a reader never meets half a file.

Before the HDF5 file stands a block of 512 bytes with a checksum of all that follows, which is
verified before HDF5 reads a byte. Readers of HDF5 skip the block.
"""

import contextlib
import hashlib
import json
import math
import os
import struct

import numpy as np

from kserket import storage
from kserket.core import files, hdf5
from kserket.version import __version__

FORMAT = 2  # 1 had no checksum, and its text as an attribute of variable length
_METADATA = "kserket"  # attribute (HDF5) or string tensor (checkpoint) that holds the JSON text
_BLOCK = 512  # bytes, the smallest that HDF5 skips
_SEAL = b"kserket parameters, sha256 of all after this block: "
_CHECKPOINT_PARTS = (".data-00000-of-00001", ".index")  # the index last: it completes the pair


def write_text(path, array, open_new=None):
    """Writes an array as text, one row a line.

    Integers are written as such, single precision with 7 significant digits, double with 12.

    Args:
        path: The file's path. Its folder must exist.
        array: Array of one or more dimensions; those after the first share a line.
        open_new: As in `write_parameters`.

    Raises:
        OSError: If it cannot be written. What stood there still does.
    """
    array = np.asarray(array)
    rows = array.reshape(len(array), -1)
    form = {"f": "%.7g" if rows.dtype.itemsize <= 4 else "%.12g"}.get(rows.dtype.kind, "%d")
    line = " ".join([form] * rows.shape[1]) + "\n"
    chunk = max(1, 100_000 // rows.shape[1])
    with _opened(path, open_new) as file:
        for start in range(0, len(rows), chunk):
            part = rows[start : start + chunk]
            file.write(((line * len(part)) % tuple(part.ravel().tolist())).encode("ascii"))


def write_parameters(path, arrays, metadata, open_new=None):
    """Writes named arrays and what they are.

    Args:
        path: Path that ends in `.h5` (HDF5) or `.ckpt` (TensorFlow checkpoint prefix).
        arrays: Dict from name to array.
        metadata: Dict of JSON values. Format, version and fingerprint are added.
        open_new: What `files.replacing` yields, where several files take their names together.

    Returns:
        The fingerprint: a hexadecimal digest of names, shapes and values.

    Raises:
        OSError: If they cannot be written. What stood there still does.
    """
    fingerprint = digest(arrays)
    metadata = {
        "format": FORMAT,
        "kserket": __version__,
        **metadata,
        "fingerprint": fingerprint,
    }
    text = json.dumps(metadata, sort_keys=True)
    write = _write_checkpoint if str(path).endswith(".ckpt") else _write_hdf5
    write(path, arrays, text, open_new)
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
    for part in parts(path):
        if not os.path.isfile(part):
            raise FileNotFoundError(f"There is no file {part}.")
    try:
        text, arrays = (_read_checkpoint if is_checkpoint else _read_hdf5)(path)
        metadata = json.loads(text)
    except Exception as error:  # whatever TensorFlow, h5py or json find wrong with foreign bytes
        raise ValueError(
            f"{path} cannot be read: it is damaged, or kserket did not write it "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no text'}). "
            "Learn again, or restore the whole folder from a copy."
        ) from error
    if not isinstance(metadata, dict) or type(metadata.get("format")) is not int:
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


def parts(path):
    """The files that parameters of a path lie in, the one that completes them last.

    Args:
        path: The path given to `write_parameters`.
    """
    is_checkpoint = str(path).endswith(".ckpt")
    return [f"{path}{part}" for part in _CHECKPOINT_PARTS] if is_checkpoint else [str(path)]


def digest(arrays):
    """A short digest of named arrays: equal if and only if names and values are."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update(f"{name} {array.dtype.str} {array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()[:16]


def _opened(path, open_new):
    """A new file, within others that are written together or alone."""
    return files.writing(path) if open_new is None else contextlib.nullcontext(open_new(path))


def _write_hdf5(path, arrays, text, open_new):
    content = hdf5.pack(arrays, text.encode(), _BLOCK)
    parts = list(storage.chunks(content[_BLOCK:]))
    sha = hashlib.sha256()
    for part in parts:
        sha.update(content[_BLOCK:][part])
    with _opened(path, open_new) as file:
        file.write(_seal(sha))
        for part in parts:
            file.write(content[_BLOCK:][part])


def _read_hdf5(path):
    import h5py

    with open(path, "rb") as source:
        block = source.read(_BLOCK)
        sealed = block.startswith(_SEAL)
        if sealed and block != _seal(hashlib.file_digest(source, "sha256")):
            raise ValueError("its bytes do not belong together: their checksum is another")
        with h5py.File(source, "r") as file:
            found = hdf5.datasets(file, os.path.getsize(path))
            arrays = {name: dataset[()] for name, dataset in found}
            if sealed:
                return file.attrs[_METADATA], arrays
            kind = h5py.h5a.open(file.id, _METADATA.encode()).get_type()
            if not (isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str()):
                raise ValueError("its metadata are no string")
        source.seek(0)
        return _first_string(source.read()), arrays


def _seal(sha):
    """The block before a file whose bytes have this SHA-256."""
    return (_SEAL + sha.hexdigest().encode()).ljust(_BLOCK, b"\0")


def _first_string(content):
    """The first string of variable length in an HDF5 file's bytes.

    Files of format 1 hold one, the metadata. HDF5 does not check where such a string is said to
    stand, and a wrong byte there ends the process; so its heap is read here.
    """
    start = content.find(b"GCOL") + 16
    index, _, size = struct.unpack_from("<HH4xQ", content, start)
    if index != 1 or start == 15:
        raise ValueError("it has no metadata")
    return content[start + 16 :][:size]


def _write_checkpoint(path, arrays, text, open_new):
    import tensorflow as tf

    names = [_METADATA, *arrays]
    tensors = [tf.constant(text), *(tf.constant(np.asarray(array)) for array in arrays.values())]
    with contextlib.ExitStack() as on:
        prefix, read = on.enter_context(files.memory_folder())
        open_new = on.enter_context(files.replacing()) if open_new is None else open_new
        tf.raw_ops.SaveV2(
            prefix=f"{prefix}model",
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=tensors,
        )
        for part in _CHECKPOINT_PARTS:
            open_new(f"{path}{part}").write(read(f"{prefix}model{part}"))


def _read_checkpoint(path):
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(path))
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    names = sorted(shapes.keys() - {_METADATA})
    claimed = sum(math.prod(shapes[name]) * dtypes[name].size for name in names)
    if claimed > os.path.getsize(f"{path}{_CHECKPOINT_PARTS[0]}"):
        raise ValueError("its arrays claim more bytes than the files have")
    arrays = {name: np.asarray(reader.get_tensor(name)) for name in names}
    return reader.get_tensor(_METADATA).decode(), arrays
