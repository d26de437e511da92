"""Pictures of sequences: which state follows which, when, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from kserket.arrays import as_numbers
from kserket.core.options import check_choice
from kserket.plotting.sources import find_module, is_source
from kserket.plotting.style import INK, check_texts, color_of, finish, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEAST = 0.05  # probability of the transitions that are written and drawn
_BEND = 0.18  # of arrows, as a share of their length


def plot_transitions(
    source: Any,
    *,
    kind: str = "matrix",
    names: Any = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draws how probable it is that a state follows another.

    Args:
        source: Array (K, K), rows summing to one; or a module with a `transition_matrix`, its
            model, or a graph that holds one.
        kind: "matrix"; or "graph", an arrow from each state to those that follow it with a
            probability of 0.05 or more, beside a state the probability that it stays.
        names: Names of the K states; None numbers them.
        title: Title.
        ax: Matplotlib axes; None makes new ones.

    Returns:
        The axes.

    Raises:
        ValueError: If rows are not probabilities, or nothing here has transitions.
    """
    check_choice("kind", kind, "matrix", "graph")
    matrix = as_numbers(_transitions_of(source), "`source`").astype("float64")
    is_square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
    if not is_square or (matrix < 0).any() or not np.allclose(matrix.sum(axis=1), 1):
        raise ValueError(
            "plot_transitions needs probabilities (K, K), each row summing to one. "
            f"Received: shape {matrix.shape}"
        )
    names = [str(name) for name in _names(names, len(matrix))]
    if kind == "graph":
        return _draw_graph(matrix, names, title, ax)
    size = 2.2 + 0.45 * len(matrix)
    ax = new_axes(ax, (size + 0.6, size), title)
    image = ax.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
    ax.figure.colorbar(image, ax=ax, fraction=0.046, label="probability")
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    if len(matrix) <= 15:
        for (row, column), value in np.ndenumerate(matrix):
            if value >= _LEAST:
                color = "white" if value > 0.55 else INK
                text = f"{value:.2f}".lstrip("0")
                ax.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
    finish(ax, title, "next state", "state", grid=False)
    return ax


