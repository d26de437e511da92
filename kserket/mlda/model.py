"""The Keras model: `MultimodalLDA`."""

from typing import Any, Literal, Self

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import ArrayLike

from kserket.core.keywords import suggests
from kserket.core.options import (
    check_choice,
    check_classes,
    check_nonnegative_int,
    check_positive_int,
    is_whole,
    make_rng,
    shown,
)
from kserket.core.sweep_model import SweepModel
from kserket.core.watching import check_callbacks
from kserket.inference import document_classes, topic_learning, topic_model
from kserket.inference.topic_weighing import Weighing, per_modality
from kserket.mlda import data, options, rule
from kserket.typing import Array, Callbacks, Floats, Integers, Seed, Verbose


@keras.saving.register_keras_serializable(package="kserket")
class MultimodalLDA(SweepModel):
    """Latent Dirichlet allocation over one or more modalities, learned without gradients.

    `fit` counts sweeps as epochs; parameters are non-trainable weights. `predict` gives
    P(topic | document) (N, K). Inputs are one modality, a list of them, or a dict of `x` and
    `class_prior` (N, K). A modality is either

    - counts of words (N, V), whole or not, an array or a scipy sparse matrix; or
    - a report: a `Categorical` message, class probabilities from somewhere else, of which one is
      true.

    Rows of NaN (or zeros) were not observed; None instead of a modality stands for rows of
    NaN, once the model is fitted.

    `alpha` is how much a document mixes its topics. At 0 it has one topic, a class: words then
    pull together, and each modality counts for as many independent words as its documents show
    (`design_effects`); learning is expectation maximization. Above 0 every word has a topic of
    its own; learning is collapsed variational inference (CVB0) or Serket's Gibbs sampling, started
    from classes, and P(topic | document) are the proportions of topics in the document.

    A second `fit` goes on from where the first ended; a first one under a class prior takes the
    meaning of its topics from the prior.

    Args:
        num_topics: Number of topics K.
        alpha: Dirichlet parameter of each topic in a document, one or (K,); None is 0, or 1 for
            the sampler.
        beta: Dirichlet parameter of each word in a topic, or a list (M,) of one per modality.
        modality_weights: Words (M,) that every document shall have in each modality: counts are
            scaled to them, exactly. None leaves counts as they are; proportions need them.
        inference: "variational", or "gibbs" (Serket's collapsed sampler).
        design_effects: With alpha = 0, how many words of each modality count as one independent
            word, a number or (M,); None finds out, 1 believes every word.
        n_init: Number of starts of the first fit, from all modalities and from each alone, chosen
            by the posterior density.
        tolerance: Sweeps end early when one gains less than this per document (alpha = 0) or
            word, in nats. The sampler does every sweep, and so does None.
        seed: Integer that determines starts and sampling.
        **kwargs: `name`.

    Raises:
        ValueError: If an option is unknown or out of range.

    Reference:
        Asuncion, Welling, Smyth and Teh, "On smoothing and inference for topic models", UAI 2009
        (CVB0); Nigam, McCallum, Thrun and Mitchell, "Text classification from labeled and
        unlabeled documents using EM", Machine Learning 39, 2000 (one topic a document); Rao and
        Scott, "The analysis of categorical data from complex sample surveys", JASA 76, 1981
        (design effects).

    Example:

    ```python
    import numpy as np

    import kserket

    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    words = rng.multinomial(20, np.eye(3)[labels] * 0.6 + 0.4 / 3)
    sounds = rng.multinomial(20, np.eye(3)[labels] * 0.5 + 0.5 / 3)
    model = kserket.MultimodalLDA(3, seed=0)
    model.fit([words, sounds], verbose=0)
    topics = model.predict([words, None]).argmax(axis=1)
    print(kserket.metrics.clustering_accuracy(labels, topics))
    ```
    """

    _has_new_words = False

    def __init__(
        self,
        num_topics: int,
        *,
        alpha: ArrayLike | None = None,
        beta: ArrayLike = 0.1,
        modality_weights: ArrayLike | None = None,
        inference: Literal["variational", "gibbs"] = "variational",
        design_effects: ArrayLike | None = None,
        n_init: int | None = 15,
        tolerance: float | None = 1e-6,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_choice("inference", inference, "variational", "gibbs")
        check_positive_int(num_topics=num_topics, n_init=n_init)
        alpha = float(inference == "gibbs") if alpha is None else alpha
        is_mixed = options.mixes_topics(alpha, num_topics)
        if inference == "gibbs" and not is_mixed:
            raise ValueError("The Gibbs sampler draws a topic for each word: it needs `alpha` > 0.")
        optional = {"modality_weights": modality_weights, "design_effects": design_effects}
        given = {name: value for name, value in optional.items() if value is not None}
        options.check_positive(beta=beta, **given)
        super().__init__(n_init=n_init, tolerance=tolerance, seed=seed, **kwargs)
        self.num_topics = int(num_topics)
        self.alpha, self.is_mixed = alpha, is_mixed
        self.beta, self.modality_weights = beta, modality_weights
        self.inference = inference
        self.design_effects = design_effects
        self.reports = None

    # Parameters -------------------------------------------------------------------------

    def build(self, input_shape: Any, reports: Any = None) -> None:
        """Makes the weights.

        Args:
            input_shape: Shape (N, V) of one modality, or a list of one per modality.
            reports: Which modalities are reports, booleans (M,); None if no modality is.
        """
        shapes = input_shape["x"] if isinstance(input_shape, dict) else input_shape
        shapes = [shapes] if not isinstance(shapes[0], (list, tuple)) else list(shapes)
        self.vocabulary_sizes = [int(shape[-1]) for shape in shapes]
        self.reports = [False] * len(shapes) if reports is None else list(map(bool, reports))
        self._check_options(self.vocabulary_sizes)
        sizes: dict[str, Any] = {
            f"words_{m}": (self.num_topics, v) for m, v in enumerate(self.vocabulary_sizes)
        }
        sizes |= {"documents": (self.num_topics,)}
        sizes |= dict.fromkeys(("effects", "lengths"), (len(shapes),))
        self._parameters = self._add_parameters(sizes)
        self.built = True

    def widened(self, vocabulary_sizes: list[int]) -> Self:
        """A copy that knows more words, of which it has seen none: their topics are the prior.

        In its next `fit` new starts compete with what it knows, as new words may bring new
        classes. Topics keep their numbers.

        Args:
            vocabulary_sizes: Number of words of each modality, as many as now or more. The first
                are those that it knows.

        Returns:
            A `MultimodalLDA`.

        Raises:
            ValueError: If `beta` holds a number for each word.
        """
        wider = type(self).from_config(self.get_config())
        wider.build([(None, size) for size in vocabulary_sizes], self.reports)
        for name, value in self._parameters.items():
            value, weight = value.numpy(), wider._parameters[name]
            added = np.subtract(weight.shape, value.shape)
            weight.assign(np.pad(value, [(0, count) for count in added]))
        wider._num_fits, wider._has_new_words = self._num_fits, True
        return wider

    @property
    def num_modalities(self) -> int:
        """M."""
        return len(self.vocabulary_sizes)

    @property
    def is_fitted(self) -> bool:
        """Whether the parameters come from data."""
        return self.built and float(self._parameters["effects"].numpy().sum()) > 0

    @property
    def state(self) -> Any:
        """What was counted, `inference.document_classes.State`; None before fit."""
        if not self.is_fitted:
            return None
        return document_classes.State(
            tuple(self._parameters[f"words_{m}"].numpy() for m in range(self.num_modalities)),
            self._parameters["documents"].numpy(),
        )

    @property
    def found(self) -> Any:
        """What learning found, `inference.topic_learning.Found`; None before fit."""
        state = self.state
        if state is None:
            return None
        arrays = (self._parameters[name].numpy() for name in ("effects", "lengths"))
        return topic_learning.Found(state, *arrays)

    @property
    def prior(self) -> Any:
        """Pseudo-counts beside those of `state`, `inference.document_classes.Prior`.

        Those of words are worth what words are worth.
        """
        return self.weighing.prior(self._betas(), self._effects())

    @property
    def weighing(self) -> Any:
        """How much modalities count beside each other, `inference.topic_weighing.Weighing`."""
        return self.weigh(self.reports)

    @property
    def topics(self) -> tuple[Floats, ...]:
        """P(word | topic) of each modality: a tuple of (K, V_m)."""
        return document_classes.topics(self._fitted(), self.prior)

    @property
    def topic_weights(self) -> Floats:
        """P(topic), (K,)."""
        state = self._fitted()
        if self.is_mixed:
            return self._alphas() / self._alphas().sum()
        return document_classes.class_weights(state, self.prior)

    def topic_of_class(self, modality: int) -> Integers:
        """The topic of each class of a report, matched one to one by how often they meet.

        Args:
            modality: Its number; a modality with as many words as there are topics.

        Returns:
            Integer array (K,).
        """
        from scipy.optimize import linear_sum_assignment

        _, topic_of_class = linear_sum_assignment(self._fitted().words[modality].T, maximize=True)
        return topic_of_class

    @property
    def lengths(self) -> Integers:
        """Number of words that a document of the data has in each modality, (M,) integers."""
        self._fitted()
        return np.maximum(np.rint(self._parameters["lengths"].numpy()), 1).astype(int)

    def _effects(self):
        """What each modality's words are divided by to be independent, (M,)."""
        return self._parameters["effects"].numpy()

    def _betas(self, number=None):
        """One Dirichlet parameter of words, or (V_m,), for each modality."""
        number = self.num_modalities if number is None else number
        return [np.asarray(beta, float) for beta in per_modality(self.beta, number)]

    def _check_options(self, sizes):
        """Raises ValueError unless options fit modalities of these vocabulary sizes."""
        options.check_lengths(
            len(sizes),
            beta=self.beta,
            modality_weights=self.modality_weights,
            design_effects=self.design_effects,
        )
        options.check_words(self._betas(len(sizes)), sizes)

    def weigh(self, reports: Any) -> Any:
        """How modalities count beside each other, `inference.topic_weighing.Weighing`.

        Args:
            reports: Which of them are reports, (M,).
        """
        return Weighing(reports, self.modality_weights, self.is_mixed)

    def _alphas(self):
        """Dirichlet parameters of topics, (K,)."""
        return np.broadcast_to(np.asarray(self.alpha, float), self.num_topics)

    def _assign(self, state):
        for m, words in enumerate(state.words):
            self._parameters[f"words_{m}"].assign(words)
        self._parameters["documents"].assign(state.documents)

    # Learning ---------------------------------------------------------------------------

    @suggests
    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int = 100,
        callbacks: Callbacks = (),
        verbose: Verbose = "auto",
    ) -> keras.callbacks.History:
        """Runs sweeps over the documents.

        Args:
            x: One modality, a list of them, or a dict of `x` and `class_prior`.
            y: Not used.
            epochs: Number of sweeps at most.
            callbacks: Keras callbacks; an epoch is a sweep.
            verbose: 0 is silent, "auto" shows a fit that takes long, 1 shows every fit.

        Returns:
            A `keras.callbacks.History` of one figure, in nats: `log_posterior`, the posterior
            density (alpha = 0; it never falls); `log_predictive`, the log probability of each word
            given all others, summed (CVB0); or `log_joint` (sampler).

        Raises:
            ValueError: If shapes do not agree or values are negative or not finite.
        """
        return self.learn(self.read(x), epochs, callbacks, verbose, self._make_rng())

    def learn(
        self,
        documents: Any,
        epochs: int,
        callbacks: Callbacks,
        verbose: Verbose,
        rng: np.random.Generator,
    ) -> Any:
        """`fit` to documents that have been read.

        Args:
            documents: `inference.topic_learning.Documents`.
            epochs: Number of sweeps at most.
            callbacks: Keras callbacks; an epoch is a sweep.
            verbose: As in `fit`.
            rng: `numpy.random.Generator`.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            ValueError: If no document holds a word, or options do not fit the modalities.
            FloatingPointError: If a count is not finite; the model is unchanged.
        """
        sizes = [part.shape[1] for part in documents.values]
        self._check_options(sizes)
        if not any(part.sum() > 0 for part in documents.values):
            raise ValueError(
                f"{self.name} has nothing to learn from: {documents.values[0].shape[0]} documents "
                "without a single word. Leave out empty data, or check what counts them."
            )
        found = self.found
        if self.modality_weights is None:
            new = topic_learning.is_new(documents.values, found)
            if new.any() or found is None:
                data.warn_of_proportions(documents, self.name)
        learning = topic_learning.Options(
            self.num_topics,
            self._alphas(),
            self._betas(len(sizes)),
            self.weigh(documents.reports),
            self.design_effects,
            self.inference == "gibbs",
            self.n_init,
            self.tolerance,
            self._has_new_words,
        )

        def adopt(reached):
            if not all(np.isfinite(part).all() for part in (*reached.state.words, reached.effects)):
                raise FloatingPointError(
                    f"{self.name} has diverged: its counts of words are not finite. Scale the data."
                )
            self._build_for(sizes, documents.reports)
            self._assign(reached.state)
            self._parameters["effects"].assign(reached.effects)
            self._parameters["lengths"].assign(reached.lengths)

        def run(report):
            return topic_learning.learn(documents, learning, found, rng, epochs, report)

        figure = "log_posterior"
        if self.is_mixed:
            figure = "log_joint" if learning.samples else "log_predictive"
        if any(
            isinstance(each, keras.callbacks.BackupAndRestore)
            for each in check_callbacks(callbacks)
        ):
            self._build_for(sizes, documents.reports)  # which loads weights before the first sweep
        history = self._sweep(run, adopt, figure, epochs, callbacks, verbose)
        self._has_new_words = False
        return history

    def _build_for(self, sizes, reports):
        """Builds the model for modalities of these sizes, if nothing has yet."""
        if not self.built:
            self.build([(None, size) for size in sizes], reports)

    @suggests
    def partial_fit(self, x: Any) -> Self:
        """Adds documents to what was learned, in one pass, and forgets them.

        The first call starts from these documents as `fit` does, with one sweep.

        Args:
            x: As in `fit`.

        Returns:
            The model itself.
        """
        if not self.is_fitted:
            self.fit(x, epochs=1, verbose=0)
            return self
        before = document_classes.Statistics(self.state, 0.0)
        return self.merge(before, self.statistics(x))

    def statistics(self, x: Any) -> Any:
        """What one sweep over these documents adds up, under the topics as they are.

        Args:
            x: As in `fit`.

        Returns:
            `inference.document_classes.Statistics`: sums over documents, so that those of parts
            may be computed anywhere and given to `merge` together.
        """
        self._fitted()
        documents = self.read(x)
        if not self.is_mixed:
            modalities = self.weighing.modalities(documents.scaled, self._effects())
            return document_classes.expect(modalities, self.state, self.prior, documents.log_prior)[
                0
            ]
        values, topics, prior = documents.scaled, self.topics, documents.class_prior
        theta = topic_model.proportions(values, topics, self._alphas(), class_prior=prior)
        theta = theta if prior is None else theta * prior
        words = topic_model.expected_words(values, theta, topics)
        state = document_classes.State(words, sum(part.sum(axis=1) for part in words))
        logs = self._log_probabilities(values, theta)
        return document_classes.Statistics(state, float(sum(part.sum() for part in logs)))

    def _update(self, statistics):
        self._assign(document_classes.merge(*statistics).state)

    # Use --------------------------------------------------------------------------------

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
            prior = ops.log(ops.maximum(ops.cast(prior, "float64"), rule.SMALLEST))
        values = [ops.cast(part, "float64") for part in values]
        return ops.softmax(self.tensor_beliefs(values, prior).posterior, axis=-1)

    @suggests
    def predict(
        self, x: Any, batch_size: int | None = None, verbose: Any = 0, **kwargs: Any
    ) -> Floats:
        """P(topic | document).

        Args:
            x: As in `fit`; a modality may be None.
            batch_size: Not needed.
            verbose: Not used.
            **kwargs: Ignored.

        Returns:
            Float64 array (N, K).
        """
        return rule.probabilities(self.beliefs(x).posterior)

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
        return data.read(x, self.name, self.num_topics, self.weigh, *known)

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

    # TensorFlow -------------------------------------------------------------------------

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

    # Private ----------------------------------------------------------------------------

    def _log_probabilities(self, values, theta):
        """log P(words | proportions of topics) of each document, (N,) for each modality."""
        pairs = zip(values, self.topics, strict=True)
        return [topic_model.log_probabilities(part, theta, phi) for part, phi in pairs]

    # Files ------------------------------------------------------------------------------

    def _signature(self):
        specs = [
            keras.layers.InputSpec(shape=(None, size), dtype="float32", name=f"modality_{m}")
            for m, size in enumerate(self.vocabulary_sizes)
        ]
        return [specs if len(specs) > 1 else specs[0]]

    def get_build_config(self) -> dict[str, Any] | None:
        if not self.built:
            return None
        shapes = [(None, size) for size in self.vocabulary_sizes]
        return {"input_shape": shapes, "reports": self.reports}

    def build_from_config(self, config: dict[str, Any]) -> None:
        if config:
            self.build(config["input_shape"], config["reports"])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_topics": self.num_topics,
            "alpha": options.as_json(self.alpha),
            "beta": options.as_json(self.beta),
            "modality_weights": options.as_json(self.modality_weights),
            "inference": self.inference,
            "design_effects": options.as_json(self.design_effects),
        }
