"""What is concluded of each document's topic, on NumPy arrays and on tensors alike."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kserket.inference import topic_model

SMALLEST = 1e-300
_FOLD_IN_SWEEPS = 200
_TINY = np.finfo("float32").tiny


class Beliefs(NamedTuple):
    """Logarithms (N, K), not normalised, as arrays or tensors.

    Attributes:
        evidence: What the document says, without any class prior.
        others: One for each modality: what all others, and the class prior, say.
        posterior: Evidence times class prior.
    """

    evidence: Any
    others: list
    posterior: Any


def of_classes(logs, log_weights, log_prior):
    """`Beliefs` where a document has one topic.

    Args:
        logs: What each modality says of it, M of (N, K).
        log_weights: Of the topics, (K,).
        log_prior: Class prior in their place, (N, K); or None.
    """
    total = sum(logs[1:], start=logs[0])
    above = log_weights if log_prior is None else log_prior
    others = [above + (total - own) if len(logs) > 1 else above + 0.0 * total for own in logs]
    return Beliefs(total + log_weights if log_prior is None else total, others, total + above)


def of_proportions(values, topics, alphas, log_prior):
    """`Beliefs` where a document mixes topics.

    Args:
        values: M arrays (N, V_m), rows of zeros say nothing.
        topics: M arrays (K, V_m), P(word | topic).
        alphas: Dirichlet parameters of topics, (K,).
        log_prior: Class prior, (N, K); or None.
    """

    def log_proportions(*parts):
        return np.log(topic_model.proportions(*parts, alphas))

    shape = values[0].shape[0], len(alphas)
    alone = np.log(np.broadcast_to(alphas / alphas.sum(), shape))
    return _of_proportions(log_proportions, values, topics, alone, log_prior)


def tensor_of_proportions(values, topics, alphas, log_prior):
    """`of_proportions` in TensorFlow operations: `alphas` are an array, all else tensors."""

    def log_proportions(*parts):
        return tf.math.log(tensor_proportions(*parts, alphas))

    log_weights = tf.constant(np.log(alphas / alphas.sum())[None], values[0].dtype)
    alone = tf.zeros((tf.shape(values[0])[0], 1), values[0].dtype) + log_weights
    return _of_proportions(log_proportions, values, topics, alone, log_prior)


def _of_proportions(log_proportions, values, topics, alone, log_prior):
    """`Beliefs` from a function of modalities and their topics; `alone` is what nothing says."""
    above, every = 0.0 if log_prior is None else log_prior, range(len(values))
    evidence, others = log_proportions(values, topics), [alone + above]
    if len(values) > 1:
        used = [[other for other in every if other != m] for m in every]
        others = [
            log_proportions([values[m] for m in part], [topics[m] for m in part]) + above
            for part in used
        ]
    return Beliefs(evidence, others, evidence + above)


def probabilities(logs):
    """Rows (N, K) that sum to one, from logarithms; an array."""
    result = np.exp(logs - logs.max(axis=1, keepdims=True))
    return result / result.sum(axis=1, keepdims=True)


def tensor_log_likelihood(values, topics, power, is_report):
    """log P(modality | topic): a tensor (N, K).

    Args:
        values: Tensor (N, V), rows of zeros say nothing.
        topics: Tensor (K, V), P(word | topic).
        power: Of the likelihood, a number.
        is_report: Whether the modality is one.
    """
    power = tf.constant(power, values.dtype)
    if not is_report:
        return power * (values @ tf.transpose(tf.math.log(topics)))
    likelihood = values @ tf.transpose(topics)
    spoken = tf.reduce_sum(values, axis=1, keepdims=True) > 0
    likelihood = tf.where(spoken, likelihood, tf.ones_like(likelihood))
    return power * tf.math.log(tf.maximum(likelihood, _TINY))


def tensor_proportions(values, topics, alphas):
    """`inference.topic_model.proportions`, every document as often as any may need: a tensor.

    Args:
        values: M tensors (N, V_m).
        topics: M tensors (K, V_m).
        alphas: (K,).
    """
    alpha = tf.constant(alphas, values[0].dtype)[None]
    theta = tf.zeros((tf.shape(values[0])[0], 1), alpha.dtype) + alpha / tf.reduce_sum(alpha)

    def sweep(theta):
        total = alpha
        for part, phi in zip(values, topics, strict=True):
            ratio = part / tf.maximum(theta @ phi, _TINY)
            total += theta * (ratio @ tf.transpose(phi))
        return total / tf.reduce_sum(total, axis=1, keepdims=True)

    _, theta = tf.while_loop(
        lambda count, theta: count < _FOLD_IN_SWEEPS,
        lambda count, theta: (count + 1, sweep(theta)),
        (tf.constant(0), theta),
    )
    return theta