def plot_states(
    states: ArrayLike,
    data: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    names: Any = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draws states over time as a strip, under the data that they explain.

    Args:
        states: Integers (N,), such as `MarkovChain.most_likely_path` gives; or probabilities (N,
            K), of which the most probable state is drawn, paler where it is less sure.
        data: Numbers (N,) or (N, D), drawn as lines above the strip; None draws the strip alone.
        lengths: Lengths (S,) of the sequences; a line stands where one ends.
        names: Names of the K states, written on segments that are wide enough, else in a legend;
            None numbers them.
        title: Title.
        ax: Matplotlib axes; None makes new ones.

    Returns:
        The axes.

    Raises:
        ValueError: If shapes do not fit.
    """
    states = as_numbers(states, "`states`")
    sure = np.ones(len(states))
    if states.ndim == 2:
        sure, states = states.max(axis=1), states.argmax(axis=1)
    if states.ndim != 1 or not len(states) or (states % 1 != 0).any() or (states < 0).any():
        raise ValueError(
            "plot_states needs states (N,), whole numbers from 0, or probabilities (N, K). "
            f"Received: shape {states.shape}"
        )
    states = states.astype(int)
    names = [str(name) for name in _names(names, int(states.max()) + 1)]
    ends = _ends(lengths, len(states))
    ax = new_axes(ax, (9, 1.4 if data is None else 3.2), title)
    top = 1.0
    if data is not None:
        rows = as_numbers(data, "`data`", allow_missing=True).astype("float64")
        if len(rows) != len(states) or rows.ndim > 2:
            raise ValueError(
                f"`data` must hold a row for each of {len(states)} states. "
                f"Received: shape {rows.shape}"
            )
        rows = rows.reshape(len(rows), -1)
        low, high = np.nanmin(rows), np.nanmax(rows)
        top = 5.0
        for index, line in enumerate(rows.T):
            place = 1.3 + 3.6 * (line - low) / ((high - low) or 1.0)
            ax.plot(np.arange(len(rows)), place, lw=0.9, color=INK, alpha=1 / (1 + 0.6 * index))
        places = 1.3 + 3.6 * np.array([0.0, 1.0])
        ax.set_yticks([0.5, *places], ["state", f"{low:.3g}", f"{high:.3g}"])
    else:
        ax.set_yticks([])
    nameless = set(states.tolist())
    for start, end, state in _segments(states, ends):
        color = color_of(state)
        color[3] = 0.25 + 0.75 * sure[start:end].mean()
        ax.axvspan(start - 0.5, end - 0.5, 0, 1 / top, color=color, lw=0)
        if data is not None:
            ax.axvspan(start - 0.5, end - 0.5, 1 / top, 1, color=color, alpha=0.12, lw=0)
        if end - start > 0.025 * len(states) * len(names[state]):
            ax.text((start + end - 1) / 2, 0.5, names[state], ha="center", va="center", fontsize=8)
            nameless.discard(state)
    if nameless:
        from matplotlib.patches import Patch

        colors = [Patch(color=color_of(state), label=names[state]) for state in np.unique(states)]
        ax.legend(handles=colors, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    for end in ends[:-1]:
        ax.axvline(end - 0.5, color=INK, lw=1)
    ax.set_xlim(-0.5, len(states) - 0.5)
    ax.set_ylim(0, top)
    finish(ax, title, "step", "", grid=False)
    return ax


def plot_durations(
    states: ArrayLike,
    *,
    law: Any = None,
    lengths: ArrayLike | None = None,
    names: Any = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draws for how many steps each state lasts: every segment a dot, and their median a line.

    Args:
        states: Integers (N,), such as `MarkovChain.most_likely_path` gives.
        law: What to draw beside them: probabilities (K, D) of lasting 1, ..., D steps, where a row
            of zeros is drawn for no state; or a module with `duration_probabilities`, its model,
            or a graph that holds one. None draws none.
        lengths: Lengths (S,) of the sequences. A segment ends where its sequence does.
        names: Names of the K states; None numbers them.
        title: Title.
        ax: Matplotlib axes; None makes new ones.

    Returns:
        The axes.

    Raises:
        ValueError: If they are not whole numbers from 0, or the law is not one of them all.
    """
    states = as_numbers(states, "`states`")
    if states.ndim != 1 or not len(states) or (states % 1 != 0).any() or (states < 0).any():
        raise ValueError(
            f"plot_durations needs states (N,), whole numbers from 0. Received: {states!r:.100}"
        )
    found = _segments(states.astype(int), _ends(lengths, len(states)))
    names = [str(name) for name in _names(names, int(states.max()) + 1)]
    probabilities = None if law is None else _law_of(law, len(names))
    ax = new_axes(ax, (2 + 0.6 * len(names), 3.2), title)
    for state in range(len(names)):
        if probabilities is not None and probabilities[state].any():
            width = 0.42 * probabilities[state] / probabilities[state].max()
            steps, color = 1 + np.arange(len(width)), color_of(state)
            shown = width > 1e-3
            edges = state - width[shown], state + width[shown]
            ax.fill_betweenx(steps[shown], *edges, color=color, alpha=0.25, lw=0, label="law")
        lasts = np.array([end - start for start, end, other in found if other == state])
        if len(lasts):
            shift = np.linspace(-0.25, 0.25, len(lasts) + 2)[1:-1]
            ax.scatter(state + shift, lasts, s=14, color=color_of(state), alpha=0.8, lw=0)
            ax.hlines(np.median(lasts), state - 0.32, state + 0.32, color=INK, lw=1.4)
    ax.set_xticks(range(len(names)), names)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")
    finish(ax, title, "state", "steps")
    return ax


def _ends(lengths, num_steps):
    """The row (S,) after the last step of each sequence."""
    if lengths is None:
        return np.array([num_steps])
    given = as_numbers(lengths, "`lengths`")
    if given.ndim != 1 or (given % 1 != 0).any() or (given < 1).any() or given.sum() != num_steps:
        raise ValueError(
            f"`lengths` must be positive integers that sum to {num_steps}, the number of steps. "
            f"Received: {lengths!r:.100}"
        )
    return np.cumsum(given.astype(int))


def _segments(states, ends):
    """Triples of first row, row after the last one, and state."""
    after = np.union1d(np.flatnonzero(np.diff(states)) + 1, ends)
    first = np.append(0, after[:-1])
    return [(int(a), int(b), int(states[a])) for a, b in zip(first, after, strict=True)]


def _transitions_of(source):
    """Transitions (K, K) of an array, a model, a module or a graph."""
    if is_source(source):
        module = find_module(
            source,
            lambda m: hasattr(m.model, "transition_matrix"),
            missing="Nothing here has a transition_matrix. Call fit() first.",
        )
        source = module.model
    return getattr(source, "transition_matrix", source)


def _law_of(law, num_states):
    """P(1, ..., D steps) (K, D) of an array, a model, a module or a graph."""
    if is_source(law):
        module = find_module(
            law,
            lambda m: hasattr(m.model, "duration_probabilities"),
            missing="Nothing here has duration_probabilities. Call fit() first.",
        )
        law = module.model
    found = getattr(law, "duration_probabilities", None)
    found = as_numbers(law, "`law`") if found is None else found[:, :-1]  # the last: D or more
    if found.ndim != 2 or len(found) < num_states or (found < 0).any():
        raise ValueError(
            f"`law` must hold probabilities (K, D) of lasting 1 to D steps, of {num_states} states "
            f"or more. Received: shape {found.shape}"
        )
    return found


def _names(names, number):
    """Names of states, numbers if None."""
    names = range(number) if names is None else check_texts(names)
    if len(names) < number:
        raise ValueError(f"`names` must hold {number} names. Received: {len(names)}")
    return list(names)


def _on_arc(start, end, share):
    """The point (2,) at a share of the arrow between two, a quadratic curve in matplotlib."""
    way = end - start
    control = (start + end) / 2 + _BEND * np.array([way[1], -way[0]])
    return (1 - share) ** 2 * start + 2 * share * (1 - share) * control + share**2 * end


def _draw_graph(matrix, names, title, ax):
    """States on a circle, arrows between them as wide as they are probable."""
    ax = new_axes(ax, (5.6, 4.2), title)
    angles = np.pi / 2 - 2 * np.pi * np.arange(len(matrix)) / len(matrix)
    places = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    radius = max(13.0, 2.8 * max(map(len, names)) + 3)  # of a state, in points: its name fits in
    for (row, column), value in np.ndenumerate(matrix):
        if row == column or value < _LEAST:
            continue
        arrow = {"arrowstyle": "-|>", "lw": 0.5 + 3 * value, "color": color_of(row)}
        arrow |= {"alpha": 0.85, "shrinkA": radius + 1, "shrinkB": radius + 2}
        arrow |= {"mutation_scale": 9 + 5 * value, "connectionstyle": f"arc3,rad={_BEND}"}
        ax.annotate("", places[column], places[row], arrowprops=arrow)
        text = f"{value:.2f}".lstrip("0")
        behind = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}
        place = _on_arc(places[row], places[column], 0.38)
        ax.text(*place, text, fontsize=7.5, ha="center", va="center", color=INK, bbox=behind)
    for state, (place, name) in enumerate(zip(places, names, strict=True)):
        color = color_of(state)
        ax.scatter(*place, s=(2 * radius) ** 2, color=color, zorder=3)
        ink = "white" if color[:3] @ (0.299, 0.587, 0.114) < 0.5 else "black"
        ax.text(*place, name, ha="center", va="center", fontsize=9, zorder=4, color=ink)
        stays = f"stays {matrix[state, state]:.2f}" if matrix[state, state] else ""
        side = "center" if abs(place[0]) < 0.1 else "left" if place[0] > 0 else "right"
        ax.text(*((1.12 + radius / 80) * place), stays, ha=side, va="center", fontsize=8, color=INK)
    ax.set_xlim(-2.1, 2.1)
    ax.set_ylim(-1.5, 1.5)
    ax.set_aspect("equal")
    ax.axis("off")
    if title:
        ax.set_title(title, fontsize=11, color=INK, loc="left")
    return ax
