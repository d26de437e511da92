"""What may be done to images before a model sees them."""

import math

import numpy as np
from numpy.typing import ArrayLike

from kserket.arrays import as_numbers
from kserket.core.options import check_positive_int
from kserket.typing import Floats

_CHUNK = 1000  # images worked on at a time
_MOST_CHANNELS = 4


def deskew(images: ArrayLike, image_shape: tuple[int, ...] | None = None) -> Floats:
    """Makes slanted shapes upright: each image sheared and shifted by its own moments.

    An image's brightness is taken for a density over the plane. It is sheared along its rows until
    the two axes do not covary, and shifted until its mean is the center. Handwriting loses its
    slant, which says nothing of what is written. Only the image itself is looked at.

    Args:
        images: (N, H, W), (N, H, W, 1) or (N, H * W), bright on dark (0 is background).
        image_shape: `(H, W)` of flat images; None takes them to be square.

    Returns:
        Float32 array of the shape of `images`, within their range. Empty images stay as they are.

    Raises:
        ValueError: If the shape is none of these, or values are negative or not finite.

    Reference:
        Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document
        recognition", Proceedings of the IEEE 86(11), 1998.

    Example:

    ```python
    import kserket

    x, _ = kserket.datasets.load_digits()
    print(kserket.preprocessing.deskew(x).shape)
    ```
    """
    from scipy import ndimage

    images = _read(images)
    stack = images.reshape(len(images), *_image_shape(images.shape, image_shape))
    if not (stack >= 0).all() or not np.isfinite(stack).all():
        raise ValueError("`images` must be finite and not negative, 0 the background.")
    height, width = stack.shape[1:]
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    result = np.empty_like(stack)
    for image, upright in zip(stack, result, strict=True):
        total = image.sum(dtype=float)
        if total == 0:
            upright[:] = image
            continue
        row, column = (image * rows).sum() / total, (image * columns).sum() / total
        spread = (image * (rows - row) ** 2).sum()
        slant = (image * (rows - row) * (columns - column)).sum() / spread if spread > 0 else 0.0
        shear = np.array([[1.0, 0.0], [slant, 1.0]])
        center = np.array([(height - 1) / 2, (width - 1) / 2])
        offset = np.array([row, column]) - shear @ center
        ndimage.affine_transform(image, shear, offset, output=upright, order=1)
    return result.reshape(images.shape)


