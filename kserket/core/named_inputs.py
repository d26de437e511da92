"""What models take beside x: parts of their inputs by name, and class probabilities from above."""

from kserket.arrays import as_numbers
from kserket.core import messages
from kserket.core.sources import is_dataset, read_named


def named_inputs(x, *names):
    """Inputs by name.

    Args:
        x: Dict, x alone, or a `tf.data.Dataset` or `keras.utils.PyDataset` of batches of either,
            which is read once, from front to back.
        *names: What a dict may hold beside x.

    Returns:
        A new dict.

    Raises:
        ValueError: If a name is unknown or x is not among them.
    """
    if is_dataset(x):
        x = read_named(x)
    is_named = isinstance(x, dict) and not hasattr(x, "shape")  # scipy's dok_array is a dict, too
    parts = dict(x) if is_named else {"x": x}
    if parts.keys() - {"x", *names} or "x" not in parts:
        others, last = ("x", *names[:-1]), names[-1]
        raise ValueError(
            f"Inputs must be {', '.join(others)} and {last}, x at least. Received: {sorted(parts)}"
        )
    return parts


def class_prior(prior, num_classes, num_rows, row):
    """Class probabilities that come with data, checked.

    Args:
        prior: Array (N, K), `Categorical` or None.
        num_classes: K.
        num_rows: N.
        row: What one row is, such as "sample", for the error.

    Returns:
        A `Categorical`, or None.

    Raises:
        TypeError: If they are not real numbers.
        ValueError: If there is not one row for each row of the data, or rows are no probabilities.
    """
    if prior is None:
        return None
    prior = class_probabilities(prior, "`class_prior`", num_classes)
    if len(prior) != num_rows:
        raise ValueError(
            f"`class_prior` must hold one row per {row}, {num_rows}. Received: {len(prior)}"
        )
    return prior


def class_probabilities(values, name, num_classes):
    """Class probabilities, read under the name that the caller knows.

    Args:
        values: `Categorical`, or array (N, K).
        name: What they are, for errors.
        num_classes: K.

    Returns:
        A `Categorical`.

    Raises:
        TypeError: If they are not real numbers.
        ValueError: If rows are no probabilities of K classes.
    """
    if isinstance(values, messages.Categorical):
        return messages.as_categorical(values, num_classes)
    values = as_numbers(values, name)
    try:
        return messages.as_categorical(values, num_classes)
    except ValueError as error:
        raise ValueError(
            f"{name} needs class probabilities, shape (N, {num_classes}). {error}"
            + _one_hot_hint(values, num_classes)
        ) from error


def _one_hot_hint(values, num_classes):
    """The cure where class numbers were given, or ""."""
    column = values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1)
    if not column or not values.size or not (values == values.astype("int64")).all():
        return ""
    index = "" if values.ndim == 1 else "[:, 0]"
    return f" If these are class numbers, pass np.eye({num_classes})[classes{index}]."
