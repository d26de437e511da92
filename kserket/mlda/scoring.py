"""What a fitted topic model says of documents, and documents drawn from it."""

from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import ArrayLike

from kserket import floors
from kserket.core.keywords import suggests
from kserket.core.options import (
    check_classes,
    check_nonnegative_int,
    check_positive_int,
    is_whole,
    make_rng,
    shown,
)
from kserket.inference import document_classes, topic_model
from kserket.inference.topic_weighing import per_modality
from kserket.mlda import data, options, rule
from kserket.mlda.parameters import TopicParameters
from kserket.typing import Array, Floats, Seed


class TopicScoring(TopicParameters):
    """Topics and words of documents under a `MultimodalLDA`."""

    def call(self, inputs: Any) -> Any:
        """P(topic | document) (N, K), as TensorFlow operations.

        Args:
            inputs: One tensor (N, V), a list of them, or a dict of `x` and `class_prior`. Rows of
                NaN say nothing.
        """
        parts = inputs if isinstance(inputs, dict) else {"x": inputs}
        values = parts["x"] if isinstance(parts["x"], (list, tuple)) else [parts["x"]]
        prior = parts.get("class_prior")
        if prior is not None:
            prior = ops.log(ops.maximum(ops.cast(prior, "float64"), floors.SMALLEST))
        values = [ops.cast(part, "float64") for part in values]
        return ops.softmax(self.tensor_beliefs(values, prior).posterior, axis=-1)

    @suggests
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = 0,
        *,
        as_frame: bool = False,
        **kwargs: Any,
    ) -> Floats | Any:
        """P(topic | document).

        Args:
            x: As in `fit`; a modality may be None.
            batch_size: Not needed.
            verbose: Not used.
            as_frame: Whether the answer is a pandas DataFrame with the index of that in x.
            **kwargs: Ignored.

        Returns:
            Float64 array (N, K), or a DataFrame with columns "topic/0", "topic/1", ...
        """
        framed = self.framing(x, as_frame)
        return framed(rule.probabilities(self.beliefs(x).posterior), "topic")

    def beliefs(self, x: Any) -> Any:
        """All that messages are made of: what documents, parts of them, and the prior say.

        Args:
            x: As in `predict`, or `Documents` that have been read.

        Returns:
            `TopicBeliefs`.
        """
        self._fitted()
        return rule.beliefs(self.read(x), self.weighing, self.found, self.terms())

    def terms(self) -> Any:
        """What the rule needs of the parameters, `Terms` of arrays."""
        weights = np.log(self.topic_weights)
        if self.is_mixed:
            return rule.Terms(list(self.topics), weights, alphas=self._alphas())
        return rule.Terms(list(self.topics), weights, self.weighing.powers(self._effects()))

    def predict_modality(self, x: Any, modality: int) -> Floats:
        """P(word | document) of one modality from all others.

        Args:
            x: As in `predict`; the modality itself, present or None, is not read.
            modality: Its number.

        Returns:
            Float64 array (N, V_m), rows summing to one.

        Raises:
            ValueError: If there is no such modality.
        """
        self._fitted()
        if not is_whole(modality) or modality >= self.num_modalities:
            raise ValueError(
                f"`modality` must be one of 0 to {self.num_modalities - 1}. "
                f"Received: {shown(modality)}"
            )
        modality = int(modality)
        return rule.probabilities(self.beliefs(x).others[modality]) @ self.topics[modality]

    def log_likelihood(self, x: Any) -> Floats:
        """log probability of each document as the model weighs it, in nats.

        Args:
            x: As in `predict`.

        Returns:
            Float64 array (N,). With alpha above 0, of the words given the document's proportions.
        """
        documents = self.read(x)
        return self.log_likelihood_of(documents, self.beliefs(documents))

    def topic_log_densities(self, documents: Any, below: list[Any]) -> Floats:
        """log p(document and everything below it | topic) of documents of one topic.

        Args:
            documents: `Documents`.
            below: For each modality log p(what it reports | its class) (N, V_m), or None of words.

        Returns:
            Float64 array (N, K).
        """
        modalities = self.weighing.modalities(documents.scaled, self._effects())
        total = np.zeros((documents.scaled[0].shape[0], len(self.topic_weights)))
        for modality, densities, topics in zip(modalities, below, self.topics, strict=True):
            if densities is None:
                total += document_classes.modality_log_likelihood(modality, topics)
            else:
                peak = densities.max(axis=1, keepdims=True)
                total += np.log(np.exp(densities - peak) @ np.asarray(topics).T) + peak
        return total

    def log_likelihood_of(self, documents: Any, beliefs: Any) -> Floats:
        """`log_likelihood` where beliefs are known.

        Args:
            documents: `Documents`.
            beliefs: What `beliefs` returned for them.

        Returns:
            Float64 array (N,).
        """
        if not self.is_mixed:
            return np.logaddexp.reduce(beliefs.posterior, axis=1)
        theta = rule.probabilities(beliefs.posterior)
        return sum(self._log_probabilities(documents.scaled, theta))

    def _mean_log_likelihood(self, x):
        return np.mean(self.log_likelihood(x))

    def perplexity(self, x: Any, given: Any = None) -> Floats:
        """exp of the mean negative log probability of a word, for each modality.

        Args:
            x: Words to score, as in `predict`.
            given: Words of the same documents from which topics are inferred: document
                completion. None infers them from x itself.

        Returns:
            Float64 array (M,); NaN for a modality without a word to score.

        Raises:
            ValueError: If `given` holds other numbers of documents than x.

        Reference:
            Wallach, Murray, Salakhutdinov and Mimno, "Evaluation methods for topic models", ICML
            2009.
        """
        theta = rule.probabilities(self.beliefs(x if given is None else given).posterior)
        values = self.read(x).values
        if len(theta) != values[0].shape[0]:
            raise ValueError(
                f"`given` must hold words of the {values[0].shape[0]} documents of x. "
                f"Received: {len(theta)}"
            )
        logs = np.array([part.sum() for part in self._log_probabilities(values, theta)])
        words = np.array([part.sum() for part in values])
        return np.exp(-np.divide(logs, words, out=np.full(len(words), np.nan), where=words > 0))

    @suggests
    def sample(
        self,
        num_samples: int,
        topic: ArrayLike | None = None,
        lengths: ArrayLike | None = None,
        seed: Seed = None,
    ) -> tuple[list[Array], Floats]:
        """Draws documents.

        Args:
            num_samples: How many.
            topic: All words are of this topic, or of one per document (num_samples,); None draws.
            lengths: Number of words in each modality (M,), or one for all; None is the mean of
                the data learned from.
            seed: Integer or `numpy.random.Generator`.

        Returns:
            `(x, theta)`: a list with counts (N, V_m) for each modality, or classes (N,) for a
            report; and each document's proportions of topics (N, K).

        Raises:
            ValueError: If `num_samples` or a length is not a whole number, a topic is none of the
                model's, or there is not one for each.
        """
        check_nonnegative_int(num_samples=num_samples)
        rng, topics = make_rng(seed), self.topics
        lengths = self.lengths if lengths is None else lengths
        lengths = per_modality(lengths, self.num_modalities)
        options.check_lengths(self.num_modalities, lengths=lengths)
        for length in lengths:
            if length != 0:  # no words in a modality are possible
                check_positive_int(lengths=length)
        if topic is not None:
            theta = np.eye(self.num_topics)[
                check_classes("topic", topic, num_samples, self.num_topics)
            ]
        elif self.is_mixed:
            theta = rng.dirichlet(self._alphas(), num_samples)
        else:
            theta = rng.multinomial(1, self.topic_weights, num_samples).astype(float)
        drawn = []
        for phi, is_report, length in zip(topics, self.reports, lengths, strict=True):
            words = rng.multinomial(1 if is_report else length, theta @ phi)
            drawn.append(words.argmax(axis=1) if is_report else words)
        return drawn, theta

    def tensor_beliefs(self, values: Any, log_prior: Any = None, terms: Any = None) -> Any:
        """`beliefs` in TensorFlow operations.

        Args:
            values: M tensors (N, V_m), rows of NaN missing.
            log_prior: (N, K) log class prior or None.
            terms: `Terms` of tensors; None takes the parameters of now, as constants.

        Returns:
            `TopicBeliefs`.
        """
        dtype = values[0].dtype
        terms = self.constant_terms(dtype) if terms is None else terms.cast(dtype)
        return rule.tensor_beliefs(values, log_prior, self.weighing, terms)

    def constant_terms(self, dtype: Any) -> Any:
        """`terms` of now as constant tensors, also while a function is being traced.

        Args:
            dtype: Their precision.
        """
        with tf.init_scope():
            return self.terms().cast(dtype)

    def _log_probabilities(self, values, theta):
        """log P(words | proportions of topics) of each document, (N,) for each modality."""
        pairs = zip(values, self.topics, strict=True)
        return [topic_model.log_probabilities(part, theta, phi) for part, phi in pairs]

    def read(self, x: Any) -> Any:
        """Inputs, checked once.

        Args:
            x: As in `predict`. `Documents` are returned unchanged.

        Returns:
            `inference.topic_learning.Documents`.

        Raises:
            TypeError: If a modality is not real numbers.
            ValueError: If inputs do not fit each other or the model.
        """
        known = (self.vocabulary_sizes, self.reports) if self.built else ()
        return data.read(self.by_columns(x), self.name, self.num_topics, self.weigh, *known)
