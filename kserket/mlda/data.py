"""What a topic model reads: modalities and class priors, checked once."""

import warnings

import numpy as np

from kserket.arrays import as_numbers
from kserket.core import messages
from kserket.core.named_inputs import class_prior, named_inputs
from kserket.core.observation import Observation
from kserket.core.user_line import user_level
from kserket.inference import topic_learning, word_counts
from kserket.inference.topic_learning import Documents

CURE = "Count something, or sort real numbers into classes with a gmm.GMM between."


def read(x, name, num_topics, weigh, sizes=None, reports=None, names=None):
    """Inputs of a model, checked.

    Args:
        x: One modality (N, V), a list of them, or a dict of `x` and `class_prior` (N, K). Of a
            fitted model a modality may be None. `Documents` are returned unchanged.
        name: Name of the model, for errors.
        num_topics: K.
        weigh: Function from reports (M,) to their `Weighing`.
        sizes: Vocabulary sizes (M,) that the model was built for; None before.
        reports: Which modalities are reports, (M,); None takes `Categorical` messages for them.
        names: What each modality is called in errors; None numbers them.

    Returns:
        `Documents`.

    Raises:
        TypeError: If a modality is not real numbers.
        ValueError: If they do not agree with each other or with the model.
    """
    if isinstance(x, Documents):
        return x
    parts = named_inputs(x, "class_prior")
    given = _modalities(parts["x"], name)
    if sizes is not None and len(given) != len(sizes):
        raise ValueError(
            f"{name} was fitted to {len(sizes)} modalities. "
            f"Received: {len(given)}. None stands for one that is missing."
        )
    rows = {part.shape[0] for part in given if part is not None}
    if len(rows) != 1 or (sizes is None and any(part is None for part in given)):
        raise ValueError(
            "Every modality needs one row per document, and data when it is first learned. "
            f"Received: {[None if p is None else np.shape(p) for p in given]}"
        )
    (num_documents,) = rows
    if reports is None:
        reports = [isinstance(part, messages.Categorical) for part in given]
    values = []
    for m, (part, is_report) in enumerate(zip(given, reports, strict=True)):
        what = f"Modality {m} of {name}" if names is None else names[m]
        if part is None:
            part = np.zeros((num_documents, sizes[m]))
        part = _read_report(part, what) if is_report else word_counts.read(part, what, CURE)
        if sizes is not None and part.shape[1] != sizes[m]:
            raise ValueError(f"{what} has {sizes[m]} words. Received: shape {part.shape}")
        values.append(part)
    prior = class_prior(parts.get("class_prior"), num_topics, num_documents, "document")
    log_prior = None if prior is None else prior.log_probs
    scaled = weigh(reports).scale(values)
    return Documents(values, scaled, reports, log_prior, _missing(given, num_documents))


def warn_of_proportions(documents, name):
    """Warns of histograms that do not say how many words they stand for.

    Args:
        documents: `Documents`.
        name: Name of the model.
    """
    pairs = zip(documents.values, documents.reports, strict=True)
    for m, (part, is_report) in enumerate(pairs):
        totals = word_counts.totals(part)
        cells = part if isinstance(part, np.ndarray) else part.data
        sums_to_one = np.allclose(totals[totals > 0], 1.0, atol=1e-3)
        if not is_report and sums_to_one and (cells != np.floor(cells)).any():
            warnings.warn(
                f"Rows of modality {m} of {name} sum to 1: a document then counts as a single "
                "word. If they are proportions, say in modality_weights (`weights` of an MLDA) how "
                "many words they stand for. If they are probabilities of classes, make them a "
                "kserket.Categorical.",
                stacklevel=user_level(),
            )


def warn_of_silence(effects, found, name):
    """Warns of words that tell no classes apart, when they are found to.

    Args:
        effects: How many words of each modality are worth one, (M,).
        found: `topic_learning.Found` of before, or None.
        name: Name of the model.
    """
    silent = topic_learning.are_silent(effects)
    if found is not None:
        silent &= ~topic_learning.are_silent(found.effects)
    for m in np.flatnonzero(silent):
        warnings.warn(
            f"Words of modality {m} of {name} have nothing to do with the classes that the others "
            "tell, and show none of their own. They count for nothing until they do; "
            "design_effects=1 believes every word.",
            stacklevel=user_level(),
        )


def _modalities(given, name):
    """Modalities, one or a list: messages, sparse matrices, arrays (N, V) or None."""
    several = isinstance(given, (list, tuple))
    parts = []
    for m, part in enumerate(given if several else [given]):
        if not (part is None or isinstance(part, messages.Message) or hasattr(part, "tocsr")):
            part = as_numbers(part, f"Modality {m} of {name}", allow_missing=True)
        if several and np.ndim(part) == 1:
            raise ValueError(
                f"{name} takes a list of modalities, each an array (N, V). Received: a list of "
                "rows. Make them one array: np.array(rows)."
            )
        if part is not None and not part.shape:
            raise ValueError(f"{name} needs counts of shape (N, V). Received: one number")
        parts.append(part)
    return parts


def _missing(given, num_documents):
    """Which documents have not been observed in any modality, (N,); None if all have."""
    masks = []
    for part in given:
        mask = np.ones(num_documents, bool) if part is None else _missing_rows(part)
        if mask is None:
            return None
        masks.append(mask)
    missing = np.logical_and.reduce(masks)
    return missing if missing.any() else None


def _missing_rows(part):
    """Which rows of a modality are missing, (N,), or None; a sparse one holds zeros, not NaN."""
    return None if hasattr(part, "tocsr") else messages.missing_rows(part)


def _read_report(part, name):
    """Class probabilities (N, V), rows that say nothing at zero."""
    if not isinstance(part, messages.Categorical):
        part = np.array(as_numbers(part, name, allow_missing=True), "float64")
        silent = np.isnan(part).all(axis=1) | (part == 0).all(axis=1)
        part = messages.Categorical(np.nan_to_num(part), silent)
    if part.missing is None:
        return part.probs
    return np.where(part.missing[:, None], 0.0, part.probs)


def find_reports(modules, inputs):
    """Which inputs state class probabilities, (M,) booleans.

    Args:
        modules: The M modules that sent them.
        inputs: Arrays or messages (N, V_m).
    """
    return [
        not isinstance(module, Observation) and _states_classes(message)
        for module, message in zip(modules, inputs, strict=True)
    ]


def _states_classes(message):
    """Whether a message holds class probabilities, whatever rows are missing."""
    missing = messages.missing_rows(message)
    if isinstance(message, messages.Message) or missing is None:
        return messages.is_categorical(message)
    return not missing.all() and messages.is_categorical(np.asarray(message)[~missing])