def oriented_gradients(
    images: ArrayLike,
    image_shape: tuple[int, ...] | None = None,
    *,
    num_orientations: int = 8,
    cell_size: int = 4,
) -> Floats:
    """Which way brightness rises, and where: histograms of oriented gradients.

    Every pixel of a slightly smoothed image gives the length of its gradient to the two nearest of
    `num_orientations` directions. These votes are blurred over half a cell and read once a cell.
    Each image's histogram is divided by its sum, and the square root taken, so that Euclidean
    distances are Hellinger distances and neither brightness nor contrast counts. Strokes that lie a
    little elsewhere stay near, strokes that run another way do not.

    Args:
        images: (N, H, W), (N, H, W, 1) or (N, H * W), of one channel.
        image_shape: `(H, W)` of flat images; None takes them to be square.
        num_orientations: Directions told apart, over the full circle.
        cell_size: Width of a cell in pixels.

    Returns:
        Float32 array (N, rows, columns, num_orientations), as many rows and columns as whole cells
        fit into H and W. Squares of each image sum to one; an image of one color is zero.

    Raises:
        ValueError: If the shape is none of these, a cell does not fit, an option is not a positive
            integer, or values are not finite.

    Reference:
        N. Dalal and B. Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR, 2005;
        the square root: R. Arandjelović and A. Zisserman, "Three things everyone should know to
        improve object retrieval", CVPR, 2012.

    Example:

    ```python
    import kserket

    x, _ = kserket.datasets.load_digits()
    print(kserket.preprocessing.oriented_gradients(x, cell_size=2).shape)
    ```
    """
    from scipy import ndimage

    images = _read(images)
    height, width = _image_shape(images.shape, image_shape)
    if not np.isfinite(images).all():
        raise ValueError("`images` must be finite.")
    check_positive_int(num_orientations=num_orientations, cell_size=cell_size)
    num_orientations, cell_size = int(num_orientations), int(cell_size)
    rows, columns = height // cell_size, width // cell_size
    if min(height, width) < max(2, cell_size):
        raise ValueError(
            f"Images must be as large as a cell, and two pixels at least. Received: images of "
            f"{height} x {width} pixels, cell_size={cell_size}"
        )
    centers = slice(cell_size // 2, None, cell_size)
    histograms = np.empty((len(images), rows, columns, num_orientations), "float32")
    for first in range(0, len(images), _CHUNK):
        part = slice(first, first + _CHUNK)
        stack = ndimage.gaussian_filter(images[part].reshape(-1, height, width), (0, 0.7, 0.7))
        down, right = np.gradient(stack, axis=(1, 2))
        length = np.hypot(down, right)
        direction = np.arctan2(down, right) % (2 * np.pi) * (num_orientations / (2 * np.pi))
        for orientation in range(num_orientations):
            distance = np.abs(direction - orientation)
            distance = np.minimum(distance, num_orientations - distance)
            votes = length * np.maximum(0.0, 1.0 - distance)
            votes = ndimage.gaussian_filter(votes, (0, cell_size / 2, cell_size / 2))
            histograms[part, ..., orientation] = votes[:, centers, centers][:, :rows, :columns]
    total = histograms.sum(axis=(1, 2, 3), keepdims=True)
    return np.sqrt(histograms / np.where(total > 0, total, 1.0))


def _read(images):
    """Images as a float32 array of an axis at least."""
    images = as_numbers(images, "`images`")
    if images.ndim == 0:
        raise ValueError("`images` must have one row per image. Received: a number")
    return images.astype("float32")


def image_shape_of(
    shape: tuple[int | None, ...], image_shape: tuple[int, ...] | None = None
) -> tuple[int, int, int]:
    """Height, width and channels of images.

    Args:
        shape: Of the array: (N, H, W), (N, H, W, C) or (N, D).
        image_shape: `(H, W)` or `(H, W, C)` of flat images; None takes them to be square, of one
            channel.

    Returns:
        `(H, W, C)`.

    Raises:
        ValueError: If the two do not agree, channels come first, or flat images are not square.
    """
    if image_shape is None and len(shape) == 2:
        side = math.isqrt(shape[1] or 0)
        image_shape = side, side
    elif image_shape is None and len(shape) in (3, 4):
        image_shape = tuple(shape[1:])
        if len(shape) == 4 and shape[1] in (1, 3) and (shape[3] or 0) > _MOST_CHANNELS:
            raise ValueError(
                f"Images need their channels last, shape (N, H, W, C). Received: shape {shape}, "
                "whose channels seem to come first. Pass np.moveaxis(images, 1, -1)."
            )
    sides = np.asarray(() if image_shape is None else image_shape)
    known = sides.shape in ((2,), (3,)) and sides.dtype.kind in "iu" and (sides > 0).all()
    if not known or sides.prod() != math.prod(shape[1:]):
        raise ValueError(_shape_error(shape, image_shape))
    height, width, channels = [*sides.tolist(), 1][:3]
    return height, width, channels


def _image_shape(shape, image_shape):
    """`(H, W)` of images of one channel, of this shape."""
    if image_shape is None and len(shape) == 4:
        image_shape = shape[1:3]
    height, width, channels = image_shape_of(shape, image_shape)
    if channels != 1 or np.size(image_shape) == 3:
        raise ValueError(_shape_error(shape, image_shape, "(N, H, W, 1)"))
    return height, width


def _shape_error(shape, image_shape, stack="(N, H, W, C)"):
    return (
        f"`images` must have shape (N, H, W), {stack} or (N, H * W); flat images that are not "
        f"square need `image_shape=(H, W)`. Received: shape {shape}, image_shape={image_shape!r}"
    )
