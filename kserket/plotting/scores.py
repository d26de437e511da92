"""Pictures of how training went: figures per round, and clusters against labels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from kserket.arrays import as_numbers, check_finite, read_array
from kserket.core.options import shown
from kserket.plotting.sources import scores_of
from kserket.plotting.style import (
    FAINT,
    INK,
    check_texts,
    finish,
    line_color,
    new_axes,
    plain,
    pyplot,
    spread,
)
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


def plot_history(
    history: Any,
    *,
    metrics: Sequence[str] | None = None,
    constants: bool = False,
    title: str | None = None,
    axes: Any = None,
) -> Array:
    """Draws figures per round, one panel for each family of figures.

    Args:
        history: Dict from name ("gmm/accuracy") to one value per round; or what has such a dict as
            its `history`: a graph, or what `fit` returned. A list of these, of runs that differ by
            their seed, is drawn as mean and standard deviation over runs. Values that are not
            finite are left out. Colors stand for modules.
        metrics: Figures to draw: whole names ("gmm/accuracy"), last parts ("accuracy") or modules
            ("gmm"). Default: all.
        constants: Whether to draw figures that never change, such as the number of live classes in
            a run that keeps them all. A figure named by `metrics` is always drawn.
        title: Text above the panels.
        axes: As many Axes as there are panels. Default: a new figure, three panels a row.

    Returns:
        Array (P,) of the Axes of P panels, in the order losses, likelihoods, bounds, scores,
        changes of message, others.

    Raises:
        ValueError: If there is nothing to draw, a metric is unknown, or `axes` are too few.
    """
    runs = [_figures(run) for run in (history if isinstance(history, (list, tuple)) else [history])]
    curves = _curves(runs)
    if metrics is not None:
        curves = _chosen(curves, check_texts([metrics] if isinstance(metrics, str) else metrics))
    elif not constants:
        curves = {name: c for name, c in curves.items() if _changes(c)} or curves
    panels = _panels(curves)
    if not panels:
        raise ValueError("The history holds no figures yet. Call fit() first.")
    if axes is None:
        axes = _new_panels(len(panels), title)
    axes = np.atleast_1d(axes).ravel()
    if len(axes) < len(panels):
        raise ValueError(f"{len(panels)} panels need as many Axes. Received: {len(axes)}")
    modules = list(dict.fromkeys(name.rpartition("/")[0] for run in runs for name in run))
    drawn = []
    for ax, (family, panel) in zip(axes, panels.items(), strict=False):
        styles = {module: itertools.cycle(("-", "--", ":", "-.")) for module in modules}
        lines = []
        for name in panel:
            module = name.rpartition("/")[0]
            style = {"ls": next(styles[module]), "color": line_color(modules.index(module))}
            lines += _draw_curve(ax, curves[name], name, style)
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


def _figures(run):
    """The dict of a history, or of what has one."""
    while not isinstance(run, dict):
        if not hasattr(run, "history"):
            raise TypeError(
                "`history` must be a dict of figures, a graph, what fit() returned, or a list of "
                f"these. Received: {shown(run)}"
            )
        run = run.history
    return run


def _curves(runs):
    """Dict from name to values (R, T) of R runs over T rounds, NaN where a run has none."""
    curves = {}
    for name in dict.fromkeys(name for run in runs for name in run):
        rows = [np.asarray(run.get(name, ()), dtype=float) for run in runs]
        values = np.full((len(runs), max(map(len, rows))), np.nan)
        for row, figures in zip(values, rows, strict=True):
            row[: len(figures)] = figures
        values[~np.isfinite(values)] = np.nan
        if np.isfinite(values).any():
            curves[name] = values
    return curves


def _chosen(curves, metrics):
    """The curves that `metrics` name."""
    parts = {name: {name, name.rpartition("/")[2], name.rpartition("/")[0]} for name in curves}
    for wished in metrics:
        if not any(wished in names for names in parts.values()):
            raise ValueError(
                f"There is no figure {wished!r}. Choose among: {', '.join(map(str, curves))}"
            )
    return {name: curves[name] for name in curves if parts[name] & set(metrics)}


def _changes(values):
    """Whether a figure differs between rounds or runs, or has only one value to show."""
    seen = values[np.isfinite(values)]
    return len(seen) == 1 or np.ptp(seen) > 0


def _new_panels(number, title):
    """Axes of a new figure, three a row."""
    columns = min(number, 3)
    rows = -(-number // columns)
    figure, axes = pyplot().subplots(
        rows,
        columns,
        figsize=(3.6 * columns + 0.4, 2.9 * rows + 0.2),
        layout="constrained",
        squeeze=False,
        dpi=150,
    )
    for ax in axes.ravel()[number:]:
        ax.remove()
    if title:
        figure.suptitle(title, fontsize=12, color=INK)
    return axes.ravel()[:number]


def _draw_curve(ax, values, name, style):
    """A figure of one run, or the mean of several runs within their standard deviation."""
    seen = np.isfinite(values).any(axis=0)
    rounds, values = np.arange(1, values.shape[1] + 1)[seen], values[:, seen]
    mean = np.nanmean(values, axis=0)
    if len(values) > 1:
        sd = np.nanstd(values, axis=0)
        ax.fill_between(rounds, mean - sd, mean + sd, color=style["color"], alpha=0.18, lw=0)
    return ax.plot(rounds, mean, marker="o", ms=3.5, lw=1.6, label=name, **style)


def _panels(curves):
    """Dict from panel title to the names of its figures, families first, empty ones left out."""
    last = {name: name.rsplit("/", 1)[-1] for name in curves}
    families = {
        title: [name for member in members for name in curves if last[name] == member]
        for title, members in _FAMILIES.items()
    }
    for name in curves:
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
