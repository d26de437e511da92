"""Rows that lie on several hosts: what they add up to, and samples of them that all hosts see.

Each host works on its own rows. Where a program sums over rows, `sum_over_hosts` makes the sum that
of all hosts; everything else here follows from such sums. On one host, and outside of the calls
in which hosts work together, nothing is exchanged: a sum is what it was. Hosts are numbered from
0, and rows are counted in that order. All of them must call these functions alike.
"""

import contextlib
import contextvars
import json
import socket

import numpy as np

from kserket import storage


class Alone:
    """One host, which has all rows."""

    size = 1
    index = 0

    def sum(self, values):
        """The sum of what each host gives, on all of them.

        Args:
            values: Float64 array (n,), of one length on all hosts.
        """
        return values


_ALONE = Alone()
_GROUP: contextvars.ContextVar = contextvars.ContextVar("hosts", default=_ALONE)


@contextlib.contextmanager
def together(group):
    """Inside, hosts work together.

    Args:
        group: What has `size`, `index` and `sum`, as `Alone` has them.
    """
    token = _GROUP.set(group)
    try:
        yield group
    finally:
        _GROUP.reset(token)


def alone():
    """A context in which this host works on rows that it has all of."""
    return together(_ALONE)


def num_hosts():
    """How many hosts work together."""
    return _GROUP.get().size


def host_index():
    """The number of this host."""
    return _GROUP.get().index


def sum_over_hosts(statistics):
    """The sum of what each host has, on all of them.

    Args:
        statistics: Number or array, or nested tuples and lists of them. What is None is None on
            all hosts.

    Returns:
        The same structure; whole numbers stay whole.
    """
    group = _GROUP.get()
    if group.size == 1:
        return statistics
    leaves = list(_leaves(statistics))
    flat = np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in leaves])
    return _rebuilt(statistics, iter(_split(group.sum(flat), leaves)))


def mean_over_hosts(values):
    """The mean of all values (n,) of all hosts, a float."""
    if _GROUP.get().size == 1:
        return float(values.mean())
    total, number = sum_over_hosts((float(values.sum()), values.size))
    return total / number if number else float("nan")


def any_host(flag):
    """Whether something is true on one host at least."""
    return bool(sum_over_hosts(int(flag)))


def from_first_host(values):
    """What the first host has, on all of them.

    Args:
        values: As in `sum_over_hosts`, of the same shapes on all hosts.
    """
    group = _GROUP.get()
    if group.size == 1:
        return values
    if group.index:
        zeros = (np.zeros_like(leaf) for leaf in _leaves(values))
        values = _rebuilt(values, zeros)
    return sum_over_hosts(values)


def place_of_rows(num_rows):
    """Where the rows of this host stand among those of all: the first of them, and their number.

    Args:
        num_rows: How many rows this host has.
    """
    group = _GROUP.get()
    sizes = np.zeros(group.size, np.int64)
    sizes[group.index] = num_rows
    sizes = sum_over_hosts(sizes)
    return int(sizes[: group.index].sum()), int(sizes.sum())


def gather_rows(array):
    """The rows of all hosts in order, on all of them.

    Args:
        array: Numbers or strings (n, ...), rows alike on all hosts; or None.
    """
    if array is None or _GROUP.get().size == 1:
        return array
    array = np.asarray(array)
    if array.dtype.kind == "U":
        width = max(1, int(gather_rows(np.array([array.dtype.itemsize // 4])).max()))
        array = np.ascontiguousarray(array, f"=U{width}")
        numbers = array.view(np.uint32).reshape(len(array), width)
        return np.ascontiguousarray(gather_rows(numbers)).view(array.dtype)[:, 0]
    first, total = place_of_rows(len(array))
    rows = np.zeros((total, *array.shape[1:]))
    rows[first : first + len(array)] = array
    return sum_over_hosts(rows).astype(array.dtype)


def choose_rows(num_rows, most, rng):
    """Rows of all hosts, at most so many, that a start is made from.

    Args:
        num_rows: How many rows this host has.
        most: How many to choose; all rows if there are no more.
        rng: `numpy.random.Generator` in the same state on all hosts.

    Returns:
        Those of them that this host has, ascending; `gather_rows` brings them together. And where
        they stand among all that were chosen, a slice.
    """
    first, total = place_of_rows(num_rows)
    if total <= most:
        return np.arange(num_rows), slice(first, first + num_rows)
    chosen = np.sort(rng.choice(total, most, replace=False))
    start, stop = np.searchsorted(chosen, (first, first + num_rows))
    return chosen[start:stop] - first, slice(int(start), int(stop))


def own_rng(rng):
    """Random numbers for the rows of this host: other ones on each.

    Args:
        rng: `numpy.random.Generator` in the same state on all hosts.
    """
    group = _GROUP.get()
    if group.size == 1:
        return rng
    return np.random.default_rng([int(rng.integers(2**31)), group.index])


def moments(array, weight=None):
    """`storage.moments` of the rows of all hosts.

    Args:
        array: Array (N, D).
        weight: How much each row counts, (N,), or None.
    """
    if _GROUP.get().size == 1:
        return storage.moments(array, weight)
    weight = np.ones(len(array)) if weight is None else np.asarray(weight, "float64")
    sums = storage.total(lambda x, w: w @ np.asarray(x, "float64"), array, weight)
    size, sums = sum_over_hosts((float(weight.sum()), sums))
    mean = sums / (size or np.nan)
    squares = storage.total(lambda x, w: w @ np.square(x - mean), array, weight)
    return mean, sum_over_hosts(squares) / (size or np.nan)


def check_one_host(who, reason):
    """Raises ValueError where several hosts work together.

    Args:
        who: What cannot be done by several.
        reason: Why not, and what to do.
    """
    if _GROUP.get().size > 1:
        raise ValueError(f"{who} needs all rows on one host: {reason}")


def local_configs(number):
    """The environment variable TF_CONFIG of each of several processes of this machine.

    Args:
        number: How many hosts these processes are to be.

    Returns:
        List of texts, with ports at which nothing listens now.

    Example:

    ```python
    from kserket import hosts

    first, second = hosts.local_configs(2)
    ```
    """
    with contextlib.ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        cluster = {"worker": [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]}
    tasks = [{"type": "worker", "index": index} for index in range(number)]
    return [json.dumps({"cluster": cluster, "task": task}) for task in tasks]


def _leaves(values):
    """The arrays and numbers of a nested structure, one after another."""
    if isinstance(values, (tuple, list)):
        for value in values:
            yield from _leaves(value)
    elif values is not None:
        yield values


def _rebuilt(values, leaves):
    """A nested structure with other arrays and numbers."""
    if values is None:
        return None
    if not isinstance(values, (tuple, list)):
        return next(leaves)
    parts = [_rebuilt(value, leaves) for value in values]
    return type(values)(*parts) if hasattr(values, "_fields") else type(values)(parts)


def _split(flat, leaves):
    """The parts of a vector (n,), in shape and kind of the arrays and numbers it was made of."""
    start = 0
    for leaf in leaves:
        like = np.asarray(leaf)
        part = flat[start : start + like.size].reshape(like.shape)
        start += like.size
        if like.dtype.kind in "biu":
            part = part.astype(np.int64)
        yield part if isinstance(leaf, np.ndarray) else part.item()
