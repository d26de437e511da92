"""Image files as arrays."""

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kserket.typing import Array


def load_images(
    paths: Sequence[str | os.PathLike[str]], size: tuple[int, int] | None = None, channels: int = 3
) -> Array:
    """Images of one size.

    Args:
        paths: N paths of PNG, JPEG, BMP or GIF files (of these the first frame).
        size: Height and width to which images are resized. None keeps those of the first, which
            all others must have.
        channels: 1 (gray), 3 (red, green, blue) or 4 (with alpha).

    Returns:
        uint8 array (N, height, width, channels).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is no image, or sizes differ.
    """
    images = []
    for path in paths:
        path = os.fspath(path)
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
    return np.stack(images)
