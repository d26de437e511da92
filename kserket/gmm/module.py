"""Its module: `GMM`."""

import warnings

import numpy as np
import tensorflow as tf

from kserket import storage
from kserket.core import messages, tensors
from kserket.core.learning_module import Inference, LearningModule
from kserket.core.options import check_positive_int
from kserket.core.registry import register_module
from kserket.gmm.learning import learn
from kserket.gmm.model import GaussianMixture
from kserket.inference.umap_clusters import group_probabilities


@register_module("kserket")
class GMM(LearningModule):
    """Serket's `gmm.GMM`: sorts real vectors into K classes.

    Under a module that sends class probabilities (a Markov model, a topic model) these take
    the place of the mixing weights; above a VAE the class means shape its latent space. The
    mixture goes on from its last state in every update, so that classes keep their numbers.

    Args:
        K: Number of classes.
        itr: Number of sweeps in one update.
        name: Module name.
        category: Optional labels (N,), used to score and for nothing else.
        mode: "learn" or "recog" (recognition).
        inference: "variational", or "gibbs" for Serket's sampler.
        init: How the first update starts: "kmeans" or "umap", see `GaussianMixture`.
        n_init: Number of starts by k-means, of which the best by the bound is taken; None makes 30,
            fewer of data of more than 150 features, whose sweeps take long.
        save_dir: Folder in which `module002_gmm/` is made; None writes nothing.
        load_dir: A module's own folder to take parameters from.
        seed: Integer that determines all randomness.
        **kwargs: Further options of `GaussianMixture`, such as `warm_start` and `keep_groups`.

    Messages:
        Reads: x (N, D), from one module; the variance of a `Gaussian` message is used.
        Forward: `Categorical` (N, K): what x says of its class.
        Backward: `Mixture`; as an array each datum's expected class mean (N, D).
        Prior: `Categorical` (N, K) in the place of the mixing weights.

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

    def __init__(
        self,
        K,
        itr=100,
        name="gmm",
        category=None,
        mode="learn",
        *,
        inference="variational",
        init="kmeans",
        n_init=None,
        save_dir=".",
        load_dir=None,
        seed=None,
        **kwargs,
    ):
        if "catogory" in kwargs:  # as the original's documentation has it
            warnings.warn(
                "GMM takes `category`; `catogory`, a misprint, is read as that.", stacklevel=2
            )
            category = kwargs.pop("catogory") if category is None else category
        check_positive_int(itr=itr)
        self._options = {"inference": inference, "init": init, "n_init": n_init, **kwargs}
        GaussianMixture(K, **self._options)  # an unknown option is told here, not in update()
        super().__init__(
            name, mode, labels=category, save_dir=save_dir, load_dir=load_dir, seed=seed
        )
        self.K, self.itr = int(K), int(itr)

    def get_state(self):
        return {**super().get_state(), "itr": self.itr}

    def set_state(self, state):
        super().set_state(state)
        self.itr = state.get("itr", self.itr)

    def forget_samples(self):
        super().forget_samples()
        if self.model is not None:
            self.model.assignments = self.model.groups = None

    def set_parameters(self, arrays):
        if "transform_power" in arrays and not self.model.learns_powers:
            raise ValueError(
                f"{self.get_name()} cannot use parameters that were learned with "
                "power_transform=True. Make it with that option."
            )
        super().set_parameters(arrays)

    def settings(self):
        return {"K": self.K, "inference": self._options["inference"]}

    def check(self, inputs, prior):
        if len(inputs) != 1 or len(np.shape(inputs[0])) != 2:
            shapes = [np.shape(message) for message in inputs]
            raise ValueError(
                f"{self.get_name()} reads one module of shape (N, D). Received: {shapes}. "
                "Reshape or concatenate the data."
            )
        self._check_classes(prior, self.K)

    def build_model(self, inputs):
        model = GaussianMixture(self.K, **self._options, name=tensors.identifier(self.name))
        model.build(np.shape(inputs[0]))
        return model

    def learn(self, inputs, prior, rng):
        data = self._data(inputs, prior)
        missing = messages.missing_rows(inputs[0])
        if missing is not None:
            seen = np.flatnonzero(~missing)
            data = {name: storage.take(part, seen) for name, part in data.items()}
        callbacks = self.fit_callbacks(self.itr, "sweep")
        history = learn(self.model, data, self.itr, callbacks, verbose=0, rng=rng)
        (figure, values), *_ = history.history.items()
        return {figure: values[-1], **self.evaluate(inputs, prior)}

    def infer(self, inputs, prior):
        return self._infer(inputs, prior)

    def infer_learned(self, inputs, prior):
        """As `infer`; groups that the mixture kept are evidence, too."""
        missing = messages.missing_rows(inputs[0])
        missing = np.zeros(len(inputs[0]), bool) if missing is None else missing
        if self.mode != "learn" or not self.model.knows_groups_of(np.sum(~missing)):
            return self._infer(inputs, prior)
        groups = np.full(len(missing), -1)
        groups[~missing] = self.model.groups
        return self._infer(inputs, prior, groups)

    def _infer(self, inputs, prior, groups=None):
        """What x says, and the groups (N,) that samples are in, where known, or None."""
        data = self._data(inputs, prior)
        missing = messages.missing_rows(inputs[0])
        log_likelihood = self.model._log_likelihood(data["x"], data["variance"])
        if missing is not None:
            log_likelihood[missing] = 0.0
        if groups is not None:
            log_likelihood = storage.apply(
                lambda part, group: part + np.log(group_probabilities(group, self.K)),
                log_likelihood,
                groups,
            )
        if prior is None:
            log_posterior = self.model._log_posterior(log_likelihood, None)
            posterior = messages.Categorical.from_log(log_posterior)
            evidence = messages.Categorical.from_log(log_posterior, missing)
        else:
            evidence = messages.Categorical.from_log(log_likelihood, missing)
            posterior = messages.product([evidence, messages.as_categorical(prior)])
        downward = messages.Mixture(posterior.probs, self.model.means, self.model.covariances)
        return Inference(evidence, [downward], posterior)

    def figures(self, inference):
        """Classes that hold a datum at least."""
        live = len(np.unique(inference.posterior.classes))
        missing = inference.evidence.missing
        num_seen = len(inference.posterior) if missing is None else (~missing).sum()
        if live == 1 < self.K and num_seen > 1 and self.mode == "learn":
            self._warn_once(
                "found one class only: what it reads looks like one Gaussian. Under a VAE, let "
                "the latent variables carry more: lower KL_param, train longer, or use the "
                "likelihood that the data have."
            )
        return {"live_classes": live}

    def evaluate(self, inputs, prior):
        data = self._data(inputs, prior)
        scores = self.model._score_samples(data["x"], data["class_prior"])
        missing = messages.missing_rows(inputs[0])
        scores = scores if missing is None else scores[~missing]
        return {"log_likelihood": float(scores.mean())} if len(scores) else {}

    def generate(self, latent, num_samples, rng):
        x, _ = self.model.sample(num_samples, component=latent, seed=rng)
        return [x]

    def tensor_infer(self, inputs, prior):
        x = tensors.as_gaussian(inputs[0])
        log_likelihood = self.model.frozen_log_likelihood(x.mean, x.variance)
        if x.missing is not None:
            silent = tf.zeros_like(log_likelihood)
            log_likelihood = tf.where(x.missing[:, None], silent, log_likelihood)
        if prior is None:
            with tf.init_scope():
                weights = self.model._log_posterior(np.zeros((1, self.K)), None)
            posterior = tensors.from_log(log_likelihood + tf.constant(weights, x.mean.dtype))
            evidence = tensors.from_log(posterior.log_probs, x.missing)
        else:
            evidence = tensors.from_log(log_likelihood)
            posterior = tensors.product([evidence, prior])
        downward = self.tensor_decode(posterior.array)
        return tensors.Inference(evidence, downward, posterior)

    def tensor_decode(self, latent):
        with tf.init_scope():
            means = self.model.means
        return [latent @ tf.constant(means, latent.dtype)]

    def tensor_generate(self, latent, seed):
        return [self.model.frozen_sample(latent, seed)]

    def _data(self, inputs, prior):
        """Inputs as the model takes them, missing rows at zero."""
        x = inputs[0]
        if messages.missing_rows(x) is not None and not isinstance(x, messages.Message):
            x = storage.apply(np.nan_to_num, np.asarray(x))
        x = messages.as_gaussian(x)
        variance = x.variance
        if variance is not None and x.missing is not None:
            variance = storage.apply(
                lambda part, silent: np.where(silent[:, None], 1.0, part), variance, x.missing
            )
        return self.model._data({"x": x.mean, "variance": variance, "class_prior": prior})

    def text_files(self, inference):
        return {
            "Pdz_{mode}.txt": inference.posterior.probs,
            "class_{mode}.txt": inference.posterior.classes,
            "mu_{mode}.txt": inference.downward[0],
        }
