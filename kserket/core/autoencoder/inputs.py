"""What an autoencoder reads: x, and perhaps a prior over its latent variables."""

import h5py
import numpy as np
import tensorflow as tf

from kserket import storage
from kserket.arrays import as_numbers, check_finite
from kserket.core.checking import check_data
from kserket.core.columns import names_of
from kserket.core.named_inputs import named_inputs
from kserket.core.sources import as_array

LARGEST = 1e15  # of latent numbers and weights: squares of larger ones leave single precision
ROUNDING = 4 * np.finfo("float32").eps  # how far sums that should be 0 or 1 may lie outside


def by_name(inputs, names, is_leaf=None):
    """Inputs by name, and x_low; None where not given.

    Args:
        inputs: Data x, or a list or dict of it and the prior, of any leaves.
        names: Names of the inputs, "x" first.
        is_leaf: Function from a list to whether it is one leaf, or None: no list is.

    Returns:
        A dict. x_low is what x lacks of the value that it was rounded from.

    Raises:
        ValueError: If there are others.
    """
    if isinstance(inputs, (list, tuple)) and not (is_leaf is not None and is_leaf(inputs)):
        if not 1 <= len(inputs) <= len(names):
            raise ValueError(
                f"Inputs must be [{', '.join(names)}]. Received: a list of "
                f"{len(inputs)} items. Make rows of `x` an array: np.asarray(x)."
            )
        parts, x_low = dict(zip(names, inputs, strict=False)), None
    else:
        inputs = dict(inputs) if isinstance(inputs, dict) else {"x": inputs}
        x_low = inputs.pop("x_low", None)
        parts = named_inputs(inputs, *names[1:])
    return {**{name: parts.get(name) for name in names}, "x_low": x_low}


def among(names):
    """How a prior is given beside x, as a user writes it: '{"x": x, "mu": mu}'."""
    return f'{{"x": x, "{names[1]}": {names[1]}}}'


def is_shape(value):
    """Whether this is one shape, not several by name or in a list."""
    return all(size is None or isinstance(size, int) for size in value)


def is_arrays(x):
    """Whether x is an array, a DataFrame or a nest of such, not a dataset or generator."""
    return isinstance(x, (dict, list, tuple, h5py.Dataset)) or any(
        hasattr(x, name) for name in ("dtype", "__array__", "__dataframe__")
    )


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
            "An autoencoder needs samples of a known shape, x of shape (N, ...). "
            f"Received: shape {shape}. Batch a dataset that gives single samples; where shapes "
            "got lost, restore them: dataset.map(lambda x: tf.ensure_shape(x, (None, 64)))."
        )
    return tuple(shape[1:])


def check_unit_interval(x, name, cure='Scale it, or use likelihood="gaussian".'):
    """Checks that data suit the Bernoulli likelihood: none outside [0, 1], but for rounding.

    Args:
        x: Array (N, ...).
        name: Who holds them, for the error.
        cure: What helps, a sentence for the error.

    Raises:
        ValueError: If some do not.
    """
    low, high = storage.extent(x)
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ValueError(
            f'likelihood="bernoulli" needs data in [0, 1]. {name} ranges from {low:.9g} to '
            f"{high:.9g}. {cure}"
        )


