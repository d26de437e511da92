"""What is concluded of each document's topic, on NumPy arrays and on tensors alike."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kserket import floors
from kserket.core import messages, tensors
from kserket.inference import document_classes, topic_model
from kserket.inference.topic_weighing import FLAT

_FOLD_IN_SWEEPS = 200


class TopicBeliefs(NamedTuple):
    """Logarithms (N, K), not normalized, as arrays or tensors.

    Attributes:
        evidence: What the document says, without any class prior.
        others: One for each modality: what all others, and the class prior, say.
        posterior: Evidence times class prior.
    """

    evidence: Any
    others: list
    posterior: Any


class Terms(NamedTuple):
    """What the rule needs of a model's parameters, arrays or tensors.

    Attributes:
        topics: P(word | topic), M of (K, V_m).
        log_weights: Logarithms of the topics' own weights, (K,).
        powers: Power of each modality's likelihood, (M,); None where topics mix.
        alphas: Dirichlet parameters of topics in a document, (K,); None where they do not mix.
        topic_of_class: For each modality the topic of each of its classes, (K,) integers, or None
            where its classes are not the topics.
    """

    topics: list
    log_weights: Any
    powers: Any = None
    alphas: Any = None
    topic_of_class: Any = None

    def cast(self, dtype):
        """The same as tensors, floating-point ones in another precision."""

        def as_tensor(part):
            is_index = np.issubdtype(tf.as_dtype(part.dtype).as_numpy_dtype, np.integer)
            return tf.convert_to_tensor(part) if is_index else tf.cast(part, dtype)

        return tf.nest.map_structure(lambda p: None if p is None else as_tensor(p), self)


def beliefs(data, weighing, found, terms):
    """What documents say.

    Args:
        data: `topic_learning.Documents`.
        weighing: `Weighing`.
        found: `topic_learning.Found`.
        terms: `Terms` of arrays.

    Returns:
        `TopicBeliefs` of arrays.
    """
    if weighing.is_mixed:
        return _of_proportions(
            lambda *parts: np.log(topic_model.proportions(*parts, terms.alphas)),
            data.scaled,
            terms,
            np.broadcast_to(terms.log_weights, (data.scaled[0].shape[0], len(terms.alphas))),
            data.log_prior,
        )
    modalities = weighing.modalities(data.scaled, found.effects)
    pairs = zip(modalities, terms.topics, strict=True)
    logs = [document_classes.modality_log_likelihood(*pair) for pair in pairs]
    return _of_classes(logs, terms.log_weights, data.log_prior)


def tensor_beliefs(values, log_prior, weighing, terms):
    """`beliefs` in TensorFlow operations.

    Args:
        values: M tensors (N, V_m), rows of NaN missing.
        log_prior: Tensor (N, K) or None.
        weighing: `Weighing`.
        terms: `Terms` of tensors, in the precision of `values`.

    Returns:
        `TopicBeliefs` of tensors.
    """
    values = [_tensor_scale(part, m, weighing) for m, part in enumerate(values)]
    if weighing.is_mixed:
        alone = tf.zeros((tf.shape(values[0])[0], 1), values[0].dtype) + terms.log_weights
        return _of_proportions(
            lambda *parts: tf.math.log(_tensor_proportions(*parts, terms.alphas)),
            values,
            terms,
            alone,
            log_prior,
        )
    parts = zip(values, terms.topics, tf.unstack(terms.powers), weighing.reports, strict=True)
    logs = [_tensor_log_likelihood(*part) for part in parts]
    return _of_classes(logs, terms.log_weights, log_prior)


def _of_classes(logs, log_weights, log_prior):
    """`TopicBeliefs` where a document has one topic.

    Args:
        logs: What each modality says of it, M of (N, K).
        log_weights: Of the topics, (K,).
        log_prior: Class prior instead of them, (N, K); or None.
    """
    total = sum(logs[1:], start=logs[0])
    above = log_weights if log_prior is None else log_prior
    others = [above + (total - own) if len(logs) > 1 else above + 0.0 * total for own in logs]
    return TopicBeliefs(total + log_weights if log_prior is None else total, others, total + above)


def _of_proportions(log_proportions, values, terms, alone, log_prior):
    """`TopicBeliefs` where a document mixes topics.

    Args:
        log_proportions: Function from modalities and their topics to log proportions (N, K).
        values: M arrays or tensors (N, V_m), rows of zeros say nothing.
        terms: `Terms`.
        alone: Log proportions (N, K) of a document without a word.
        log_prior: Class prior, (N, K); or None.
    """
    above, topics = 0.0 if log_prior is None else log_prior, terms.topics
    evidence, others = log_proportions(values, topics), [alone + above]
    if len(values) > 1:
        used = [[other for other in range(len(values)) if other != m] for m in range(len(values))]
        others = [
            log_proportions([values[m] for m in part], [topics[m] for m in part]) + above
            for part in used
        ]
    return TopicBeliefs(evidence, others, evidence + above)


def downward(others, terms, reports, words):
    """What each input hears: P(word | what the others say), or of a report P(class | it).

    Args:
        others: What all other inputs say, M logarithms (N, K).
        terms: `Terms`.
        reports: Whether each input is a report, M booleans.
        words: `ArrayWords` or `TensorWords`.

    Returns:
        List of M messages (N, V_m).
    """
    heard = []
    for logs, topics, order, is_report in zip(
        others, terms.topics, terms.topic_of_class, reports, strict=True
    ):
        if order is not None:
            heard.append(words.topics(logs, order))
        elif is_report:
            heard.append(words.classes(logs, topics))
        else:
            heard.append(words.counted(logs, topics))
    return heard


class ArrayWords:
    """Messages to inputs, of arrays: of topics in another order, of classes, and of words."""

    @staticmethod
    def topics(logs, order):
        log_probs = messages.Categorical.from_log(logs).log_probs
        return messages.Categorical.from_log(log_probs[:, order])

    @staticmethod
    def classes(logs, topics):
        return messages.Categorical(messages.Categorical.from_log(logs).probs @ topics)

    @staticmethod
    def counted(logs, topics):
        theta = messages.Categorical.from_log(logs).probs
        shape = len(theta), topics.shape[1]
        return messages.Deferred(shape, lambda: (theta @ topics).astype("float32"))


class TensorWords:
    """The same, of tensors."""

    @staticmethod
    def topics(logs, order):
        return tensors.from_log(tf.gather(logs, order, axis=1))

    @staticmethod
    def classes(logs, topics):
        return tensors.from_log(tf.math.log(TensorWords.counted(logs, topics)))

    @staticmethod
    def counted(logs, topics):
        return tf.nn.softmax(logs) @ topics


def probabilities(logs):
    """Rows (N, K) that sum to one, from logarithms; an array."""
    result = np.exp(logs - logs.max(axis=1, keepdims=True))
    return result / result.sum(axis=1, keepdims=True)


def _tensor_scale(values, m, weighing):
    """`Weighing.scale` of one modality; rows of NaN become zeros.

    Args:
        values: Tensor (N, V_m).
        m: Its number.
        weighing: `Weighing`.
    """
    missing = tf.reduce_all(tf.not_equal(values, values), axis=1, keepdims=True)
    values = tf.where(missing, tf.zeros_like(values), values)
    if weighing.reports[m] and weighing.is_mixed:
        flat = tf.reduce_max(values, 1, True) - tf.reduce_min(values, 1, True) < FLAT
        values = tf.where(flat, tf.zeros_like(values), values)
    length = weighing.lengths[m]
    if length is None:
        return values
    return values * tf.math.divide_no_nan(
        tf.cast(length, values.dtype), tf.reduce_sum(values, axis=1, keepdims=True)
    )


def _tensor_log_likelihood(values, topics, power, is_report):
    """log P(modality | topic): a tensor (N, K).

    Args:
        values: Tensor (N, V), rows of zeros say nothing.
        topics: Tensor (K, V), P(word | topic).
        power: Of the likelihood, a scalar tensor.
        is_report: Whether the modality is one.
    """
    if not is_report:
        return power * (values @ tf.transpose(tf.math.log(topics)))
    likelihood = values @ tf.transpose(topics)
    spoken = tf.reduce_sum(values, axis=1, keepdims=True) > 0
    likelihood = tf.where(spoken, likelihood, tf.ones_like(likelihood))
    return power * tf.math.log(tf.maximum(likelihood, floors.smallest(likelihood.dtype)))


def _tensor_proportions(values, topics, alphas):
    """`inference.topic_model.proportions`, every document as often as any may need: a tensor.

    Args:
        values: M tensors (N, V_m).
        topics: M tensors (K, V_m).
        alphas: Tensor (K,).
    """
    alpha = alphas[None]
    theta = tf.zeros((tf.shape(values[0])[0], 1), alpha.dtype) + alpha / tf.reduce_sum(alpha)

    def sweep(theta):
        total = alpha
        for part, phi in zip(values, topics, strict=True):
            ratio = part / tf.maximum(theta @ phi, floors.smallest(alpha.dtype))
            total += theta * (ratio @ tf.transpose(phi))
        return total / tf.reduce_sum(total, axis=1, keepdims=True)

    _, theta = tf.while_loop(
        lambda count, theta: count < _FOLD_IN_SWEEPS,
        lambda count, theta: (count + 1, sweep(theta)),
        (tf.constant(0), theta),
    )
    return theta
