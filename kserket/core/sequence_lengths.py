"""Lengths of the sequences in new data, for one call."""

import contextlib

from kserket.core.row_counts import count_rows
from kserket.inference.sequences import check_lengths


def readers_of_sequences(graph):
    """The modules of a graph that `lengths` are for.

    Args:
        graph: The `Graph`.

    Raises:
        ValueError: If there are none.
    """
    readers = [module for module in graph.modules if module.reads_sequences]
    if not readers:
        raise ValueError(
            "`lengths`, and segments, need a module that reads sequences, such as a MarkovModel. "
            f"The graph holds: {list(graph.names.values())}"
        )
    return readers


@contextlib.contextmanager
def lengths_set(graph, lengths, data):
    """A context in which modules that read sequences have the `lengths` of new data.

    Args:
        graph: The `Graph`.
        lengths: Lengths (S,), or None: nothing changes.
        data: Dict from `Observation` to the new data.

    Raises:
        ValueError: If no module reads sequences, or lengths do not sum to the number of steps.
    """
    readers = [] if lengths is None else readers_of_sequences(graph)
    before = [module.lengths for module in readers]
    if readers:
        counts = count_rows(graph.names, data)
        for module in readers:
            check_lengths(lengths, counts[module])
    try:
        for module in readers:
            module.lengths = lengths
        yield
    finally:
        for module, own in zip(readers, before, strict=True):
            module.lengths = own
