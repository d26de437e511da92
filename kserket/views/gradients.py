"""Its module: `OrientedGradients`."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from kserket import storage
from kserket.core import messages, tensors
from kserket.core.inference import Inference
from kserket.core.options import check_positive_int
from kserket.core.registry import register_module
from kserket.preprocessing import image_shape_of, oriented_gradients
from kserket.views.description import Description


@register_module("kserket")
class OrientedGradients(Description):
    """Images by their strokes: `preprocessing.oriented_gradients` as a module.

    Images whose strokes lie a little elsewhere stay near each other, which they do not as pixels.
    Nothing is learned here. A graph that holds it reads images alone, in `predict` and served.

    Args:
        num_orientations: Directions told apart, over the full circle.
        cell_size: Width of a cell in pixels.
        image_shape: `(H, W)` or `(H, W, C)` of flat images; None takes them to be square, of one
            channel.
        name: Module name.

    Messages:
        Reads: images (N, H, W), (N, H, W, C) or flat (N, D), from one module. Channels are
            averaged. Missing rows stay missing.
        Forward: descriptions (N, D). Backward: none, and what comes from above is ignored.

    Raises:
        ValueError: If an option is no positive integer, or images do not fit.

    Reference:
        N. Dalal and B. Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR, 2005.

    Example:

    ```python
    import kserket as srk
    from kserket import views

    x, _ = srk.datasets.load_digits()
    gradients = views.OrientedGradients(cell_size=2)
    gradients.connect(srk.Observation(x))
    gradients.update()
    print(gradients.get_forward_msg().shape)  # (1797, 128)
    ```
    """

    def __init__(
        self,
        num_orientations: int = 8,
        cell_size: int = 4,
        image_shape: tuple[int, ...] | None = None,
        name: str = "gradients",
    ) -> None:
        check_positive_int(num_orientations=num_orientations, cell_size=cell_size)
        super().__init__(name)
        self.num_orientations, self.cell_size = int(num_orientations), int(cell_size)
        self.image_shape = None if image_shape is None else tuple(image_shape)

    def infer(self, inputs: list[Any], prior: Any) -> Inference:
        """The descriptions of images. Changes nothing.

        Args:
            inputs: List of one array (N, ...).
            prior: Not used.

        Returns:
            An `Inference` without posterior.
        """
        if len(inputs) != 1:
            raise ValueError(f"{self.get_name()} reads one module. Received: {len(inputs)}")
        shape = self._image_shape(np.shape(inputs[0]))
        missing = messages.missing_rows(inputs[0])
        options = {"num_orientations": self.num_orientations, "cell_size": self.cell_size}

        def describe(part):
            gray = np.nan_to_num(np.asarray(part, "float32")).reshape(len(part), *shape)
            return oriented_gradients(gray.mean(axis=3), **options).reshape(len(part), -1)

        described = storage.apply(describe, np.asarray(inputs[0]))
        if missing is not None:
            described = np.where(missing[:, None], np.float32("nan"), described)
        return Inference(described, [None])

    def check_observed(self, x: Any, name: str) -> None:
        self._image_shape(np.shape(x))

    def tensor_infer(self, inputs: list[Any], prior: Any) -> tensors.Inference:
        """`infer` on tensors.

        Args:
            inputs: List of one tensor.
            prior: Not used.
        """
        images = tf.cast(tensors.as_array(inputs[0]), "float32")
        missing = tensors.missing_rows(images)
        images = tf.where(tf.math.is_nan(images), tf.zeros_like(images), images)
        shape = self._image_shape(images.shape)
        gray = tf.reduce_mean(tf.reshape(images, [-1, *shape]), axis=3)
        described = _describe(gray, self.num_orientations, self.cell_size)
        described = tf.reshape(described, [-1, int(np.prod(described.shape[1:]))])
        described = tf.where(missing[:, None], tf.constant(np.nan, described.dtype), described)
        return tensors.Inference(described, [None])

    def _image_shape(self, shape):
        """`(H, W, C)` of images of a shape (N, ...)."""
        try:
            return image_shape_of(tuple(shape), self.image_shape)
        except ValueError as error:
            raise ValueError(f"{self.get_name()} cannot read these images. {error}") from error


def _describe(images, num_orientations, cell_size):
    """`preprocessing.oriented_gradients` of tensors (N, H, W).

    A blur or slope along an axis is linear: one matrix, which is what SciPy and NumPy make of the
    unit vectors. So borders are what they are there.
    """
    height, width = images.shape[1:]
    down, across = (_matrices(size, cell_size) for size in (height, width))
    images = images - images[:, :1, :1]  # so that one of one color has no slope at all
    smooth = _along(images, down.smooth, across.smooth)
    slope_down = _along(smooth, down.slope, None)
    slope_right = _along(smooth, None, across.slope)
    length = tf.sqrt(slope_down**2 + slope_right**2)
    turn = num_orientations / (2 * np.pi)
    direction = tf.math.floormod(tf.math.atan2(slope_down, slope_right), 2 * np.pi) * turn
    cells = []
    for orientation in range(num_orientations):
        distance = tf.abs(direction - float(orientation))
        distance = tf.minimum(distance, num_orientations - distance)
        votes = length * tf.maximum(0.0, 1.0 - distance)
        cells.append(_along(votes, down.cells, across.cells))
    histograms = tf.stack(cells, axis=-1)
    total = tf.reduce_sum(histograms, axis=[1, 2, 3], keepdims=True)
    return tf.sqrt(histograms / tf.where(total > 0, total, tf.ones_like(total)))


class _Matrices:
    """What is done along an axis of a size: matrices (to, from), float32."""

    def __init__(self, size, cell_size):
        from scipy import ndimage

        unit = np.eye(size)
        self.smooth = ndimage.gaussian_filter1d(unit, 0.7, axis=0).astype("float32")
        self.slope = np.gradient(unit, axis=0).astype("float32")
        blur = ndimage.gaussian_filter1d(unit, cell_size / 2, axis=0)
        centers = np.arange(cell_size // 2, size, cell_size)[: size // cell_size]
        self.cells = blur[centers].astype("float32")


_matrices = functools.lru_cache(_Matrices)


def _along(images, down, across):
    """Images (N, H, W) after a matrix along each axis; None leaves one.

    Products of matrices, not `tf.einsum`, whose reshapes LiteRT cannot follow for any N.
    """
    if down is not None:
        images = tf.linalg.matrix_transpose(images)
        images = tf.linalg.matrix_transpose(tf.matmul(images, down, transpose_b=True))
    return images if across is None else tf.matmul(images, across, transpose_b=True)
