"""Its module: `GMM`."""

from typing import Any, Literal

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from kserket import storage
from kserket.core import messages, tensors
from kserket.core.attributes import FixedOrFound
from kserket.core.inference import Inference
from kserket.core.keywords import in_words_of
from kserket.core.learning_module import LearningModule
from kserket.core.node import is_data
from kserket.core.options import check_positive_int
from kserket.core.registry import register_module
from kserket.floors import LOG_ZERO
from kserket.gmm import rule
from kserket.gmm.data import check_size, checked, under_prior
from kserket.gmm.model import GaussianMixture
from kserket.inference import mixture_chain
from kserket.inference.gaussian_mixture import learning, scoring
from kserket.inference.gaussian_mixture.data import Data
from kserket.inference.gaussian_mixture.gaps import have as have_gaps
from kserket.inference.gaussian_mixture.sweep import fill_given_classes
from kserket.inference.umap_clusters import group_probabilities
from kserket.typing import Array, Floats, Mode, PathLike

_HELP = "See docs/guides/good_clusters.md, 'First see whether there is anything to find'."
_PER_SAMPLE = "groups", "classes", "classes_means"  # what is known of samples, and saved


@register_module("kserket")
class GMM(LearningModule):
    """Serket's `gmm.GMM`: sorts real vectors into K classes.

    Under a module that sends class probabilities (a Markov model, a topic model) these take
    the place of the mixing weights; above a VAE the class means shape its latent space. The
    mixture goes on from its last state in every update, so that classes keep their numbers.

    Args:
        K: Number of classes. None finds it in the data of the first update, see `GaussianMixture`;
            it stays then, so that messages keep their shape. Until then `K` reads None.
        itr: Number of sweeps in one update.
        name: Module name.
        category: Optional labels (N,), used to score and for nothing else.
        mode: "learn" or "recog" (recognition).
        inference: "variational", or "gibbs" for Serket's sampler.
        init: How the first update starts: "kmeans", "umap", or "prior", which says nothing of
            classes until a module above does and then starts from these; see `GaussianMixture`.
        n_init: Number of starts by k-means, of which the best by the bound is taken; None makes 30,
            fewer of data of more than 150 features, whose sweeps take long.
        save_dir: Folder in which `module002_gmm/` is made; None writes nothing.
        load_dir: A module's own folder to take parameters from.
        seed: Integer that determines all randomness.
        keep_rounds: Whether the files of every update are kept, see `LearningModule`.
        **kwargs: Further options of `GaussianMixture`, such as `warm_start` and `keep_groups`.

    Messages:
        Reads: x (N, D), from one module; the variance of a `Gaussian` message is used.
        Forward: `Categorical` (N, K): what x says of its class.
        Backward: `Mixture`; as an array each datum's expected class mean (N, D).
        Prior: `Categorical` (N, K), used instead of the mixing weights.

    Files:
        `parameters.h5`, `Pdz_{mode}.txt` (N, K), `class_{mode}.txt` (N,), `mu_{mode}.txt`
        (N, D), and with `category` `acc_{mode}.txt`.

    Raises:
        ValueError: If an option is unknown or a message does not fit.

    Reference:
        Nakamura, Nagai and Taniguchi, "SERKET", Frontiers in Neurorobotics 12:25, 2018.

    Example:

    ```python
    import kserket as srk
    from kserket import gmm

    x, labels, *_ = srk.datasets.make_mixture(300, 3, 2, seed=0)
    obs = srk.Observation(x)
    gmm1 = gmm.GMM(3, category=labels, seed=0)
    gmm1.connect(obs)
    gmm1.update()
    print(gmm1.logs["accuracy"])
    ```
    """

    links_samples = False
    learns_over_hosts = True
    samples_in_state = (*LearningModule.samples_in_state, "groups", "classes")
    model_class = GaussianMixture
    K = FixedOrFound("num_components")
    category = LearningModule.labels

    def __init__(
        self,
        K: int | None,
        itr: int = 100,
        name: str = "gmm",
        category: ArrayLike | None = None,
        mode: Mode = "learn",
        *,
        inference: Literal["variational", "gibbs"] = "variational",
        init: Literal["kmeans", "umap", "prior"] = "kmeans",
        n_init: int | None = None,
        save_dir: PathLike | None = ".",
        load_dir: PathLike | None = None,
        seed: int | None = None,
        keep_rounds: bool = False,
        **kwargs: Any,
    ) -> None:
        check_positive_int(itr=itr)
        self._options = {"inference": inference, "init": init, "n_init": n_init, **kwargs}
        with in_words_of(GMM, GaussianMixture, num_components="K"):
            GaussianMixture(K, **self._options)  # a wrong option is an error here, not in update()
        super().__init__(name, mode, category, save_dir, load_dir, seed, keep_rounds)
        self.model: GaussianMixture | Any
        self.K, self.itr = None if K is None else int(K), int(itr)
        self._groups = self._classes = None  # of the samples, (N,), -1 where not known
        self._classes_means = None  # component means (K, D) that the classes were found with
        self._score_of_data = None

    def get_state(self) -> dict[str, Any]:
        state = {name: getattr(self, f"_{name}") for name in _PER_SAMPLE}
        return {**super().get_state(), "itr": self.itr, **state}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.itr = state.get("itr", self.itr)
        for name in _PER_SAMPLE:
            setattr(self, f"_{name}", state.get(name))

    def forget_samples(self) -> None:
        super().forget_samples()
        self._groups = self._classes = self._classes_means = None

    def set_parameters(self, arrays: dict[str, Any]) -> None:
        if "transform_power" in arrays and not self.model.learns_powers:
            raise ValueError(
                f"{self.get_name()} cannot use parameters that were learned with "
                "power_transform=True. Make it with that option."
            )
        if not self.model.built:  # K is what the file has
            mean = arrays.get("mean")
            if np.ndim(mean) != 2:
                raise ValueError(f"{self.get_name()} needs parameters with means (K, D).")
            self.model.resize(*np.shape(mean))
        gaps = np.zeros(self.model.num_features)  # of files of 0.1.0, which have none
        super().set_parameters({"resolution": gaps, **arrays})

    def settings(self) -> dict[str, Any]:
        number = {} if self.K is None else {"K": self.K}
        return {**number, "inference": self._options["inference"]}

    def read(self, inputs: list[Any], prior: Any) -> Any:
        """`inference.gaussian_mixture.data.Data` of what was received."""
        self._check_shape(inputs)
        x, name = inputs[0], self.get_name()
        prior = self._check_classes(prior, self.K)
        learns_order = any(reader.learns_below for reader in self.readers)
        if learns_order and self.K is None:
            raise ValueError(
                f"{name} finds its number of classes alone, and a chain above learns "
                "together with it (joint=True). Give K."
            )
        if prior is None and learns_order:
            uniform = np.full((len(x), self.K), 1.0 / self.K)  # the order replaces mixing weights
            prior = messages.Categorical(uniform)
        missing = messages.missing_rows(x)
        x = x if isinstance(x, messages.Gaussian) else np.asarray(x)
        check_size(np.asarray(x), name)
        return under_prior(checked(x, missing=missing, allow_gaps=True), prior)

    def build_model(self, data: Any) -> GaussianMixture:
        model = GaussianMixture(self.K, **self._options, name=tensors.identifier(self.name))
        if self.K is not None:
            model.build(data.x.shape)
        return model

    def learn(self, data: Any, rng: np.random.Generator) -> dict[str, float]:
        found = self.model.found
        if found is not None:
            found = found._replace(groups=self._known(self._groups, data))
            if np.array_equal(found.state.mean, self._classes_means):  # else others were set
                found = found._replace(classes=self._known(self._classes, data))
        data, learn = self._joined(data)
        callbacks = self.fit_callbacks(self.itr, "sweep")
        history, found = self.model.sweep(
            data, found, self.itr, callbacks, 0, rng, learn, finds_number=self.K is None
        )
        self._groups, self._classes = found.groups, found.classes
        self._classes_means = None if found.classes is None else found.state.mean
        return {figure: values[-1] for figure, values in history.history.items()}

    @property
    def reads_gaps(self) -> bool:
        """Whether single cells of the data may be NaN."""
        return self._options["init"] != "umap" and self._options["inference"] == "variational"

    @property
    def takes_order(self) -> bool:
        """Whether a chain above can learn together with it."""
        return self._options["inference"] == "variational" and not self._options.get("keep_groups")

    def _joined(self, data):
        """Data, and what learns from them: the mixture alone, or with the reader that asks for it.

        What that reader said is not a class prior then; what others said still is.
        """
        readers = [reader for reader in self.readers if reader.learns_below]
        if not readers:
            return data, learning.learn
        if len(readers) > 1:
            names = " and ".join(sorted(reader.get_name() for reader in readers))
            raise ValueError(
                f"{self.get_name()} can learn together with one reader. {names} ask for it."
            )
        (reader,) = readers
        if have_gaps(data.x):
            raise ValueError(
                f"{reader.get_name()} learns together with {self.get_name()} (joint=True), and the "
                "two need whole rows, or rows of NaN. Impute single cells, or leave joint=True out."
            )
        others = self.mailbox.prior(leaving_out=reader)
        log_prior = None if others is None else messages.as_categorical(others).log_probs
        order = reader.order_below(len(data.x), self.K)

        def learn(data, options, found, rng, num_sweeps, callback):
            found, fit = mixture_chain.learn(
                data, options, order, found, rng=rng, num_sweeps=num_sweeps, callback=callback
            )
            reader.take_order(fit)
            return found

        return data._replace(log_prior=log_prior), learn

    def infer(self, data: Any, prior: Any = None) -> Inference:
        """What the model concludes.

        Args:
            data: What `read` returned, or the list of inputs that it reads.
            prior: The message from above, beside inputs.

        Returns:
            An `Inference`.
        """
        data = data if isinstance(data, Data) else self.read(data, prior)
        found = self.model.found
        likelihood = scoring.component_log_likelihood(data, found, self.model.inference)
        return self._conclude(data, found, likelihood)

    def infer_learned(self, data: Any) -> Inference:
        """As `infer`; groups that the mixture kept are evidence, too."""
        found, inference = self.model.found, self.model.inference
        likelihood = scoring.component_log_likelihood(data, found, inference)
        self._score_of_data = scoring.mean_log_density(data, found, inference, likelihood)
        groups = self._known(self._groups, data) if self.mode == "learn" else None
        if groups is not None and learning.uses_groups(data.seen()[0], self.model.keep_groups):
            likelihood = storage.apply(
                lambda part, group: part + np.log(group_probabilities(group, self.K)),
                likelihood,
                groups,
            )
        return self._conclude(data, found, likelihood)

    def _conclude(self, data, found, likelihood):
        """The `Inference` from what was found and a likelihood (N, K)."""
        log_weights = scoring.log_weights(found.state, self.model.inference)
        log_evidence, log_posterior = rule.conclude_rows(data, likelihood, log_weights)
        evidence = messages.Categorical.from_log(log_evidence, data.missing)
        posterior = evidence
        if log_posterior is not log_evidence or data.missing is not None:
            posterior = messages.Categorical.from_log(log_posterior)
        downward = messages.Mixture.of_classes(posterior, found.means(), found.covariances())
        return Inference(evidence, [downward], posterior)

    def _check_shape(self, inputs):
        """Raises ValueError unless inputs are one of shape (N, D)."""
        if len(inputs) != 1 or len(np.shape(inputs[0])) != 2:
            shapes = [np.shape(message) for message in inputs]
            raise ValueError(
                f"{self.get_name()} reads one module of shape (N, D). Received: {shapes}. "
                "Reshape or concatenate the data."
            )

    def _known(self, values, data):
        """What is known of the samples, (N,); None where that was other samples."""
        return values if values is not None and len(values) == len(data.x) else None

    def figures(self, inference: Inference) -> dict[str, float]:
        """How probable data are, and how many classes hold a datum at least."""
        score = {} if self._score_of_data is None else {"log_likelihood": self._score_of_data}
        return {**score, "live_classes": self.count_live(inference)}

    @property
    def asked_classes(self) -> int | None:
        """K, unless it was found in the data, or weights are meant to leave classes empty."""
        concentration = self.model.weight_concentration
        is_sparse = self.model.sparse or (concentration is not None and concentration < 1)
        return None if self.model.finds_number or is_sparse else self.K

    def advice(self, live: int, num_seen: int) -> str | None:
        if self._waits():
            return None
        if live > 1 or num_seen < 2 or (self.K == 1 and not self.model.finds_number):
            return super().advice(live, num_seen)
        cure = ""
        if isinstance(self.inputs[0].get_forward_msg(), messages.Gaussian):
            cure = (
                " Let the latent variables below carry more: lower KL_param, train longer, or use "
                "the likelihood that the data have."
            )
        return f"found one class only: what it reads looks like one Gaussian.{cure} {_HELP}"

    def _waits(self):
        """Whether it starts from a class prior, and none has come yet."""
        return self._options["init"] == "prior" and learning.are_alike(self.model.state)

    def evaluate(self, data: Any) -> dict[str, float]:
        scores = self.model.log_density(data)
        scores = scores if data.missing is None else scores[~data.missing]
        return {"log_likelihood": float(scores.mean())} if len(scores) else {}

    def class_log_densities(self, data: Any) -> Floats | None:
        return _where_observed(self.model.component_log_density(data), data.missing)

    def joint_class_log_densities(self, data: Any, below: list[Any]) -> Floats | None:
        (latent,) = below
        if latent is None:
            return self.class_log_densities(data)
        densities = None
        if latent.ndim == 1:
            densities = self.model.expected_component_log_density(data)
        if densities is None:
            return None
        densities = storage.apply(np.add, densities, latent[:, None])
        return _where_observed(densities, data.missing)

    def joint_log_likelihood(self, data: Any, below: list[Any]) -> Floats | None:
        densities = self.joint_class_log_densities(data, below)
        if densities is None:
            return None
        return np.logaddexp.reduce(densities + np.log(self.model.mixing_weights), axis=1)

    def generate(self, latent: Any, num_samples: int, rng: np.random.Generator) -> list[Any]:
        x, _ = self.model.sample(num_samples, component=latent, seed=rng)
        return [x]

    def fill_gaps(self, x: Array, answer: Array) -> Floats:
        found = self.model.found
        return storage.apply(
            lambda part, posterior: fill_given_classes(
                found.state, part, posterior, found.transform
            ),
            x,
            answer,
        )

    def check_observed(self, x: ArrayLike, name: str) -> None:
        self._check_shape([x])
        check_size(x, f"{self.get_name()}, which reads {name},")

    def terms(self) -> Any:
        return self.model.terms()

    def tensor_infer(self, inputs: list[Any], prior: Any, terms: Any) -> tensors.Inference:
        x = tensors.as_gaussian(inputs[0])
        terms, heard, log_prior = terms.cast(x.mean.dtype), None, None
        variance = x.variance
        if x.missing is not None:
            heard = tf.cast(~x.missing[:, None], x.mean.dtype)
            if variance is not None:
                variance = tf.where(x.missing[:, None], tf.zeros_like(variance), variance)
        gaps = is_data(self.inputs[0]) and self.reads_gaps
        likelihood = rule.density(terms, x.mean, variance, allow_gaps=gaps)
        if prior is not None:
            logs = prior.log_probs
            log_prior = tf.where(logs <= LOG_ZERO, tf.constant(-np.inf, logs.dtype), logs)
        log_evidence, log_posterior = rule.conclude(likelihood, terms.log_weights, log_prior, heard)
        evidence = tensors.from_log(log_evidence, x.missing)
        posterior = tensors.from_log(log_posterior)
        return tensors.Inference(evidence, self.tensor_decode(posterior.array, terms), posterior)

    def tensor_decode(self, latent: Any, terms: Any) -> list[Any]:
        return [latent @ terms.cast(latent.dtype).means]

    def tensor_generate(self, latent: Any, seed: Any, terms: Any) -> list[Any]:
        return [rule.draw(terms, latent, seed)]

    def text_files(self, inference: Inference) -> dict[str, Any]:
        return {
            "Pdz_{mode}.txt": inference.posterior.probs,
            "class_{mode}.txt": self.class_names(inference.posterior.classes),
            "mu_{mode}.txt": inference.downward[0],
        }


def _where_observed(log_densities, missing):
    """Log densities (N, K), 0 in rows that are missing."""
    if missing is not None:
        log_densities[missing] = 0.0
    return log_densities
