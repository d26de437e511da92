"""The weights of a Keras model: by name, checked before a model takes them, and rolled back."""

import contextlib
from typing import Any

import keras
import numpy as np

from kserket.arrays import as_numbers, check_finite
from kserket.core.node import in_order
from kserket.typing import Array


def by_name(model: keras.Model) -> dict[str, Array]:
    """A model's weights, each under its own name, numbered where it is not the first of it.

    Args:
        model: `keras.Model`.

    Returns:
        Dict from name to array, in the model's order.
    """
    return dict(zip(_names(model), model.get_weights(), strict=True))


def set_by_name(model: keras.Model, arrays: dict[str, Any], owner: str) -> None:
    """Puts what `by_name` returned into a model.

    Args:
        model: `keras.Model`.
        arrays: The dict; further entries are ignored.
        owner: Name of the module whose model it is.

    Raises:
        ValueError: If one is missing, its shape differs, or it holds another kind of number.
    """
    names = _names(model)
    for name, weight in zip(names, model.weights, strict=True):
        found, shape = arrays.get(name), tuple(weight.shape)
        if found is None or found.shape != shape or not _is_cast(found, weight):
            got = "nothing" if found is None else f"{found.shape}, {found.dtype}"
            raise ValueError(
                f"The saved parameters do not fit {owner}: {name} needs shape "
                f"{shape}, {weight.dtype}; the file holds {got}. Build the module with the "
                "settings and networks it was learned with."
            )
    model.set_weights([arrays[name] for name in names])


def checked(model: keras.Model, weights: list[Any], owner: str) -> list[Array]:
    """Weights for a model as finite arrays of the shapes that it has.

    Args:
        model: `keras.Model`.
        weights: List of as many arrays as it has weights.
        owner: Name of the module whose model it is.

    Raises:
        TypeError: If one holds something else than numbers.
        ValueError: If one has another shape, or is not finite.
    """
    arrays = []
    for weight, variable in zip(weights, model.weights, strict=True):
        name = f"The weight {variable.name} of {owner}"
        weight = as_numbers(weight, name)
        if weight.shape != tuple(variable.shape):
            raise ValueError(
                f"{name} must have shape {tuple(variable.shape)}. Received: shape {weight.shape}"
            )
        check_finite(weight.reshape(-1), name)
        arrays.append(weight)
    return arrays


@contextlib.contextmanager
def rolled_back_on_error(*modules):
    """An error inside leaves modules as they were before: models, messages, attributes.

    Weights, random states, metrics and optimizer of a Keras model are restored; a model of another
    kind is the object that it was. What was sent to modules below is taken back.

    Args:
        *modules: The modules that `update()` is called of inside.
    """
    attributes, values = [], []
    for module in modules:
        attributes += [(module, dict(vars(module))), (module.mailbox, dict(vars(module.mailbox)))]
        if isinstance(module.model, keras.Model):
            attributes.append((module.model, dict(vars(module.model))))
            values += [(part, part.numpy()) for part in _variables(module.model)]
    sent = [(module.mailbox, dict(module.mailbox.backward)) for module in in_order(modules)]
    try:
        yield
    except Exception:
        for owner, before in attributes:
            for name, value in before.items():
                if vars(owner).get(name) is not value:
                    setattr(owner, name, value)
        for mailbox, messages in sent:
            mailbox.backward = messages
        for variable, value in values:
            variable.assign(value)
        raise


@contextlib.contextmanager
def restored(model):
    """An error inside leaves the variables of a built Keras model as they were before.

    Args:
        model: `keras.Model`.
    """
    before = [(variable, variable.numpy()) for variable in _variables(model)]
    try:
        yield
    except Exception:
        for variable, value in before:
            variable.assign(value)
        raise


def has_finite_weights(model):
    """Whether a Keras model's weights are numbers; true of another model."""
    if not isinstance(model, keras.Model):
        return True
    return all(np.isfinite(weight).all() for weight in model.get_weights())


def _variables(model):
    """Everything that training a Keras model changes; nothing of another model."""
    if not isinstance(model, keras.Model):
        return []
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return model.variables
    if not optimizer.built:  # its variables would come with the first step
        with model.distribute_strategy.scope():
            optimizer.build(model.trainable_variables)
    own = [*model.variables, *model.metrics_variables, *optimizer.variables]
    return list({id(variable): variable for variable in own}.values())


def _names(model):
    seen, names = {}, []
    for weight in model.weights:
        seen[weight.name] = seen.get(weight.name, 0) + 1
        names.append(weight.name + (f"_{seen[weight.name]}" if seen[weight.name] > 1 else ""))
    return names


def _is_cast(array: Any, weight: Any) -> bool:
    """Whether an array and a weight hold numbers of one kind, such as floating point."""
    return (array.dtype.kind in "fV") == keras.backend.is_float_dtype(weight.dtype)
