"""Its module: `MarkovModel`."""

import warnings
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from kserket import floors, hosts
from kserket.core import messages, tensors
from kserket.core.attributes import Fixed
from kserket.core.inference import Inference
from kserket.core.keywords import in_words_of
from kserket.core.learning_module import LearningModule, check_learned
from kserket.core.options import check_choice, check_classes, check_flag, check_positive_int
from kserket.core.registry import register_module
from kserket.inference import markov_chain, mixture_chain, reported_chain
from kserket.inference.sequences import check_lengths
from kserket.mm import rule
from kserket.mm.data import read
from kserket.mm.model import MarkovChain
from kserket.typing import Floats, Mode, PathLike

_FEW_STEPS = 300  # up to which exact rules on tensors, a step at a time, are as fast as `infer`


class Terms(NamedTuple):
    """What the rule on tensors needs.

    Attributes:
        initial: (K,) P(first state).
        transitions: (K, K) P(next state = column | state = row).
        reports: (K, K) P(class = column | state = row).
        lasting: `inference.durations.Lasting`, or None.
        starts: (N,) booleans, true where a sequence starts; None is one sequence.
    """

    initial: Any
    transitions: Any
    reports: Any
    lasting: Any = None
    starts: Any = None


@register_module("kserket")
class MarkovModel(LearningModule):
    """Serket's `mm.MarkovModel`: learns in which order classes follow each other.

    Samples are steps in time. Each step's class probabilities come from the module below; what
    goes back there is what all *other* steps say of this one, so that a step never hears itself.
    States carry the numbers of the classes below. The chain learns how far the module below can
    be trusted, so that two states that it takes for one class are separated by what comes
    before and after.

    Args:
        num_samp: Number of paths sampled in a sweep, with `inference="sampled"`.
        name: Module name.
        mode: "learn" or "recog" (recognition).
        lengths: Lengths (S,) of the sequences in the samples; None is one sequence. Those of new
            data go to `graph.predict(x, lengths=...)`; set `module.lengths` before it learns from
            others.
        itr: Number of sweeps in one update at most.
        category: Optional labels (N,), used to score and for nothing else.
        inference: "exact" counts transitions by forward-backward, "sampled" in `num_samp` paths.
        n_init: Number of starts of the first update, chosen by the posterior density, or by the
            bound with `joint`. None makes 10, with `joint` 31.
        trust: How many observations it counts as that the module below is right; infinity
            never doubts it. None is 10, with `joint` infinity.
        joint: Whether the mixture below learns together with the chain, when it is updated: by one
            bound of both, from starts that know time. Where classes overlap and states last, a
            mixture that is learned alone first ends far from the best order.
        save_dir: Folder in which `module003_mm/` is made; None writes nothing.
        load_dir: A module's own folder to take parameters from.
        seed: Integer that determines all randomness.
        keep_rounds: Whether the files of every update are kept, see `LearningModule`.
        **kwargs: Other options of `MarkovChain`, such as `duration`.

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

    learns_over_hosts = True
    reads_sequences = True
    model_class = MarkovChain
    num_samp, inference, joint = Fixed(), Fixed(), Fixed()
    category = LearningModule.labels

    def __init__(
        self,
        num_samp: int = 100,
        name: str = "mm",
        mode: Mode = "learn",
        *,
        lengths: ArrayLike | None = None,
        itr: int = 100,
        category: ArrayLike | None = None,
        inference: Literal["exact", "sampled"] = "exact",
        n_init: int | None = None,
        trust: float | None = None,
        joint: bool = False,
        save_dir: PathLike | None = ".",
        load_dir: PathLike | None = None,
        seed: int | None = None,
        keep_rounds: bool = False,
        **kwargs: Any,
    ) -> None:
        check_positive_int(num_samp=num_samp, itr=itr)
        check_choice("inference", inference, "exact", "sampled")
        check_flag(joint=joint)
        if joint and inference == "sampled":
            raise ValueError("`joint` needs inference='exact'. Received: inference='sampled'")
        num_paths = int(num_samp) if inference == "sampled" else None
        if trust is None:
            trust = np.inf if joint else 10.0
        self._options = {"n_init": 10, "trust": trust, "num_paths": num_paths, **kwargs}
        if n_init is not None:
            self._options["n_init"] = n_init
        allowed = kwargs.get("allowed_transitions")
        num_states = 1 if allowed is None or isinstance(allowed, str) else len(allowed)
        with in_words_of(MarkovModel, MarkovChain, num_paths="num_samp"):
            MarkovChain(num_states, **self._options)  # a wrong option is an error here
        given, _ = self._arguments
        if inference == "exact" and given and type(self).__init__ is MarkovModel.__init__:
            warnings.warn(
                f"MarkovModel({num_samp}) sets `num_samp`, the number of sampled paths, which "
                "inference='exact' does not use. The number of states is that of the classes it "
                "reads. Leave it out, or pass inference='sampled'.",
                stacklevel=3,
            )
        check_lengths(lengths)  # before a number is taken
        super().__init__(name, mode, category, save_dir, load_dir, seed, keep_rounds)
        self.model: MarkovChain | Any
        self.num_samp, self.inference, self.joint = int(num_samp), inference, bool(joint)
        self._num_starts = n_init
        self._found_below = None  # with the mixture, in its update before this module's
        self.lengths, self.itr = lengths, int(itr)
        self._log_likelihood = None

    @property
    def lengths(self) -> ArrayLike | None:
        """Lengths (S,) of the sequences in the samples, or None; may be set between updates."""
        return self._lengths

    @lengths.setter
    def lengths(self, lengths: ArrayLike | None) -> None:
        check_lengths(lengths)
        self._lengths = lengths

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "itr": self.itr, "lengths": self.lengths}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.itr = state.get("itr", self.itr)
        self.lengths = state.get("lengths", self.lengths)

    @property
    def learns_below(self) -> bool:
        """Whether it learns together with the mixture below."""
        return self.joint and self.learnable

    def order_below(self, num_samples: int, num_classes: int) -> Any:
        lengths, prior = check_lengths(self.lengths), self.get_backward_msg()
        if lengths is not None and lengths.sum() != num_samples:
            lengths = None
        self._check_classes(prior, num_classes)
        return mixture_chain.Order(
            MarkovChain(num_classes, **self._options).prior,
            None if self.model is None or not self.model.is_fitted else self.model.state,
            lengths,
            None if prior is None else messages.as_categorical(prior).log_probs,
            self._num_starts,
        )

    def take_order(self, found: Any) -> None:
        self._found_below = found

    def check_options(self, num_samples: int | None) -> None:
        super().check_options(num_samples)
        if self.joint and not all(source.takes_order for source in self.inputs):
            raise ValueError(
                f"{self.get_name()} has joint=True, which needs a GMM below it, with "
                "inference='variational' and without keep_groups; leave `joint` out to learn from "
                f"anything else. Received: {', '.join(source.get_name() for source in self.inputs)}"
            )
        if self.lengths is not None and num_samples is not None and self.learnable:
            try:
                check_lengths(self.lengths, num_samples)
            except ValueError as error:
                raise ValueError(
                    f"{self.get_name()}: {error} Set graph[{self.name!r}].lengths to those of the "
                    "data that it learns from, those of new data by predict(x, lengths=...)."
                ) from None

    def read(self, inputs: list[Any], prior: Any) -> Any:
        """`Data` of the one input and the prior; lengths that are not theirs are left out."""
        name = self.get_name()
        if len(inputs) != 1:
            raise ValueError(
                f"{name} reads one module that sends class probabilities (N, K). "
                f"Received: {len(inputs)} modules."
            )
        lengths = check_lengths(self.lengths)
        if lengths is not None and lengths.sum() != len(inputs[0]):
            lengths = None
        try:
            data = read(inputs[0], None, lengths, name="What it reads")
        except ValueError as error:
            raise ValueError(
                f"{name} reads class probabilities (N, K), such as a GMM sends. {error}"
            ) from None
        self._check_classes(prior, data.log_reported.shape[1])
        if prior is None:
            return data
        return data._replace(log_prior=messages.as_categorical(prior).log_probs)

    def build_model(self, data: Any) -> MarkovChain:
        return MarkovChain(
            data.log_reported.shape[1], **self._options, name=tensors.identifier(self.name)
        )

    def learn(self, data: Any, rng: np.random.Generator) -> dict[str, float]:
        found, self._found_below = self._found_below, None
        if found is not None:
            self.model.adopt(found.chain, found.statistics)
            return {"bound": found.bound}
        history = self.model.fit(
            data,
            epochs=self.itr,
            callbacks=self.fit_callbacks(self.itr, "sweep"),
            verbose=0,
            rng=rng,
        )
        return {"log_posterior": history.history["log_posterior"][-1]}

    def infer(self, data: Any) -> Inference:
        return self._infer(data)[0]

    def infer_learned(self, data: Any) -> Inference:
        inference, self._log_likelihood = self._infer(data)
        return inference

    def _infer(self, data):
        """The `Inference`, and log p(x), mean over steps."""
        self._check_lengths(len(data.log_reported), data.lengths)
        state = self.model.state
        own = reported_chain.state_evidence(data.log_reported, state.reports)
        above = 0.0 if data.log_prior is None else data.log_prior
        chain = state.initial, state.transitions
        smoothed = markov_chain.smooth(own + above, *chain, data.lengths, state.lasting)
        up, down, posterior = map(
            messages.Categorical.from_log, rule.conclude(smoothed.log_context, own, above)
        )
        if self.joint:
            down = messages.Categorical(down.probs @ state.reports)
        total, number = hosts.sum_over_hosts((smoothed.log_likelihood, len(own)))
        return Inference(up, [down], posterior), total / number

    def figures(self, inference: Inference) -> dict[str, Any]:
        return {"log_likelihood": self._log_likelihood}

    def evaluate(self, data: Any) -> dict[str, float]:
        self._check_lengths(len(data.log_reported), data.lengths)
        return self.model.evaluate(data, return_dict=True)

    def joint_log_likelihood(self, data: Any, below: list[Any]) -> Floats | None:
        if below[0].ndim == 1:
            return None
        state = self.model.state
        evidence = reported_chain.state_evidence(below[0], state.reports)
        return markov_chain.smooth(
            evidence, state.initial, state.transitions, data.lengths, state.lasting
        ).log_predictive

    def segments(self, inputs: list[Any] | None = None, prior: Any = None) -> list[Any]:
        """Stretches of time in one state, along the most probable path.

        `Graph.segments` gives those of new data.

        Args:
            inputs: List of one message (N, K), with `prior` from above; None is what is read now.
            prior: Message (N, K), or None.

        Returns:
            List of `inference.markov_chain.Segment`: first row, row after the last one, state.

        Raises:
            RuntimeError: If nothing was learned, or nothing is there to read.
        """
        check_learned(self)
        if inputs is None:
            inputs, prior = self.get_observations(), self.get_backward_msg()
        data = self.read(inputs, prior)
        self._check_lengths(len(data.log_reported), data.lengths)
        return self.model.segments(data)

    def terms(self) -> Any:
        initial, transitions, reports, _ = state = self.model.state
        return Terms(initial, transitions, reports, state.lasting)

    def sample_terms(self, num_samples: int) -> dict[str, Any]:
        lengths = check_lengths(self.lengths)
        if lengths is None or lengths.sum() != num_samples:
            self._check_lengths(num_samples, None)
            return {}
        return {"starts": np.isin(np.arange(num_samples), np.cumsum([0, *lengths]))}

    def check_observed(self, x: ArrayLike, name: str) -> None:
        read(x, name=name)

    @property
    def most_tensor_rows(self) -> int | None:
        prior = None if self.model is None else self.model.prior
        if prior is None or (prior.allowed is None and prior.durations is None):
            return None
        return _FEW_STEPS

    def tensor_infer(self, inputs: list[Any], prior: Any, terms: Any) -> tensors.Inference:
        reported = inputs[0]
        if not isinstance(reported, tensors.Categorical):
            smallest = floors.smallest(reported.dtype)
            missing = tensors.missing_rows(reported)
            reported = tensors.from_log(tf.math.log(tf.maximum(reported, smallest)), missing)
        own = rule.state_evidence(reported.log_probs, terms.reports)
        above = 0.0 if prior is None else prior.log_probs
        context = self.model.tensor_context(
            own + above, terms.initial, terms.transitions, terms.starts, terms.lasting
        )
        up, down, posterior = map(tensors.from_log, rule.conclude(context, own, above))
        if self.joint:
            down = tensors.from_log(tf.math.log(down.array @ terms.reports))
        return tensors.Inference(up, [down], posterior)

    def tensor_generate(self, latent: Any, seed: Any, terms: Any) -> list[Any]:
        log_probs = tf.math.log(latent @ terms.reports)
        drawn = tf.random.stateless_categorical(log_probs, 1, seed)[:, 0]
        return [tf.one_hot(drawn, tf.shape(terms.reports)[1], dtype=latent.dtype)]

    def _check_lengths(self, num_steps, lengths):
        """Warns of steps that are read without their `lengths`, such as those of new data."""
        if lengths is None and self.lengths is not None:
            self.warn_once(
                f"takes {num_steps} steps as one sequence, since `lengths` sum to "
                f"{np.sum(self.lengths)}. Give theirs: graph.predict(x, lengths=...), or set "
                f"graph[{self.name!r}].lengths."
            )

    def generate(self, latent: Any, num_samples: int, rng: np.random.Generator) -> list[Any]:
        reports = self.model.reports
        if latent is None:
            latent = self.model.sample(num_samples, seed=rng)
        latent = check_classes("latent", latent, num_samples, len(reports))
        cumulative = np.cumsum(reports[latent], axis=1)
        drawn = rng.random((num_samples, 1)) * cumulative[:, -1:]
        return [np.sum(cumulative <= drawn, axis=1)]

    def text_files(self, inference: Inference) -> dict[str, Any]:
        files = {"msg_{mode}.txt": inference.downward[0].probs}
        if self.mode == "learn":
            files["trans_prob_learn.txt"] = self.model.transition_matrix
        return files
