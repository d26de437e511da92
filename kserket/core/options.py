"""Options that models, modules and graphs take alike, checked where they are given."""

import numbers
import os
import sys

import keras
import numpy as np

from kserket.arrays import as_numbers
from kserket.labels import as_labels

_EXACT = 2**53  # above it not every whole number is a float
_LARGEST = 2**63 - 1
OF_OPTIMIZERS = (  # callbacks that work on one
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.SwapEMAWeights,
)
_FOREIGN = {".keras", ".h5", ".hdf5", ".tflite", ".onnx", ".pb", ".pkl", ".pickle", ".joblib"}
LARGEST_SINGLE = float(np.finfo(np.float32).max)


def shown(value):
    """A value in an error: arrays by their shape, anything else as Python writes it, cut short.

    Args:
        value: Anything.
    """
    if hasattr(value, "shape") and hasattr(value, "dtype") and np.shape(value):
        return f"{type(value).__name__} of shape {tuple(np.shape(value))}"
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


def is_whole(value, least=0):
    """Whether this is one whole number, not below `least`.

    Args:
        value: Anything. Booleans are not numbers; floats that are too large to be exact are not
            whole.
        least: The smallest that is allowed.
    """
    if isinstance(value, numbers.Integral):
        return _is_number(value) and value >= least
    return bool(_is_number(value) and value % 1 == 0 and least <= value <= _EXACT)


def check_positive_int(**options):
    """Checks that options are positive integers.

    Args:
        **options: Values by name.

    Raises:
        ValueError: If one is not.
    """
    for option, value in options.items():
        if not is_whole(value, least=1) or value > _LARGEST:
            raise ValueError(f"`{option}` must be a positive integer. Received: {shown(value)}")


def check_nonnegative_int(**options):
    """Checks that options are integers, 0 or more, as `range` takes them.

    Args:
        **options: Values by name.

    Raises:
        ValueError: If one is not.
    """
    for option, value in options.items():
        if not is_whole(value) or not hasattr(value, "__index__") or value > _LARGEST:
            raise ValueError(f"`{option}` must be an integer >= 0. Received: {shown(value)}")


def check_positive(allow_zero=False, allow_infinity=False, most=None, **options):
    """Checks that options are positive numbers.

    Args:
        allow_zero: Whether 0 is one, too.
        allow_infinity: Whether infinity is one, too.
        most: The largest that is allowed, or None.
        **options: Values by name.

    Raises:
        ValueError: If one is not.
    """
    for option, value in options.items():
        least = value >= 0 if allow_zero and _is_number(value) else _is_number(value) and value > 0
        if not least or not (allow_infinity or value < np.inf):
            kind = "a number >= 0" if allow_zero else "a positive number"
            kind = "a finite number" if least else kind
            raise ValueError(f"`{option}` must be {kind}. Received: {shown(value)}")
        if most is not None and float(value) > most:
            raise ValueError(f"`{option}` must be at most {most:g}. Received: {shown(value)}")


def check_tolerance(**options):
    """Checks that options are finite numbers, 0 or more, or None.

    Args:
        **options: Values by name.

    Raises:
        ValueError: If one is not.
    """
    for option, value in options.items():
        if value is not None and not (_is_number(value) and 0 <= value < np.inf):
            raise ValueError(
                f"`{option}` must be a finite number >= 0, or None. Received: {shown(value)}"
            )


def make_rng(seed):
    """A generator of random numbers.

    Args:
        seed: Integer, `numpy.random.Generator`, or None for a new one each time.

    Returns:
        `numpy.random.Generator`.

    Raises:
        ValueError: If the seed is something else.
    """
    if isinstance(seed, np.random.Generator):
        return seed
    return np.random.default_rng(check_seed(seed))


def check_names(option, names):
    """One name or several as a list.

    Args:
        option: Name of the option.
        names: A string, or a list of strings.

    Raises:
        TypeError: If it is something else.
    """
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"`{option}` must be a name or a list of names. Received: {shown(names)}")
    return list(names)


def check_dict(of, **options):
    """Options that are dicts, {} for None.

    Args:
        of: What they hold, for the error.
        **options: Values by name.

    Returns:
        The last of them.

    Raises:
        TypeError: If one is neither a dict nor None.
    """
    for option, value in options.items():
        if value is not None and not isinstance(value, dict):
            raise TypeError(f"`{option}` must be a dict of {of}, or None. Received: {shown(value)}")
    return value or {}


def check_path(**options):
    """Checks that options are paths: strings or `os.PathLike`.

    Args:
        **options: Values by name.

    Raises:
        TypeError: If one is not.
        ValueError: If one is empty.
    """
    for option, value in options.items():
        if not isinstance(value, (str, os.PathLike)):
            raise TypeError(f"`{option}` must be a path. Received: {shown(value)}")
        if not os.fspath(value):
            raise ValueError(f"`{option}` must be a path. Received: an empty string")


def foreign_ending(path, wanted, cure):
    """What to say of a path that ends as files do which others write and read; "" of any other.

    Args:
        path: String or `os.PathLike`.
        wanted: What is written there.
        cure: What helps.
    """
    ending = os.path.splitext(os.fspath(path))[1]
    if ending.lower() not in _FOREIGN:
        return ""
    return (
        f"`path` ends in {ending}, but what is written is {wanted}. {cure} "
        f"Received: {os.fspath(path)}"
    )


