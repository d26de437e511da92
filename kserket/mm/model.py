"""The Keras model: `MarkovChain`."""

from typing import Any, Literal, Self

import keras
import numpy as np
from numpy.typing import ArrayLike

from kserket.arrays import as_numbers
from kserket.core.keywords import suggests
from kserket.core.options import check_choice, check_positive, check_positive_int
from kserket.inference import durations, reported_chain
from kserket.mm.scoring import ChainScoring
from kserket.typing import Callbacks, Verbose

_COUNTED = [f"counted_{name}" for name in reported_chain.Statistics._fields]  # in files


@keras.saving.register_keras_serializable(package="kserket")
class MarkovChain(ChainScoring):
    """A Markov chain over classes that somebody else recognizes, more or less well.

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
        allowed_transitions: Booleans (K, K), which state (column) may follow which (row); what may
            not has probability zero and keeps it. "left-right" lets state k stay or go on to
            k + 1. None allows all.
        duration: Law of the number of steps that a state lasts, "poisson" or "negative_binomial"
            (of steps after the first); the chain is then hidden semi-Markov. None leaves that to
            the transitions, which makes it geometric.
        max_duration: Steps D up to which durations follow that law. A state that has lasted so
            long leaves with one probability at every step, so that the mean is that of the law.
        duration_prior: Pseudo-count of segments of each state, of 1 to D steps, evenly over the
            logarithm.
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
        algorithm", Applied Statistics 28(1), 1979; Guédon, "Estimating hidden semi-Markov chains
        from discrete sequences", JCGS 12(3), 2003.

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
        num_states: int,
        *,
        n_init: int | None = 10,
        initial_prior: float = 1.0,
        transition_prior: float = 0.1,
        report_prior: float = 0.1,
        trust: float = 10.0,
        allowed_transitions: ArrayLike | None = None,
        duration: Literal["poisson", "negative_binomial"] | None = None,
        max_duration: int = 100,
        duration_prior: float = 0.1,
        num_paths: int | None = None,
        tolerance: float | None = 1e-6,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_positive_int(num_states=num_states, n_init=n_init, max_duration=max_duration)
        if duration is not None:
            check_choice("duration", duration, *durations.LAWS)
        if num_paths is not None:
            check_positive_int(num_paths=num_paths)
        check_positive(
            initial_prior=initial_prior,
            transition_prior=transition_prior,
            report_prior=report_prior,
            duration_prior=duration_prior,
        )
        check_positive(trust=trust, allow_zero=True, allow_infinity=True)
        super().__init__(n_init=n_init, tolerance=tolerance, seed=seed, **kwargs)
        self.num_states = int(num_states)
        self.prior = reported_chain.Prior(
            *(float(initial_prior), float(transition_prior), float(report_prior), float(trust)),
            _check_allowed(allowed_transitions, self.num_states),
            None
            if duration is None
            else durations.Prior(duration, int(max_duration), float(duration_prior)),
        )
        (
            self.initial_prior,
            self.transition_prior,
            self.report_prior,
            self.trust,
            self.allowed_transitions,
            _,
        ) = self.prior
        self.duration, self.max_duration = duration, int(max_duration)
        self.duration_prior = float(duration_prior)
        self._counted = None
        self.num_paths = num_paths if num_paths is None else int(num_paths)
        self.build()

    def adopt(self, state: Any, statistics: Any) -> None:
        """Takes over what was learned elsewhere.

        Args:
            state: `inference.reported_chain.State`.
            statistics: `inference.reported_chain.Statistics` that it follows from.
        """
        self._assign(state)
        self._counted = statistics

    @suggests
    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        lengths: ArrayLike | None = None,
        epochs: int = 100,
        callbacks: Callbacks = (),
        verbose: Verbose = "auto",
        rng: np.random.Generator | None = None,
    ) -> keras.callbacks.History:
        """Runs sweeps of expectation maximization over the data.

        Args:
            x: Class probabilities (N, K), in which a row of NaN is a missing step, a `Categorical`
                message, or a dict of `x` and `class_prior`. What `kserket.mm.data.read` returned
                is not read again.
            y: Not used.
            lengths: Lengths (S,) of the sequences in x, summing to N; None is one sequence.
            epochs: Number of sweeps at most.
            callbacks: Keras callbacks; an epoch is a sweep.
            verbose: 0 is silent, "auto" shows a fit that takes long, 1 shows every fit.
            rng: `numpy.random.Generator` for starts and sampling, instead of one from `seed`.

        Returns:
            A `keras.callbacks.History` of `log_posterior`, the log posterior density of the
            parameters up to a constant, in nats. It never falls, unless paths are sampled.

        Raises:
            ValueError: If shapes do not agree or rows are not probabilities.
        """
        with self.learning_columns(x):
            data = self._read(x, lengths)
            rng = self._make_rng() if rng is None else rng
            return self._learn(data, epochs, callbacks, verbose, rng)

    def _learn(self, data, epochs, callbacks, verbose, rng):
        """`fit` of `Data`."""
        options = {
            "max_sweeps": epochs,
            "tolerance": self.tolerance,
            "num_paths": self.num_paths,
            "prior": self.prior,
            "rng": rng,
            **data._asdict(),
        }

        def run(report):
            if self.is_fitted:
                found = reported_chain.climb(state=self.state, callback=report, **options)
            else:
                found = reported_chain.fit(n_init=self.n_init, callback=report, **options)
            self._counted = found.statistics or self._counted
            return found.state

        num_rows = len(data.log_reported)
        return self._sweep(run, self._assign, "log_posterior", epochs, callbacks, verbose, num_rows)

    @suggests
    def partial_fit(self, x: Any, *, lengths: ArrayLike | None = None) -> Self:
        """Adds sequences to what was learned, in one sweep, and forgets them.

        The first call starts from these sequences as `fit` does, with one sweep.

        Args:
            x: As in `fit`, whole sequences.
            lengths: As in `fit`.

        Returns:
            The model itself.

        Raises:
            RuntimeError: If parameters were set by hand.
        """
        if not self.is_fitted:
            self.fit(x, lengths=lengths, epochs=1, verbose=0)
            return self
        counted = self._counted
        if counted is None or not all(
            map(np.allclose, reported_chain.maximize(counted, self.prior)[:3], self.state[:3])
        ):
            raise RuntimeError(
                f"{self.name} has parameters that were set by hand, and nothing is known of data "
                "that they come from. Call fit(x) first."
            )
        with self.learning_columns(x):
            return self.merge(counted, self.statistics(x, lengths=lengths))

    def statistics(self, x: Any, *, lengths: ArrayLike | None = None) -> Any:
        """What one sweep over these sequences adds up, under the parameters as they are.

        Args:
            x: As in `fit`.
            lengths: As in `fit`.

        Returns:
            `inference.reported_chain.Statistics`: sums over sequences, so that those of parts
            may be computed anywhere and given to `merge` together.
        """
        return reported_chain.expect(state=self._fitted(), **self._read(x, lengths)._asdict())

    def _update(self, statistics):
        counted = reported_chain.merge(*statistics)
        if not all(np.isfinite(part).all() for part in counted if part is not None):
            raise ValueError(
                "merge() needs finite statistics, as statistics(x) returns them. The model is what "
                "it was."
            )
        laws = self.state.durations
        self._assign(reported_chain.maximize(counted, self.prior, laws))
        self._counted = counted

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        for name, value in zip(_COUNTED, self._counted or (), strict=False):
            if value is not None:
                store[name] = np.asarray(value)

    def load_own_variables(self, store: Any) -> None:
        entries = {name: store[name] for name in store.keys()}
        counted = [entries.pop(name) for name in _COUNTED if name in entries]
        super().load_own_variables(entries)
        self._counted = reported_chain.Statistics(*map(np.asarray, counted)) if counted else None

    def get_config(self) -> dict[str, Any]:
        initial_prior, transition_prior, report_prior, trust, allowed, _ = self.prior
        return {
            **super().get_config(),
            "num_states": self.num_states,
            "initial_prior": initial_prior,
            "transition_prior": transition_prior,
            "report_prior": report_prior,
            "trust": trust,
            "allowed_transitions": None if allowed is None else allowed.tolist(),
            "duration": self.duration,
            "max_duration": self.max_duration,
            "duration_prior": self.duration_prior,
            "num_paths": self.num_paths,
        }


def _check_allowed(allowed, num_states):
    """Transitions that may happen, booleans (K, K), or None for all."""
    if allowed is None:
        return None
    if isinstance(allowed, str) and allowed == "left-right":
        steps = np.eye(num_states, dtype=bool)
        return steps | np.roll(steps, 1, axis=1) & ~np.tri(num_states, dtype=bool)
    checked = None if isinstance(allowed, str) else as_numbers(allowed, "`allowed_transitions`")
    shape = (num_states, num_states)
    is_mask = checked is not None and checked.shape == shape and np.isin(checked, (0, 1)).all()
    if not is_mask or not checked.any(axis=1).all():
        raise ValueError(
            f"`allowed_transitions` must be 'left-right', or booleans of shape {shape} with one "
            f"state at least that may follow each. Received: {allowed!r:.200}"
        )
    return checked.astype(bool)