def check(expected, x, y=None, sample_weight=None, place="The second argument"):
    """Inputs, target and weights as arrays, checked.

    Args:
        expected: What a model reads: anything with the attributes of `batches.Expected`.
        x: Array, dict or list of arrays.
        y: Array or None.
        sample_weight: (N,) or None.
        place: Where y was given, for the error.

    Returns:
        `(inputs, y, sample_weight)`, inputs a dict of `x` and what else was given.

    Raises:
        TypeError: If inputs are not numbers.
        ValueError: If lengths differ, values do not suit the likelihood, or a prior stands for y.
    """
    given = by_name(expected.by_columns(x), expected.input_names)
    y = y if names_of(y) is None else expected.by_columns({"x": y})["x"]
    given = {name: part for name, part in given.items() if part is not None}
    if "x" not in given:
        raise TypeError("`x` needs an array, or a dict or list of arrays. Received: None")
    parts = {name: check_data(part, f"`{name}`") for name, part in given.items()}
    lengths = {name: len(part) for name, part in parts.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"`{name}` of {length}" for name, length in lengths.items())
        raise ValueError(f"All inputs need the same number of samples. Received: {told}")
    if expected.likelihood == "bernoulli":
        check_unit_interval(parts["x"], "`x`")
    shape, latent = parts["x"].shape, (lengths["x"], expected.latent_dim)
    if expected.data_shape not in (None, shape[1:]):
        raise ValueError(
            f"The model was built for samples of shape {expected.data_shape}. "
            f"Received: `x` of shape {shape}"
        )
    expected.check_prior(
        {name: part for name, part in parts.items() if name != "x"}, expected.latent_dim
    )
    if y is not None and np.shape(y)[1:] == latent[1:] != shape[1:]:
        raise ValueError(
            f"{place} is y, which this model does not need. "
            f"Give {expected.input_names[1]} among the inputs: {among(expected.input_names)}."
        )
    if sample_weight is not None:
        sample_weight = _check_weight(sample_weight, lengths["x"])
        y = parts["x"] if y is None else y  # Keras drops the weights where there is no y
    return parts, y, sample_weight


def check_latent(values, name, latent_dim, num_samples=None, is_positive=False):
    """Latent vectors, or means or variances of a prior over them, as an array.

    Args:
        values: Array (N, L); if `num_samples` is given, also (L,) or a number, for all.
        name: Their name, for the error.
        latent_dim: L.
        num_samples: N, or None for any.
        is_positive: Whether they are variances.

    Raises:
        TypeError: If they are not numbers.
        ValueError: If their shape differs, or a value is not finite or not positive.
    """
    values = as_numbers(as_array(values, name), name)
    if num_samples is not None and values.ndim < 2:
        check_finite(values.reshape(-1), name)
        values = np.broadcast_to(values, (1, latent_dim if values.ndim == 0 else len(values)))
    values = check_data(values, name)
    rows = {len(values)} if num_samples is None else {1, num_samples}
    if values.shape[1:] != (latent_dim,) or len(values) not in rows:
        wanted = "N" if num_samples is None else num_samples
        raise ValueError(
            f"{name} must have shape ({wanted}, {latent_dim}). Received: {values.shape}"
        )
    if is_positive and storage.extent(values)[0] <= 0:
        raise ValueError(f"{name} must be positive. Received: {storage.extent(values)[0]:g}")
    check_size(values, name)
    return values


def check_noise(noise, num_samples, latent_dim):
    """Draws of latent noise as an array (S, N, L).

    Args:
        noise: Array (S, N, L), S of at least 1.
        num_samples: N.
        latent_dim: L.

    Raises:
        TypeError: If they are not numbers.
        ValueError: If their shape differs, or a value is not finite.
    """
    noise = as_numbers(noise, "`noise`")
    if noise.ndim != 3 or noise.shape[1:] != (num_samples, latent_dim) or len(noise) == 0:
        raise ValueError(
            f"`noise` must have shape (num_samples, {num_samples}, {latent_dim}). "
            f"Received: {noise.shape}"
        )
    check_finite(noise, "`noise`")
    check_size(noise, "`noise`")
    return noise.astype("float32")


def check_size(values, name):
    """Raises ValueError about finite numbers so large that single precision does not do."""
    largest = float(max(storage.extent(values), key=abs))
    if abs(largest) > LARGEST:
        raise ValueError(
            f"{name} must hold numbers of at most {LARGEST:g} in size. Received: {largest:g}. "
            "Scale them."
        )


def _check_weight(sample_weight, num_samples):
    """Weights as an array (N,)."""
    weight = as_numbers(sample_weight, "`sample_weight`")
    if weight.shape not in ((num_samples,), (num_samples, 1)):
        raise ValueError(
            f"`sample_weight` must hold one number per sample, shape ({num_samples},). "
            f"Received: shape {weight.shape}"
        )
    check_finite(weight, "`sample_weight`")
    check_size(weight, "`sample_weight`")
    if (weight < 0).any():
        raise ValueError(f"`sample_weight` must not be negative. Received: {weight.min():g}")
    return weight.reshape(-1)
