"""What models take beside x: parts of their inputs by name, and class probabilities from above."""

from kserket.core import messages


def named_inputs(x, *names):
    """Inputs by name.

    Args:
        x: Dict, or x alone.
        *names: What a dict may hold beside x.

    Returns:
        A new dict.

    Raises:
        ValueError: If a name is unknown or x is not among them.
    """
    is_named = isinstance(x, dict) and not hasattr(x, "shape")  # scipy's dok_array is a dict, too
    parts = dict(x) if is_named else {"x": x}
    if parts.keys() - {"x", *names} or "x" not in parts:
        *others, last = "x", *names
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
        ValueError: If there is not one row for each row of the data, or rows are no probabilities.
    """
    if prior is None:
        return None
    prior = messages.as_categorical(prior, num_classes)
    if len(prior) != num_rows:
        raise ValueError(
            f"`class_prior` must hold one row per {row}, {num_rows}. Received: {len(prior)}"
        )
    return prior
