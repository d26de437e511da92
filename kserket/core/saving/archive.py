"""One file of named parts, written all or not at all, read without trust.

The file is a zip archive in which nothing is compressed:

    graph.json        what the graph is; refers to arrays and models by number
    arrays.h5         datasets "0", "1", ... (HDF5, no filters, no links)
    models/0.keras    Keras' own files

Since every byte that is read stands in the file, none can claim to be more than it is.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import stat
import tempfile
import zipfile

import h5py

from kserket import storage
from kserket.core import files, hdf5
from kserket.version import __version__

FORMAT = 1
_PARTS = re.compile(r"graph\.json|arrays\.h5|models/\d{1,6}\.keras")
_KERAS_PARTS = re.compile(r"(metadata|config)\.json|model\.weights\.h5|assets/.*")
_MAX_ENTRIES = 4096


def write(path, content, arrays, models):
    """Writes the file beside its place, then moves it there.

    Args:
        path: The file. What stood there stays until the new one is complete.
        content: Dict of JSON values.
        arrays: List of arrays.
        models: List of Keras models.

    Raises:
        OSError: If it cannot be written, naming the file.
    """
    text = json.dumps(content)
    with files.writing(path, sync=True) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("graph.json", text)
        packed = hdf5.pack({str(index): array for index, array in enumerate(arrays)})
        with archive.open("arrays.h5", "w", force_zip64=True) as part:
            for rows in storage.chunks(packed):
                part.write(packed[rows])
        with files.memory_folder() as (prefix, read):
            for index, model in enumerate(models):
                model.save(f"{prefix}{index}.keras")
                archive.writestr(f"models/{index}.keras", read(f"{prefix}{index}.keras"))


@contextlib.contextmanager
def reading(path):
    """Checks a file and opens it.

    Args:
        path: The file.

    Yields:
        `(content, get_array, get_model)`: the JSON values, and functions from number to array
        and from number to the path of a checked `.keras` file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, foreign, of a newer format, or not to be trusted; and for
            whatever goes wrong in the body, naming the file.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with tempfile.TemporaryDirectory(prefix="kserket-") as folder, contextlib.ExitStack() as on:
            content = _extract(path, pathlib.Path(folder))
            place = os.path.join(folder, "arrays.h5")
            file = on.enter_context(h5py.File(place, "r"))
            arrays = dict(hdf5.datasets(file, os.path.getsize(place)))
            yield (
                content,
                lambda index: _read_array(arrays, str(index)),
                lambda index: _check_keras_file(os.path.join(folder, "models", f"{index}.keras")),
            )
    except Exception as error:
        text = str(error)
        if not text or not isinstance(error, (ValueError, RuntimeError, OSError)):
            text = f"what it holds does not fit together ({type(error).__name__}: {error})."
        raise ValueError(f"{path} cannot be loaded: {text}") from error


def _extract(path, folder):
    """Takes the parts out into a folder, checksums verified; the JSON values."""
    with open(path, "rb") as file:
        head = file.read(40)
    if head.startswith(b"\x89HDF"):
        raise ValueError("it is an HDF5 file, not a graph that kserket saved.")
    if not head.startswith(b"PK"):
        raise ValueError("it is not a file of kserket.")
    try:
        with zipfile.ZipFile(path) as archive:
            if head.endswith(b"graph.json") and "graph.json" not in archive.namelist():
                raise zipfile.BadZipFile("its end is missing")  # that of a model was found
            if {"metadata.json", "config.json"} <= set(archive.namelist()):
                raise ValueError(
                    "it is a Keras model, not a graph. Read it with keras.models.load_model, after "
                    "`import kserket` where the model is one of kserket's."
                )
            names = _check_entries(archive, os.path.getsize(path), _PARTS)
            if not {"graph.json", "arrays.h5"} <= names:
                raise ValueError("it is a zip file, but not one that kserket wrote.")
            for name in names:
                (folder / name).parent.mkdir(exist_ok=True)
                with archive.open(name) as source, open(folder / name, "wb") as target:
                    shutil.copyfileobj(source, target, 2**20)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise ValueError(f"it is truncated or damaged ({error}).") from error
    try:
        content = json.loads((folder / "graph.json").read_bytes())
    except ValueError as error:
        raise ValueError(f"its graph.json is damaged ({error}).") from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise ValueError("it is a zip file, but not one that kserket wrote.")
    if content["format"] > FORMAT:
        raise ValueError(
            f"it has format {content['format']}, newer than this version of kserket "
            f"({__version__}) reads. Install kserket {content.get('kserket', '')} or later."
        )
    return content


def _check_entries(archive, size, allowed):
    """The names of a zip archive's entries, each allowed and no larger than it is."""
    infos = archive.infolist()
    if len(infos) > _MAX_ENTRIES:
        raise ValueError(f"it has {len(infos)} entries, more than the {_MAX_ENTRIES} of a graph.")
    names = {info.filename for info in infos}
    for info in infos:
        name = info.filename
        if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or ":" in name:
            raise ValueError(f"its entry {name!r} points out of the file.")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise ValueError(f"its entry {name!r} is a link.")
        if not allowed.fullmatch(name):
            raise ValueError(f"its entry {name!r} is not one that kserket writes.")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise ValueError(
                f"its entry {name!r} unpacks from {info.compress_size} to {info.file_size} bytes. "
                "kserket writes nothing compressed, so that no file can be larger than it is."
            )
    if len(names) != len(infos) or sum(info.file_size for info in infos) > size:
        raise ValueError("its entries overlap: they claim more bytes than the file has.")
    return names


def _read_array(arrays, name):
    """An array by its name."""
    if name not in arrays:
        raise ValueError(f"array {name} is missing.")
    return arrays[name][()]


def _check_keras_file(path):
    """The path of a `.keras` file after the same checks of what is in it."""
    if not os.path.isfile(path):
        raise ValueError(f"models/{os.path.basename(path)} is missing.")
    with zipfile.ZipFile(path) as archive:
        names = _check_entries(archive, os.path.getsize(path), _KERAS_PARTS)
        if "model.weights.h5" in names:
            size = archive.getinfo("model.weights.h5").file_size
            with archive.open("model.weights.h5") as part, h5py.File(part, "r") as file:
                for _ in hdf5.datasets(file, size):
                    pass
    return path
