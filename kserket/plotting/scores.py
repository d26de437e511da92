"""Pictures of how training went: figures per round, and clusters against labels."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from kserket.arrays import as_numbers, check_finite, read_array
from kserket.plotting.sources import scores_of
from kserket.plotting.style import FAINT, INK, finish, line_color, new_axes, plain, pyplot, spread
from kserket.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FAMILIES = {  # figures of a history that share a panel, by the last part of their name
    "loss (nats)": ("loss", "reconstruction", "kl"),
    "log likelihood": ("log_likelihood",),
    "lower bound": ("lower_bound", "bound"),
    "score against labels": ("accuracy", "nmi", "ari"),
    "change of message": ("message_change",),
}


def plot_history(history: Any, *, title: str | None = None, axes: Any = None) -> Array:
    """Draws figures per round, one panel for each family of figures.

    Args:
        history: Dict from name ("gmm/accuracy") to one value per round; or what has such a dict as
            its `history`: a graph, or what `fit` returned. Values that are not finite are left
            out. Colors stand for modules.
        title: Text above the panels.
        axes: As many Axes as there are panels. Default: a new figure with the panels in one row.

    Returns:
        Array (P,) of the Axes of P panels, in the order losses, likelihoods, bounds, scores,
        changes of message, others.

    Raises:
        ValueError: If there is nothing to draw, or `axes` are too few.
    """
    while not isinstance(history, dict):
        history = history.history
    panels = _panels(history)
    if not panels:
        raise ValueError("The history holds no figures yet. Call fit() first.")
    if axes is None:
        size = (3.6 * len(panels) + 0.4, 3.1)
        figure, axes = pyplot().subplots(
            1, len(panels), figsize=size, layout="constrained", squeeze=False, dpi=150
        )
        if title:
            figure.suptitle(title, fontsize=12, color=INK)
    axes = np.atleast_1d(axes).ravel()
    if len(axes) < len(panels):
        raise ValueError(f"{len(panels)} panels need as many Axes. Received: {len(axes)}")
    modules = list(dict.fromkeys(name.rpartition("/")[0] for name in history))
    drawn = []
    for ax, (family, panel) in zip(axes, panels.items(), strict=False):
        styles = {module: itertools.cycle(("-", "--", ":", "-.")) for module in modules}
        lines = []
        for name in panel:
            module = name.rpartition("/")[0]
            values = np.asarray(history[name], dtype=float)
            rounds = np.arange(1, len(values) + 1)
            ok = np.isfinite(values)
            style = {"ls": next(styles[module]), "color": line_color(modules.index(module))}
            lines += ax.plot(
                rounds[ok], values[ok], marker="o", ms=3.5, lw=1.6, label=name, **style
            )
        finish(ax, family, "round", None)
        ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        drawn.append(lines)
    axes[0].figure.draw_without_rendering()  # settles limits and layout, on which distances depend
    for ax, lines in zip(axes, drawn, strict=False):
        _label_lines(ax, lines)
    return axes[: len(panels)]


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
    side = np.clip(0.46 * counts.shape[1] + 1.6, 3.6, 12)
    ax = new_axes(ax, (side, np.clip(0.46 * counts.shape[0] + 1.7, 3.4, 12)), title)
    shares = counts / counts.sum(axis=1, keepdims=True)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1.1, aspect="auto")
    room = 72 / ax.figure.dpi * ax.get_window_extent().width / counts.shape[1]  # points of a cell
    size = np.clip(room / (0.7 * len(f"{counts.max()}") + 0.4), 5, 10)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.55 else INK if count else FAINT
        ax.text(column, row, f"{count}", ha="center", va="center", fontsize=size, color=color)
    ax.set_xticks(range(len(clusters)), ["none" if c is None else f"{plain(c)}" for c in clusters])
    ax.set_yticks(range(len(labels)), [f"{plain(label)}" for label in labels.tolist()])
    accuracy = np.trace(counts) / counts.sum()
    title = f"{accuracy:.1%} of {counts.sum():,} right" if title is None else title
    finish(ax, title, "cluster, matched to labels", "true label", grid=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(length=0)
    return ax


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


def _panels(history):
    """Dict from panel title to the names of its figures, families first, empty ones left out."""
    finite = {name: np.isfinite(np.asarray(v, dtype=float)).any() for name, v in history.items()}
    names = [name for name in history if finite[name]]
    last = {name: name.rsplit("/", 1)[-1] for name in names}
    families = {
        title: [name for member in members for name in names if last[name] == member]
        for title, members in _FAMILIES.items()
    }
    for name in names:
        if not any(last[name] in members for members in _FAMILIES.values()):
            families.setdefault(last[name].replace("_", " "), []).append(name)
    return {title: members for title, members in families.items() if members}


def _label_lines(ax, lines, fontsize=8.5):
    """Writes each line's name at its right end, moved up or down where names would overlap."""
    ends = np.array([line.get_xydata()[-1] for line in lines])
    at = ax.transData.transform(ends)
    points = 72 / ax.figure.dpi
    sizes = np.tile([1e9, 1.35 * fontsize / points], (len(at), 1))  # so wide: moved up or down only
    moved = (spread(at, sizes, -np.inf, np.inf) - at)[:, 1]
    for line, end, pixels in zip(lines, ends, moved, strict=True):
        ax.annotate(
            line.get_label(),
            end,
            xytext=(7, pixels * points),
            textcoords="offset points",
            va="center",
            fontsize=fontsize,
            color=line.get_color(),
            annotation_clip=False,
        )
