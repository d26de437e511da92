"""Hosts that are threads of one process: what is exchanged, without TensorFlow's server."""

import contextvars
import threading

from kserket import hosts


class _Cluster:
    """Threads of which one runs at a time, in turn, each from one exchange to the next."""

    def __init__(self, size):
        self.parts, self.total = [None] * size, None
        self.running, self.turn, self.error = set(range(size)), 0, None
        self.changed = threading.Condition()

    def wait(self, index):
        with self.changed:
            reached = self.changed.wait_for(lambda: self.error or self.turn == index, 120)
        if self.error or not reached:
            raise _AnotherFailed

    def hand_on(self, index):
        with self.changed:
            size = len(self.parts)
            order = [(index + step) % size for step in range(1, size + 1)]
            self.turn = next((other for other in order if other in self.running), None)
            self.changed.notify_all()

    def end(self, index, error=None):
        self.running.discard(index)
        if error is not None and self.error is None:
            self.error = error
        self.hand_on(index)


class _AnotherFailed(Exception):
    """Another host has raised an error."""


class _Host:
    """One of them, as `kserket.hosts` has it."""

    def __init__(self, index, cluster):
        self.index, self.cluster, self.size = index, cluster, len(cluster.parts)

    def sum(self, values):
        cluster = self.cluster
        assert len(cluster.running) == self.size, "a host has ended, and others still exchange"
        cluster.parts[self.index] = values
        if self.index == self.size - 1:
            shapes = {part.shape for part in cluster.parts}
            assert len(shapes) == 1, f"hosts add up different things: {shapes}"
            cluster.total = sum(cluster.parts[1:], start=cluster.parts[0])
        cluster.hand_on(self.index)
        cluster.wait(self.index)
        return cluster.total


def on_hosts(function, size=2):
    """What a function of the host's number returns on each host; raises what the first one raises.

    Args:
        function: Called once on each host.
        size: How many hosts.
    """
    cluster, results = _Cluster(size), [None] * size

    def run(index):
        try:
            cluster.wait(index)
            with hosts.together(_Host(index, cluster)):
                results[index] = function(index)
            cluster.end(index)
        except BaseException as error:
            cluster.end(index, error)

    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(run, index))
        for index in range(size)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if cluster.error is not None:
        raise cluster.error
    return results
