"""Places of boxes and labels in a picture of a graph: parents above children, nothing on another.

Each edge is a chain of points, one on every level between its ends, the lowest of which carries the
edge's label. As points take room like boxes do, no label lies on another and no edge crosses a box.

Reference: K. Sugiyama, S. Tagawa, M. Toda, "Methods for visual understanding of hierarchical system
structures", 1981.
"""

from collections import defaultdict

import numpy as np
from scipy.optimize import isotonic_regression

SWEEPS = 12


def layered_layout(levels, edges, widths, label_widths, gap):
    """Horizontal places of nodes and of the points of edges.

    Args:
        levels: Dict from node to its level, 0 at the bottom.
        edges: (source, reader) pairs of nodes, the reader on a higher level.
        widths: Dict from node to its width.
        label_widths: The width of each edge's label.
        gap: Least distance between two neighbors.

    Returns:
        Dict from node to its place; and for each edge its points, a list of (place, height) from
        the label upwards, heights in levels: a label stands half a level above its source.
    """
    rank, width, chains, links = {}, {}, [], []
    for node, level in levels.items():
        rank[node], width[node] = 2 * level, widths[node]
    for index, (source, reader) in enumerate(edges):
        chain = [(index, height) for height in range(rank[source] + 1, rank[reader])]
        for point in chain:
            rank[point], width[point] = point[1], 0.0
        width[chain[0]] = label_widths[index]
        chains.append(chain)
        links += list(zip([source, *chain], [*chain, reader], strict=True))
    rows = _ordered(rank, links)
    places = _placed(rows, links, width, gap)
    points = [[(places[point], point[1] / 2) for point in chain] for chain in chains]
    return {node: places[node] for node in levels}, points


def _ordered(rank, links):
    """Rows of nodes from the bottom up, ordered so that few links cross."""
    rows = defaultdict(list)
    for node in rank:
        rows[rank[node]].append(node)
    rows = [rows[height] for height in sorted(rows)]
    best, fewest = None, np.inf
    for sweep in range(SWEEPS):
        crossings = sum(
            _crossings(low, high, links) for low, high in zip(rows, rows[1:], strict=False)
        )
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
        upward = sweep % 2 == 0
        for index in range(1, len(rows)) if upward else range(len(rows) - 2, -1, -1):
            fixed = rows[index - 1] if upward else rows[index + 1]
            position = {node: place for place, node in enumerate(fixed)}
            rows[index] = _by_neighbors(rows[index], position, links)
    return best


def _by_neighbors(row, position, links):
    """A row sorted by the mean position of its nodes' neighbors in a fixed row."""
    wished = defaultdict(list)
    for low, high in links:
        if low in position:
            wished[high].append(position[low])
        if high in position:
            wished[low].append(position[high])
    means = [np.mean(wished[node]) if wished[node] else index for index, node in enumerate(row)]
    return [row[index] for index in np.argsort(means, kind="stable")]


def _crossings(low, high, links):
    """How many pairs of links between two rows cross."""
    below = {node: place for place, node in enumerate(low)}
    above = {node: place for place, node in enumerate(high)}
    ends = np.array([(below[a], above[b]) for a, b in links if a in below and b in above])
    if len(ends) == 0:
        return 0
    apart = ends[:, None] - ends[None]
    return int((apart[..., 0] * apart[..., 1] < 0).sum()) // 2


def _placed(rows, links, width, gap):
    """Places near the neighbors' mean, in order, neighbors at least a gap apart."""
    neighbors = defaultdict(list)
    for low, high in links:
        neighbors[low].append(high)
        neighbors[high].append(low)
    places = {node: 0.0 for row in rows for node in row}
    for sweep in range(200):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            widths = np.array([width[node] for node in row])
            steps = (widths[1:] + widths[:-1]) / 2 + gap
            least = np.concatenate([[0.0], np.cumsum(steps)])
            wished = [
                np.mean([places[other] for other in neighbors[node]]) if neighbors[node] else 0.0
                for node in row
            ]
            moved = isotonic_regression(np.array(wished) - least).x + least
            places.update(zip(row, moved.tolist(), strict=True))
    return places
