"""An update that fails is rolled back."""

import contextlib

import keras
import numpy as np

from kserket.core.structure import in_order


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
