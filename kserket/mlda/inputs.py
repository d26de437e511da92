"""What a topic model reads: modalities checked, and brought to the length they count with."""

import warnings
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kserket.arrays import as_numbers
from kserket.core import messages
from kserket.core.named_inputs import class_prior, named_inputs
from kserket.inference import document_classes, word_counts
from kserket.mlda.options import per_modality

_FLAT = 1e-6  # a report whose probabilities differ less says nothing


class Documents(NamedTuple):
    """Checked inputs.

    Attributes:
        values: M arrays (N, V_m), rows of zeros say nothing.
        reports: Which of them are reports.
        log_prior: Logarithms (N, K) of the class prior, or None.
    """

    values: list
    reports: list
    log_prior: np.ndarray | None

    @property
    def class_prior(self):
        """Probabilities (N, K), or None."""
        return None if self.log_prior is None else np.exp(self.log_prior)


class Weighing(NamedTuple):
    """How much modalities count beside each other.

    Where topics mix every document is brought to the words asked for. Where a document is of one
    class, words are also divided by how many of them are worth one, and a report, which is no
    number of words, has its share of the largest weight as a power.

    Attributes:
        reports: Which modalities are reports, (M,).
        weights: Words asked for in each modality, a list of M; or None for all of them.
        is_mixed: Whether a document mixes topics.
    """

    reports: list
    weights: Any
    is_mixed: bool

    @property
    def lengths(self):
        """What every row shall sum to, for each modality; None leaves it as it is."""
        weights = per_modality(self.weights, len(self.reports))
        if self.is_mixed:
            return weights
        return [None if r else w for r, w in zip(self.reports, weights, strict=True)]

    def scale(self, values):
        """Modalities at the lengths that were asked for.

        Args:
            values: M arrays (N, V_m).
        """
        scaled = []
        for part, length, is_report in zip(values, self.lengths, self.reports, strict=True):
            if is_report and self.is_mixed:
                part = np.where(np.ptp(part, axis=1, keepdims=True) < _FLAT, 0.0, part)
            scaled.append(part if length is None else word_counts.scale(part, length))
        return scaled

    def tensor_scale(self, values, m):
        """`scale` of one modality in TensorFlow operations; rows of NaN become zeros.

        Args:
            values: Tensor (N, V_m).
            m: Its number.
        """
        missing = tf.reduce_all(tf.not_equal(values, values), axis=1, keepdims=True)
        values = tf.where(missing, tf.zeros_like(values), values)
        if self.reports[m] and self.is_mixed:
            flat = tf.reduce_max(values, 1, True) - tf.reduce_min(values, 1, True) < _FLAT
            values = tf.where(flat, tf.zeros_like(values), values)
        length = self.lengths[m]
        if length is None:
            return values
        return values * tf.math.divide_no_nan(
            tf.cast(length, values.dtype), tf.reduce_sum(values, axis=1, keepdims=True)
        )

    def powers(self, effects):
        """Power of each modality's likelihood, (M,).

        Args:
            effects: How many words of each modality are worth one, (M,).
        """
        powers = 1.0 / np.asarray(effects)
        if self.weights is not None and not self.is_mixed:
            weights = np.array(per_modality(self.weights, len(powers)), float)
            powers = np.where(self.reports, powers * weights / weights.max(), powers)
        return powers

    def modalities(self, values, effects):
        """`inference.document_classes.Modality` of each.

        Args:
            values: M scaled arrays (N, V_m).
            effects: As in `powers`.
        """
        return [
            document_classes.Modality(part, is_report, float(power))
            for part, is_report, power in zip(
                values, self.reports, self.powers(effects), strict=True
            )
        ]


def read(x, name, num_topics, sizes=None, reports=None):
    """Inputs of a model, checked, as they are.

    Args:
        x: One modality, a list of them, or a dict of `x` and `class_prior`.
        name: Name of the model, for errors.
        num_topics: K.
        sizes: Vocabulary sizes (M,) that the model was built for; None before.
        reports: Which modalities the model knows as reports; None before it is built.

    Returns:
        `Documents`.

    Raises:
        TypeError: If a modality is not real numbers.
        ValueError: If they do not agree with each other or with the model.
    """
    parts = named_inputs(x, "class_prior")
    given = _modalities(parts["x"], name)
    if sizes is not None and len(given) != len(sizes):
        raise ValueError(
            f"{name} was fitted to {len(sizes)} modalities. "
            f"Received: {len(given)}. None stands for one that is missing."
        )
    if reports is None:
        reports = [isinstance(part, messages.Categorical) for part in given]
    rows = {part.shape[0] for part in given if part is not None}
    if len(rows) != 1 or (sizes is None and any(part is None for part in given)):
        raise ValueError(
            "Every modality needs one row per document, and data when it is first learned. "
            f"Received: {[None if p is None else np.shape(p) for p in given]}"
        )
    (num_documents,) = rows
    values = []
    for m, (part, is_report) in enumerate(zip(given, reports, strict=True)):
        if part is None:
            part = np.zeros((num_documents, sizes[m]))
        what = f"Modality {m} of {name}"
        part = _read_report(part, what) if is_report else word_counts.read(part, what)
        if sizes is not None and part.shape[1] != sizes[m]:
            raise ValueError(
                f"Modality {m} of {name} has {sizes[m]} words. Received: shape {part.shape}"
            )
        values.append(part)
    prior = class_prior(parts.get("class_prior"), num_topics, num_documents, "document")
    return Documents(values, reports, None if prior is None else prior.log_probs)


def warn_of_proportions(values, reports, name):
    """Warns of histograms that do not say how many words they stand for.

    Args:
        values: M arrays (N, V_m), as `read` has them.
        reports: Which of them are reports, (M,).
        name: Name of the model.
    """
    for m, (part, is_report) in enumerate(zip(values, reports, strict=True)):
        totals = word_counts.totals(part)
        cells = part if isinstance(part, np.ndarray) else part.data
        sums_to_one = np.allclose(totals[totals > 0], 1.0, atol=1e-3)
        if not is_report and sums_to_one and (cells != np.floor(cells)).any():
            warnings.warn(
                f"Rows of modality {m} of {name} sum to 1: a document then counts as a single "
                "word. If they are proportions, say in modality_weights (`weights` of an MLDA) how "
                "many words they stand for. If they are probabilities of classes, make them a "
                "kserket.Categorical.",
                stacklevel=5,  # where fit() was called
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


def _read_report(part, name):
    """Class probabilities (N, V), rows that say nothing at zero."""
    if not isinstance(part, messages.Categorical):
        part = np.array(as_numbers(part, name, allow_missing=True), "float64")
        silent = np.isnan(part).all(axis=1) | (part == 0).all(axis=1)
        part = messages.Categorical(np.nan_to_num(part), silent)
    if part.missing is None:
        return part.probs
    return np.where(part.missing[:, None], 0.0, part.probs)
