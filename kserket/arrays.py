"""What comes in as an array of numbers: one check for every public door.

NumPy reads nearly everything, and loses some of it without a word: what a mask hides, the imaginary
part, the meaning of a date. Whatever takes numbers from outside takes them through here.
"""

import collections.abc
from typing import Any

import numpy as np

from kserket import storage
from kserket.typing import Array, Floats

_READ_BY_NUMPY = ("__array__", "__array_interface__", "__array_struct__", "__dlpack__")
_SHORT_ROW = 12  # up to here columns are compared one by one
_TEXT = (
    "Make numbers of text by pandas.to_numeric; of categories a column of 0 and 1 for each value, "
    "as pandas.get_dummies does. Such columns may decide the classes alone: see docs/faq.md, "
    "'Discrete columns'. Or leave it out."
)
_DATES = "Make days since the first of dates: (column - column.min()) / pandas.Timedelta(days=1)."
_SPANS = "Make days of spans of time: column / pandas.Timedelta(days=1)."


def as_numbers(
    values: Any, name: str, allow_missing: bool | None = None, allow_gaps: bool = False
) -> Array:
    """Values as an array of numbers.

    Args:
        values: Array, nested list, DataFrame or tensor of integers, floating point numbers or
            booleans.
        name: What they are, for errors, such as "`x`" or "module000_obs".
        allow_missing: Whether rows that are masked throughout become NaN. None does not allow it,
            and errors do not mention the option.
        allow_gaps: Whether single masked values become NaN, too.

    Returns:
        NumPy array or memory map, of the type of `values`. Types that only extensions of NumPy
        know, such as bfloat16, become float32; long doubles, columns of different types, and
        those with pandas' `NA`, become float64.

    Raises:
        TypeError: If they are not real numbers.
        ValueError: If they are ragged, or masked where nothing may be missing.
    """
    if _holds_mask(values):
        return _unmasked(np.ma.array(values), name, allow_missing, allow_gaps)
    array = values if type(values) is np.memmap else read_array(values, name)
    if array.dtype.kind not in "fiub":
        array = _converted(values, array, name)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        with np.errstate(over="ignore"):  # infinities are found where they must not be
            array = array.astype("float64")
    return array


def read_array(values: Any, name: str, what: str = "numbers") -> Array:
    """The array that NumPy makes of something it should read.

    Args:
        values: Array, list or tensor of any type.
        name: What they are, for errors.
        what: What they should hold, for errors.

    Returns:
        NumPy array of any type.

    Raises:
        TypeError: If this is no array, list or number, or NumPy cannot read it.
        ValueError: If rows differ in length.
    """
    kind = type(values).__name__
    if type(values).__module__.startswith("scipy.sparse"):
        raise TypeError(
            f"{name} needs an array. Received: {kind}, a scipy sparse matrix. "
            "Convert with matrix.toarray()."
        )
    if not _is_readable(values):
        received = repr(values) if values is None or isinstance(values, str) else kind
        raise TypeError(f"{name} needs {what}, as an array or a list of rows. Received: {received}")
    try:
        return np.asarray(values)
    except ValueError as error:
        cure = " Of a pair (data, labels) give the data alone." if kind == "tuple" else ""
        raise ValueError(
            f"{name} needs rows of one length. Received: {kind} that is ragged.{cure}"
        ) from error
    except Exception as error:  # of other libraries, whose words hold the cure
        raise TypeError(
            f"{name} needs an array that NumPy can read. Received: {kind}. {error}"
        ) from error


def check_finite(
    array: Array, name: str, allow_missing: bool | None = None, allow_gaps: bool = False
) -> None:
    """Raises ValueError unless numbers are finite; reads them in chunks.

    Args:
        array: NumPy array (N, ...) of numbers.
        name: What they are, for the error.
        allow_missing: Whether rows that are NaN throughout pass; None as in `as_numbers`.
        allow_gaps: Whether single values of NaN pass, too.

    Raises:
        ValueError: If a value is NaN or infinite.
    """
    if array.dtype.kind != "f":
        return
    count, first = 0, None
    for rows in storage.chunks(array):
        chunk = storage.read(array, rows)
        wrong = ~np.isfinite(chunk)
        if not wrong.any():
            continue
        if allow_gaps:
            wrong &= ~np.isnan(chunk)
        elif allow_missing:
            flat = chunk.reshape(len(chunk), -1)
            wrong &= ~np.isnan(flat).all(axis=1).reshape((-1,) + (1,) * (chunk.ndim - 1))
        if wrong.any():
            if first is None:
                row, *rest = (int(index) for index in np.argwhere(wrong)[0])
                first = (row + rows.start, *rest)
            count += int(wrong.sum())
    if count:
        values = "1 value that is" if count == 1 else f"{count} values that are"
        raise ValueError(
            f"{name} holds {values} not finite, the first at {_place(first)}. "
            f"Remove or impute them{_or_allow('NaN', allow_missing)}."
        )


def row_max(values: Floats) -> Floats:
    """The largest value of each row, which NumPy takes several times as long for in short rows.

    Args:
        values: Array (n, K).

    Returns:
        Array (n,).
    """
    if values.shape[1] > _SHORT_ROW:
        return values.max(axis=1)
    result = values[:, 0].copy()
    for column in values.T[1:]:
        np.maximum(result, column, out=result)
    return result


def check_unmasked(values: Any, name: str) -> None:
    """Raises ValueError if something in an array of any type is masked.

    Args:
        values: Labels, or whatever else need not be numbers.
        name: What they are, for the error.

    Raises:
        ValueError: If a value is masked.
    """
    if _holds_mask(values):
        _unmasked(np.ma.array(values), name, None)


