"""Names of the columns of a DataFrame: new data are read by them, whatever their order."""

from typing import Any


def names_of(data: Any) -> list[str] | None:
    """The names of the columns of a DataFrame; None of arrays, and of columns that are numbered."""
    columns = getattr(data, "columns", None)
    if columns is None or not all(isinstance(name, str) for name in columns):
        return None
    return list(columns)


def in_order(data: Any, names: list[str] | None, who: str) -> Any:
    """A DataFrame with its columns in the order of the data learned from.

    Args:
        data: DataFrame (N, D); anything without names is returned unchanged.
        names: The names (D,) in the order wanted; None leaves all unchanged.
        who: What the data are called in errors.

    Raises:
        ValueError: If the columns are not these.
    """
    found = names_of(data)
    return data if places_of(names, found, who) is None else data[names]


def places_of(names: list[str] | None, found: list[str] | None, who: str) -> list[int] | None:
    """Where the names wanted stand among those found; None where nothing is to be moved.

    Args:
        names: The names (D,) in the order wanted, or None.
        found: Those of new data, or None.
        who: What the data are called in errors.

    Raises:
        ValueError: If they are not the same names.
    """
    if names is None or found is None or found == names:
        return None
    if len(set(found)) == len(found) and set(found) == set(names):
        return [found.index(name) for name in names]
    missing = [name for name in names if name not in found]
    unknown = [name for name in found if name not in names]
    raise ValueError(
        f"{who} has the columns {_listed(names)}. Received: {_listed(missing)} missing, "
        f"{_listed(unknown)} unknown. Rename the columns, or give an array without names to go by "
        "their place."
    )


def _listed(names, most=5):
    """Some names in words."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(map(repr, names[:most])) + more) or "none"
