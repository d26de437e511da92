"""What may be data: finite numbers, one row per sample."""

from kserket.arrays import as_numbers, check_finite
from kserket.core.sources import as_array


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
    data = as_numbers(as_array(data, name), name, allow_missing)
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
    check_finite(data, name, allow_missing)
    return data
