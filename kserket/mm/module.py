"""Its module: `MarkovModel`."""

import contextlib
import warnings

import numpy as np
import tensorflow as tf

from kserket import floors
from kserket.core import messages, tensors
from kserket.core.learning_module import Inference, LearningModule
from kserket.core.options import check_choice, check_classes, check_positive_int
from kserket.core.registry import register_module
from kserket.inference import markov_chain, reported_chain
from kserket.mm import rule
from kserket.mm.model import MarkovChain


@register_module("kserket")
class MarkovModel(LearningModule):
    """Serket's `mm.MarkovModel`: learns in which order classes follow each other.

    Samples are steps in time. Each step's class probabilities come from the module below; what
    goes back there is what all *other* steps say of this one, so that a step never hears itself.
    States carry the numbers of the classes below. The chain learns how far the module below can
    be trusted, so that two states which that takes for one class are told apart by what comes
    before and after.

    Args:
        num_samp: Number of paths sampled in a sweep, with `inference="sampled"`.
        name: Module name.
        mode: "learn" or "recog" (recognition).
        lengths: Lengths of the sequences that the samples are; None is one sequence. Set
            `module.lengths` before other data come. An exported graph knows none: there one call
            is one sequence.
        itr: Number of sweeps in one update at most.
        category: Optional labels (N,), used to score and for nothing else.
        inference: "exact" counts transitions by forward-backward, "sampled" in `num_samp` paths.
        n_init: Number of starts of the first update, chosen by the posterior density.
        trust: How many observations it counts as that the module below is right; infinity
            never doubts it.
        save_dir: Folder in which `module003_mm/` is made; None writes nothing.
        load_dir: A module's own folder to take parameters from.
        seed: Integer that determines all randomness.
        **kwargs: Other options of `MarkovChain`.

    Messages:
        Reads: `Categorical` (N, K), from one module; missing rows are missing steps.
        Forward: `Categorical` (N, K): what all steps say of each step's state.
        Backward: `Categorical` (N, K): what all other steps say of it, times what came from
            above.
        Prior: `Categorical` (N, K), uniform by default.

    Files:
        `parameters.h5`, `msg_{mode}.txt` (N, K), `trans_prob_learn.txt` (K, K), and with
        `category` `acc_{mode}.txt`.

    Raises:
        ValueError: If an option is unknown or a message does not fit.

    Reference:
        Nakamura, Nagai and Taniguchi, "SERKET", Frontiers in Neurorobotics 12:25, 2018.

    Example:

    ```python
    import numpy as np

    import kserket as srk
    from kserket import gmm, mm

    states = np.arange(300) % 3  # 0 1 2 0 1 2 ...
    x = np.eye(3)[states] + 0.4 * np.random.default_rng(0).normal(size=(300, 3))
    obs = srk.Observation(x)
    gmm1 = gmm.GMM(3, category=states)
    mm1 = mm.MarkovModel()
    gmm1.connect(obs)
    mm1.connect(gmm1)
    history = srk.Graph(mm1, seed=0).fit(rounds=2, verbose=0).history
    print(history["gmm/accuracy"], mm1.model.transition_matrix.round(2))
    ```
    """

    def __init__(
        self,
        num_samp=100,
        name="mm",
        mode="learn",
        *,
        lengths=None,
        itr=100,
        category=None,
        inference="exact",
        n_init=10,
        trust=10.0,
        save_dir=".",
        load_dir=None,
        seed=None,
        **kwargs,
    ):
        check_positive_int(num_samp=num_samp, itr=itr)
        check_choice("inference", inference, "exact", "sampled")
        num_paths = int(num_samp) if inference == "sampled" else None
        self._options = {"n_init": n_init, "trust": trust, "num_paths": num_paths, **kwargs}
        MarkovChain(1, **self._options)  # an unknown option is told here, not in update()
        super().__init__(
            name, mode, labels=category, save_dir=save_dir, load_dir=load_dir, seed=seed
        )
        self.lengths, self.itr = lengths, int(itr)

    def get_state(self):
        return {**super().get_state(), "itr": self.itr, "lengths": self.lengths}

    def set_state(self, state):
        super().set_state(state)
        self.itr = state.get("itr", self.itr)
        self.lengths = state.get("lengths", self.lengths)

    def check(self, inputs, prior):
        if len(inputs) != 1:
            raise ValueError(
                f"{self.get_name()} reads one module that sends class probabilities (N, K). "
                f"Received: {len(inputs)} modules."
            )
        try:
            reported = _as_reports(inputs[0])
        except ValueError as error:
            raise ValueError(
                f"{self.get_name()} reads class probabilities (N, K), such as a GMM sends. {error}"
            ) from None
        self._check_classes(prior, reported.shape[1])

    def build_model(self, inputs):
        return MarkovChain(
            np.shape(inputs[0])[1], **self._options, name=tensors.identifier(self.name)
        )

    def learn(self, inputs, prior, rng):
        data = self.model._data({"x": _as_reports(inputs[0]), "class_prior": prior}, self.lengths)
        history = self.model._fit(
            data, self.itr, self.fit_callbacks(self.itr, "sweep"), verbose=0, rng=rng
        )
        log_posterior = history.history["log_posterior"][-1]
        return {"log_posterior": log_posterior, **self.evaluate(inputs, prior)}

    def infer(self, inputs, prior):
        state, reported = self.model.state, _as_reports(inputs[0])
        own = reported_chain.state_evidence(reported.log_probs, state.reports)
        above = 0.0 if prior is None else messages.as_categorical(prior).log_probs
        context = markov_chain.smooth(
            own + above, state.initial, state.transitions, self._lengths_of(reported)
        ).log_context
        return Inference(
            messages.Categorical.from_log(context + own),
            [messages.Categorical.from_log(context + above)],
            messages.Categorical.from_log(context + own + above),
        )

    def evaluate(self, inputs, prior):
        reported = _as_reports(inputs[0])
        log_likelihood = self.model.log_likelihood(
            {"x": reported, "class_prior": prior}, lengths=self._lengths_of(reported)
        )
        return {"log_likelihood": log_likelihood / len(reported)}

    @contextlib.contextmanager
    def as_served(self):
        """The module as an export has it: the samples of a call are one sequence."""
        lengths, self.lengths = self.lengths, None
        if lengths is not None:
            warnings.warn(
                f"{self.get_name()} is exported without its `lengths`: what is served takes the "
                "samples of one call as one sequence. Send each sequence in a call of its own, or "
                "its answers differ from predict().",
                stacklevel=6,
            )
        try:
            yield
        finally:
            self.lengths = lengths

    def tensor_infer(self, inputs, prior):
        reported = inputs[0]
        if not isinstance(reported, tensors.Categorical):
            smallest = floors.smallest(reported.dtype)
            missing = tensors.missing_rows(reported)
            reported = tensors.from_log(tf.math.log(tf.maximum(reported, smallest)), missing)
        initial, transitions, reports = self._frozen(reported.log_probs.dtype)
        own = rule.state_evidence(reported.log_probs, reports)
        above = 0.0 if prior is None else prior.log_probs
        context = rule.context(own + above, initial, transitions)
        return tensors.Inference(
            tensors.from_log(context + own),
            [tensors.from_log(context + above)],
            tensors.from_log(context + own + above),
        )

    def tensor_generate(self, latent, seed):
        _, _, reports = self._frozen(latent.dtype)
        log_probs = tf.math.log(latent @ reports)
        drawn = tf.random.stateless_categorical(log_probs, 1, seed)[:, 0]
        return [tf.one_hot(drawn, tf.shape(reports)[1], dtype=latent.dtype)]

    def _frozen(self, dtype):
        """The parameters as constants of an exported graph."""
        with tf.init_scope():
            state = self.model.state
        return [tf.constant(part, dtype) for part in state]

    def _lengths_of(self, reported):
        """`lengths` if they are those of these data; others, such as new data, are one sequence."""
        if self.lengths is None or np.sum(self.lengths) == len(reported):
            return self.lengths
        self._warn_once(
            f"takes {len(reported)} steps as one sequence, since `lengths` sum to "
            f"{np.sum(self.lengths)}. Set {self.name or 'module'}.lengths to theirs, or to None."
        )
        return None

    def generate(self, latent, num_samples, rng):
        reports = self.model.reports
        if latent is None:
            latent = self.model.sample(num_samples, seed=rng)
        latent = check_classes("latent", latent, num_samples, len(reports))
        cumulative = np.cumsum(reports[latent], axis=1)
        drawn = rng.random((num_samples, 1)) * cumulative[:, -1:]
        return [np.sum(cumulative <= drawn, axis=1)]

    def text_files(self, inference):
        files = {"msg_{mode}.txt": inference.downward[0].probs}
        if self.mode == "learn":
            files["trans_prob_learn.txt"] = self.model.transition_matrix
        return files


def _as_reports(message):
    """What the module below says, a `Categorical`; rows of an array that are NaN are missing."""
    missing = messages.missing_rows(message)
    if isinstance(message, messages.Message) or missing is None:
        return messages.as_categorical(message)
    return messages.Categorical(
        np.where(missing[:, None], 1.0 / message.shape[1], message), missing
    )
