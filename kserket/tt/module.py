"""Serket's tail-to-tail node: `TtoT`."""

import itertools
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from sklearn.metrics import cohen_kappa_score

from kserket.core import messages, tensors
from kserket.core.attributes import Fixed
from kserket.core.inference import Inference
from kserket.core.learning_module import LearningModule
from kserket.core.options import check_classes, check_positive
from kserket.core.registry import register_module
from kserket.inference import experts
from kserket.tt.data import read
from kserket.typing import Array, Mode, PathLike


class Vocabulary:
    """Which of its own classes each expert means by a class of the common numbering.

    Args:
        num_experts: Number of experts M.
        num_classes: Number of classes K.

    Attributes:
        numbering: Integers (M, K): expert m calls class k `numbering[m, k]`.
        is_matched: Whether the numbering was found or loaded; until then it is the identity.
    """

    def __init__(self, num_experts, num_classes):
        self.numbering = np.tile(np.arange(num_classes), (num_experts, 1))
        self.is_matched = False

    def adopt(self, numbering):
        """Takes over a numbering, integers (M, K)."""
        self.numbering, self.is_matched = numbering, True


class Terms(NamedTuple):
    """What the rule on tensors needs.

    Attributes:
        numbering: Integers (M, K), each expert's number of the common classes.
        common: Integers (M, K), the common number of each expert's classes.
    """

    numbering: np.ndarray
    common: np.ndarray


class Experts(LearningModule):
    """Base of modules that join several classifiers of one variable.

    Its parameters are the experts' numberings of the classes. See `TtoT`.
    """

    links_samples = False
    leaves_out_inputs = True
    align = Fixed()
    category = LearningModule.labels
    waits_for_inputs = False  # who has said nothing yet has not seen the samples

    def __init__(
        self,
        name: str,
        align: bool,
        category: ArrayLike | None = None,
        mode: Mode = "learn",
        save_dir: PathLike | None = ".",
        load_dir: PathLike | None = None,
        seed: int | None = None,
        keep_rounds: bool = False,
    ) -> None:
        super().__init__(name, mode, category, save_dir, load_dir, seed, keep_rounds)
        self.align = bool(align)

    def receive(self, mailboxes: dict[Any, Any]) -> list[Any]:
        inputs = super().receive(mailboxes)
        spoken = [message for message in inputs if message is not None]
        if not spoken:
            names = " and ".join(source.get_name() for source in self.inputs)
            raise RuntimeError(
                f"{names} have sent nothing to {self.get_name()} yet. Call update() of one of them "
                "first."
            )
        return [messages.silent(spoken[0]) if part is None else part for part in inputs]

    def read(self, inputs: list[Any], prior: Any) -> Any:
        return read(inputs, prior, [source.get_name() for source in self.inputs], self.get_name())

    def build_model(self, data: Any) -> Vocabulary:
        return Vocabulary(len(data.log_evidence), data.log_evidence.shape[2])

    def get_parameters(self) -> dict[str, Array]:
        return {"numbering": self.model.numbering}

    def set_parameters(self, arrays: dict[str, Any]) -> None:
        found = arrays.get("numbering")
        shape = self.model.numbering.shape
        if found is None or found.shape != shape or (np.sort(found) != np.arange(shape[1])).any():
            raise ValueError(
                f"The saved parameters do not fit {self.get_name()}: numbering must hold "
                f"{shape[0]} permutations of {shape[1]} classes. Use the graph it was saved with."
            )
        self.model.adopt(found.astype("int64"))

    def settings(self) -> dict[str, Any]:
        return {"align": self.align}

    def aligned(self, data: Any) -> Array:
        """The experts' evidence (M, N, K) in the common numbering."""
        return experts.numbered_alike(data.log_evidence, self.model.numbering)

    def infer(self, data: Any) -> Inference:
        evidence = self.aligned(data)
        total, posterior, heard = experts.conclude(evidence, data.log_prior)
        return Inference(
            messages.Categorical.from_log(total, data.missing),
            list(map(self.in_own_numbering, heard, self.model.numbering)),
            messages.Categorical.from_log(posterior),
        )

    def in_own_numbering(self, log_probs: Any, order: Any) -> Any:
        """A message (N, K) to an expert that numbers the classes in this order, (K,)."""
        return messages.Categorical.from_log(experts.own_numbering(log_probs, order))

    def terms(self) -> Any:
        numbering = self.model.numbering
        return Terms(numbering, np.argsort(numbering, axis=1))

    def soften(self, log_probs: Any) -> Any:
        """What an expert's evidence (N, K) counts as, in TensorFlow operations."""
        return log_probs

    def tensor_infer(self, inputs: list[Any], prior: Any, terms: Any) -> tensors.Inference:
        """`infer` in TensorFlow operations; see `Module.tensor_infer`."""
        evidence, unseen = [], []
        for message, order in zip(inputs, tf.unstack(terms.numbering), strict=True):
            message = tensors.without_gaps(message)
            logs = tf.gather(self.soften(message.log_probs), order, axis=1)
            if message.missing is None:
                unseen.append(tf.zeros(tf.shape(logs)[:1], "bool"))
            else:
                unseen.append(message.missing)
                logs = tf.where(message.missing[:, None], tf.zeros_like(logs), logs)
            evidence.append(logs)
        log_prior = None if prior is None else prior.log_probs
        total, posterior, heard = experts.conclude(evidence, log_prior)
        return tensors.Inference(
            tensors.from_log(total, tf.reduce_all(unseen, axis=0)),
            [
                tensors.from_log(tf.gather(part, common, axis=1))
                for part, common in zip(heard, tf.unstack(terms.common), strict=True)
            ],
            tensors.from_log(posterior),
        )

    def tensor_decode(self, latent: Any, terms: Any) -> list[Any]:
        return [tf.gather(latent, common, axis=1) for common in tf.unstack(terms.common)]

    def tensor_generate(self, latent: Any, seed: Any, terms: Any) -> list[Any]:
        return self.tensor_decode(latent, terms)

    def generate(self, latent: Any, num_samples: int, rng: np.random.Generator) -> list[Any]:
        num_classes = self.model.numbering.shape[1]
        if latent is None:
            latent = rng.integers(num_classes, size=num_samples)
        latent = check_classes("latent", latent, num_samples, num_classes)
        return [order[latent] for order in self.model.numbering]

    def text_files(self, inference: Inference) -> dict[str, Any]:
        return {
            "Pdz_{mode}.txt": inference.posterior.probs,
            "class_{mode}.txt": self.class_names(inference.posterior.classes),
        }


