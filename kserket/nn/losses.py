"""Keras losses: per sample, and what they expect of a network and of a target."""

from typing import Any

import keras
from keras import ops

_LAST_ACTIVATION = {
    "binary_crossentropy": "sigmoid",
    "binary_focal_crossentropy": "sigmoid",
    "categorical_crossentropy": "softmax",
    "categorical_focal_crossentropy": "softmax",
    "kl_divergence": "softmax",
    "sparse_categorical_crossentropy": "softmax",
    "poisson": "softplus",
}


class ScriptLoss:
    """A loss that a script states in layers, of which no file tells.

    Args:
        model: Keras model from output and target to the loss, a number or (N,).
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model

    def __call__(self, target: Any, output: Any) -> Any:
        return self._model([output, target])


def per_sample(loss: Any, target: Any, output: Any) -> Any:
    """The loss of each sample, (N,): the mean over what else a sample has.

    Args:
        loss: A `keras.losses.Loss`, or a function of target and output.
        target: Tensor (N, ...).
        output: Tensor (N, ...), what the network returned.
    """
    values = (loss.call if isinstance(loss, keras.losses.Loss) else loss)(target, output)
    rank = len(values.shape)
    if rank == 0:  # a mean over samples
        return values * ops.ones_like(output[(slice(None), *[0] * (len(output.shape) - 1))])
    return ops.mean(values, axis=list(range(1, rank))) if rank > 1 else values


def activation(loss: Any) -> str | None:
    """What turns a linear output into what the loss compares: the name of an activation, or None.

    Args:
        loss: As in `per_sample`.
    """
    return _LAST_ACTIVATION.get(getattr(getattr(loss, "fn", loss), "__name__", ""))


def is_sparse(loss: Any) -> bool:
    """Whether the target is the number of a class.

    Args:
        loss: As in `per_sample`.
    """
    fn = getattr(loss, "fn", loss)
    return getattr(fn, "__name__", "") == "sparse_categorical_crossentropy"


def reads_logits(loss: Any) -> bool:
    """Whether the loss applies the activation itself.

    Args:
        loss: As in `per_sample`.
    """
    return bool(getattr(loss, "from_logits", False))
