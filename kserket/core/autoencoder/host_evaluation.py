"""An autoencoder scored by one of several hosts, on rows that it has."""

import keras
import numpy as np

from kserket import storage
from kserket.core.autoencoder.inputs import by_name, is_arrays
from kserket.core.host_group import group_of

_CHUNK = 4096  # samples scored at a time


def num_hosts(model):
    """How many hosts train a model together."""
    return group_of(model.distribute_strategy).size


def mean_terms(model, x, sample_weight=None):
    """What `evaluate` gives; Keras' own loop cannot run on one host alone.

    Args:
        model: An `Autoencoder`.
        x: Array, or dict of arrays, as Keras' loops take them.
        sample_weight: (N,) or None.

    Returns:
        Dict of loss, reconstruction and kl. Metrics of the user are not there.

    Raises:
        ValueError: If x is no array.
    """
    if not is_arrays(x):
        raise ValueError(f"{model.name} evaluates arrays on several hosts. Give arrays.")
    parts = {name: part for name, part in by_name(x, model.input_names).items() if part is not None}
    num_rows = len(parts["x"])
    weight = np.ones(num_rows) if sample_weight is None else np.asarray(sample_weight, "float64")
    sums = np.zeros(2)
    for rows in storage.chunks(*parts.values(), chunk_rows=_CHUNK):
        inputs = {name: storage.read(part, rows) for name, part in parts.items()}
        terms = model._terms(inputs, model._propagate(inputs, training=False))
        sums += [weight[rows] @ keras.ops.convert_to_numpy(term) for term in terms]
    loss = (sums[0] + float(model.kl_weight.numpy()) * sums[1]) / num_rows
    loss += sum(float(penalty) for penalty in model.losses)
    reconstruction, kl = sums / weight.sum()
    return {"loss": float(loss), "reconstruction": float(reconstruction), "kl": float(kl)}
