"""What all pictures share: figures, colors, grids, and labels that do not overlap."""

import itertools
import numbers

import numpy as np

from kserket.core.options import shown

INK = "#333333"  # text and lines that stand for no class
FAINT = "#c8c8c8"
_MARKERS = "osD^vP"


def pyplot():
    """matplotlib.pyplot, or an ImportError that says how to get it."""
    try:
        import matplotlib.pyplot
    except ImportError as error:
        raise ImportError(
            f'Plotting needs matplotlib: pip install "kserket[viz]". ({error})'
        ) from error
    return matplotlib.pyplot


def new_axes(ax, figsize, title=None):
    """`ax`, or the Axes of a new figure; the title checked before anything is drawn."""
    if title is not None and not isinstance(title, str):
        raise TypeError(f"`title` must be a string, or None. Received: {shown(title)}")
    if ax is not None and not isinstance(ax, pyplot().Axes):
        raise TypeError(f"`ax` must be a matplotlib Axes, or None. Received: {shown(ax)}")
    if ax is None:
        _, ax = pyplot().subplots(figsize=figsize, layout="compressed", dpi=150)
    return ax


def color_of(index):
    """Color of the class with this number, (4,)."""
    import matplotlib

    colors = matplotlib.color_sequences["petroff10"]
    return np.array(matplotlib.colors.to_rgba(colors[int(index) % len(colors)]))


def line_color(index):
    """The same, dark enough for thin lines and small text."""
    return color_of(index) * (0.78, 0.78, 0.78, 1)


def marker_of(index):
    """Marker of the class with this number: the next one after every ten classes."""
    return _MARKERS[int(index) // 10 % len(_MARKERS)]


def check_texts(names):
    """Names as a list, one text each.

    Args:
        names: List, tuple or array of strings or numbers.

    Raises:
        TypeError: If it is something else.
    """
    is_list = isinstance(names, (list, tuple, range)) or np.ndim(names) == 1
    if not is_list or not all(
        isinstance(name, (str, numbers.Number, np.generic)) for name in names
    ):
        raise TypeError(f"`names` must be a list of names. Received: {shown(names)}")
    return list(names)


def plain(value):
    """A label as people write it: 3 for 3.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def finish(ax, title, xlabel, ylabel, grid=True):
    """Title, axis labels, a light grid below everything, and no box."""
    ax.set_axisbelow(True)
    if grid:
        ax.grid(True, color="#e6e6e6", lw=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color("#999999")
    ax.tick_params(labelsize=8.5, color="#999999", labelcolor=INK)
    ax.set_xlabel(xlabel or "", fontsize=10, color=INK)
    ax.set_ylabel(ylabel or "", fontsize=10, color=INK)
    if title:
        ax.set_title(title, fontsize=11, color=INK, loc="left")


def spread(places, sizes, low, high, rounds=200):
    """Centers (K, 2) of boxes (K, 2), pushed apart until none overlap, kept inside low..high."""
    places = np.clip(places, np.asarray(low) + sizes / 2, np.asarray(high) - sizes / 2)
    for _ in range(rounds):
        crowded = False
        for i, j in itertools.combinations(range(len(places)), 2):
            apart = places[j] - places[i]
            overlap = (sizes[i] + sizes[j]) / 2 - np.abs(apart)
            if overlap.min() > 0.5:
                crowded = True
                axis = overlap.argmin()
                push = 0.5 * overlap[axis] * (1 if apart[axis] >= 0 else -1)
                places[i, axis] -= push
                places[j, axis] += push
        places = np.clip(places, np.asarray(low) + sizes / 2, np.asarray(high) - sizes / 2)
        if not crowded:
            break
    return places
