"""Its module: `MLDA`."""

import pathlib
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from kserket import hosts, storage
from kserket.core import messages, results, tensors
from kserket.core.attributes import Fixed, FixedOrFound
from kserket.core.inference import Inference
from kserket.core.keywords import in_words_of
from kserket.core.learning_module import LearningModule
from kserket.core.options import check_flag, check_positive_int
from kserket.core.registry import register_module
from kserket.inference.topic_weighing import Weighing
from kserket.mlda import data, rule
from kserket.mlda.model import MultimodalLDA
from kserket.typing import Floats, Mode, PathLike


@register_module("kserket")
class MLDA(LearningModule):
    """Serket's `mlda.MLDA`: sorts what several modules say of a datum into K topics.

    Each input is a modality: counts of words from an observation, or class probabilities from a
    module. Every input receives what all others say of it, and learns from that.

    By default a datum has one topic, its class, and each modality counts for as many independent
    words as its data show: `weights` then say how much modalities count beside each other. With
    `alpha` above 0, or `inference="gibbs"`, a datum mixes topics as in Serket.

    An input that states as many classes as there are topics is taken for an observer of the same
    classes, who may err: it receives the topics themselves, in its own numbers, and learns to
    separate what the others separate. `shared_classes=False` leaves it its own classes.

    Args:
        K: Number of topics. None finds it in the data of the first update, see `MultimodalLDA`; it
            stays then. Until then `K` reads None.
        weights: Words (M,) that every datum shall have in each modality; None does not scale
            counts.
        itr: Number of sweeps in one update at most.
        name: Module name.
        category: Optional labels (N,), used to score and for nothing else.
        mode: "learn" or "recog" (recognition).
        alpha: How much a datum mixes topics, one or (K,); None is 0, or 1 with `inference="gibbs"`.
        beta: Pseudo-count of each word in every topic, or a list (M,) of one per modality.
        inference: "variational", or "gibbs" for Serket's sampler.
        n_init: Number of starts of the first update, from all inputs and from each alone, chosen
            by the posterior density.
        shared_classes: Whether inputs that state K classes report the topics themselves.
        save_dir: Folder in which `module003_mlda/` is made; None writes nothing.
        load_dir: A module's own folder to take parameters from.
        seed: Integer that determines all randomness.
        keep_rounds: Whether the files of every update are kept, see `LearningModule`.
        **kwargs: Other options of `MultimodalLDA`.

    Messages:
        Reads: counts (N, V), not negative, or `Categorical` (N, V), from one or more modules.
        Forward: `Categorical` (N, K): what all inputs say of the topic.
        Backward: to each input what all others say of it: P(word | datum) (N, V) to an
            observation, `Categorical` (N, V) to a module that sent one: of its classes, or, with K
            of them that are shared, of the topic.
        Prior: `Categorical` (N, K), used instead of the topics' own weights.

    Files:
        `parameters.h5`, `Pdz_{mode}.txt` (N, K), `categories_{mode}.txt` (N,),
        `Pmdw[i]_{mode}.txt` (N, V_i), and with `category` `acc_{mode}.txt`.

    Raises:
        ValueError: If an option is unknown or a message does not fit.

    Reference:
        Nakamura, Nagai and Taniguchi, "SERKET", Frontiers in Neurorobotics 12:25, 2018.

    Example:

    ```python
    import kserket as srk
    from kserket import mlda

    counts = [[10, 2, 1], [8, 1, 1], [2, 7, 0], [1, 11, 2], [1, 1, 8], [2, 1, 1]]
    obs = srk.Observation(counts)
    mlda1 = mlda.MLDA(3, category=[0, 0, 1, 1, 2, 2], seed=0)
    mlda1.connect(obs)
    mlda1.update()
    print(mlda1.logs["accuracy"])
    ```
    """

    links_samples = False
    learns_over_hosts = True
    leaves_out_inputs = True
    model_class = MultimodalLDA
    K, weights = FixedOrFound("num_topics"), Fixed()
    category = LearningModule.labels

    def __init__(
        self,
        K: int | None,
        weights: ArrayLike | None = None,
        itr: int = 100,
        name: str = "mlda",
        category: ArrayLike | None = None,
        mode: Mode = "learn",
        *,
        alpha: ArrayLike | None = None,
        beta: ArrayLike = 0.1,
        inference: Literal["variational", "gibbs"] = "variational",
        n_init: int | None = 15,
        shared_classes: bool = True,
        save_dir: PathLike | None = ".",
        load_dir: PathLike | None = None,
        seed: int | None = None,
        keep_rounds: bool = False,
        **kwargs: Any,
    ) -> None:
        check_positive_int(itr=itr)
        if K is not None:
            check_positive_int(K=K)
        check_flag(shared_classes=shared_classes)
        self._options = {
            "modality_weights": weights,
            "alpha": alpha,
            "beta": beta,
            "inference": inference,
            "n_init": n_init,
            **kwargs,
        }
        with in_words_of(MLDA, MultimodalLDA, num_topics="K", modality_weights="weights"):
            model = MultimodalLDA(K, **self._options)  # a wrong option is an error here
        super().__init__(name, mode, category, save_dir, load_dir, seed, keep_rounds)
        self.model: MultimodalLDA | Any
        self.K, self.weights, self.itr = None if K is None else int(K), weights, int(itr)
        self.shared_classes = shared_classes
        self._config = model.get_config()
        self._is_mixed = model.is_mixed
        self._score_of_data = {}

    @property
    def shared_classes(self) -> bool:
        """Whether inputs that state K classes report the topics; may be set between updates."""
        return self._shared_classes

    @shared_classes.setter
    def shared_classes(self, shared_classes: bool) -> None:
        check_flag(shared_classes=shared_classes)
        self._shared_classes = bool(shared_classes)

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "itr": self.itr, "shared_classes": self.shared_classes}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.itr = state.get("itr", self.itr)
        self.shared_classes = state.get("shared_classes", self.shared_classes)

    def settings(self) -> dict[str, Any]:
        names = ("alpha", "beta", "modality_weights", "inference")
        number = {} if self.K is None else {"K": self.K}
        return {**number, **{name: self._config[name] for name in names}}

    def read(self, inputs: list[Any], prior: Any) -> Any:
        self._check_classes(prior, self.K)
        name, weights = self.get_name(), self.weights
        if weights is not None and np.ndim(weights) and len(weights) != len(inputs):
            raise ValueError(
                f"{name} reads {len(inputs)} modules: `weights` must hold one number for each. "
                f"Received: {weights!r}"
            )
        names = [module.get_name() for module in self.inputs]
        for sender, message in zip(names, inputs, strict=True):
            if len(np.shape(message)) != 2:
                raise ValueError(
                    f"{name} reads counts (N, V) or class probabilities. {sender} sends shape "
                    f"{np.shape(message)}. Reshape the data."
                )
        sizes = [np.shape(message)[1] for message in inputs]
        parts = {"x": list(inputs), "class_prior": prior}
        reports = (
            data.find_reports(self.inputs, inputs) if self.model is None else self.model.reports
        )
        return data.read(parts, name, self.K, self._weigh, sizes, reports, names)

    def check(self, inputs: list[Any], prior: Any) -> None:
        self.read(inputs, prior)

    def check_observed(self, x: ArrayLike, name: str) -> None:
        if not storage.every(lambda part: ~(part < 0), x):
            raise ValueError(
                f"{self.get_name()} reads counts, which are not negative. {name} sends "
                f"{storage.extent(x)[0]:g}. {data.CURE}"
            )

    def update(self, load_trained_model: PathLike | None = None) -> None:
        """One round; see `LearningModule.update`.

        Args:
            load_trained_model: A module's own folder: recognizes with the parameters there,
                as `recog(load_dir)`. None learns or recognizes as `mode` says.
        """
        if load_trained_model is None:
            super().update()
        else:
            self.recog(load_trained_model)

    def widen(self, shapes: list[list[int]]) -> bool:
        """Takes words into the vocabulary that came after the others, as new columns of zeros."""
        sizes = [size for (size,) in shapes]
        for is_report, before, now in zip(
            self.model.reports, self.model.vocabulary_sizes, sizes, strict=True
        ):
            if is_report and before != now:
                return False
        self.model = self.model.widened(sizes)
        return True

    def build_model(self, documents: Any) -> MultimodalLDA:
        model = MultimodalLDA(self.K, **self._options, name=tensors.identifier(self.name))
        model.build_for([part.shape[1] for part in documents.values], documents.reports, self.K)
        return model

    def set_parameters(self, arrays: dict[str, Any]) -> None:
        model, number = self.model, np.shape(arrays.get("documents"))
        if not model.built:  # K is what the file has
            if len(number) != 1:
                raise ValueError(f"{self.get_name()} needs parameters with documents (K,).")
            model.build_for(model.vocabulary_sizes, model.reports, number[0])
        super().set_parameters(arrays)

    def learn(self, documents: Any, rng: np.random.Generator) -> dict[str, float]:
        callbacks = self.fit_callbacks(self.itr, "sweep")
        history = self.model.learn(documents.seen(), self.itr, callbacks, 0, rng)
        (figure, values), *_ = history.history.items()
        return {figure: values[-1]}

    def infer(self, documents: Any) -> Inference:
        return self._conclude(documents, self.model.beliefs(documents))

    def infer_learned(self, documents: Any) -> Inference:
        beliefs = self.model.beliefs(documents)
        self._score_of_data = self._mean_score(documents, beliefs)
        return self._conclude(documents, beliefs)

    def figures(self, inference: Inference) -> dict[str, float]:
        if self.asked_classes is not None:
            self.count_live(inference)
        return self._score_of_data

    @property
    def asked_classes(self) -> int | None:
        """K, unless it was found in the data, or documents mix topics and are of no class."""
        return None if self.model.finds_number or self.model.is_mixed else self.K

    def evaluate(self, documents: Any) -> dict[str, float]:
        return self._mean_score(documents, self.model.beliefs(documents))

    def _mean_score(self, documents, beliefs):
        """Dict of the mean log likelihood of documents that are not missing; empty of none."""
        scores = self.model.log_likelihood_of(documents, beliefs)
        scores = scores if documents.missing is None else scores[~documents.missing]
        if not hosts.any_host(len(scores)):
            return {}
        return {"log_likelihood": hosts.mean_over_hosts(scores)}

    def _conclude(self, documents, beliefs):
        """The `Inference` that beliefs amount to."""
        return Inference(
            messages.Categorical.from_log(beliefs.evidence, documents.missing),
            rule.downward(beliefs.others, self.terms(), documents.reports, rule.ArrayWords),
            messages.Categorical.from_log(beliefs.posterior),
        )

    def joint_class_log_densities(self, documents: Any, below: list[Any]) -> Floats | None:
        """(N, K), known where a document has one topic, and no likelihood has a power but 1."""
        if self.model.is_mixed or any(part is not None and part.ndim == 1 for part in below):
            return None
        if not np.allclose(self.model.terms().powers, 1.0):
            return None
        return self.model.topic_log_densities(documents, below)

    def joint_log_likelihood(self, documents: Any, below: list[Any]) -> Floats | None:
        densities = self.joint_class_log_densities(documents, below)
        if densities is None:
            return None
        return np.logaddexp.reduce(densities + self.model.terms().log_weights, axis=1)

    def generate(self, latent: Any, num_samples: int, rng: np.random.Generator) -> list[Any]:
        return self.model.sample(num_samples, topic=latent, seed=rng)[0]

    def terms(self) -> Any:
        orders = [
            self.model.topic_of_class(m) if self._shares_classes(m) else None
            for m in range(self.model.num_modalities)
        ]
        return self.model.terms()._replace(topic_of_class=orders)

    def tensor_infer(self, inputs: list[Any], prior: Any, terms: Any = None) -> tensors.Inference:
        values = [tensors.as_array(message) for message in inputs]
        terms = self._terms_as(values[0].dtype, terms)
        log_prior = None if prior is None else prior.log_probs
        beliefs = self.model.tensor_beliefs(values, log_prior, terms)
        missing = tf.reduce_all(tf.stack([_tensor_missing(message) for message in inputs]), axis=0)
        return tensors.Inference(
            tensors.from_log(beliefs.evidence, missing),
            rule.downward(beliefs.others, terms, self.model.reports, rule.TensorWords),
            tensors.from_log(beliefs.posterior),
        )

    def tensor_decode(self, latent: Any, terms: Any = None) -> list[Any]:
        return [latent @ phi for phi in self._terms_as(latent.dtype, terms).topics]

    def tensor_generate(self, latent: Any, seed: Any, terms: Any = None) -> list[Any]:
        with tf.init_scope():
            lengths = self.model.lengths
        drawn = []
        for m, words in enumerate(self.tensor_decode(latent, terms)):
            number = 1 if self.model.reports[m] else int(lengths[m])
            each = tf.random.stateless_categorical(tf.math.log(words), number, seed + m)
            size = words.shape[1]
            counts = tf.math.bincount(
                tf.cast(each, "int32"), minlength=size, maxlength=size, axis=-1
            )
            drawn.append(tf.cast(counts, latent.dtype))
        return drawn

    def _terms_as(self, dtype, terms=None):
        """`terms` as tensors of a precision; those of now, as constants, where none are given."""
        if terms is not None:
            return terms.cast(dtype)
        with tf.init_scope():
            return self.terms().cast(dtype)

    def _shares_classes(self, modality):
        """Whether an input states the topics themselves, as its own classes."""
        model = self.model
        return (
            self.shared_classes
            and not model.is_mixed
            and model.reports[modality]
            and model.vocabulary_sizes[modality] == self.K
        )

    def _weigh(self, reports):
        """`Weighing` of inputs of which these are reports."""
        return Weighing(reports, self.weights, self._is_mixed)

    def text_files(self, inference: Inference) -> dict[str, Any]:
        files = {
            "Pdz_{mode}.txt": inference.posterior.probs,
            "categories_{mode}.txt": self.class_names(inference.posterior.classes),
        }
        for m, message in enumerate(inference.downward):
            files[f"Pmdw[{m}]_{{mode}}.txt"] = np.asarray(message)
        return files


def load_model(load_dir: PathLike) -> list[Floats]:
    """How often each word of a saved MLDA had each topic, as Serket's `load_model` returns it.

    Args:
        load_dir: The folder of an `MLDA`, such as "module004_mlda".

    Returns:
        List with an array (V, K) per modality.

    Raises:
        FileNotFoundError: If there are no parameters.
        ValueError: If they are not those of an MLDA.
    """
    path = pathlib.Path(load_dir) / MLDA.parameters_file
    arrays, _ = results.read_parameters(path)
    words = [arrays[f"words_{m}"].T for m in range(len(arrays)) if f"words_{m}" in arrays]
    if not words:
        raise ValueError(f"{path} holds no counts of words: it is of another kind of module.")
    return words


def _tensor_missing(message):
    """Which rows of a message in TensorFlow say nothing, (N,) boolean."""
    array = tensors.as_array(message)
    if not isinstance(message, tensors.Categorical):
        return tensors.missing_rows(array)
    if message.missing is None:
        return tf.zeros(tf.shape(array)[:1], tf.bool)
    return message.missing
