"""What the head reads, checked once."""

from typing import Any, NamedTuple

import numpy as np

from kserket.core import messages


class Data(NamedTuple):
    """Classes from below, and targets.

    Attributes:
        log_probs: Log class probabilities (N, K) from below, 0 in rows that say nothing.
        seen: Which rows say something, (N,).
        log_prior: Log probabilities (N, K) from above, or None.
        y: Targets (N, ...), float64, 0 where they are missing.
        told: Which targets are there, (N,).
    """

    log_probs: np.ndarray
    seen: np.ndarray
    log_prior: np.ndarray | None
    y: np.ndarray
    told: np.ndarray

    @property
    def belief(self) -> np.ndarray:
        """Class probabilities (N, K) of all but the target."""
        logs = self.log_probs if self.log_prior is None else self.log_probs + self.log_prior
        return messages.Categorical.from_log(logs).probs


def read(inputs: list[Any], prior: Any, owner: str) -> Data:
    """Turns two inputs and a message from above into arrays.

    Args:
        inputs: Class probabilities (N, K), and targets (N, ...).
        prior: Class probabilities (N, K), or None.
        owner: Name of the module that reads, for errors.

    Returns:
        `Data`.

    Raises:
        ValueError: If there are not two, or one is something else.
    """
    if len(inputs) != 2:
        raise ValueError(
            f"{owner} reads two modules, a classifier and a target: nn1.connect(gmm1, obs2). "
            f"Received: {len(inputs)}"
        )
    try:
        classes = messages.without_gaps(inputs[0])
        above = None if prior is None else messages.as_categorical(prior, classes.shape[1])
    except ValueError as error:
        raise ValueError(
            f"{owner} needs class probabilities from above, and of its first input, such as a GMM "
            f"sends. {error}"
        ) from error
    y, unseen = np.asarray(inputs[1], "float64"), classes.missing
    missing = messages.missing_rows(inputs[1])
    told = np.ones(len(y), bool) if missing is None else ~np.asarray(missing)
    seen = np.ones(len(y), bool) if unseen is None else ~unseen
    log_probs = np.where(seen[:, None], classes.log_probs, 0.0)
    y = np.where(told.reshape(-1, *[1] * (y.ndim - 1)), y, 0.0)
    return Data(log_probs, seen, None if above is None else above.log_probs, y, told)
