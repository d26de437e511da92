"""Which modules a graph holds, in which order, under which names."""

import graphlib


def in_order(tops):
    """The modules below `tops` and these, each after what it reads; ties by number."""
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
    """Dict from module to its name, numbered from the second of a name on."""
    names, seen = {}, {}
    for module in modules:
        base = module.name or type(module).__name__.lower()
        seen[base] = seen.get(base, 0) + 1
        name = base if seen[base] == 1 else f"{base}_{seen[base]}"
        while name in names.values():  # taken by a module that somebody named so
            seen[base] += 1
            name = f"{base}_{seen[base]}"
        names[module] = name
    return names


def check_unchanged(tops, names):
    """Raises RuntimeError if other modules stand below the tops than when a graph was made.

    Args:
        tops: The modules at the top.
        names: Dict from the graph's modules, in order, to their names.
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
        "Modules were connected otherwise after the graph was made: "
        f"{' and '.join(news) or 'their order is another'}. Connect everything first, then "
        "make a new Graph."
    )
