"""What a variational autoencoder reads: x, and perhaps mean and variance of its prior."""

import numpy as np
import tensorflow as tf

from kserket import storage
from kserket.core.checking import check_data
from kserket.core.named_inputs import named_inputs

NAMES = ("x", "mu", "mu_variance")
ROUNDING = 4 * np.finfo("float32").eps  # how far sums that should be 0 or 1 may lie outside


def by_name(inputs, is_leaf=None):
    """Inputs by name: x, mu, mu_variance (None where not given)."""
    if isinstance(inputs, (list, tuple)) and not (is_leaf is not None and is_leaf(inputs)):
        if not 1 <= len(inputs) <= 3:
            raise ValueError(f"Inputs must be [x, mu, mu_variance]. Received: {len(inputs)} items")
        return dict(zip(NAMES, [*inputs, None, None][:3], strict=True))
    parts = named_inputs(inputs, *NAMES[1:])
    return {name: parts.get(name) for name in NAMES}


def is_shape(value):
    """Whether this is one shape, not several by name or in a list."""
    return all(size is None or isinstance(size, int) for size in value)


def is_arrays(x):
    """Whether x is an array or a nest of arrays, not a dataset or generator."""
    return isinstance(x, (dict, list, tuple)) or hasattr(x, "dtype")


def sample_shape(shape):
    """The shape of one sample.

    Args:
        shape: That of a batch.

    Returns:
        A tuple of integers.

    Raises:
        ValueError: If it is not known, or a sample has none.
    """
    shape = tf.TensorShape(shape)
    if shape.rank is None or shape.rank < 2 or None in shape[1:]:
        raise ValueError(
            "VariationalAutoencoder needs samples of a known shape, x of shape (N, ...). "
            f"Received: shape {shape}. Batch a dataset that gives single samples; where shapes "
            "got lost, restore them: dataset.map(lambda x: tf.ensure_shape(x, (None, 64)))."
        )
    return tuple(shape[1:])


def check_unit_interval(x, name):
    """Checks that data suit the Bernoulli likelihood: none outside [0, 1], but for rounding.

    Args:
        x: Array (N, ...).
        name: Who holds them, for the error.

    Raises:
        ValueError: If some do not.
    """
    low, high = storage.extent(x)
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ValueError(
            f'likelihood="bernoulli" needs data in [0, 1]. {name} ranges from {low:.9g} to '
            f'{high:.9g}. Scale it, or use likelihood="gaussian".'
        )


def check(model, x, y, sample_weight, place="The second argument"):
    """Inputs, target and weights in the form that `keras.Model.fit` takes, checked.

    Args:
        model: The `VariationalAutoencoder` that reads them.
        x: Array, dict or list of arrays; anything else is left as it is.
        y: Array or None.
        sample_weight: (N,) or None.
        place: Where y was given, for the error.

    Returns:
        `(x, y, sample_weight)`.

    Raises:
        TypeError: If inputs are not numbers.
        ValueError: If lengths differ, values do not suit the likelihood, or mu stands for y.
    """
    if not is_arrays(x):
        return x, y, sample_weight
    given = {name: part for name, part in by_name(x).items() if part is not None}
    parts = {name: check_data(part, f"`{name}`") for name, part in given.items()}
    lengths = {name: len(part) for name, part in parts.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"All inputs need the same number of samples. Received: {lengths}")
    _check_values(parts, model.likelihood)
    shape, latent = parts["x"].shape, (lengths["x"], model.latent_dim)
    if model.built and shape[1:] != model.data_shape:
        raise ValueError(
            f"The model was built for samples of shape {model.data_shape}. "
            f"Received: x of shape {shape}"
        )
    for name, part in parts.items():
        if name != "x" and part.shape != latent:
            raise ValueError(f"`{name}` must have shape {latent}. Received: {part.shape}")
    if y is not None and np.shape(y)[1:] == latent[1:] != shape[1:]:
        raise ValueError(
            f"{place} is y, which this model does not need. "
            'Give mu among the inputs: {"x": x, "mu": mu}.'
        )
    if sample_weight is not None:
        sample_weight = _check_weight(sample_weight, lengths["x"])
        y = parts["x"] if y is None else y  # Keras drops the weights where there is no y
    return (parts if len(parts) > 1 else parts["x"]), y, sample_weight


def _check_values(parts, likelihood):
    """Raises ValueError unless x suits the likelihood, and variances are positive."""
    if likelihood == "bernoulli":
        check_unit_interval(parts["x"], "`x`")
    if "mu_variance" in parts:
        low, _ = storage.extent(parts["mu_variance"])
        if low <= 0:
            raise ValueError(f"`mu_variance` must be positive. Received: {low:g}")


def _check_weight(sample_weight, num_samples):
    """Weights as an array (N,)."""
    weight = np.asarray(sample_weight)
    if weight.shape not in ((num_samples,), (num_samples, 1)):
        raise ValueError(
            f"`sample_weight` must hold one number per sample, shape ({num_samples},). "
            f"Received: shape {weight.shape}"
        )
    return check_data(weight.reshape(-1, 1), "`sample_weight`")[:, 0]


def check_validation(model, data):
    """`validation_data` in the form that `keras.Model.fit` takes, checked as by `check`.

    Args:
        model: The `VariationalAutoencoder` that reads them.
        data: Inputs, or a tuple of inputs, y and weights; anything else is left as it is.
    """
    if isinstance(data, list):
        data = tuple(data)
    if isinstance(data, dict) or hasattr(data, "dtype"):
        data = (data, None)
    if isinstance(data, tuple) and is_arrays(data[0]):
        x, y, weight = (*data, None, None)[:3]
        inputs, y, weight = check(model, x, y, weight, "The second entry of `validation_data`")
        data = (inputs, y) if weight is None else (inputs, y, weight)
    return data
