"""Pictures of a graph: as a table, as Mermaid text, and by matplotlib."""

import html
import io
import itertools

import keras
import numpy as np

from kserket.core import messages
from kserket.core.layered_layout import layered_layout
from kserket.core.mailbox import seats
from kserket.core.observation import Observation

BOX_HEIGHT, LEVEL_HEIGHT, LINE_HEIGHT = 0.55, 1.5, 0.18  # in inches
PORT = 0.32  # between edges at a box
UP, DOWN = "#2166ac", "#b2182b"


def summary(graph, print_fn):
    """A table of the modules, line by line.

    Args:
        graph: The `Graph`.
        print_fn: Called with each line.
    """
    rows = [("Module (class)", "Reads", "Sends up", "Parameters")]
    for module, name in graph.names.items():
        reads = ", ".join(graph.names[source] for source in module.inputs) or "-"
        forward = module.get_forward_msg()
        sends = "-" if forward is None else f"{_kind(forward)} {tuple(np.shape(forward))}"
        model = module.model
        size = f"{model.count_params():,}" if isinstance(model, keras.Model) else "-"
        rows.append((f"{name} ({type(module).__name__})", reads, sends, size))
    widths = [max(len(row[column]) for row in rows) + 2 for column in range(4)]
    rule = "\u2500" * sum(widths)
    print_fn(f"Graph of {len(graph.modules)} modules, {graph.round} rounds done")
    for index, row in enumerate(rows):
        line = "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print_fn(line.rstrip())
        if index in (0, len(rows) - 1):
            print_fn(rule)


def to_mermaid(graph):
    """A flowchart in Mermaid's language, data at the bottom.

    Args:
        graph: The `Graph`.

    Returns:
        A string.
    """
    lines = ["flowchart BT"]
    for module, name in graph.names.items():
        box = (
            f'[("{name}")]'
            if isinstance(module, Observation)
            else f'["{name}: {type(module).__name__}"]'
        )
        lines.append(f"    {name}{box}")
    for source, reader, up, down in _edges(graph):
        lines.append(f'    {graph.names[source]} -->|"{up}"| {graph.names[reader]}')
        if reader.sends_back:
            lines.append(f'    {graph.names[reader]} -.->|"{down}"| {graph.names[source]}')
    return "\n".join(lines)


def to_html(graph):
    """The graph as notebooks show it: drawn, or as a table where matplotlib is not installed.

    Args:
        graph: The `Graph`.

    Returns:
        A string.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        lines = []
        summary(graph, lines.append)
        return f"<pre>{html.escape(chr(10).join(lines))}</pre>"
    ax = plot(graph)
    buffer = io.StringIO()
    ax.figure.savefig(buffer, format="svg", bbox_inches="tight")
    plt.close(ax.figure)  # or a notebook shows it twice
    drawn = buffer.getvalue()
    return drawn[drawn.index("<svg") :]


def plot(graph, ax=None):
    """Boxes for modules, solid arrows for what goes up, dashed for what comes down.

    Args:
        graph: The `Graph`.
        ax: Matplotlib axes; None makes new ones.

    Returns:
        The axes.
    """
    import matplotlib.pyplot as plt

    edges = [
        (source, reader, up, down if reader.sends_back else None)
        for source, reader, up, down in _edges(graph)
    ]
    levels = _levels(graph)
    titles = {module: (graph.names[module], type(module).__name__) for module in graph.modules}
    widths = {
        module: 0.3
        + max(
            *(_width(text, size) for text, size in zip(titles[module], (11, 8), strict=True)),
            *(PORT * sum(edge[end] is module for edge in edges) for end in (0, 1)),
        )
        for module in graph.modules
    }
    labels = [[text for text in edge[2:] if text] for edge in edges]
    label_widths = [max(_width(text, 8) for text in label) for label in labels]
    places, points = layered_layout(
        levels, [edge[:2] for edge in edges], widths, label_widths, gap=0.25
    )
    left = min([places[m] - widths[m] / 2 for m in places] + _sides(points, label_widths, -1)) - 0.2
    right = max([places[m] + widths[m] / 2 for m in places] + _sides(points, label_widths, 1)) + 0.2
    bottom, top = -BOX_HEIGHT, max(levels.values()) * LEVEL_HEIGHT + BOX_HEIGHT
    if ax is None:
        _, ax = plt.subplots(figsize=(max(right - left, 2), top - bottom), layout="constrained")
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    ax.set_axis_off()
    extent = ax.get_window_extent()
    scale = min(1, extent.width / ax.figure.dpi / (right - left)) if right > left else 1
    for module, place in places.items():
        height = levels[module] * LEVEL_HEIGHT
        _box(ax, (place, height), widths[module], titles[module], module, scale)
    starts = _ports([edge[0] for edge in edges], [chain[0] for chain in points], places, widths)
    ends = _ports([edge[1] for edge in edges], [chain[-1] for chain in points], places, widths)
    for index, (source, reader, _, down) in enumerate(edges):
        label, chain = labels[index], points[index]
        start = starts[index], levels[source] * LEVEL_HEIGHT + BOX_HEIGHT / 2 + 0.03
        end = ends[index], levels[reader] * LEVEL_HEIGHT - BOX_HEIGHT / 2 - 0.03
        at, *bends = [(x, height * LEVEL_HEIGHT) for x, height in chain]
        upright = LINE_HEIGHT * (len(label) + 0.3) / 2  # beside a label, where it would be cut off
        path = [start, (at[0], at[1] - upright), (at[0], at[1] + upright), *bends, end]
        shift = 0.07 if down else 0.0
        _arrow(ax, [(x - shift, y) for x, y in path], "-", UP)
        if down:
            _arrow(ax, [(x + shift, y) for x, y in reversed(path)], "--", DOWN)
        _label(ax, at, label, scale)
    return ax


def _ports(modules, nearest, places, widths):
    """Where edges meet their module's box: side by side, in the order of their nearest points."""
    ports = [0.0] * len(modules)
    for module in set(modules):
        own = sorted((nearest[i], i) for i, other in enumerate(modules) if other is module)
        step = min(PORT, (widths[module] - 0.3) / len(own))
        for order, (_, index) in enumerate(own):
            ports[index] = places[module] + step * (order - (len(own) - 1) / 2)
    return ports


