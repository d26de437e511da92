"""Options that models, modules and graphs take alike, checked where they are given."""

import numbers

import keras
import numpy as np


def is_whole(value, least=0):
    """Whether this is one whole number, not below `least`; a boolean is none."""
    return _is_number(value) and value % 1 == 0 and value >= least


def check_positive_int(**options):
    """Checks that options are positive integers.

    Args:
        **options: Values by name.

    Raises:
        ValueError: If one is not.
    """
    for option, value in options.items():
        if not is_whole(value, least=1):
            raise ValueError(f"`{option}` must be a positive integer. Received: {value!r}")


def check_nonnegative_int(**options):
    """Checks that options are integers, 0 or more, as `range` takes them.

    Args:
        **options: Values by name.

    Raises:
        ValueError: If one is not.
    """
    for option, value in options.items():
        if not is_whole(value) or not hasattr(value, "__index__"):
            raise ValueError(f"`{option}` must be an integer >= 0. Received: {value!r}")


def check_positive(allow_zero=False, **options):
    """Checks that options are positive numbers.

    Args:
        allow_zero: Whether 0 is one, too.
        **options: Values by name.

    Raises:
        ValueError: If one is not.
    """
    for option, value in options.items():
        if not _is_number(value) or not (value > 0 or (allow_zero and value == 0)):
            kind = "a number >= 0" if allow_zero else "a positive number"
            raise ValueError(f"`{option}` must be {kind}. Received: {value!r}")


def check_flag(**options):
    """Checks that options are True or False, or the numbers 1 and 0.

    Args:
        **options: Values by name.

    Raises:
        ValueError: If one is something else, such as the string "False".
    """
    for option, value in options.items():
        if not isinstance(value, (bool, np.bool_)) and not (_is_number(value) and value in (0, 1)):
            raise ValueError(f"`{option}` must be True or False. Received: {value!r:.100}")


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
        raise ValueError(f"`{option}` must be {words}. Received: {option}={value!r}")


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
                f"Received: {callback!r}"
            )
    return callbacks


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
        ValueError: If there is not one for each, or one is no class.
    """
    given = np.asarray(classes)
    if given.dtype.kind not in "iu" or given.shape not in ((), (1,), (num_samples,)):
        raise ValueError(
            f"`{option}` must be whole numbers, one for each of {num_samples} samples or one for "
            f"all. Received: {classes!r}"
        )
    most = np.inf if num_classes is None else num_classes - 1
    if ((given < 0) | (given > most)).any():
        upwards = "0 upwards" if num_classes is None else f"0 to {most}"
        raise ValueError(f"`{option}` must be a class, {upwards}. Received: {classes!r}")
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
        raise ValueError(f"`seed` must be an integer >= 0 or None. Received: seed={seed!r}")
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
    if np.ma.is_masked(labels):
        raise ValueError(
            f"`category` is a masked array with {np.ma.count_masked(labels)} masked labels, and "
            "needs a label for every sample. Leave such samples out, or give them a class of "
            "their own."
        )
    array = np.asarray(labels)
    if array.dtype.kind == "O" or (array.dtype.kind in "SU" and not hasattr(labels, "dtype")):
        array = np.asarray(labels, dtype=object)  # before None and NaN became text
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(
            f"`category` must hold one label per sample, shape (N,). Received: {array.shape}"
        )
    if array.dtype.kind == "O":
        array = _of_one_kind(array)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("`category` must not hold NaN or infinity.")
    return array


def _is_number(value):
    """Whether it is one number, and no boolean."""
    return np.ndim(value) == 0 and np.asarray(value).dtype.kind in "iuf"


def _of_one_kind(labels):
    """Objects (N,), numbers or strings, as an array of these."""
    for index, label in enumerate(labels):
        if isinstance(label, str):
            continue
        if not isinstance(label, (bytes, numbers.Real, np.generic)) or label != label:
            raise ValueError(
                "`category` must hold numbers or strings, and a label for every sample. "
                f"Received: {label!r} at index {index}. Leave such samples out, or give them a "
                "class of their own."
            )
    if len({isinstance(label, str) for label in labels}) > 1:
        raise ValueError("`category` must hold numbers or strings, not both.")
    array = np.array(labels.tolist())
    if array.dtype.kind == "O":
        raise ValueError("`category` must hold numbers or strings that NumPy has a type for.")
    return array
