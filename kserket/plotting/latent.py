"""Pictures of a latent space: its points, its clusters, its dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from kserket.arrays import as_numbers, check_finite, read_array
from kserket.core.options import check_positive
from kserket.floors import SMALLEST
from kserket.labels import as_labels
from kserket.plotting.sources import gaussian_of, is_source, latent_of, observed
from kserket.plotting.style import (
    FAINT,
    INK,
    check_texts,
    color_of,
    finish,
    line_color,
    marker_of,
    new_axes,
    plain,
    spread,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_latent(
    z: Any,
    labels: ArrayLike | None = None,
    *,
    means: ArrayLike | None = None,
    covariances: ArrayLike | None = None,
    names: Sequence[Any] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draws latent points in two dimensions, with the ellipses of a mixture.

    More than two dimensions are projected on the points' first two principal components, ellipses
    included; the axis labels say how much of the variance each shows. Points that are not finite,
    and those of a module that were not observed, are left out.

    Args:
        z: (N, D) points, D >= 2; or a module: its forward message, and the `Mixture` that came to
            it from above as the default of what follows; or a graph: its first such module.
        labels: (N,) labels of any kind, or (N, K) responsibilities. Responsibilities color a point
            by its most probable component, paler the less certain it is.
        means: (K, D) component means.
        covariances: (K, D, D) component covariances, drawn at 1 and 2 standard deviations in the
            colors of their components; in gray if `labels` are (N,), since those need not number
            components. Components that are most probable for no point are left out.
        names: What to write at each label, in sorted order, or at each of the K components.
            Default: itself.
        title: Text above the picture.
        ax: `matplotlib.axes.Axes`. Default: a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: If shapes do not fit, or no point is finite.
    """
    if is_source(z):
        z, *mixture = latent_of(z)
        labels = mixture[0] if labels is None else labels
        means, covariances = mixture[1:] if means is None else (means, covariances)
    z, labels = _points(z, labels)
    means, covariances = _components(means, covariances, z.shape[1])
    responsibilities = labels if labels.ndim == 2 else None
    ids = labels if responsibilities is None else labels.argmax(axis=1)
    values, positions = np.unique(ids, return_inverse=True)
    texts = _texts(names, values, None if responsibilities is None else labels.shape[1])
    shades = values if responsibilities is not None else np.arange(len(values))

    ax = new_axes(ax, (6.4, 5.6), title)
    center, axes, axis_names = _projection(z)
    points = (z - center) @ axes
    colors = np.array([color_of(shade) for shade in shades])[positions]
    colors[:, 3] = 0.75 if responsibilities is None else 0.12 + 0.68 * responsibilities.max(axis=1)
    size = np.clip(24_000 / len(z), 2, 22)
    markers = np.array([marker_of(shade) for shade in shades])
    for marker in np.unique(markers):
        chosen = (markers == marker)[positions]
        style = {"s": size, "marker": marker, "linewidths": 0, "rasterized": True}
        across, up = points[chosen].T
        ax.scatter(across, up, c=colors[chosen], **style)

    drawn = range(len(means)) if means is not None else ()
    if responsibilities is not None:
        drawn = [k for k in drawn if k in values]
    anchors = [np.median(points[positions == i], axis=0) for i in range(len(values))]
    for k in drawn:
        mean = (means[k] - center) @ axes
        color = INK if responsibilities is None else line_color(k)
        if covariances is not None:
            _draw_ellipses(ax, mean, axes.T @ covariances[k] @ axes, color)
        if responsibilities is not None:
            anchors[list(values).index(k)] = mean
    finish(ax, title, *axis_names)
    if covariances is not None and len(drawn):
        small = {"fontsize": 7.5, "color": "#666666", "ha": "right", "va": "top"}
        at = {"xycoords": "axes fraction", "textcoords": "offset points"}
        ax.annotate("ellipses: 1σ, 2σ", (1, 0), xytext=(0, -22), **at, **small)
    if len(values) > 1:
        _label_clusters(ax, np.array(anchors), texts, [line_color(shade) for shade in shades])
    return ax


