"""What is not sent down: a module's own words back to it."""

import numpy as np

from kserket.core import messages


def without_echo(module, inputs, prior, downward):
    """What a module sends down, without what says nothing of a sample.

    What is sent to an input rests on the other inputs and on what came from above. Where these say
    nothing of a sample, only the module's own parameters are left: on average, what the input
    itself has said. A classifier below needs that as its class prior. A module that learns toward
    what it hears would learn from its own echo, so nothing is sent to it.

    Args:
        module: The `Module` that sends.
        inputs: List of what it read, messages or arrays.
        prior: The product of what came from above, or None.
        downward: List of messages, one per input; None sends nothing.

    Returns:
        Such a list.
    """
    if not module.leaves_out_inputs:
        return downward
    heard = [*zip(module.inputs, inputs, strict=True), (None, prior)]
    heard = [(sender, message) for sender, message in heard if message is not None]
    return [
        _where_told(message, [other for sender, other in heard if sender is not source])
        if message is not None and _learns_toward_prior(source)
        else message
        for source, message in zip(module.inputs, downward, strict=True)
    ]


def _learns_toward_prior(module):
    """Whether what comes from above shapes what a module learns, and not what it concludes."""
    while module.passes_through:
        (module,) = module.inputs
    return module.trainable is not None and not module.evidence_uses_prior


def _where_told(message, others):
    """A message (N, K), silent in rows of which the others say nothing; None if that is all."""
    masks = [messages.missing_rows(other) for other in others]
    if any(mask is None for mask in masks):
        return message
    silent = np.logical_and.reduce(masks) if masks else np.array(True)
    if silent.all():
        return None
    log_probs = messages.as_categorical(np.asarray(message)).log_probs
    return messages.Categorical.from_log(log_probs, silent)
