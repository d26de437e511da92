"""The Keras model: `MarkovChain`."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kserket import floors
from kserket.core.named_inputs import class_prior, class_probabilities, named_inputs
from kserket.core.options import check_positive, check_positive_int
from kserket.core.sweep_model import SweepModel
from kserket.inference import markov_chain, reported_chain
from kserket.mm import rule


@keras.saving.register_keras_serializable(package="kserket")
class MarkovChain(SweepModel):
    """A Markov chain over classes that somebody else recognises, more or less well.

    A model without gradients: `fit` counts EM sweeps as epochs, its parameters are non-trainable
    weights. `predict` gives P(state | all steps) (N, K). Inputs are x (N, K), the class
    probabilities of N consecutive steps, or a dict of x and `class_prior` (N, K), a second
    opinion on each step's state. A row of equal probabilities says nothing: a missing step.

    The chain learns how far x can be trusted: P(class in x | state) is a parameter, `reports`.
    Class probabilities are often sure and wrong, and a chain that takes them at their word can
    only echo them. With `trust=float("inf")` it does, and is the hidden Markov model whose
    emissions are x.

    A second `fit` goes on from where the first ended.

    Args:
        num_states: Number of states K, which is the number of classes.
        n_init: Number of starts of the first fit, chosen by the posterior density.
        initial_prior: Pseudo-counts of each first state.
        transition_prior: Pseudo-counts of each transition.
        report_prior: Pseudo-counts of each class being reported in each state.
        trust: Beside these, pseudo-counts of a state being reported under its own number;
            infinity never doubts x.
        num_paths: None computes expected counts; a number counts in so many sampled paths.
        tolerance: Sweeps end early when a step gains less than this, in nats; None does every
            sweep.
        seed: Integer that determines starts and sampling.
        **kwargs: `name`.

    Raises:
        ValueError: If an option is unknown or out of range.

    Reference:
        Rabiner, "A tutorial on hidden Markov models", Proceedings of the IEEE 77(2), 1989;
        Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM
        algorithm", Applied Statistics 28(1), 1979.

    Example:

    ```python
    import numpy as np

    import kserket

    states = np.arange(300) % 3  # 0 1 2 0 1 2 ...
    heard = np.random.default_rng(0).dirichlet(1 + 4 * np.eye(3)[0], size=300)
    x = heard[np.arange(300)[:, None], (np.arange(3) - states[:, None]) % 3]
    model = kserket.MarkovChain(3, seed=0)
    model.fit(x, verbose=0)
    print(np.mean(x.argmax(axis=1) == states), np.mean(model.predict(x).argmax(axis=1) == states))
    ```
    """

    def __init__(
        self,
        num_states,
        *,
        n_init=10,
        initial_prior=1.0,
        transition_prior=0.1,
        report_prior=0.1,
        trust=10.0,
        num_paths=None,
        tolerance=1e-6,
        seed=None,
        **kwargs,
    ):
        check_positive_int(num_states=num_states, n_init=n_init)
        if num_paths is not None:
            check_positive_int(num_paths=num_paths)
        for option, value in {
            "initial_prior": initial_prior,
            "transition_prior": transition_prior,
            "report_prior": report_prior,
        }.items():
            if not 0 < value < np.inf:
                raise ValueError(f"`{option}` must be positive and finite. Received: {value!r}")
        check_positive(trust=trust, allow_zero=True)
        super().__init__(n_init=n_init, tolerance=tolerance, seed=seed, **kwargs)
        self.num_states = int(num_states)
        self.prior = reported_chain.Prior(initial_prior, transition_prior, report_prior, trust)
        self.num_paths = num_paths if num_paths is None else int(num_paths)
        self.build()

    # Parameters -------------------------------------------------------------------------

    def build(self, input_shape=None):
        size = self.num_states
        sizes = {"initial": (size,), "transitions": (size, size), "reports": (size, size)}
        self._parameters = self._add_parameters(sizes)
        self.built = True

    @property
    def is_fitted(self):
        """Whether the parameters come from data."""
        return float(self._parameters["initial"].numpy().sum()) > 0

    @property
    def state(self):
        """The parameters, `inference.reported_chain.State`; None before fit."""
        return self._gather(reported_chain.State) if self.is_fitted else None

    @property
    def initial_distribution(self):
        """P(first state), (K,)."""
        return self._fitted().initial

    @property
    def transition_matrix(self):
        """P(next state = column | state = row), (K, K)."""
        return self._fitted().transitions

    @property
    def reports(self):
        """P(class in x = column | state = row), (K, K)."""
        return self._fitted().reports

    # Learning ---------------------------------------------------------------------------

    def fit(self, x, y=None, *, lengths=None, epochs=100, callbacks=(), verbose="auto"):
        """Runs sweeps of expectation maximisation over the data.

        Args:
            x: Class probabilities (N, K), a `Categorical` message, or a dict of `x` and
                `class_prior`.
            y: Not used.
            lengths: Lengths of the sequences in x, summing to N; None is one sequence.
            epochs: Number of sweeps at most.
            callbacks: Keras callbacks; an epoch is a sweep.
            verbose: 0 is silent, "auto" shows a fit that takes long, 1 shows every fit.

        Returns:
            A `keras.callbacks.History` of `log_posterior`, the log posterior density of the
            parameters up to a constant, in nats. It never falls, unless paths are sampled.

        Raises:
            ValueError: If shapes do not agree or rows are not probabilities.
        """
        data = self._data(x, lengths)
        return self._fit(data, epochs, callbacks, verbose, self._make_rng())

    def _fit(self, data, epochs, callbacks, verbose, rng):
        """`fit` on checked data with a given generator."""
        options = {
            "max_sweeps": epochs,
            "tolerance": self.tolerance,
            "num_paths": self.num_paths,
            "prior": self.prior,
            "rng": rng,
            **data,
        }

        def run(report):
            if self.is_fitted:
                return reported_chain.climb(state=self.state, callback=report, **options).state
            return reported_chain.fit(n_init=self.n_init, callback=report, **options).state

        return self._sweep(run, self._assign, "log_posterior", epochs, callbacks, verbose)

    def statistics(self, x, *, lengths=None):
        """What one sweep over these sequences adds up, under the parameters as they are.

        Args:
            x: As in `fit`.
            lengths: As in `fit`.

        Returns:
            `inference.reported_chain.Statistics`: sums over sequences, so that those of parts
            may be computed anywhere and given to `merge` together.
        """
        return reported_chain.expect(state=self._fitted(), **self._data(x, lengths))

    def _update(self, statistics):
        self._assign(reported_chain.maximise(reported_chain.merge(*statistics), self.prior))

    # Use --------------------------------------------------------------------------------

    def call(self, inputs):
        """P(state | all steps) (N, K) of one sequence, as TensorFlow operations.

        Args:
            inputs: x (N, K), or a dict of x and `class_prior`.
        """
        inputs = inputs if isinstance(inputs, dict) else {"x": inputs}
        double = {name: ops.cast(part, "float64") for name, part in inputs.items()}
        logs = {name: ops.log(ops.maximum(part, floors.SMALLEST)) for name, part in double.items()}
        initial, transitions, reports = (weight.value for weight in self._parameters.values())
        log_evidence = rule.state_evidence(logs["x"], reports)
        if "class_prior" in logs:
            log_evidence += logs["class_prior"]
        return tf.nn.softmax(log_evidence + rule.context(log_evidence, initial, transitions))

    def predict(self, x, batch_size=None, verbose=0, *, lengths=None, **kwargs):
        """P(state | all steps of its sequence).

        Args:
            x: As in `fit`.
            batch_size: Not used: a sequence is one piece.
            verbose: Not used.
            lengths: As in `fit`.
            **kwargs: Ignored.

        Returns:
            Float64 array (N, K).
        """
        return np.exp(self.smooth(x, lengths=lengths).log_marginals)

    def smooth(self, x, *, lengths=None):
        """Everything that one pass of forward-backward says.

        Args:
            x: As in `fit`.
            lengths: As in `fit`.

        Returns:
            `inference.markov_chain.Smoothed`: log P(state | all steps), log P(state | all other
            steps), expected counts, and the log likelihood of x.
        """
        return markov_chain.smooth(*self._evidence(x, lengths))

    def log_likelihood(self, x, *, lengths=None):
        """log p(x) of all sequences together, in nats.

        Args:
            x: As in `fit`.
            lengths: As in `fit`.

        Returns:
            A float.
        """
        return self.smooth(x, lengths=lengths).log_likelihood

    def most_likely_path(self, x, *, lengths=None):
        """The most probable sequence of states as a whole (Viterbi).

        Args:
            x: As in `fit`.
            lengths: As in `fit`.

        Returns:
            Integers (N,).
        """
        return markov_chain.most_likely_path(*self._evidence(x, lengths))[0]

    def sample(self, num_steps=None, *, lengths=None, seed=None):
        """Draws sequences of states.

        Args:
            num_steps: Length of one sequence.
            lengths: Instead, the lengths of several.
            seed: Integer or `numpy.random.Generator`.

        Returns:
            Integers, sequences one after another.

        Raises:
            ValueError: Unless one of both is given, positive integers.
        """
        state = self._fitted()
        rng = np.random.default_rng(seed)
        if (num_steps is None) == (lengths is None):
            raise ValueError("sample() needs `num_steps`, or the `lengths` of several sequences.")
        if lengths is None:
            check_positive_int(num_steps=num_steps)
            lengths = [int(num_steps)]
        lengths = markov_chain.check_lengths(lengths, np.sum(lengths))
        return markov_chain.sample(state.initial, state.transitions, lengths, rng)

    def sample_paths(self, x, num_paths=1, *, lengths=None, seed=None):
        """Draws whole paths of states, given x.

        Args:
            x: As in `fit`.
            num_paths: How many.
            lengths: As in `fit`.
            seed: Integer or `numpy.random.Generator`.

        Returns:
            Integers (num_paths, N).

        Raises:
            ValueError: If `num_paths` is no positive integer.
        """
        check_positive_int(num_paths=num_paths)
        evidence, initial, transitions, lengths = self._evidence(x, lengths)
        rng = np.random.default_rng(seed)
        return markov_chain.sample_paths(
            evidence, initial, transitions, int(num_paths), lengths=lengths, rng=rng
        )

    def _evidence(self, x, lengths):
        """Arguments of the functions in `inference.markov_chain`."""
        state, data = self._fitted(), self._data(x, lengths)
        evidence = reported_chain.state_evidence(
            data["log_reported"], state.reports, data["log_prior"]
        )
        return evidence, state.initial, state.transitions, data["lengths"]

    def _data(self, x, lengths=None):
        """Checked inputs as the inference functions take them."""
        parts = named_inputs(x, "class_prior")
        reported = class_probabilities(parts["x"], "x of MarkovChain", self.num_states)
        if not len(reported):
            raise ValueError(f"x needs one step at least. Received: shape {reported.shape}")
        prior = class_prior(parts.get("class_prior"), self.num_states, len(reported), "step")
        return {
            "log_reported": reported.log_probs,
            "log_prior": None if prior is None else prior.log_probs,
            "lengths": markov_chain.check_lengths(lengths, len(reported)),
        }

    def _signature(self):
        shape = (None, self.num_states)
        return [keras.layers.InputSpec(shape=shape, dtype="float32", name="x")]

    def get_config(self):
        initial_prior, transition_prior, report_prior, trust = self.prior
        return {
            **super().get_config(),
            "num_states": self.num_states,
            "initial_prior": initial_prior,
            "transition_prior": transition_prior,
            "report_prior": report_prior,
            "trust": trust,
            "num_paths": self.num_paths,
        }
