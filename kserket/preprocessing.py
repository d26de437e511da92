"""What may be done to images before a model sees them."""

import math

import numpy as np


def deskew(images, image_shape=None):
    """Makes slanted shapes upright: each image sheared and shifted by its own moments.

    An image's brightness is taken for a density over the plane. It is sheared along its rows until
    the two axes do not covary, and shifted until its mean is the centre. Handwriting loses its
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

    images = np.asarray(images, "float32")
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
        centre = np.array([(height - 1) / 2, (width - 1) / 2])
        offset = np.array([row, column]) - shear @ centre
        ndimage.affine_transform(image, shear, offset, output=upright, order=1)
    return result.reshape(images.shape)


def _image_shape(shape, image_shape):
    """`(H, W)` of images of this shape."""
    if image_shape is None and len(shape) == 2:
        side = math.isqrt(shape[1])
        image_shape = side, side
    elif image_shape is None and (len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)):
        image_shape = shape[1:3]
    if image_shape is None or math.prod(image_shape) != math.prod(shape[1:]):
        raise ValueError(
            "`images` must have shape (N, H, W), (N, H, W, 1) or (N, H * W); flat images that are "
            f"not square need `image_shape`. Received: shape {shape}, image_shape={image_shape}"
        )
    return tuple(image_shape)