def check_flag(**options):
    """Checks that options are True or False, or the numbers 1 and 0.

    Args:
        **options: Values by name.

    Raises:
        ValueError: If one is something else, such as the string "False".
    """
    for option, value in options.items():
        if not isinstance(value, (bool, np.bool_)) and not (_is_number(value) and value in (0, 1)):
            raise ValueError(f"`{option}` must be True or False. Received: {shown(value)}")


def check_choice(option, value, *choices):
    """Checks that an option is one of several words.

    Args:
        option: Its name.
        value: What was given.
        *choices: The words.

    Raises:
        ValueError: If it is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        words = " or ".join(repr(choice) for choice in choices)
        raise ValueError(f"`{option}` must be {words}. Received: {option}={shown(value)}")


def check_format(format):
    """Checks that a format of an export is a string; Keras knows which there are.

    Args:
        format: What was given.

    Raises:
        TypeError: If it is no string.
    """
    if not isinstance(format, str):
        raise TypeError(
            f"`format` must be a string such as 'tf_saved_model'. Received: {shown(format)}"
        )


def check_classes(option, classes, num_samples, num_classes=None):
    """Classes to draw from, one for each sample.

    Args:
        option: Its name.
        classes: A whole number, or (num_samples,).
        num_samples: How many samples are drawn.
        num_classes: How many classes there are; None is unknown.

    Returns:
        Integers (num_samples,).

    Raises:
        ValueError: If there is not one for each, or one is not a class.
    """
    given = as_numbers(classes, f"`{option}`")
    if given.dtype.kind not in "iu" or given.shape not in ((), (1,), (num_samples,)):
        raise ValueError(
            f"`{option}` must be whole numbers, one for each of {num_samples} samples or one for "
            f"all. Received: {shown(classes)}"
        )
    most = np.inf if num_classes is None else num_classes - 1
    if ((given < 0) | (given > most)).any():
        upwards = "0 upwards" if num_classes is None else f"0 to {most}"
        raise ValueError(f"`{option}` must be a class, {upwards}. Received: {shown(classes)}")
    return np.broadcast_to(given, (num_samples,))


def check_seed(seed):
    """A seed as an int, or None.

    Args:
        seed: What was given.

    Raises:
        ValueError: Unless it is an integer >= 0 or None.
    """
    if seed is None:
        return None
    if not is_whole(seed):
        raise ValueError(f"`seed` must be an integer >= 0 or None. Received: seed={shown(seed)}")
    return int(seed)


def check_labels(labels):
    """Classes that a module is scored against, as an array (N,); or None.

    Args:
        labels: (N,) or (N, 1) of any kind, or None.

    Raises:
        ValueError: If there is not one for each sample, one is missing or not finite, or they are
            neither numbers nor strings.
    """
    if labels is None:
        return None
    return as_labels(labels, "`category`", allow_column=True)


def _is_number(value):
    """Whether it is one real number, and not a boolean."""
    if isinstance(value, (bool, np.bool_)):
        return False
    if isinstance(value, int):
        return abs(value) <= sys.float_info.max
    if isinstance(value, (float, np.integer, np.floating)):
        return True
    return _is_array(value) and np.ndim(value) == 0 and np.asarray(value).dtype.kind in "iuf"


def _is_array(value):
    """Whether it has a shape and a type, as arrays and tensors have."""
    return not isinstance(value, type) and hasattr(value, "shape") and hasattr(value, "dtype")


def check_callbacks(callbacks):
    """Keras callbacks as a list, given in any way that Keras takes them.

    Args:
        callbacks: A list of them, one alone, or None.

    Raises:
        TypeError: If something is no callback.
    """
    callbacks = [] if callbacks is None else keras.tree.flatten(callbacks)
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(
                "`callbacks` must be a Keras callback, a list of these, or None. "
                f"Received: {shown(callback)}"
            )
    return callbacks


def check_needs_no_optimizer(owner, callbacks):
    """Checks that no callback works on an optimizer, for what learns by sweeps.

    Args:
        owner: Name of what learns.
        callbacks: Keras callbacks.

    Raises:
        ValueError: If one sets a learning rate or averages weights, or counts an optimizer's steps.
    """
    for callback in callbacks:
        kind = type(callback).__name__
        if isinstance(callback, OF_OPTIMIZERS):
            raise ValueError(
                f"{owner} learns by sweeps, without an optimizer: there is nothing for {kind} to "
                "set. Leave it out."
            )
        if getattr(callback, "write_steps_per_second", False):
            raise ValueError(
                f"{owner} learns by sweeps, without the steps of an optimizer. Leave "
                f"write_steps_per_second=True of {kind} out."
            )


def check_verbose(verbose):
    """Checks what a `fit` shall report.

    Args:
        verbose: "auto", 0, 1 or 2, or a boolean.

    Raises:
        ValueError: If it is something else.
    """
    is_flag = isinstance(verbose, (bool, np.bool_))
    is_level = is_whole(verbose) and verbose <= 2
    if not (is_flag or is_level or (isinstance(verbose, str) and verbose == "auto")):
        raise ValueError(f"`verbose` must be 'auto', 0, 1 or 2. Received: {shown(verbose)}")
