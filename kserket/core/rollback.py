"""Learning that diverges is rolled_back_on_divergence."""

import contextlib

import keras
import numpy as np


@contextlib.contextmanager
def rolled_back_on_divergence(module):
    """A FloatingPointError inside leaves a module's model as it was before.

    Weights, random states, metrics and optimizer of a Keras model are put back; a model of
    another kind is the object that it was.

    Args:
        module: A `LearningModule` that has its model.
    """
    model = module.model
    before = [(variable, variable.numpy()) for variable in _variables(model)]
    try:
        yield
    except FloatingPointError:
        module.model = model
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
