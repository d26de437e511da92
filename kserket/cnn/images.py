"""Image files as arrays."""

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kserket.typing import Array


def load_images(
    paths: Sequence[str | os.PathLike[str] | None],
    size: tuple[int, int] | None = None,
    channels: int = 3,
) -> Array:
    """Images of one size.

    Args:
        paths: N paths of PNG, JPEG, BMP or GIF files (of these the first frame). None stands for an
            image that is missing.
        size: Height and width to which images are resized. None keeps those of the first, which
            all others must have.
        channels: 1 (gray), 3 (red, green, blue) or 4 (with alpha).

    Returns:
        uint8 array (N, height, width, channels); float32 with rows of NaN if images are missing.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is no image, or sizes differ.
    """
    images, is_there = [], np.array([path is not None for path in paths])
    for path in (os.fspath(one) for one in paths if one is not None):
        if not os.path.isfile(path):
            raise FileNotFoundError(f"There is no image {path}.")
        try:
            content = tf.io.read_file(path)
            image = tf.io.decode_image(content, channels, expand_animations=False)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(
                f"{path} cannot be read as a PNG, JPEG, BMP or GIF image of {channels} channels: "
                f"{error.message}"
            ) from error
        if size is not None and tuple(image.shape[:2]) != tuple(size):
            image = tf.cast(tf.round(tf.image.resize(image, size, antialias=True)), "uint8")
        if images and image.shape != images[0].shape:
            raise ValueError(
                f"{path} has the shape {tuple(image.shape)}, and the first image "
                f"{images[0].shape}. Give a size=, or images of one."
            )
        images.append(image.numpy())
    if is_there.all():
        return np.stack(images)
    result = np.full((len(is_there), *images[0].shape), np.nan, "float32")
    result[is_there] = images
    return result
