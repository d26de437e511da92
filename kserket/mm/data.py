"""What a chain learns and infers from: reports of N steps, read and checked once."""

from typing import NamedTuple

import numpy as np

from kserket.arrays import as_numbers
from kserket.core import messages
from kserket.core.named_inputs import class_prior, class_probabilities
from kserket.inference.sequences import check_lengths


class Data(NamedTuple):
    """Steps, sequences one after another; fields are arguments of `inference.reported_chain`."""

    log_reported: np.ndarray  # (N, K) what is reported of each step's class; missing: all equal
    log_prior: np.ndarray | None  # (N, K) log class prior of each step
    lengths: np.ndarray | None  # (S,) lengths of the sequences; None is one


def read(reported, prior=None, lengths=None, num_states=None, name="`x`"):
    """Reads reports and class prior.

    Args:
        reported: `Categorical`, or array (N, K) whose rows are probabilities. A row that is NaN or
            masked throughout is a missing step.
        prior: `Categorical`, array (N, K) or None.
        lengths: Lengths of the sequences (S,), or None.
        num_states: K; None takes it from the reports.
        name: What the reports are, for errors.

    Returns:
        `Data`.

    Raises:
        TypeError: If something holds no numbers.
        ValueError: If there is no step, or rows are no probabilities of K classes, or shapes and
            lengths do not fit.
    """
    if not isinstance(reported, messages.Message):
        reported = as_numbers(reported, name, allow_missing=True)
        missing = messages.missing_rows(reported) if reported.ndim == 2 and reported.size else None
        if missing is not None:
            reported = np.where(missing[:, None], 1.0 / reported.shape[1], reported)
    if len(reported.shape) == 2:
        num_states = reported.shape[1] if num_states is None else num_states
        if not len(reported):
            raise ValueError(f"{name} needs one step at least. Received: shape {reported.shape}")
    reported = class_probabilities(reported, name, num_states)
    prior = class_prior(prior, reported.shape[1], len(reported), "step")
    if lengths is not None:
        lengths = check_lengths(lengths, len(reported))
    return Data(reported.log_probs, None if prior is None else prior.log_probs, lengths)
