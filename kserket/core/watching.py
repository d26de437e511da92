"""Keras callbacks and what else a `fit` is given to watch it, checked."""

import keras
import numpy as np

from kserket.core.options import is_whole, shown


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
        ValueError: If one sets a learning rate, or counts an optimizer's steps.
    """
    rates = keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau
    for callback in callbacks:
        kind = type(callback).__name__
        if isinstance(callback, rates):
            raise ValueError(
                f"{owner} learns by sweeps, without an optimizer: there is no learning rate for "
                f"{kind} to set. Leave it out."
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
