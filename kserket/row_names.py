"""Names of the rows of DataFrames and Series, which go by their place: the two must agree."""

import collections
import itertools
from typing import Any


def row_names_of(data: Any) -> Any:
    """The index of a pandas DataFrame or Series; None of anything else."""
    return getattr(data, "index", None) if hasattr(data, "iloc") else None


def check_row_order(*named: tuple[str, Any]) -> None:
    """Checks that no two of several data of the same samples name these in different order.

    Args:
        *named: Pairs of what the data are called in errors, and the names of their rows, or None.

    Raises:
        ValueError: If two have rows of the same names in different order.
    """
    known = [pair for pair in named if pair[1] is not None]
    for (first, names), (second, others) in itertools.combinations(known, 2):
        if not _are_permuted(names, others):
            continue
        cure = (
            f"such as {second.strip('`')}.loc[{first.strip('`')}.index]"
            if names.is_unique
            else "by sorting both alike"
        )
        raise ValueError(
            f"{first} and {second} have rows of the same names in different order, and rows go by "
            f"their place. Put them in one order, {cure}. If they belong together as they stand, "
            "use reset_index(drop=True) on both."
        )


def _are_permuted(names, others):
    """Whether two indexes hold the same names in different order."""
    if names is others or len(names) != len(others) or names.nlevels != others.nlevels:
        return False
    if names.equals(others) or (len(names) and names[0] not in others):
        return False
    return collections.Counter(names) == collections.Counter(others)
