"""Pictures made of images: reconstructions, and what a class looks like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from kserket.arrays import as_numbers
from kserket.core.options import check_positive_int, is_whole, shown
from kserket.plotting.sources import generated_of, is_source, reconstruction_of
from kserket.plotting.style import check_texts, finish, new_axes
from kserket.typing import Seed

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_reconstructions(
    x: Any,
    x_hat: ArrayLike | None = None,
    *,
    image_shape: tuple[int, ...] | None = None,
    num_images: int = 12,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draws images above what a model makes of them.

    Args:
        x: (N, ...) images, flat or not; or a module: what it read, and what it sent back;
            or a graph: its first module that did.
        x_hat: (N, ...) reconstructions of the same shape.
        image_shape: (height, width) or (height, width, channels). Default: the shape of a row, and
            of flat rows the square that fits.
        num_images: How many, spread evenly over the N.
        title: Text above the picture.
        ax: `matplotlib.axes.Axes`. Default: a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: If the two differ in shape, or no image shape fits.
    """
    if x_hat is None:
        x, x_hat = reconstruction_of(x)
    x = as_numbers(x, "`x`", allow_missing=True)
    x_hat = as_numbers(x_hat, "`x_hat`", allow_missing=True)
    if np.shape(x) != np.shape(x_hat):
        raise ValueError(
            f"`x` and `x_hat` must have one shape. Received: {np.shape(x)} and {np.shape(x_hat)}"
        )
    check_positive_int(num_images=num_images)
    rows = np.unique(np.linspace(0, len(x) - 1, min(int(num_images), len(x))).astype(int))
    pair = np.stack([np.asarray(x)[rows], np.asarray(x_hat)[rows]])
    return _draw_mosaic(ax, pair, ["input", "output"], image_shape, title, like=pair[0])


def plot_generated(
    images: Any,
    *,
    num_images: int = 8,
    output: str | None = None,
    seed: Seed = None,
    names: Sequence[Any] | None = None,
    image_shape: tuple[int, ...] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draws generated images, one row a class.

    Args:
        images: (K, n, ...) n images of each of K classes, flat or not; or a graph whose top module
            has classes: it draws them.
        num_images: How many images a graph draws of each class.
        output: Name of the observation whose images a graph draws. Default: the first whose samples
            fit `image_shape`, or are images.
        seed: Integer or `numpy.random.Generator` for a graph's draws.
        names: K row labels. Default: "class 0", ...
        image_shape: As in `plot_reconstructions`.
        title: Text above the picture.
        ax: `matplotlib.axes.Axes`. Default: a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: If there are not three dimensions or more, no image shape fits, or the graph's
            top module has no classes.
    """
    if is_source(images):
        check_positive_int(num_images=num_images)
        drawn = generated_of(images, num_images, output, seed)
        images = next(
            (x for x in drawn.values() if _fits(x, image_shape)), next(iter(drawn.values()))
        )
    images = as_numbers(images, "`images`", allow_missing=True)
    if images.ndim < 3:
        raise ValueError(f"`images` must be (K, n, ...). Received: shape {images.shape}")
    names = [f"class {k}" for k in range(len(images))] if names is None else check_texts(names)
    if len(names) != len(images):
        raise ValueError(
            f"`names` must hold one name for each of {len(images)} rows of images. "
            f"Received: {len(names)} names."
        )
    return _draw_mosaic(ax, images, names, image_shape, title)


def _as_images(x, image_shape):
    """Images (..., H, W) or (..., H, W, 3) from (rows, columns, ...)."""
    if 0 in x.shape:
        raise ValueError(f"There are no images to draw. Received: shape {x.shape}")
    if image_shape is not None:
        is_shape = isinstance(image_shape, (list, tuple)) and len(image_shape) > 0
        if not is_shape or not all(is_whole(size, least=1) for size in image_shape):
            raise ValueError(
                "`image_shape` must be (height, width) or (height, width, channels). "
                f"Received: {shown(image_shape)}"
            )
    shape = x.shape[2:] if image_shape is None else tuple(map(int, image_shape))
    if len(shape) == 1:
        side = int(np.sqrt(shape[0]))
        shape = (side, side)
    is_image = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    if not is_image or np.prod(shape) != np.prod(x.shape[2:]):
        raise ValueError(
            f"Rows of shape {x.shape[2:]} are no images that could be guessed. Pass "
            f"image_shape=(height, width) or (height, width, channels). Received: {image_shape}"
        )
    shape = shape[:2] if shape[2:] == (1,) else shape
    return x.reshape(*x.shape[:2], *shape)


def _fits(x, image_shape):
    """Whether rows of x (rows, columns, ...) can be drawn as images."""
    try:
        _as_images(x, image_shape)
    except ValueError:
        return False
    return True


def _draw_mosaic(ax, rows, names, image_shape, title, like=None):
    """Draws rows (R, n, ...) of images as one picture, a name at each row.

    Black and white are 0 and 1 unless `like` (by default all the images) goes beyond them. What is
    not finite, such as an image that was not observed, stays empty.
    """
    images = _as_images(rows, image_shape)
    num_rows, num_columns, height, width = images.shape[:4]
    gap = max(1, height // 14)
    step = np.array([height + gap, width + gap])
    canvas = np.full((*(step * (num_rows, num_columns) - gap), *images.shape[4:]), np.nan)
    for row, column in np.ndindex(num_rows, num_columns):
        top, left = step * (row, column)
        canvas[top : top + height, left : left + width] = images[row, column]
    scale = 0.55 / width
    ax = new_axes(ax, (scale * canvas.shape[1] + 0.8, scale * canvas.shape[0] + 0.4), title)
    like = np.asarray(rows if like is None else like, float)
    seen = like[np.isfinite(like)]
    low, high = seen.min(initial=0), seen.max(initial=1)
    if canvas.ndim == 3:  # colors: imshow scales none and draws no gap by itself
        canvas = np.nan_to_num(np.clip((canvas - low) / (high - low), 0, 1), nan=1.0)
    ax.imshow(canvas, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    ax.set_yticks(step[0] * np.arange(num_rows) + (height - 1) / 2, names)
    ax.set_xticks([])
    finish(ax, title, None, None, grid=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, labelsize=9.5)
    return ax
