"""What a variational autoencoder reads: x, and perhaps mean and variance of its prior."""

import numpy as np

from kserket import storage
from kserket.core.inputs import named_inputs

NAMES = ("x", "mu", "mu_variance")


def by_name(inputs, is_leaf=None):
    """Inputs by name: x, mu, mu_variance (None where not given)."""
    if isinstance(inputs, (list, tuple)) and not (is_leaf is not None and is_leaf(inputs)):
        if not 1 <= len(inputs) <= 3:
            raise ValueError(f"Inputs must be [x, mu, mu_variance]. Received: {len(inputs)} items")
        return dict(zip(NAMES, [*inputs, None, None][:3], strict=True))
    parts = named_inputs(inputs, *NAMES[1:])
    return {name: parts.get(name) for name in NAMES}


def is_shape(value):
    return all(size is None or isinstance(size, int) for size in value)


def is_arrays(x):
    """Whether x is an array or a nest of arrays, not a dataset or generator."""
    return isinstance(x, (dict, list, tuple)) or hasattr(x, "dtype")


def check(x, y, sample_weight, latent_dim, likelihood):
    """Inputs and target as `keras.Model.fit` reads them aright.

    Args:
        x: Array, dict or list of arrays; anything else is left as it is.
        y: Array or None.
        sample_weight: (N,) or None.
        latent_dim: L.
        likelihood: "bernoulli" or "gaussian".

    Returns:
        `(x, y)`.

    Raises:
        ValueError: If lengths differ, values do not suit the likelihood, or mu stands for y.
    """
    if not is_arrays(x):
        return x, y
    parts = {name: part for name, part in by_name(x).items() if part is not None}
    lengths = {name: len(part) for name, part in parts.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"All inputs need the same number of samples. Received: {lengths}")
    _check_values(parts, likelihood)
    latent = (lengths["x"], latent_dim)
    for name in parts.keys() - {"x"}:
        if np.shape(parts[name]) != latent:
            raise ValueError(
                f"`{name}` must have shape {latent}. Received: {np.shape(parts[name])}"
            )
    if y is not None and np.shape(y) == latent and np.shape(parts["x"]) != latent:
        raise ValueError(
            "The second argument of `fit` is y, which this model does not need. "
            'Give mu among the inputs: fit({"x": x, "mu": mu}).'
        )
    if sample_weight is not None and y is None:
        y = parts["x"]  # Keras drops the weights where there is no y
    return (parts if len(parts) > 1 else parts["x"]), y


def _check_values(parts, likelihood):
    """Raises ValueError unless inputs are finite and suit the likelihood."""
    for name, part in parts.items():
        low, high = storage.extent(np.asarray(part))
        if not storage.every(np.isfinite, np.asarray(part)):
            raise ValueError(f"`{name}` holds values that are not finite. Remove or impute them.")
        if name == "x" and likelihood == "bernoulli" and (low < 0 or high > 1):
            raise ValueError(
                'likelihood="bernoulli" needs data in [0, 1]. '
                f'Received: {low:g} to {high:g}. Scale them, or use likelihood="gaussian".'
            )
        if name == "mu_variance" and low <= 0:
            raise ValueError(f"`mu_variance` must be positive. Received: {low:g}")


def check_validation(data, latent_dim, likelihood):
    """Validation data as `keras.Model.fit` reads them aright; as `check` for the rest."""
    if isinstance(data, list):
        data = tuple(data)
    if isinstance(data, tuple) and len(data) == 2 and np.shape(data[1])[-1:] == (latent_dim,):
        raise ValueError(
            "Keras reads validation_data=(x, mu) as (x, y). "
            'Give mu among the inputs: validation_data={"x": x, "mu": mu}.'
        )
    if isinstance(data, dict) or hasattr(data, "dtype"):
        data = (data, None)
    if isinstance(data, tuple) and is_arrays(data[0]):
        weight = data[2] if len(data) == 3 else None
        y = data[1] if len(data) > 1 else None
        inputs, y = check(data[0], y, weight, latent_dim, likelihood)
        data = (inputs, y) if weight is None else (inputs, y, weight)
    return data
