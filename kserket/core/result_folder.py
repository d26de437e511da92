"""A module's own folder: which files an update leaves there, and whose parameters it may take up.

What the files look like inside is written in `kserket.core.results`.
"""

import contextlib
import math
from typing import NamedTuple

import numpy as np

from kserket import hosts
from kserket.core import files, results
from kserket.core.loaded import check_parameters

_BEFORE = "previous"  # folder of the parameters before the last ones that were read


def write(module, inference, input_shapes):
    """Writes the result files of an update: parameters first, then the texts.

    After learning, the module's `fingerprint` is set to the digest of its new parameters. Without
    a folder nothing is written. Of several hosts the first writes, texts of the rows it has.

    Args:
        module: A `LearningModule`.
        inference: The `Inference` that the update arrived at.
        input_shapes: Shapes of a sample of each of its inputs, lists.
    """
    own = module.folder
    if own is None or hosts.host_index() > 0:
        return
    with files.naming(own):
        own.mkdir(parents=True, exist_ok=True)
    learns = module.mode == "learn"
    folders, texts = [own], _texts(module, inference, own)
    if module.keep_rounds:
        folders.append(own / f"{module.rounds:03d}")
        with files.naming(folders[1]):
            folders[1].mkdir(exist_ok=True)
    with files.replacing() as open_new:
        for folder in folders:
            if learns:
                fingerprint = _write_parameters(module, folder, input_shapes, open_new)
            for name, array in texts.items():
                results.write_text(folder / name, array, open_new)
        if learns and module.is_read:
            _keep_newest(own, module.parameters_file)
    if learns:
        module.note_written(fingerprint)


def _write_parameters(module, folder, input_shapes, open_new):
    metadata = {
        "module": type(module).__name__,
        "settings": module.settings(),
        "input_shapes": input_shapes,
        "inputs": [below.fingerprint for below in module.inputs],
    }
    path = folder / module.parameters_file
    return results.write_parameters(path, module.get_parameters(), metadata, open_new)


def _keep_newest(folder, name):
    """Keeps the parameters that a new file is about to replace, on which readers have learned."""
    for part in results.parts(name):
        path = folder / part
        if path.is_file():
            files.keep(path, folder / _BEFORE / part)


def _texts(module, inference, folder):
    """Dict from file name to array; files of those that are too large are removed."""
    arrays = module.text_files(inference)
    if "accuracy" in module.logs:
        arrays["acc_{mode}.txt"] = np.array([module.logs["accuracy"]])
    texts, mode = {}, module.mode
    for pattern, array in arrays.items():
        path = folder / pattern.format(mode=mode)
        size = math.prod(np.shape(array))
        if module.text_limit is None or size <= module.text_limit:
            texts[path.name] = array
            continue
        path.unlink(missing_ok=True)  # that of an earlier round would be taken for this one
        module.warn_once(
            f"does not write {path.name}, a text of {size:,} numbers. Its text_limit is "
            f"{module.text_limit:,}; None writes texts of any size."
        )
    return texts


def read_parameters(module, input_shapes):
    """Reads parameters that an earlier run saved, for a module that has no model yet.

    Args:
        module: A `LearningModule`.
        input_shapes: Shapes of a sample of each of its inputs, lists.

    Returns:
        `Saved`.

    Raises:
        FileNotFoundError: If there are none, or no folder was given.
        ValueError: If they are of another kind of module, of other settings or inputs, or learned
            on parameters that a module below did not load.
    """
    name = module.get_name()
    try:
        saved = _chosen(module)
    except FileNotFoundError as error:
        learns = "mode='learn'" + (" and trainable=True" if module.mode == "learn" else "")
        raise FileNotFoundError(
            f"{name} has learned nothing that it could use: {error} Run update() with "
            f"{learns} first, or say with load_dir= where its folder is."
        ) from None
    here = {"module": type(module).__name__, "input_shapes": input_shapes, **module.settings()}
    there = {**saved.metadata["settings"]}
    there |= {key: saved.metadata.get(key) for key in ("module", "input_shapes")}
    for key, value in here.items():
        if there.get(key) != value:
            raise ValueError(
                f"{saved.path} was learned with {key}={there.get(key)!r}, but this module has "
                f"{key}={value!r}. Use the same, or another load_dir."
            )
    for below, fingerprint in zip(module.inputs, saved.inputs, strict=True):
        loaded = below.belongs_to
        if module.mode == "recog" and loaded and fingerprint and loaded != fingerprint:
            raise ValueError(
                f"{saved.path} does not belong together with the parameters that "
                f"{below.get_name()} loaded: it was learned on those with fingerprint "
                f"{fingerprint}, not {loaded}. Take both from one run."
            )
    return saved


def take(module, saved):
    """Puts parameters that were read into a module's model.

    Args:
        module: The `LearningModule`, its model built.
        saved: What `read_parameters` returned.

    Raises:
        ValueError: If they do not fit, or cannot have been learned, naming their file.
    """
    try:
        module.set_parameters(saved.arrays)
        check_parameters(module.model, module.get_name())
    except ValueError as error:
        raise ValueError(f"{saved.path} cannot be used. {error}") from error


class Saved(NamedTuple):
    """What a file of parameters holds."""

    path: str
    arrays: dict
    metadata: dict

    @property
    def fingerprint(self):
        return self.metadata["fingerprint"]

    @property
    def inputs(self):
        """The fingerprints of the modules below that these parameters were learned on."""
        return self.metadata["inputs"]


def _chosen(module):
    """The generation of a module's parameters on which those of its readers were learned.

    A run that is killed leaves modules below one update ahead of those above. If readers tell
    nothing, it is the newest.
    """
    folder = module.load_dir or module.folder
    if folder is None:
        raise FileNotFoundError("it has neither save_dir nor load_dir to read from.")
    newest, before = folder / module.parameters_file, folder / _BEFORE / module.parameters_file
    wanted = set()
    for reader in module.readers:
        if reader.mode == "recog":
            with contextlib.suppress(OSError, ValueError):
                wanted.add(_chosen(reader).inputs[reader.inputs.index(module)])
    try:
        saved = _read(module, newest)
        if not wanted - {None} or saved.fingerprint in wanted:
            return saved
    except ValueError:
        saved = None
    with contextlib.suppress(OSError, ValueError):
        older = _read(module, before)
        if not wanted - {None} or older.fingerprint in wanted:
            return older
    return saved or _read(module, newest)


def _read(module, path):
    """A file of parameters, what it says of itself checked."""
    arrays, metadata = results.read_parameters(path)
    saved = Saved(str(path), arrays, {"settings": {}, **metadata})
    inputs = metadata.get("inputs")
    are_named = isinstance(inputs, list) and len(inputs) == len(module.inputs)
    if not isinstance(saved.metadata["settings"], dict) or not are_named:
        raise ValueError(
            f"{path} cannot be used: what it says of its settings and inputs is not what "
            f"{module.get_name()} writes. Learn again, or restore the whole folder from a copy."
        )
    return saved
