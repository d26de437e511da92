"""The optimizer that a user's network comes with, and its state."""

import warnings
from typing import Any

import keras
import tensorflow as tf

_SINCE_KERAS = {  # TensorFlow 1's optimizers by name
    "Adam": keras.optimizers.Adam,
    "GradientDescent": keras.optimizers.SGD,
    "RMSProp": keras.optimizers.RMSprop,
    "Adagrad": keras.optimizers.Adagrad,
}


def as_keras_optimizer(given: Any, learning_rate: float, hook: str) -> keras.optimizers.Optimizer:
    """An optimizer of Keras instead of the one that a user's network came with.

    Args:
        given: An optimizer of Keras or of `tf.compat.v1.train`, or None.
        learning_rate: The rate of the Adam that stands for None, and for anything else, of which
            it warns.
        hook: The user's function that it came from, for the warning.

    Returns:
        A `keras.optimizers.Optimizer` that no other model trains with.
    """
    if isinstance(given, keras.optimizers.Optimizer):
        return type(given).from_config(given.get_config()) if given.built else given
    if isinstance(given, tf.compat.v1.train.Optimizer):
        rate = getattr(given, "_lr", getattr(given, "_learning_rate", None))
        kind = _SINCE_KERAS.get(given.get_name())
        if kind is not None and isinstance(rate, (int, float)):
            return kind(float(rate))
    if given is not None:
        warnings.warn(
            f"{hook}() returned {type(given).__name__} beside its result, which is no "
            f"optimizer that Keras could use. Adam({learning_rate:g}) is taken. Return one of "
            "keras.optimizers.",
            stacklevel=2,
        )
    return keras.optimizers.Adam(learning_rate)


def state(model):
    """The variables of a model's Adam, by name.

    In float16 Keras puts another optimizer around it, which scales the loss and finds soon by how
    much: that is not kept.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return {f"optimizer/{index}": variable for index, variable in enumerate(optimizer.variables)}


def restore(model, arrays):
    """Puts the arrays of `state` back, by name, if there is one for each variable.

    Returns:
        Whether there was.
    """
    variables = state(model)
    saved = {name: part for name, part in arrays.items() if name.startswith("optimizer/")}
    if _shapes(saved) != _shapes(variables):
        return False
    for name, variable in variables.items():
        variable.assign(saved[name])
    return True


def _shapes(arrays):
    return {name: tuple(array.shape) for name, array in arrays.items()}
