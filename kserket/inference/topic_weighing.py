"""How much the modalities of a topic model count beside each other."""

from typing import Any, NamedTuple

import numpy as np

from kserket.inference import document_classes, word_counts

FLAT = 1e-6  # a report whose probabilities differ less says nothing


class Weighing(NamedTuple):
    """How much modalities count beside each other.

    Where topics mix every document is brought to the words asked for. Where a document is of one
    class, words are also divided by how many of them are worth one, and a report, which is no
    number of words, has its share of the largest weight as a power.

    Attributes:
        reports: Which modalities are reports, (M,).
        weights: Words asked for in each modality, one or a list of M; or None for all of them.
        is_mixed: Whether a document mixes topics.
    """

    reports: list
    weights: Any
    is_mixed: bool

    @property
    def lengths(self):
        """What every row shall sum to, for each modality; None leaves its rows unchanged."""
        weights = per_modality(self.weights, len(self.reports))
        if self.is_mixed:
            return weights
        return [None if r else w for r, w in zip(self.reports, weights, strict=True)]

    def scale(self, values):
        """Modalities at the lengths that were asked for.

        Args:
            values: M arrays (N, V_m).

        Returns:
            M arrays (N, V_m); those that need no change are the same objects.
        """
        scaled = []
        for part, length, is_report in zip(values, self.lengths, self.reports, strict=True):
            if is_report and self.is_mixed:
                part = np.where(np.ptp(part, axis=1, keepdims=True) < FLAT, 0.0, part)
            scaled.append(part if length is None else word_counts.scale(part, length))
        return scaled

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
        parts = zip(values, self.reports, self.powers(effects), strict=True)
        return [document_classes.Modality(part, r, float(power)) for part, r, power in parts]

    def prior(self, betas, effects):
        """Pseudo-counts of words that are worth what words are, `document_classes.Prior`.

        Args:
            betas: M Dirichlet parameters of words, numbers or (V_m,).
            effects: As in `powers`.
        """
        pairs = zip(betas, self.powers(effects), strict=True)
        return document_classes.Prior(tuple(beta * power for beta, power in pairs))


def per_modality(value, number=1):
    """One entry per modality from a list of them, or from one for all."""
    if isinstance(value, (list, tuple)) or np.ndim(value):
        return list(value)
    return [value] * number
