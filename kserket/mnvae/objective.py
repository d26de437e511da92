"""Counts of latent words: relaxed draws, and how far their distribution is from the prior."""

import numpy as np
from keras import ops

from kserket import floors
from kserket.core.autoencoder.objective import constant


def relaxed_counts(logits, noise, temperature):
    """A sum of Gumbel-softmax draws: counts that are not whole numbers, and have a gradient.

    Args:
        logits: Tensor (B, L).
        noise: Standard Gumbel draws (B, N, L).
        temperature: A positive scalar. Toward 0 each draw is of one word.

    Returns:
        Tensor (B, L), rows summing to N.

    Reference:
        Jang, Gu and Poole, "Categorical reparameterization with Gumbel-softmax", ICLR 2017,
        equation 2.
    """
    draws = ops.softmax((ops.expand_dims(logits, 1) + noise) / temperature, axis=-1)
    return ops.sum(draws, axis=1)


def kl_divergence(logits, num_draws, prior=None):
    """KL( Multinomial(N, softmax(logits)) || Multinomial(N, prior) ) = N KL( q || p ).

    Args:
        logits: Tensor (B, L).
        num_draws: N.
        prior: Tensor (B, L) of probabilities, or None: they are equal. No gradient flows into it.

    Returns:
        Tensor (B,).
    """
    log_q = ops.log_softmax(logits, axis=-1)
    if prior is None:
        log_p = -np.float32(np.log(logits.shape[-1]))
    else:
        log_p = ops.log(ops.maximum(constant(prior), floors.smallest("float32")))
    return num_draws * ops.sum(ops.exp(log_q) * (log_q - log_p), axis=-1)


def as_counts(values, num_draws, xp=np):
    """Counts that sum to N from counts or probabilities: arrays or tensors (B, L).

    Rows of zeros or NaN, of which nothing is known, become equal counts.

    Args:
        values: Array or tensor (B, L), not negative.
        num_draws: N.
        xp: `numpy` or `keras.ops`.
    """
    known = xp.sum(values, axis=-1, keepdims=True) > 0
    values = xp.where(known, values, xp.ones_like(values))
    return num_draws * values / xp.sum(values, axis=-1, keepdims=True)
