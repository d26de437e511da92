"""`model()` of Serket's scripts: a network and its loss in TensorFlow 1, as Keras models."""

import functools
import threading
from typing import Any

import keras
import tensorflow as tf

from kserket.core.optimizers import as_keras_optimizer
from kserket.nn.losses import ScriptLoss

_READING = threading.local()


class _Operation(keras.layers.Layer):
    """An operation of TensorFlow in what a script states; it lives as long as the program."""

    def __init__(self, operation):
        super().__init__()
        self._operation = operation

    def call(self, parts):
        return self._operation(parts)


class _AsLayers(tf.__internal__.dispatch.GlobalOpDispatcher):
    """Operations of TensorFlow on Keras' symbolic tensors, as layers, while a script is read.

    `tf.experimental.dispatch_for_api`, which is public, takes one operation at a time.
    """

    def handle(self, op: Any, args: Any, kwargs: Any) -> Any:
        leaves = keras.tree.flatten([args, kwargs])
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, keras.KerasTensor)]
        if not places or not getattr(_READING, "now", False):
            return self.NOT_SUPPORTED

        def call(parts):
            filled = {**dict(enumerate(leaves)), **dict(zip(places, parts, strict=True))}
            own, named = keras.tree.pack_sequence_as([args, kwargs], list(filled.values()))
            return op(*own, **named)

        return _Operation(call)([leaves[i] for i in places])


@functools.cache
def _register():
    """TensorFlow keeps a dispatcher for good; this one is idle unless a script is read."""
    _AsLayers().register()


def read(module: Any, input_dim: int, output_dim: int) -> tuple[keras.Model, Any, Any]:
    """What a script's `model(x, y, input_dim, output_dim)` states.

    The network is what the loss compares with y: the tensor from x that meets it.

    Args:
        module: The `NN`, of a class that defines `model`.
        input_dim: Number of classes K.
        output_dim: Number of dimensions D of the target.

    Returns:
        The network, from (N, K) to (N, D); the loss, a function of target and output; and the
        optimizer, or None.

    Raises:
        ValueError: If it returns something else, or no tensor of the target's shape meets y.
    """
    x, y = keras.Input((input_dim,), name="x"), keras.Input((output_dim,), name="y")
    _register()
    _READING.now = True
    try:
        stated = type(module).model(module, x, y, input_dim, output_dim)
        loss, optimizer = stated if isinstance(stated, (tuple, list)) else (stated, None)
        output = _meeting(loss, x, y)
        compared = keras.Model([output, y], loss)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"model() of {type(module).__name__} must return a loss and an optimizer, from x "
            f"(None, {input_dim}) and y (None, {output_dim}): {error}. Use operations such as "
            "tf.square and layers of Keras; or give NN a `network` and a `loss` instead."
        ) from error
    finally:
        _READING.now = False
    optimizer = as_keras_optimizer(optimizer, module.learning_rate, "model")
    return keras.Model(x, output), ScriptLoss(compared), optimizer


def _meeting(loss, x, y):
    """The tensor made of x alone that goes into an operation together with one made of y."""
    made_of = {id(x): {"x"}, id(y): {"y"}}
    function = keras.Model([x, y], loss)
    for operation in function.operations:
        for node in operation._inbound_nodes:
            given = [part for part in node.input_tensors if id(part) in made_of]
            of_x = [part for part in given if made_of[id(part)] == {"x"}]
            if of_x and any("y" in made_of[id(part)] for part in given):
                if tuple(of_x[0].shape) == tuple(y.shape):
                    return of_x[0]
            sources = set().union(*(made_of[id(part)] for part in given))
            for part in node.output_tensors:
                made_of.setdefault(id(part), set()).update(sources)
    raise ValueError(f"nothing of shape {tuple(y.shape)} that is made of x is compared with y")
