"""The Keras model: `MultimodalLDA`."""

from typing import Any, Literal, Self

import keras
import numpy as np
from numpy.typing import ArrayLike

from kserket import hosts
from kserket.core.keywords import suggests
from kserket.core.options import check_callbacks, check_choice, check_positive_int
from kserket.inference import document_classes, topic_learning, topic_model
from kserket.mlda import data, options
from kserket.mlda.scoring import TopicScoring
from kserket.typing import Callbacks, Verbose


@keras.saving.register_keras_serializable(package="kserket")
class MultimodalLDA(TopicScoring):
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
        num_topics: Number of topics K. None finds it at the first fit, by the evidence of documents
            of one topic each (that fit's `class_prior` has it, where there is one; a report alone
            has as many topics as classes); then it stays. Until then `num_topics` reads None.
        alpha: Dirichlet parameter of each topic in a document, one or (K,); None is 0, or 1 for
            the sampler.
        beta: Dirichlet parameter of each word in a topic, or a list (M,) of one per modality.
        modality_weights: Words (M,) that every document shall have in each modality: counts are
            scaled to them, exactly. None leaves counts as they are; proportions need them.
        inference: "variational", or "gibbs" (Serket's collapsed sampler).
        design_effects: With alpha = 0, how many words of each modality count as one independent
            word, a number or (M,); None finds out, and leaves out of classes, with a warning, words
            that tell none apart; 1 believes every word.
        n_init: Number of starts of the first fit, from all modalities and from each alone, chosen
            by the posterior density.
        max_topics: How many topics `num_topics=None` finds at most.
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
    _reads_several = True

    def __init__(
        self,
        num_topics: int | None,
        *,
        alpha: ArrayLike | None = None,
        beta: ArrayLike = 0.1,
        modality_weights: ArrayLike | None = None,
        inference: Literal["variational", "gibbs"] = "variational",
        design_effects: ArrayLike | None = None,
        n_init: int | None = 15,
        max_topics: int = 50,
        tolerance: float | None = 1e-6,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_choice("inference", inference, "variational", "gibbs")
        check_positive_int(n_init=n_init, max_topics=max_topics)
        if num_topics is not None:
            check_positive_int(num_topics=num_topics)
        alpha = float(inference == "gibbs") if alpha is None else alpha
        is_mixed = options.mixes_topics(alpha, num_topics)
        if inference == "gibbs" and not is_mixed:
            raise ValueError("The Gibbs sampler draws a topic for each word: it needs `alpha` > 0.")
        optional = {"modality_weights": modality_weights, "design_effects": design_effects}
        given = {name: value for name, value in optional.items() if value is not None}
        options.check_positive(beta=beta, **given)
        super().__init__(n_init=n_init, tolerance=tolerance, seed=seed, **kwargs)
        self.finds_number = num_topics is None
        self._number = None if num_topics is None else int(num_topics)
        self.max_topics = int(max_topics)
        self.alpha, self.is_mixed = alpha, is_mixed
        self.beta, self.modality_weights = beta, modality_weights
        self.inference = inference
        self.design_effects = design_effects
        self.reports = None

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
        with self.learning_columns(x):
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
        if not hosts.any_host(any(part.sum() > 0 for part in documents.values)):
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
            self.max_topics,
        )
        if self.num_topics is None:
            self._check_number("num_topics", callbacks)

        def adopt(reached):
            if not all(np.isfinite(part).all() for part in (*reached.state.words, reached.effects)):
                raise FloatingPointError(
                    f"{self.name} has diverged: its counts of words are not finite. Scale the data."
                )
            self.build_for(sizes, documents.reports, len(reached.state.documents))
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
            # loads weights before the first sweep
            self.build_for(sizes, documents.reports, self.num_topics)
        num_rows = documents.values[0].shape[0]
        history = self._sweep(run, adopt, figure, epochs, callbacks, verbose, num_rows)
        self._has_new_words = False
        if self.design_effects is None:
            data.warn_of_silence(self._effects(), found, self.name)
        return history

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
        with self.learning_columns(x):
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

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_topics": None if self.finds_number else self.num_topics,
            "max_topics": self.max_topics,
            "alpha": options.as_json(self.alpha),
            "beta": options.as_json(self.beta),
            "modality_weights": options.as_json(self.modality_weights),
            "inference": self.inference,
            "design_effects": options.as_json(self.design_effects),
        }
