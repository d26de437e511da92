"""What may be data: finite numbers, one row per sample."""

import numpy as np

from kserket import storage
from kserket.core.sources import as_array, widened


def check_data(data, name, allow_missing=None):
    """Data as an array of finite numbers with one row per sample.

    Args:
        data: What a user gave: anything that `sources.as_array` takes.
        name: Who holds it, for the error.
        allow_missing: Whether rows that are NaN or masked throughout pass. None is no, and an
            error does not tell of the option.

    Returns:
        The array, or a memory map.

    Raises:
        TypeError: If `data` are not numbers.
        ValueError: If they are empty, ragged, not finite or masked.
    """
    data = as_array(data, name)
    if not (isinstance(getattr(data, "dtype", None), np.dtype) and hasattr(data, "shape")):
        try:
            data = np.asarray(data)
        except ValueError as error:
            raise ValueError(
                f"{name} needs rows of one length. Received: {type(data).__name__} that is ragged."
            ) from error
    data = widened(data)
    if data.dtype.kind not in "fiub":
        raise TypeError(
            f"{name} needs numbers. Received: dtype {data.dtype}. Convert with "
            "np.asarray(data, dtype='float32')."
        )
    if len(data.shape) == 0 or 0 in data.shape:
        raise ValueError(
            f"{name} needs at least one sample and one feature, shape (N, ...). "
            f"Received: shape {tuple(data.shape)}"
        )
    if len(data.shape) == 1:
        raise ValueError(
            f"{name} needs one row per sample, shape (N, D). Received: shape {data.shape}. "
            "Use data.reshape(-1, 1) for one feature, data.reshape(1, -1) for one sample."
        )
    if isinstance(data, np.ma.MaskedArray):
        data = _unmasked(data, name, allow_missing)
    if data.dtype.kind == "f":
        _check_finite(data, name, allow_missing)
    return data


def _unmasked(data, name, allow_missing):
    """A masked array as a plain one whose masked rows are NaN; ValueError if there may be none."""
    if not np.ma.is_masked(data):
        return data.data
    mask = np.ma.getmaskarray(data).reshape(len(data), -1)
    if not allow_missing or (mask.any(axis=1) != mask.all(axis=1)).any():
        raise ValueError(
            f"{name} is a masked array with {mask.sum()} masked values, the first in row "
            f"{mask.any(axis=1).argmax()}. Its mask would be lost. Impute "
            f"them{_or_allow('masked', allow_missing)}."
        )
    return data.astype(np.result_type(data.dtype, "float32")).filled(np.nan)


def _check_finite(data, name, allow_missing):
    """Raises ValueError unless data are finite; reads them in chunks."""
    count, first = 0, None
    for rows in storage.chunks(data):
        chunk = storage.read(data, rows)
        wrong = ~np.isfinite(chunk)
        if not wrong.any():
            continue
        if allow_missing:
            flat = chunk.reshape(len(chunk), -1)
            wrong &= ~np.isnan(flat).all(axis=1).reshape((-1,) + (1,) * (chunk.ndim - 1))
        if wrong.any():
            if first is None:
                row, *rest = (int(index) for index in np.argwhere(wrong)[0])
                first = (row + rows.start, *rest)
            count += int(wrong.sum())
    if count:
        column = first[1] if len(first) == 2 else first[1:]
        values = "1 value that is" if count == 1 else f"{count} values that are"
        raise ValueError(
            f"{name} holds {values} not finite, the first at row "
            f"{first[0]}, column {column}. Remove or impute them{_or_allow('NaN', allow_missing)}."
        )


def _or_allow(how, allow_missing):
    """Advice to whoever may allow missing rows and has not."""
    if allow_missing is not False:
        return ""
    return f", or pass allow_missing=True if whole rows are {how} because they were not observed"
