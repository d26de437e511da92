"""Which modules of a graph send as many rows as each other, and how many.

All do, but for modules whose `num_rows` differ, such as `utils.GroupSum`.
"""

from typing import Any


def row_sets(modules: list[Any]) -> dict[Any, int]:
    """Which modules send equally many rows.

    Args:
        modules: Those of a graph, inputs first.

    Returns:
        Dict from module to the number of its set.
    """
    if not any(module.num_rows for module in modules):
        return dict.fromkeys(modules, 0)
    sets = {module: number for number, module in enumerate(modules)}
    for module in modules:
        together = module.inputs if module.num_rows else [module, *module.inputs]
        numbers = {sets[other] for other in together}
        sets |= {other: min(numbers) for other in modules if sets[other] in numbers}
    return sets


def count_rows(names: dict[Any, str], data: dict[Any, Any]) -> dict[Any, int]:
    """How many rows every module sends.

    Args:
        names: Dict from each module of a graph, inputs first, to its name.
        data: Dict from `Observation` to array; those left out have as many rows as goes with them.

    Returns:
        Dict from module to number.

    Raises:
        ValueError: If data that belong together hold different numbers of samples.
    """
    sets = row_sets(list(names))
    grouped = [module for module in names if module.num_rows]
    known = [(module, len(part)) for module, part in data.items()]
    for module in grouped:
        reads, sends = module.num_rows
        known += [(module, sends), *((source, reads) for source in module.inputs)]
    counts: dict[int, int] = {}
    for module, number in known:
        if counts.setdefault(sets[module], number) != number:
            lengths = {names[observation]: len(part) for observation, part in data.items()}
            groups = [
                f". {names[m]} knows the groups of {m.num_rows[0]} rows, {m.num_rows[1]} in all. "
                f"Set graph[{names[m]!r}].group_idx to those of these data; where nothing below it "
                "is given, to np.arange(N) for N groups: one row each, not observed."
                for m in grouped
            ]
            raise ValueError(
                f"All data need the same number of samples. Received: {lengths}{''.join(groups)}"
            )
    return {module: counts[number] for module, number in sets.items()}
