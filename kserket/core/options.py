"""Options that models, modules and graphs take alike, checked where they are given."""

import numpy as np


def check_counts(**options):
    """Checks that options are positive integers.

    Args:
        **options: Values by name.

    Raises:
        ValueError: If one is not.
    """
    for option, value in options.items():
        is_number = np.ndim(value) == 0 and np.asarray(value).dtype.kind in "iuf"
        if not is_number or value % 1 or value < 1:
            raise ValueError(f"`{option}` must be a positive integer. Received: {value!r}")


def check_choice(option, value, *choices):
    """Checks that an option is one of several words.

    Args:
        option: Its name.
        value: What was given.
        *choices: The words.

    Raises:
        ValueError: If it is none of them.
    """
    if value not in choices:
        words = " or ".join(repr(choice) for choice in choices)
        raise ValueError(f"`{option}` must be {words}. Received: {option}={value!r}")


def check_seed(seed):
    """A seed as an int, or None.

    Args:
        seed: What was given.

    Raises:
        ValueError: Unless it is an integer >= 0 or None.
    """
    if seed is None:
        return None
    if isinstance(seed, (bool, str)) or int(seed) != seed or seed < 0:
        raise ValueError(f"`seed` must be an integer >= 0 or None. Received: seed={seed!r}")
    return int(seed)


def check_labels(labels):
    """Classes that a module is scored against, as an array (N,); or None.

    Args:
        labels: (N,) or (N, 1) of any kind, or None.

    Raises:
        ValueError: If there is not one for each sample, or one is not finite.
    """
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(
            f"`category` must hold one label per sample, shape (N,). Received: {labels.shape}"
        )
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError("`category` must not hold NaN or infinity.")
    return labels
