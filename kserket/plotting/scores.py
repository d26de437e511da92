"""Pictures of how training went: figures per round."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from kserket.core.options import shown
from kserket.plotting.style import INK, check_texts, finish, line_color, pyplot, spread
from kserket.typing import Array

_FAMILIES = {  # figures of a history that share a panel, by the last part of their name
    "loss (nats)": ("loss", "reconstruction", "kl"),
    "log likelihood": ("log_likelihood",),
    "lower bound": ("lower_bound", "bound"),
    "score against labels": ("accuracy", "nmi", "ari"),
    "agreement of agents (kappa)": ("agreement",),
    "change of message": ("message_change",),
}
_SHARED = "ari", "agreement"  # ends of names that differ by agent, such as anna_ari


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
        agreement, changes of message, others.

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
    for name, figure in last.items():
        last[name] = next((end for end in _SHARED if figure.endswith(f"_{end}")), figure)
    families = {
        title: [name for member in members for name in curves if last[name] == member]
        for title, members in _FAMILIES.items()
    }
    for name in curves:
        if not any(last[name] in members for members in _FAMILIES.values()):
            families.setdefault(last[name].replace("_", " "), []).append(name)
    return {title: members for title, members in families.items() if members}


def _label_lines(ax, lines, fontsize=8.5):
    """Writes each line's name at its right end, moved up or down where names would overlap.

    Names stand in the order in which lines end.
    """
    ends = np.array([line.get_xydata()[-1] for line in lines])
    at = ax.transData.transform(ends)
    points = 72 / ax.figure.dpi
    sizes = np.tile([1e9, 1.35 * fontsize / points], (len(at), 1))  # so wide: moved up or down only
    heights = np.empty(len(at))
    heights[np.argsort(at[:, 1], kind="stable")] = np.sort(spread(at, sizes, -np.inf, np.inf)[:, 1])
    for line, end, pixels in zip(lines, ends, heights - at[:, 1], strict=True):
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