def _is_readable(values):
    """Whether this is an array, a sequence or a number, and not only something to iterate over."""
    if isinstance(values, str) or values is None:
        return False
    if isinstance(values, (collections.abc.Sequence, complex, float, int)):
        return True
    if any(hasattr(values, protocol) for protocol in _READ_BY_NUMPY):
        return True
    try:
        memoryview(values)
    except TypeError:
        return False
    return True


def _converted(values, array, name):
    """What NumPy took for something else, as numbers; TypeError if it is."""
    kind, dtype = array.dtype.kind, array.dtype
    if kind == "V" and dtype.names is None and np.can_cast(dtype, "float32"):
        return array.astype("float32")
    if kind == "O" and hasattr(values, "to_numpy"):
        odd, cures = _odd_columns(values)
        if not odd:
            return values.to_numpy(dtype="float64", na_value=np.nan)
        raise TypeError(f"{name} needs numbers. Received: {odd}. {cures}")
    if kind in "mM" and hasattr(values, "to_numpy"):
        odd, cures = _odd_columns(values)
        raise TypeError(f"{name} needs numbers. Received: {odd}. {cures}")
    received, mend = f"dtype {dtype}", "Convert with np.asarray(data, dtype='float32')."
    if kind == "c":
        mend = "Convert with np.real(data) or np.abs(data)."
    elif kind in "mM":
        days = "data" if kind == "m" else "(data - data.min())"
        mend = f"Make days of them: {days} / np.timedelta64(1, 'D')."
    elif kind == "V":
        mend = "Convert with numpy.lib.recfunctions.structured_to_unstructured(data)."
    elif kind == "O" and array.size:
        place, value = _first_object(array)
        received += f", which holds {value!r:.60}{place}"
    elif kind in "SU" and array.size:
        received += f", text such as {array.flat[0].item()!r:.60}"
        mend = mend if _is_numeric(array) else _TEXT
    raise TypeError(f"{name} needs numbers. Received: {received}. {mend}")


def _is_numeric(text):
    """Whether text (N, ...) spells numbers."""
    try:
        text.astype("float64")
    except ValueError:
        return False
    return True


def _odd_columns(values):
    """What columns of a DataFrame hold no numbers, and what mends them, in words; "" of none."""
    if not hasattr(values, "columns"):
        odd = [] if _is_numeric_type(values.dtype) else [values.dtype]
        return "".join(f"dtype {dtype}" for dtype in odd), _cures(odd)
    pairs = zip(values.columns, values.dtypes, strict=True)
    odd = {name: dtype for name, dtype in pairs if not _is_numeric_type(dtype)}
    names = [f"{name!r} ({dtype})" for name, dtype in odd.items()]
    more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
    text = f"column{'s' * (len(odd) > 1)} {', '.join(names[:5])}{more}" if odd else ""
    return text, _cures(odd.values())


def _cures(dtypes):
    """What makes numbers of columns of these types: a sentence for each kind among them."""
    kinds = {_cure(dtype) for dtype in dtypes}
    return " ".join(cure for cure in (_TEXT, _DATES, _SPANS) if cure in kinds)


def _cure(dtype):
    """What makes numbers of a column that holds none: dates, spans of time, or others."""
    kind, name = getattr(dtype, "kind", ""), str(dtype).lower()
    if kind == "M" or name.startswith("date"):
        return _DATES
    if kind == "m" or name.startswith("duration"):
        return _SPANS
    return _TEXT


def _is_numeric_type(dtype):
    """Whether the type of a column, of pandas or polars, is one of real numbers."""
    if hasattr(dtype, "is_numeric"):
        return dtype.is_numeric() or str(dtype) == "Boolean"
    return dtype.kind in "fiub"


def _first_object(array):
    """Where the first of an array of objects that is not a number stands, and what it is."""
    for index, value in np.ndenumerate(array):
        if not isinstance(value, (int, float, np.number)):
            return (f" at {_place(index)}" if index else ""), value
    return "", array.flat[0]


def _place(index):
    """An index in words."""
    row, *rest = index
    if not rest:
        return f"row {row}"
    return f"row {row}, column {rest[0] if len(rest) == 1 else tuple(rest)}"


def _holds_mask(values):
    """Whether something is masked, in a masked array or in a list of such."""
    if isinstance(values, (list, tuple)):
        return any(map(_holds_mask, values))
    return isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values)


def _unmasked(data, name, allow_missing, allow_gaps=False):
    """A masked array as a plain one with NaN where it is masked; ValueError if it may not be."""
    mask = np.atleast_1d(np.ma.getmaskarray(data))
    mask = mask.reshape(len(mask), -1)
    in_part = (mask.any(axis=1) != mask.all(axis=1)).any()
    if not allow_gaps and (not allow_missing or in_part):
        raise ValueError(
            f"{name} is a masked array with {mask.sum()} masked values, the first in row "
            f"{mask.any(axis=1).argmax()}. Its mask would be lost. Impute "
            f"them{_or_allow('masked', allow_missing)}."
        )
    numbers = as_numbers(data.data, name)
    return np.where(np.ma.getmaskarray(data), np.nan, numbers).astype(
        np.result_type(numbers.dtype, "float32")
    )


def _or_allow(how, allow_missing):
    """Advice to whoever may allow missing rows and has not."""
    if allow_missing is not False:
        return ""
    return f", or pass allow_missing=True if whole rows are {how} because they were not observed"
