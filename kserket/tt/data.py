"""What experts say, read once."""

from typing import NamedTuple

import numpy as np

from kserket.core import messages


class Data(NamedTuple):
    """The evidence of M experts about N samples and K classes.

    Attributes:
        log_evidence: Array (M, N, K), each expert's columns in its own numbering; rows of zeros
            where it has not seen the sample.
        seen: Boolean array (M, N).
        log_prior: Array (N, K) from above, or None.
    """

    log_evidence: np.ndarray
    seen: np.ndarray
    log_prior: np.ndarray | None

    @property
    def missing(self):
        """Which samples no expert has seen, (N,), or None if each was seen."""
        unseen = ~self.seen.any(axis=0)
        return unseen if unseen.any() else None


def read(inputs, prior, sources, owner):
    """Checks what experts sent.

    Args:
        inputs: List of `Categorical` messages or arrays (N, K), one per expert.
        prior: `Categorical` (N, K), or None.
        sources: Names of the experts, for errors.
        owner: Name of the module that reads, for errors.

    Returns:
        `Data`.

    Raises:
        ValueError: If there are fewer than two, one sends no class probabilities, or their numbers
            of classes differ.
    """
    if len(inputs) < 2:
        raise ValueError(
            f"{owner} joins two modules or more that send class probabilities (N, K). "
            f"Received: {len(inputs)}"
        )
    spoken = []
    for message, source in zip(inputs, sources, strict=True):
        try:
            spoken.append(messages.without_gaps(message))
        except ValueError as error:
            raise ValueError(
                f"{owner} reads class probabilities (N, K), such as a GMM sends. What {source} "
                f"sends is not that: {error}"
            ) from None
    sizes = [message.shape[1] for message in spoken]
    if len(set(sizes)) > 1:
        sent = ", ".join(f"{size} by {source}" for size, source in zip(sizes, sources, strict=True))
        raise ValueError(
            f"{owner} needs modules with equal numbers of classes. Received: {sent}. Make them "
            "with one K."
        )
    if prior is not None:
        try:
            prior = messages.as_categorical(prior, sizes[0]).log_probs
        except ValueError as error:
            raise ValueError(f"{owner} needs class probabilities from above. {error}") from error
    seen = np.ones((len(spoken), len(spoken[0])), bool)
    for row, message in zip(seen, spoken, strict=True):
        if message.missing is not None:
            row &= ~message.missing
    evidence = np.stack([message.log_probs for message in spoken])
    return Data(np.where(seen[..., None], evidence, 0.0), seen, prior)