@register_module("kserket")
class TtoT(Experts):
    """Serket's `tt.TtoT`: joins modules that classify the same samples (tail-to-tail).

    The modules below are experts, and their opinions multiply. Each learns from what all *others*
    say of a sample. Their classes are matched first, by optimal assignment over all of them, and
    the matching stays unless another one agrees on clearly more samples.

    Args:
        name: Module name.
        align: Whether classes are matched. False takes class k of each module for the same.
        category: Optional labels (N,), used to score and for nothing else.
        mode: "learn" or "recog" (recognition).
        smoothing: Added to each expert's probabilities, so that one that is wrong and sure does
            not overrule all others.
        save_dir: Folder in which `module003_tt/` is made; None writes nothing.
        load_dir: A module's own folder to take the matching from.
        seed: Accepted like everywhere; nothing here is random.
        keep_rounds: Whether the files of every update are kept, see `LearningModule`.

    Messages:
        Reads: `Categorical` (N, K), from two modules or more; missing rows are samples that an
            expert has not seen.
        Forward: `Categorical` (N, K): the product of all experts.
        Backward: `Categorical` (N, K), to each expert the product of all others, times what came
            from above, in its own numbering.
        Prior: `Categorical` (N, K), uniform by default.

    Files:
        `parameters.h5`, `Pdz_{mode}.txt` (N, K), `class_{mode}.txt` (N,), and with `category`
        `acc_{mode}.txt`.

    Raises:
        ValueError: If an option is unknown or a message does not fit.

    Reference:
        Taniguchi, Nakamura, Suzuki, Kuniyasu, Hayashi, Taniguchi, Horii and Nagai,
        "Neuro-SERKET", New Generation Computing 38, 2020.

    Example:

    ```python
    import numpy as np

    import kserket as srk
    from kserket import gmm, tt

    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    corners = np.eye(3)[labels]
    seen_by_a = corners[:, :2] + 0.2 * rng.normal(size=(300, 2))  # class 2 at the origin
    seen_by_b = corners[:, 1:] + 0.2 * rng.normal(size=(300, 2))
    gmm1, gmm2 = gmm.GMM(3, name="a", save_dir=None), gmm.GMM(3, name="b", save_dir=None)
    gmm1.connect(srk.Observation(seen_by_a, name="left"))
    gmm2.connect(srk.Observation(seen_by_b, name="right"))
    tt1 = tt.TtoT(category=labels, save_dir=None)
    tt1.connect(gmm1, gmm2)
    srk.Graph(tt1, seed=0).fit(rounds=2, verbose=0)
    print(tt1.logs["accuracy"])
    ```
    """

    smoothing = Fixed()

    def __init__(
        self,
        name: str = "tt",
        align: bool = True,
        category: ArrayLike | None = None,
        mode: Mode = "learn",
        *,
        smoothing: float = 0.01,
        save_dir: PathLike | None = ".",
        load_dir: PathLike | None = None,
        seed: int | None = None,
        keep_rounds: bool = False,
    ) -> None:
        super().__init__(name, align, category, mode, save_dir, load_dir, seed, keep_rounds)
        check_positive(smoothing=smoothing, allow_zero=True)
        self.smoothing = float(smoothing)

    def read(self, inputs: list[Any], prior: Any) -> Any:
        data = super().read(inputs, prior)
        if self.smoothing == 0:
            return data
        softened = np.log(np.exp(data.log_evidence) + self.smoothing)
        return data._replace(log_evidence=np.where(data.seen[..., None], softened, 0.0))

    def soften(self, log_probs: Any) -> Any:
        return tf.math.log(tf.exp(log_probs) + self.smoothing) if self.smoothing else log_probs

    def learn(self, data: Any, rng: np.random.Generator) -> dict[str, float]:
        if self.align:
            before = self.model.numbering if self.model.is_matched else None
            found = experts.match_classes(data.log_evidence, data.seen, before)
            self.model.adopt(found)
        return {"agreement": agreement(self.aligned(data).argmax(axis=2), data.seen)}


def agreement(classes, seen):
    """Cohen's kappa, the mean over pairs of experts, on samples that both have seen.

    Args:
        classes: Integers (M, N), the class that each expert takes each sample for.
        seen: Boolean array (M, N).

    Returns:
        A float; NaN if no two of them have seen the same sample.
    """
    kappas = []
    for a, b in itertools.combinations(range(len(classes)), 2):
        both = seen[a] & seen[b]
        first, second = classes[a][both], classes[b][both]
        if both.any():  # one class only, and the same: full agreement, for which kappa is 0 / 0
            same = len(np.union1d(first, second)) == 1
            kappas.append(1.0 if same else cohen_kappa_score(first, second))
    return float(np.mean(kappas)) if kappas else float("nan")
