"""Pictures of counts: clusters against labels, signs against the classes of agents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from kserket.arrays import as_numbers, check_finite, read_array
from kserket.plotting.sources import is_source, scores_of, signs_of
from kserket.plotting.style import FAINT, INK, check_texts, finish, new_axes, plain, pyplot
from kserket.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_confusion(
    y_true: Any,
    y_pred: ArrayLike | None = None,
    *,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draws counts of true labels against clusters, each cluster under the label it fits best.

    Args:
        y_true: (N,) labels; or a module with labels and a posterior, or a graph: its last one.
        y_pred: (N,) clusters, or (N, K) probabilities.
        title: Text above the picture. Default: the accuracy.
        ax: `matplotlib.axes.Axes`. Default: a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: As `kserket.metrics.clustering_accuracy`.
    """
    from kserket import metrics

    if y_pred is None:
        y_true, y_pred = scores_of(y_true)
    if not np.ma.is_masked(y_pred) and read_array(y_pred, "`y_pred`", "clusters").ndim == 2:
        y_pred = _clusters(y_pred)
    counts, labels, clusters = metrics.confusion_matrix(y_true, y_pred)
    ax = new_axes(ax, _size(counts), title)
    columns = ["none" if c is None else f"{plain(c)}" for c in clusters]
    _draw_counts(ax, counts, [f"{plain(label)}" for label in labels.tolist()], columns)
    accuracy = np.trace(counts) / counts.sum()
    title = f"{accuracy:.1%} of {counts.sum():,} right" if title is None else title
    finish(ax, title, "cluster, matched to labels", "true label", grid=False)
    return ax


def plot_signs(
    signs: Any,
    classes: Sequence[ArrayLike] | None = None,
    *,
    names: Sequence[str] | None = None,
    axes: Any = None,
) -> Array:
    """Draws counts of signs against the classes that each agent sees by itself.

    Each class stands under the sign that it fits best, so that what is off the diagonal is where
    an agent by itself sees something else than all have agreed on.

    Args:
        signs: (N,) signs, below 0 where there is none; or a `NamingGame`, or a graph of one.
        classes: A list of M arrays (N,), below 0 where an agent has not seen the sample.
        names: Names of the M agents. Default: those of the modules, or their numbers.
        axes: M Axes. Default: a new figure with one picture each in a row.

    Returns:
        Array (M,) of the Axes.

    Raises:
        ValueError: If nothing was named, shapes do not fit, or `axes` are too few.
    """
    if is_source(signs):
        signs, classes, found = signs_of(signs)
        names = found if names is None else names
    signs, classes = _whole(signs, "`signs`"), [_whole(c, "`classes`") for c in classes or ()]
    if not classes or any(part.shape != signs.shape for part in classes):
        raise ValueError(
            f"`classes` must be a list of arrays ({len(signs)},), one for each agent, as `signs`. "
            f"Received: shapes {[part.shape for part in classes]}"
        )
    names = [f"agent {m}" for m in range(len(classes))] if names is None else check_texts(names)
    if len(names) != len(classes):
        raise ValueError(f"`names` must hold {len(classes)} names. Received: {len(names)}")
    counts = [_matched_counts(signs, part) for part in classes]
    if axes is None:
        width, height = _size(counts[0][0])
        _, axes = pyplot().subplots(
            1,
            len(counts),
            figsize=(width * len(counts), height),
            layout="constrained",
            squeeze=False,
            dpi=150,
        )
    axes = np.atleast_1d(axes).ravel()
    if len(axes) < len(counts):
        raise ValueError(f"{len(counts)} agents need as many Axes. Received: {len(axes)}")
    for ax, name, (table, columns) in zip(axes, names, counts, strict=False):
        _draw_counts(ax, table, range(len(table)), columns)
        share = np.trace(table) / max(table.sum(), 1)
        finish(ax, f"{name}: {share:.1%} as signs", "class, matched to signs", "sign", grid=False)
    return axes[: len(counts)]


def _matched_counts(signs, classes):
    """Counts (K, K) of signs against classes, and which class stands in each column."""
    both = (signs >= 0) & (classes >= 0)
    if not both.any():
        raise ValueError("`signs` and `classes` have no sample in common that has both.")
    size = max(signs[both].max(), classes[both].max()) + 1
    counts = np.zeros((size, size), int)
    np.add.at(counts, (signs[both], classes[both]), 1)
    _, order = linear_sum_assignment(counts, maximize=True)
    return counts[:, order], order


def _size(counts):
    """Width and height of a picture of counts, in inches."""
    rows, columns = counts.shape
    return np.clip(0.46 * columns + 1.6, 3.6, 12), np.clip(0.46 * rows + 1.7, 3.4, 12)


def _draw_counts(ax, counts, rows, columns):
    """Counts as numbers, in cells shaded by their share of the row."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1.1, aspect="auto")
    room = 72 / ax.figure.dpi * ax.get_window_extent().width / counts.shape[1]  # points of a cell
    size = np.clip(room / (0.7 * len(f"{counts.max()}") + 0.4), 5, 10)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.55 else INK if count else FAINT
        ax.text(column, row, f"{count}", ha="center", va="center", fontsize=size, color=color)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(length=0)


def _whole(values, name):
    """Whole numbers (N,)."""
    values = as_numbers(values, name)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be whole numbers (N,). Received: {values.dtype}, shape {values.shape}"
        )
    return values


def _clusters(probabilities):
    """The most probable cluster of each row of `y_pred`, (N, K)."""
    values = as_numbers(probabilities, "`y_pred`")
    if values.shape[1] < 2:
        raise ValueError(
            "`y_pred` must hold clusters (N,), or probabilities (N, K) of two or more. Received: "
            f"shape {values.shape}. Use y_pred.ravel()."
        )
    check_finite(values, "`y_pred`")
    return values.argmax(axis=1)
