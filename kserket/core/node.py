"""What stands in a graph: a name, connections to what is below, and the order of updates."""

from __future__ import annotations

import graphlib
import warnings
import weakref
from typing import TYPE_CHECKING, Any

from kserket.core.attributes import Fixed
from kserket.core.mailbox import DataBox, Mailbox, seats
from kserket.core.options import check_flag
from kserket.core.user_line import user_level

_OWN = {"_inputs", "_readers", "_sends_back", "mailbox", "name", "number", "logs", "rounds"}


class Node:
    """Something with a name that reads nodes below it.

    Args:
        name: What it is called.
    """

    name = Fixed()
    predicts_inputs = True  # whether it ever has something to send back
    _count = 0
    _mailbox_type = Mailbox
    _row_names: Any = None  # of a DataFrame of data, or a Series of labels, until it is pickled

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or any(character in name for character in "/\\:"):
            raise ValueError(
                "`name` must be a string without '/', '\\' or ':', since it becomes part of a "
                f"folder's name. Received: name={name!r}"
            )
        self.name = name
        self.number = Node._count
        self.mailbox = self._mailbox_type()
        self._inputs: tuple[Any, ...] = ()
        self._readers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._sends_back = True
        Node._count += 1

    @staticmethod
    def reset_names() -> None:
        """Starts the numbers in module names over at 000."""
        Node._count = 0

    @staticmethod
    def next_number(number: int | None = None) -> int:
        """The number of the module that is made next.

        Args:
            number: Sets it first, such as to that of a module which shares its own with the next.
        """
        if number is not None:
            Node._count = number
        return Node._count

    @property
    def inputs(self) -> tuple[Any, ...]:
        """The modules this one is connected to, a tuple."""
        return self._inputs

    @property
    def readers(self) -> tuple[Any, ...]:
        """The modules that are connected to this one, a tuple in no order."""
        return tuple(self._readers)

    @property
    def sends_back(self) -> bool:
        """Whether backward messages are sent to the inputs."""
        return self._sends_back and self.predicts_inputs

    def get_name(self) -> str:
        """The full name, "module001_gmm"."""
        return full_name(self.number, self.name)

    def connect(self, *modules: Node, backward: bool = True) -> None:
        """Reads the forward messages of `modules` from now on, in this order.

        A second call replaces the first: messages sent over the old connections are taken
        back.

        Args:
            *modules: Modules or observations.
            backward: False reads without ever sending back.

        Raises:
            TypeError: If something is not a module.
            ValueError: If nothing is given, or twice a module that is no observation, or a cycle
                would arise.
        """
        check_flag(backward=backward)
        if not modules:
            raise ValueError(f"{self.get_name()}.connect() needs at least one module to read.")
        for module in modules:
            if not isinstance(module, Node):
                raise TypeError(
                    f"{self.get_name()} can be connected to modules only. Wrap data as "
                    f"kserket.Observation(data). Received: {type(module).__name__}"
                )
            path = _path_down(module, self)
            if path:
                names = " -> ".join(step.get_name() for step in [self, *path])
                raise ValueError(
                    f"The graph has a cycle: {names}. Connect modules from data upwards."
                )
        learned = [module for module in modules if not is_data(module)]
        if len(set(learned)) != len(learned):
            raise ValueError(
                f"{self.get_name()} was given the same module twice: it would hear what it said "
                "itself. Only an observation may be read twice."
            )
        for module in modules:
            module.check_reader(self)
        self.disconnect()
        for module in modules:
            if not is_data(module):
                _warn_of_namesake(module, self)
        for module in modules:
            module._readers.add(self)
        self._inputs, self._sends_back = tuple(modules), bool(backward)

    if not TYPE_CHECKING:  # or each name would be one of a node's

        def __getattr__(self, name: str) -> Any:
            """Where the constructor of a subclass has left out that of its base."""
            if name in _OWN and "mailbox" not in vars(self):
                kind = type(self).__name__
                raise AttributeError(
                    f"{kind} has no `{name}`, since its __init__ has not called that of its base. "
                    "Begin it with super().__init__(name)."
                )
            return object.__getattribute__(self, name)  # raises what was raised

    def check_reader(self, reader: Any) -> None:
        """Checks whether a module can read this one; raises ValueError if not."""

    def disconnect(self) -> None:
        """Stops reading, and takes back the messages sent to the modules below."""
        self._withdraw()
        for module in self._inputs:
            module._readers.discard(self)
        self._inputs = ()

    def forget_samples(self) -> None:
        """Takes back every message about the samples below, which are others from now on.

        What was learned stays. Called by `Observation.set_data`; a subclass that keeps something
        else of each sample forgets it here, too.
        """
        self._withdraw()
        self.mailbox.forward = None
        self.mailbox.backward.clear()
        for reader in self._readers:
            reader.forget_samples()

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: weak references cannot be."""
        return {**vars(self), "_readers": list(self._readers), "_row_names": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._readers = weakref.WeakSet(state["_readers"])

    def _withdraw(self):
        """Takes back the messages sent to the modules below."""
        for module, seat in zip(self._inputs, seats(self), strict=True):
            module.withdraw_backward_msg(seat)


def row_names_below(module):
    """What the data below a module are called, and the names of their rows where they have any.

    Args:
        module: A `Node`.

    Returns:
        List of pairs, of data with a row for each row that the module reads.
    """
    found, waiting = {}, list(module.inputs)
    while waiting:
        source = waiting.pop(0)
        if is_data(source):
            found[source] = source._row_names
        elif not source.num_rows:
            waiting.extend(source.inputs)
    return [(source.name, names) for source, names in found.items()]


def full_name(number: int, name: str) -> str:
    """The full name of a module, "module001_gmm"."""
    return f"module{number:03d}_{name}"


def is_data(module: Any) -> bool:
    """Whether this is an `Observation`, whose rows are data and no opinion of a module.

    Args:
        module: A `Node`.
    """
    return isinstance(module.mailbox, DataBox)


def in_order(tops):
    """The modules below `tops` and these, each after what it reads; ties by number.

    Args:
        tops: The modules at the top.

    Returns:
        List of modules.

    Raises:
        ValueError: If they form a cycle.
    """
    readers, waiting = {}, list(tops)
    while waiting:
        module = waiting.pop()
        if module not in readers:
            readers[module] = module.inputs
            waiting.extend(module.inputs)
    sorter = graphlib.TopologicalSorter(readers)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        names = " -> ".join(module.get_name() for module in error.args[1])
        raise ValueError(
            f"The graph has a cycle: {names}. Connect modules from data upwards."
        ) from None
    ordered = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=lambda module: module.number)
        ordered.extend(ready)
        sorter.done(*ready)
    return ordered


def unique_names(modules):
    """Names by which a graph knows its modules, numbered from the second of a name on.

    Args:
        modules: List of modules.

    Returns:
        Dict from module to name, in the same order.
    """
    names, seen = {}, {}
    for module in modules:
        base = module.name or type(module).__name__.lower()
        seen[base] = seen.get(base, 0) + 1
        name = base if seen[base] == 1 else f"{base}_{seen[base]}"
        while name in names.values():  # taken by a module of that name
            seen[base] += 1
            name = f"{base}_{seen[base]}"
        names[module] = name
    return names


def check_unchanged(tops, names):
    """Checks that the modules below the tops are those of when a graph was made.

    Args:
        tops: The modules at the top.
        names: Dict from the graph's modules, in order, to their names.

    Raises:
        RuntimeError: If they are others, or in another order.
    """
    now, before = in_order(tops), list(names)
    if now == before:
        return
    added = [module.get_name() for module in now if module not in names]
    removed = [module.get_name() for module in before if module not in now]
    news = [
        f"{', '.join(some)} {what}" for some, what in ((added, "came"), (removed, "went")) if some
    ]
    raise RuntimeError(
        "Modules were reconnected after the graph was made: "
        f"{' and '.join(news) or 'their order changed'}. Connect everything first, then "
        "make a new Graph."
    )


def _warn_of_namesake(module, reader):
    """Warns if a module of the reader's name has already sent messages to `module`."""
    for other in module.mailbox.backward:
        if other is not None and other.name == reader.name:
            warnings.warn(
                f"{module.get_name()} already hears {other.get_name()}; {reader.get_name()}, of "
                "the same name, joins it, and their messages multiply. If it takes the old one's "
                "place, call disconnect() on the old one; else give them different names.",
                stacklevel=user_level(),
            )


def _path_down(start, goal):
    """The modules from `start` down to `goal`, or None if there is no such path."""
    if start is goal:
        return [start]
    for module in start.inputs:
        path = _path_down(module, goal)
        if path:
            return [start, *path]
    return None
