"""Answers as DataFrames, where they are asked for. pandas is imported then."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kserket.row_names import row_names_of


def import_pandas() -> Any:
    """The package pandas.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError("A DataFrame needs pandas: `pip install pandas`.") from error
    return pandas


def index_of(data: Any) -> Any:
    """The index of a DataFrame or Series, of the first one among several, or None.

    Args:
        data: Whatever models and graphs take as inputs.

    Raises:
        ValueError: If there are several that differ.
    """
    if isinstance(data, dict) and not hasattr(data, "shape"):
        data = list(data.values())
    if not isinstance(data, (list, tuple)):
        return row_names_of(data)
    found = [names for names in map(row_names_of, data) if names is not None]
    if any(not found[0].equals(other) for other in found[1:]):
        raise ValueError(
            "`as_frame` keeps the index of DataFrames, and those given have rows of different "
            "names. Rows go by their place: put them in one order, such as b = b.loc[a.index], or "
            "reset_index(drop=True)."
        )
    return found[0] if found else None


def as_frame(
    values: Any, name: str, index: Any = None, columns: Sequence[str] | None = None
) -> Any:
    """An answer as a DataFrame.

    Args:
        values: Array (N, D) or (N,).
        name: What it is; columns are named "name/0", "name/1", ..., that of (N,) "name".
        index: Index (N,), or None.
        columns: Names of the columns (D,), instead.

    Returns:
        A pandas DataFrame.

    Raises:
        ImportError: If pandas is not installed.
        ValueError: If values have more axes.
    """
    pandas = import_pandas()
    values = np.asarray(values)
    if values.ndim > 2:
        raise ValueError(
            f"{name} has samples of shape {values.shape[1:]}, and a DataFrame has rows of numbers. "
            "Leave as_frame=True out."
        )
    if columns is None:
        columns = [name] if values.ndim == 1 else [f"{name}/{k}" for k in range(values.shape[1])]
    return pandas.DataFrame(values, index=index, columns=list(columns))