def _box(ax, center, width, titles, module, scale):
    """A module: its name, and the class it is of."""
    from matplotlib.patches import FancyBboxPatch

    is_data = isinstance(module, Observation)
    ax.add_patch(
        FancyBboxPatch(
            (center[0] - width / 2, center[1] - BOX_HEIGHT / 2),
            width,
            BOX_HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor="#f0f0f0" if is_data else "#dbe9f6",
            edgecolor="#555555" if is_data else UP,
            linewidth=1.2,
            zorder=3,
        )
    )
    style = {"ha": "center", "va": "center", "zorder": 4}
    ax.text(center[0], center[1] + 0.1, titles[0], fontsize=11 * scale, weight="bold", **style)
    ax.text(center[0], center[1] - 0.13, titles[1], fontsize=8 * scale, color="#555555", **style)


def _arrow(ax, points, style, color):
    """A smooth arrow through points, which leaves and arrives upright."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    corners, codes = [points[0]], [Path.MOVETO]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        middle = (y0 + y1) / 2
        corners += [(x0, middle), (x1, middle), (x1, y1)]
        codes += [Path.CURVE4] * 3
    ax.add_patch(
        FancyArrowPatch(
            path=Path(corners, codes),
            arrowstyle="-|>",
            mutation_scale=10,
            linestyle=style,
            color=color,
            linewidth=1.3,
            zorder=1,
        )
    )


def _label(ax, place, texts, scale):
    """What travels on an edge: up, and below it what comes down."""
    shifts = (LINE_HEIGHT / 2, -LINE_HEIGHT / 2) if len(texts) == 2 else (0.0,)
    for text, color, shift in zip(texts, (UP, DOWN), shifts, strict=False):
        ax.text(
            place[0],
            place[1] + shift,
            text,
            ha="center",
            va="center",
            fontsize=8 * scale,
            color=color,
            zorder=2,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2},
        )


def _sides(points, label_widths, sign):
    """Outer ends of all labels, and of the points above them."""
    return [
        x + sign * (width / 2 if index == 0 else 0.1)
        for chain, width in zip(points, label_widths, strict=True)
        for index, (x, _) in enumerate(chain)
    ]


def _width(text, fontsize):
    """About how many inches a text takes."""
    return 0.62 * fontsize / 72 * len(text)


def _levels(graph):
    """Dict from module to its level: data stand just below their readers."""
    levels = {}
    for module in graph.modules:
        levels[module] = 1 + max((levels[source] for source in module.inputs), default=-1)
    for module in graph.modules:
        readers = [levels[reader] for reader in graph.modules if module in reader.inputs]
        if isinstance(module, Observation) and readers:
            levels[module] = min(readers) - 1
    return levels


def _edges(graph):
    """Source, reader, what goes up and what comes down, as text."""
    for reader in graph.modules:
        for source, seat in zip(reader.inputs, seats(reader), strict=True):
            up = _text(source.get_forward_msg())
            down = _text(source.mailbox.backward.get(seat))
            yield source, reader, up, down


def _text(message):
    if message is None:
        return "nothing yet"
    kind = "prediction" if isinstance(message, messages.Deferred) else _kind(message)
    return f"{kind} {tuple(int(size) for size in np.shape(message))}"


def _kind(message):
    return type(message).__name__ if isinstance(message, messages.Message) else "array"
