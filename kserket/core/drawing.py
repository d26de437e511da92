"""Pictures of a graph: as a table, as Mermaid text, and by matplotlib."""

import keras
import numpy as np

from kserket.core import messages
from kserket.core.mailbox import seats
from kserket.core.observation import Observation

BOX_WIDTH, BOX_HEIGHT = 1.7, 0.55
SPACING = 2.6, 1.5  # between boxes side by side, and between levels


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
        kind = type(module).__name__
        box = f'[("{name}")]' if isinstance(module, Observation) else f'["{name}: {kind}"]'
        lines.append(f"    {name}{box}")
    for source, reader, up, down in _edges(graph):
        lines.append(f'    {graph.names[source]} -->|"{up}"| {graph.names[reader]}')
        if reader.sends_back:
            lines.append(f'    {graph.names[reader]} -.->|"{down}"| {graph.names[source]}')
    return "\n".join(lines)


def plot(graph, ax=None):
    """Boxes for modules, solid arrows for what goes up, dashed for what comes down.

    Args:
        graph: The `Graph`.
        ax: Matplotlib axes; None makes new ones.

    Returns:
        The axes.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyBboxPatch

    places = _places(graph)
    if ax is None:
        columns, levels = np.ptp(list(places.values()), axis=0)
        _, ax = plt.subplots(figsize=(columns + 5.0, levels + 2.0), layout="constrained")
    for module, (x, y) in places.items():
        is_data = isinstance(module, Observation)
        ax.add_patch(
            FancyBboxPatch(
                (x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2),
                BOX_WIDTH,
                BOX_HEIGHT,
                boxstyle="round,pad=0.02,rounding_size=0.12",
                facecolor="#f0f0f0" if is_data else "#dbe9f6",
                edgecolor="#555555" if is_data else "#2166ac",
                linewidth=1.2,
            )
        )
        title = graph.names[module]
        ax.text(x, y + 0.09, title, ha="center", va="center", fontsize=11, weight="bold")
        kind = type(module).__name__
        ax.text(x, y - 0.13, kind, ha="center", va="center", fontsize=8, color="#555555")
    for source, reader, up, down in _edges(graph):
        _arrow(ax, places[source], places[reader], -0.18, up, "right", "-", "#2166ac")
        if reader.sends_back:
            _arrow(ax, places[reader], places[source], 0.18, down, "left", "--", "#b2182b")
    xs, ys = zip(*places.values(), strict=True)
    ax.set_xlim(min(xs) - 2.6, max(xs) + 2.6)
    ax.set_ylim(min(ys) - 0.6, max(ys) + 0.6)
    ax.set_axis_off()
    return ax


def _arrow(ax, start, end, offset, text, side, style, color):
    """An arrow between two boxes, beside their middle line, with its message written along."""
    sign = 1 if end[1] > start[1] else -1
    begin = np.array([start[0] + offset, start[1] + sign * (BOX_HEIGHT / 2 + 0.04)])
    finish = np.array([end[0] + offset, end[1] - sign * (BOX_HEIGHT / 2 + 0.04)])
    arrow = {"arrowstyle": "-|>", "linestyle": style, "color": color, "linewidth": 1.3}
    ax.annotate("", xy=finish, xytext=begin, arrowprops={**arrow, "shrinkA": 0, "shrinkB": 0})
    middle = (begin + finish) / 2
    shift = -0.08 if side == "right" else 0.08
    ax.text(middle[0] + shift, middle[1], text, ha=side, va="center", fontsize=8, color=color)


def _places(graph):
    """Center of each module's box: levels from the data upwards, readers above what they read."""
    level, rows = {}, {}
    for module in graph.modules:
        level[module] = 1 + max((level[source] for source in module.inputs), default=-1)
    for module in graph.modules:
        readers = [reader for reader in graph.modules if module in reader.inputs]
        if isinstance(module, Observation) and readers:
            level[module] = min(level[reader] for reader in readers) - 1
        rows.setdefault(level[module], []).append(module)
    places = {}
    for height in sorted(rows):
        row = rows[height]
        wished = {
            module: np.mean([places[source][0] for source in module.inputs if source in places])
            if any(source in places for source in module.inputs)
            else None
            for module in row
        }
        taken = -np.inf
        for index, module in enumerate(row):
            wish = wished[module] if wished[module] is not None else index * SPACING[0]
            taken = max(wish, taken + SPACING[0])
            places[module] = (taken, height * SPACING[1])
    return places


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
