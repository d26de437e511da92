"""A module's own folder: which files an update leaves there, and whose parameters it may take up.

What the files look like inside is written in `kserket.core.results`.
"""

import math
import os

import numpy as np

from kserket.core import files, results


def write(module, inference):
    """Writes the result files of an update: parameters first, then the texts.

    Where it has learned, the module's `fingerprint` becomes that of its parameters. Without a
    folder nothing is written.

    Args:
        module: A `LearningModule`.
        inference: The `Inference` that the update arrived at.
    """
    if module.folder is None:
        return
    with files.naming(module.folder):
        module.folder.mkdir(parents=True, exist_ok=True)
    with files.replacing() as open_new:
        if module.mode == "learn":
            fingerprint = _write_parameters(module, open_new)
        for path, array in _texts(module, inference).items():
            results.write_text(path, array, open_new)
    if module.mode == "learn":
        module.fingerprint = fingerprint


def _write_parameters(module, open_new):
    metadata = {
        "module": type(module).__name__,
        "settings": module.settings(),
        "input_shapes": module._input_shapes,
        "inputs": [getattr(below, "fingerprint", None) for below in module.inputs],
    }
    path = module.folder / module.parameters_file
    return results.write_parameters(path, module.get_parameters(), metadata, open_new)


def _texts(module, inference):
    """Dict from path to array; files of those that are too large are removed."""
    arrays = module.text_files(inference)
    if "accuracy" in module.logs:
        arrays["acc_{mode}.txt"] = np.array([module.logs["accuracy"]])
    texts = {}
    for pattern, array in arrays.items():
        path = module.folder / pattern.format(mode=module.mode)
        size = math.prod(np.shape(array))
        if module.text_limit is None or size <= module.text_limit:
            texts[path] = array
            continue
        path.unlink(missing_ok=True)  # that of an earlier round would be taken for this one
        module._warn_once(
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
        Dict from name to array; the fingerprint of these parameters.

    Raises:
        FileNotFoundError: If there are none, or no folder was given.
        ValueError: If they are of another kind of module, of other settings or inputs, or learned
            on parameters that a module below did not load.
    """
    name = module.get_name()
    folder = module.load_dir or module.folder
    path = None if folder is None else os.path.join(folder, module.parameters_file)
    try:
        if path is None:
            raise FileNotFoundError("it has neither save_dir nor load_dir to read from.")
        arrays, metadata = results.read_parameters(path)
    except FileNotFoundError as error:
        learns = "mode='learn'" + (" and trainable=True" if module.mode == "learn" else "")
        raise FileNotFoundError(
            f"{name} has learned nothing that it could use: {error} Run update() with "
            f"{learns} first, or say with load_dir= where its folder is."
        ) from None
    here = {"module": type(module).__name__, "input_shapes": input_shapes, **module.settings()}
    there = {key: metadata.get(key) for key in ("module", "input_shapes")}
    there |= metadata.get("settings", {})
    for key, value in here.items():
        if there.get(key) != value:
            raise ValueError(
                f"{path} was learned with {key}={there.get(key)!r}, but this module has "
                f"{key}={value!r}. Use the same, or another load_dir."
            )
    for below, fingerprint in zip(module.inputs, metadata.get("inputs", ()), strict=True):
        loaded = below._belongs_to
        if module.mode == "recog" and loaded and fingerprint and loaded != fingerprint:
            raise ValueError(
                f"{path} does not belong together with the parameters that "
                f"{below.get_name()} loaded: it was learned on those with fingerprint "
                f"{fingerprint}, not {loaded}. Take both from one run."
            )
    return arrays, metadata["fingerprint"]
