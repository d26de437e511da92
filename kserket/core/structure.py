"""Which modules a graph holds, in which order, under which names."""

import graphlib


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
