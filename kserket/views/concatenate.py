"""Its module: `Concatenate`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from kserket.core import messages, tensors
from kserket.core.inference import Inference
from kserket.core.registry import register_module
from kserket.views.description import Description


@register_module("kserket")
class Concatenate(Description):
    """Several observations side by side, for a module that reads one.

    Samples that no sense tells apart may lie apart where all are seen together. A sample that one
    of the senses has not observed, or of which cells are gaps, is missing here. Nothing is learned.

    Args:
        name: Module name.

    Messages:
        Reads: data (N, ...), from any number of modules; the mean of a `Gaussian`.
        Forward: array (N, D), their columns in the order of `connect()`. Backward: none, and what
            comes from above is ignored.

    Raises:
        ValueError: If numbers of samples differ.

    Example:

    ```python
    import numpy as np

    import kserket as srk
    from kserket import views

    beside = views.Concatenate()
    beside.connect(srk.Observation(np.ones((5, 2))), srk.Observation(np.zeros((5, 3))))
    beside.update()
    print(beside.get_forward_msg().shape)  # (5, 5)
    ```
    """

    reads_gaps = True

    def __init__(self, name: str = "concatenate") -> None:
        super().__init__(name)

    def infer(self, inputs: list[Any], prior: Any) -> Inference:
        """The columns of all inputs. Changes nothing.

        Args:
            inputs: List of arrays or messages (N, ...).
            prior: Not used.

        Returns:
            An `Inference` without posterior.
        """
        lengths = [len(part) for part in inputs]
        if len(set(lengths)) != 1:
            raise ValueError(
                f"{self.get_name()} needs modules of the same number of samples. "
                f"Received: {lengths}"
            )
        parts = []
        for part in inputs:
            array = np.asarray(part).reshape(len(part), -1)
            parts.append(array.astype(np.promote_types(array.dtype, "float32"), copy=False))
        joined = np.concatenate(parts, axis=1)
        gone = np.isnan(joined).any(axis=1)
        for part in inputs:
            missing = messages.missing_rows(part)
            gone = gone if missing is None else gone | missing
        joined[gone] = np.nan
        return Inference(joined, [None] * len(inputs))

    def tensor_infer(self, inputs: list[Any], prior: Any) -> tensors.Inference:
        """`infer` on tensors.

        Args:
            inputs: List of tensors or messages.
            prior: Not used.
        """
        parts, gone = [], False
        for part in inputs:
            array = tensors.as_array(part)
            array = tf.reshape(array, [-1, math.prod(array.shape[1:])])
            parts.append(array if array.dtype == tf.float64 else tf.cast(array, tf.float32))
            missing = tensors.missing_mask(part)
            gone = gone if missing is None else gone | missing
        precision = tf.float64 if any(part.dtype == tf.float64 for part in parts) else tf.float32
        joined = tf.concat([tf.cast(part, precision) for part in parts], axis=1)
        gone = gone | tf.reduce_any(tf.math.is_nan(joined), axis=1)
        joined = tf.where(gone[:, None], tf.constant(np.nan, precision), joined)
        return tensors.Inference(joined, [None] * len(inputs))
