"""The rules of modules on tensors: their terms, and whether they agree with `infer`.

`infer` in NumPy is written apart from `tensor_infer`, so that each checks the other.
"""

import numpy as np
import tensorflow as tf

from kserket import storage
from kserket.core import messages, tensors
from kserket.core.beliefs import infer, pass_messages
from kserket.core.observation import Observation
from kserket.core.passing import conclude, source_of
from kserket.core.saving import NotSaved

_ROWS, _TOLERANCE = 16, 1e-3


def read_terms(modules, dtype):
    """What each module's rule needs of its parameters as they are now.

    Args:
        modules: List of modules.
        dtype: Precision of floating-point terms.

    Returns:
        Dict from module to the `terms` of it as tensors, or None.
    """

    def as_tensor(term):
        if term is None:
            return None
        array = np.asarray(term)
        return tf.constant(array, dtype if array.dtype.kind == "f" else None)

    return {module: tf.nest.map_structure(as_tensor, module.terms()) for module in modules}


def with_samples(terms, module, num_samples):
    """The terms of a module with those of its entries that belong to samples."""
    entries = module.sample_terms(num_samples)
    if not entries:
        return terms
    return terms._replace(**{name: tf.constant(part) for name, part in entries.items()})


def probe(graph, data=None):
    """What modules conclude of a few samples by `infer`, in NumPy.

    Args:
        graph: The `Graph`, fitted.
        data: Dict from `Observation` to array: the samples to take where modules link samples. None
            takes those that the graph holds; zeros, if they were not saved.

    Returns:
        `Beliefs`.
    """
    return pass_messages(graph, _some(graph, data), len(graph.modules) + 1, _TOLERANCE)


def compare(graph, beliefs, terms, dtype="float64"):
    """Compares each module's `tensor_infer` with its `infer`.

    Args:
        graph: The `Graph`, fitted.
        beliefs: What `probe` returned.
        terms: What `read_terms` returned.
        dtype: Precision of messages.

    Raises:
        ValueError: If one says something else.
    """
    for module in terms:
        inputs, prior = beliefs.heard(module)
        heard = [tensors.from_message(message, dtype) for message in inputs]
        above = None
        if prior is not None and module.evidence_uses_prior:
            if messages.is_categorical(prior):
                prior = messages.as_categorical(prior)
            above = tensors.from_message(prior, dtype)
        own = with_samples(terms[module], module, len(inputs[0]))
        found = conclude(module.tensor_infer, own, heard, above)
        difference = _difference(infer(module, inputs, prior), found, module)
        if not difference < _TOLERANCE:
            raise ValueError(
                f"what {graph.names[module]} concludes in TensorFlow differs by {difference:.2g} "
                "from infer() in NumPy. Do its tensor_infer() and infer() say the same?"
            )


def _some(graph, data):
    """Samples to compare rules on: all there are where modules link them, else a few."""
    held = {module: module.data for module in graph.observations.values()}
    linked = any(module.links_samples for module in graph.modules if module not in held)
    if linked and data is not None:
        return data
    if any(isinstance(array, NotSaved) for array in held.values()):
        held = {m: np.zeros((len(array), *array.shape[1:])) for m, array in held.items()}
    rows = slice(None if linked else _ROWS)
    return {module: storage.read(array, rows) for module, array in held.items()}


def _difference(expected, found, module):
    """The largest difference of two inferences, relative where numbers are large."""
    pairs = [(expected.evidence, tensors.silenced(found.evidence))]
    if expected.posterior is not None and found.posterior is not None:
        pairs.append((expected.posterior, found.posterior))
    if module.sends_back:
        for source, old, new in zip(module.inputs, expected.downward, found.downward, strict=True):
            is_heard = not isinstance(source_of(source), Observation)
            if is_heard and (old is None) != (new is None):
                return np.inf
            if old is not None and new is not None:
                pairs.append((old, new))
    distances = [
        _distance(np.asarray(old), np.asarray(tensors.as_array(new))) for old, new in pairs
    ]
    return float(np.max(distances))


def _distance(expected, found):
    """The largest difference; NaN, which is less than nothing, where one alone is NaN."""
    if expected.shape != found.shape:
        return np.inf
    both = np.isnan(expected) & np.isnan(found)
    scale = max(1.0, float(np.nanmax(np.abs(expected), initial=0.0)))
    return float(np.max(np.abs(np.where(both, 0.0, found - expected)), initial=0.0)) / scale
