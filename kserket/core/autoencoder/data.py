"""What an autoencoder's module learns from, read once."""

from typing import Any, NamedTuple

import numpy as np

from kserket import storage


class Data(NamedTuple):
    """Checked inputs of an autoencoder.

    Attributes:
        x: Array (N, ...), NaN where rows are missing.
        prior: Dict of the parts of the prior, by the names of the model's inputs, arrays (N, L).
        missing: Which rows are missing, (N,), or None.
    """

    x: Any
    prior: dict
    missing: Any = None

    def observed(self):
        """The rows that are not missing, as the model's inputs by name."""
        parts = {"x": self.x, **self.prior}
        if self.missing is None:
            return parts
        rows = np.flatnonzero(~self.missing)
        return {name: storage.take(part, rows) for name, part in parts.items()}

    def filled(self, values, expected):
        """Values (N, L) of the rows that are not missing, and what is expected of the others.

        Args:
            values: Array (N, L).
            expected: Array (N, L), or one number for all.
        """
        if self.missing is None:
            return values
        expected = np.broadcast_to(expected, values.shape)
        return storage.apply(_where_missing, values, self.missing, expected)


def _where_missing(values, missing, expected):
    return np.where(missing[:, None], expected, values).astype("float32")
