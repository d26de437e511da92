"""What a Markov chain says of sequences, and sequences drawn from it."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import ArrayLike

from kserket import floors
from kserket.core.keywords import suggests
from kserket.core.named_inputs import named_inputs
from kserket.core.options import check_positive_int, make_rng
from kserket.core.sweep_model import SweepModel
from kserket.inference import durations, markov_chain, reported_chain
from kserket.inference.sequences import check_lengths, first_and_later
from kserket.mm import rule
from kserket.mm.data import Data, read
from kserket.typing import Floats, Integers, Seed


class ChainScoring(SweepModel):
    """Parameters of a `MarkovChain`, and states of sequences under them."""

    def build(self, input_shape: Any = None) -> None:
        size = self.num_states
        sizes = {"initial": (size,), "transitions": (size, size), "reports": (size, size)}
        if self.prior.durations is not None:
            sizes |= {"duration_rate": (size,), "duration_dispersion": (size,)}
        self._parameters = self._add_parameters(sizes)
        self.built = True

    @property
    def is_fitted(self) -> bool:
        """Whether the parameters come from data."""
        return float(self._parameters["initial"].numpy().sum()) > 0

    @property
    def state(self) -> Any:
        """The parameters, `inference.reported_chain.State`; None before fit."""
        if not self.is_fitted:
            return None
        initial, transitions, reports, *laws = (w.numpy() for w in self._parameters.values())
        lasting = None
        if laws:
            rate, dispersion = laws
            lasting = durations.Durations(rate, dispersion, self.max_duration)
        return reported_chain.State(initial, transitions, reports, lasting)

    def _assign(self, state: Any, prefix: str = "") -> None:
        initial, transitions, reports, lasting = state
        values = initial, transitions, reports, *(lasting or ())[:2]
        for weight, value in zip(self._parameters.values(), values, strict=True):
            weight.assign(value)

    @property
    def initial_distribution(self) -> Floats:
        """P(first state), (K,)."""
        return self._fitted().initial

    @property
    def transition_matrix(self) -> Floats:
        """P(next state = column | state = row), (K, K); with `duration`, of the next segment."""
        return self._fitted().transitions

    @property
    def reports(self) -> Floats:
        """P(class in x = column | state = row), (K, K)."""
        return self._fitted().reports

    @property
    def expected_durations(self) -> Floats:
        """Mean number of steps that a state lasts, (K,); infinity if to the end."""
        with np.errstate(divide="ignore"):
            return 1.0 / self._laws().rate

    @property
    def duration_probabilities(self) -> Floats:
        """P(a state lasts d steps), (K, D) of d = 1, ..., D - 1; the last column is D or more."""
        return self._laws().probabilities()

    def _laws(self):
        """`Durations`; those of a chain without are geometric."""
        state = self._fitted()
        prior = durations.Prior("negative_binomial", self.max_duration, 0.0)
        return state.durations or durations.from_transitions(state.transitions, prior)[0]

    def call(self, inputs: Any) -> Any:
        """P(state | all steps) (N, K) of one sequence, as TensorFlow operations.

        A function traced by TensorFlow keeps the durations that the model has by then.

        Args:
            inputs: Tensor x (N, K), or a dict of x and `class_prior`.
        """
        inputs = inputs if isinstance(inputs, dict) else {"x": inputs}
        double = {name: ops.cast(part, "float64") for name, part in inputs.items()}
        logs = {name: ops.log(ops.maximum(part, floors.SMALLEST)) for name, part in double.items()}
        initial, transitions, reports, *_ = (w.value for w in self._parameters.values())
        log_evidence = rule.state_evidence(logs["x"], reports)
        if "class_prior" in logs:
            log_evidence += logs["class_prior"]
        lasting = None
        if self.prior.durations is not None:
            with tf.init_scope():
                lasting = self.state.lasting if self.is_fitted else None
        context = self.tensor_context(log_evidence, initial, transitions, lasting=lasting)
        return tf.nn.softmax(log_evidence + context)

    def tensor_context(
        self,
        log_evidence: Any,
        initial: Any,
        transitions: Any,
        starts: Any = None,
        lasting: Any = None,
    ) -> Any:
        """What all other steps say of each, by the rule that suits this chain; see `mm.rule`."""
        if lasting is not None:
            return rule.lasting_context(log_evidence, initial, transitions, lasting, starts)
        suits = rule.context if self.prior.allowed is None else rule.exact_context
        return suits(log_evidence, initial, transitions, starts)

    @suggests
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = 0,
        *,
        lengths: ArrayLike | None = None,
        as_frame: bool = False,
        **kwargs: Any,
    ) -> Floats | Any:
        """P(state | all steps of its sequence).

        Args:
            x: As in `fit`.
            batch_size: Not used: a sequence is one piece.
            verbose: Not used.
            lengths: As in `fit`.
            as_frame: Whether the answer is a pandas DataFrame with the index of that in x.
            **kwargs: Ignored.

        Returns:
            Float64 array (N, K), or a DataFrame with columns "state/0", "state/1", ...
        """
        framed = self.framing(x, as_frame)
        return framed(np.exp(self.smooth(x, lengths=lengths).log_marginals), "state")

    def smooth(self, x: Any, *, lengths: ArrayLike | None = None) -> Any:
        """Everything that one pass of forward-backward says.

        Args:
            x: As in `fit`.
            lengths: As in `fit`.

        Returns:
            `inference.markov_chain.Smoothed`: log P(state | all steps), log P(state | all other
            steps), expected counts, and the log likelihood of x.
        """
        return markov_chain.smooth(*self._evidence(x, lengths))

    def log_likelihood(self, x: Any, *, lengths: ArrayLike | None = None) -> Floats:
        """log p(step | earlier steps of its sequence), in nats.

        Args:
            x: As in `fit`.
            lengths: As in `fit`.

        Returns:
            Float64 array (N,); its sum is log p(x) of all sequences together.
        """
        return self.smooth(x, lengths=lengths).log_predictive

    def score_samples(self, x: Any, *, lengths: ArrayLike | None = None) -> Floats:
        """`log_likelihood`, by the name that scikit-learn has for it."""
        return self.log_likelihood(x, lengths=lengths)

    def sequence_log_likelihood(self, x: Any, *, lengths: ArrayLike | None = None) -> Floats:
        """log p(x) of each sequence, in nats.

        Args:
            x: As in `fit`.
            lengths: As in `fit`.

        Returns:
            Float64 array (S,).
        """
        data = self._read(x, lengths)
        scores = self.log_likelihood(data)
        starts, _ = first_and_later(check_lengths(data.lengths, len(scores)))
        return np.add.reduceat(scores, starts)

    def _mean_log_likelihood(self, x, lengths=None):
        return self.log_likelihood(x, lengths=lengths).mean()

    def most_likely_path(self, x: Any, *, lengths: ArrayLike | None = None) -> Integers:
        """The most probable sequence of states as a whole (Viterbi).

        Args:
            x: As in `fit`.
            lengths: As in `fit`.

        Returns:
            Integers (N,).
        """
        return markov_chain.most_likely_path(*self._evidence(x, lengths))[0]

    def segments(self, x: Any, *, lengths: ArrayLike | None = None) -> list[Any]:
        """Stretches of the most probable path in which the state stays the same.

        Args:
            x: As in `fit`.
            lengths: As in `fit`. A segment ends where its sequence does.

        Returns:
            List of `inference.markov_chain.Segment`: first row, row after the last one, state.
        """
        data = self._read(x, lengths)
        return markov_chain.segments(self.most_likely_path(data), data.lengths)

    @suggests
    def sample(
        self, num_steps: int | None = None, *, lengths: ArrayLike | None = None, seed: Seed = None
    ) -> Integers:
        """Draws sequences of states.

        Args:
            num_steps: Length of one sequence.
            lengths: Instead, the lengths (S,) of several.
            seed: Integer or `numpy.random.Generator`.

        Returns:
            Integers, sequences one after another.

        Raises:
            ValueError: Unless one of both is given, positive integers.
        """
        state = self._fitted()
        rng = make_rng(seed)
        if (num_steps is None) == (lengths is None):
            raise ValueError("sample() needs `num_steps`, or the `lengths` of several sequences.")
        if lengths is None:
            check_positive_int(num_steps=num_steps)
            lengths = [int(num_steps)]
        lengths = check_lengths(lengths)
        return markov_chain.sample(state.initial, state.transitions, lengths, rng, state.lasting)

    @suggests
    def sample_paths(
        self, x: Any, num_paths: int = 1, *, lengths: ArrayLike | None = None, seed: Seed = None
    ) -> Integers:
        """Draws whole paths of states, given x.

        Args:
            x: As in `fit`.
            num_paths: How many.
            lengths: As in `fit`.
            seed: Integer or `numpy.random.Generator`.

        Returns:
            Integers (num_paths, N).

        Raises:
            ValueError: If `num_paths` is not a positive integer.
        """
        check_positive_int(num_paths=num_paths)
        evidence, initial, transitions, lengths, lasting = self._evidence(x, lengths)
        options = {"lengths": lengths, "lasting": lasting, "rng": make_rng(seed)}
        return markov_chain.sample_paths(evidence, initial, transitions, int(num_paths), **options)

    def _evidence(self, x, lengths):
        """Arguments of the functions in `inference.markov_chain`."""
        state, (reported, prior, lengths) = self._fitted(), self._read(x, lengths)
        evidence = reported_chain.state_evidence(reported, state.reports, prior)
        return evidence, state.initial, state.transitions, lengths, state.lasting

    def _read(self, x, lengths=None):
        """`Data` of what was given as x."""
        if isinstance(x, Data):
            return x
        parts = named_inputs(self.by_columns(x), "class_prior")
        prior = parts.get("class_prior")
        return read(parts["x"], prior, lengths, self.num_states, name="x of MarkovChain")

    def _signature(self):
        shape = (None, self.num_states)
        return [keras.layers.InputSpec(shape=shape, dtype="float32", name="x")]