def plot_active_units(
    kl_per_dim: Any, *, threshold: float = 0.01, title: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draws how much each latent dimension says, the most telling first.

    Args:
        kl_per_dim: (D,) mean KL divergence of each dimension from its prior, in nats; or a module
            whose forward message has a mean and a variance, or a graph: its first such module.
            Its prior is N(mu, I), with the mean that came from above or 0.
        threshold: A dimension below it is called collapsed.
        title: Text above the picture. Default: how many dimensions are active.
        ax: `matplotlib.axes.Axes`. Default: a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: If it is not a vector.
    """
    if is_source(kl_per_dim):
        kl_per_dim = _kl_per_dim(*gaussian_of(kl_per_dim))
    kl = np.asarray(as_numbers(kl_per_dim, "`kl_per_dim`"), dtype=float)
    if kl.ndim != 1 or not len(kl):
        raise ValueError(f"`kl_per_dim` must be a vector (D,). Received: shape {kl.shape}")
    check_positive(threshold=threshold, allow_zero=True)
    check_finite(kl, "`kl_per_dim`")
    order = np.argsort(-kl, kind="stable")
    active = kl[order] > threshold
    ax = new_axes(ax, (np.clip(0.26 * len(kl) + 1.6, 4.8, 12), 3.2), title)
    ax.bar(range(len(kl)), kl[order], 0.8, color=[color_of(0) if a else FAINT for a in active])
    step = int(np.ceil(len(kl) / 40))
    ax.set_xticks(range(0, len(kl), step), order[::step])
    if title is None:
        title = f"{active.sum()} of {len(kl)} dimensions active (KL above {threshold:g} nats)"
    finish(ax, title, "latent dimension", "KL from the prior (nats)")
    ax.grid(False, axis="x")
    if not (kl < 0).any():
        ax.set_ylim(bottom=0)
    return ax


def _points(z, labels):
    """Finite points (N, D) and their labels (N,) or responsibilities (N, K), checked."""
    z = as_numbers(z, "`z`", allow_missing=True)
    if z.ndim != 2 or z.shape[1] < 2:
        raise ValueError(f"`z` must be (N, D) with D of at least 2. Received: shape {z.shape}")
    labels = np.zeros(len(z), int) if labels is None else _labels(labels)
    if labels.shape[:1] != z.shape[:1]:
        raise ValueError(f"`labels` must have {len(z)} rows, as `z`. Received: {labels.shape}")
    finite = np.isfinite(z).all(axis=1)
    if not finite.any():
        raise ValueError(f"`z` needs a point that is finite. Received: {len(z)} that are not.")
    z, labels = z[finite], labels[finite]
    if labels.ndim > 2 or (labels.ndim == 2 and not _are_probabilities(labels)):
        raise ValueError(
            "`labels` must be (N,), one label for each point, or class probabilities (N, K). "
            f"Received: shape {labels.shape}, the first row {labels[0]}"
        )
    return z, labels


def _are_probabilities(rows):
    """Whether each row (N, K) is not negative and sums to 1, within rounding."""
    return bool((rows >= -1e-3).all() and (abs(rows.sum(axis=1) - 1) < 1e-3).all())


def _labels(labels):
    """Labels (N,), or numbers of more axes, which may be responsibilities."""
    if np.ma.is_masked(labels) or read_array(labels, "`labels`", "labels").ndim == 1:
        return as_labels(labels, "`labels`")
    return as_numbers(labels, "`labels`")


def _components(means, covariances, size):
    """Means (K, D) and covariances (K, D, D), D as in z, as finite arrays; or None."""
    if means is None:
        if covariances is not None:
            raise ValueError("`covariances` need `means`, where they are drawn.")
        return None, None
    means = _finite(means, "`means`", (None, size))
    if covariances is not None:
        covariances = _finite(covariances, "`covariances`", (len(means), size, size))
    return means, covariances


def _finite(values, name, shape):
    """Finite numbers of this shape, None where any size will do."""
    values = as_numbers(values, name)
    fits = len(shape) == values.ndim and all(
        wanted in (None, size) for wanted, size in zip(shape, values.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("K" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} must be ({wanted}), as `z`. Received: shape {values.shape}")
    check_finite(values, name)
    return values


def _texts(names, values, num_components):
    """What is written at each of the labels or components (values) that occur."""
    names = None if names is None else check_texts(names)
    if names is not None and len(names) == num_components:
        names = [names[k] for k in values]
    names = values.tolist() if names is None else names
    if len(names) != len(values):
        raise ValueError(
            f"`names` must hold one name for each of the labels {values.tolist()}. "
            f"Received: {len(names)} names."
        )
    return [str(plain(name)) for name in names]


def _projection(z):
    """Center (D,), two axes (D, 2) and their names: principal components, or z itself if D = 2."""
    if z.shape[1] == 2:
        return np.zeros(2), np.eye(2), ("latent dimension 0", "latent dimension 1")
    center = z.mean(axis=0)
    variances, vectors = np.linalg.eigh(np.cov(z, rowvar=False, bias=True))
    axes = vectors[:, [-1, -2]]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), range(2)])  # the same picture every time
    shares = variances[[-1, -2]] / max(variances.sum(), SMALLEST)
    names = [f"PCA {i} ({100 * share:.0f} % of variance)" for i, share in enumerate(shares, 1)]
    return center, axes, names


def _kl_per_dim(gaussian, prior):
    """Mean over samples of KL(N(mean, variance) || N(mu, 1)), (D,); mu from the prior or 0."""
    seen = observed(gaussian)
    mu = 0.0 if prior is None else np.asarray(prior)[seen]
    mean, variance = np.asarray(gaussian.mean)[seen], np.asarray(gaussian.variance)[seen]
    return 0.5 * np.mean(np.square(mean - mu) + variance - 1 - np.log(variance), axis=0)


def _draw_ellipses(ax, mean, covariance, color):
    """Ellipses of a Gaussian with mean (2,) and covariance (2, 2); they move no axis limit."""
    from matplotlib.patches import Ellipse

    variances, vectors = np.linalg.eigh(covariance)
    angle = np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1]))
    height, width = 2 * np.sqrt(np.maximum(variances, 0))
    for sigma in (1, 2):
        ax.add_artist(
            Ellipse(
                mean,
                sigma * width,
                sigma * height,
                angle=angle,
                fill=False,
                edgecolor=color,
                lw=1.3 if sigma == 1 else 0.8,
                alpha=0.95 if sigma == 1 else 0.6,
            )
        )


def _label_clusters(ax, anchors, texts, colors):
    """Writes each text at its anchor (K, 2), moved apart where they would overlap."""
    fontsize = 9.5 if len(texts) <= 12 else 8
    to_pixels = ax.transData
    ax.figure.draw_without_rendering()  # settles limits and layout, on which distances depend
    at = to_pixels.transform(anchors)
    unit = fontsize * ax.figure.dpi / 72
    sizes = np.array([[0.62 * unit * len(text) + 0.8 * unit, 1.7 * unit] for text in texts])
    box = ax.get_window_extent()
    places = spread(at, sizes, (box.x0, box.y0), (box.x1, box.y1))
    for anchor, start, place, text, color in zip(anchors, at, places, texts, colors, strict=True):
        moved = np.linalg.norm(place - start) > unit
        ax.annotate(
            text,
            anchor,
            xytext=to_pixels.inverted().transform(place),
            ha="center",
            va="center",
            fontsize=fontsize,
            fontweight="bold",
            color=INK,
            bbox={"boxstyle": "round,pad=0.25", "fc": (1, 1, 1, 0.85), "ec": color, "lw": 1.2},
            arrowprops={"arrowstyle": "-", "color": color, "lw": 1.0} if moved else None,
            zorder=5,
        )
