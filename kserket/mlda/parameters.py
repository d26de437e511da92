"""What a topic model has learned: Keras weights, read and written."""

from typing import Any, Self

import keras
import numpy as np

from kserket.core.attributes import ReadOnly
from kserket.core.sweep_model import SweepModel
from kserket.inference import document_classes, topic_learning
from kserket.inference.topic_weighing import Weighing, per_modality
from kserket.mlda import options
from kserket.typing import Floats, Integers


class TopicParameters(SweepModel):
    """Parameters of a `MultimodalLDA`, and what is known of them without documents."""

    num_topics = ReadOnly("_number")

    def build(self, input_shape: Any, reports: Any = None) -> None:
        """Makes the weights.

        Args:
            input_shape: Shape (N, V) of one modality, or a list of one per modality.
            reports: Which modalities are reports, booleans (M,); None if no modality is.
        """
        if self.num_topics is None:
            raise ValueError(
                f"{self.name} finds its number of topics in documents: call fit(x) before build()."
            )
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
        wider._number = self.num_topics
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
        return np.broadcast_to(np.asarray(self.alpha, float), self.num_topics or 1)

    def _assign(self, state):
        for m, words in enumerate(state.words):
            self._parameters[f"words_{m}"].assign(words)
        self._parameters["documents"].assign(state.documents)

    def build_for(self, sizes: list[int], reports: Any, num_topics: int | None) -> None:
        """Builds the model if it is not built.

        Args:
            sizes: Vocabulary sizes (M,) of the modalities.
            reports: Which of them are reports, (M,).
            num_topics: K; None only notes what will be read, and K is found later.
        """
        if self.built:
            return
        self.vocabulary_sizes, self.reports = sizes, list(map(bool, reports))
        if num_topics is not None:
            self._number = num_topics
            self.build([(None, size) for size in sizes], reports)

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
        return {"input_shape": shapes, "reports": self.reports, "num_topics": self.num_topics}

    def build_from_config(self, config: dict[str, Any]) -> None:
        if config:
            self._number = config.get("num_topics", self.num_topics)  # not in files of 0.1.0
            self.build(config["input_shape"], config["reports"])
