"""Connected modules as one model: rounds, history, prediction."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, overload

import keras
from numpy.typing import ArrayLike

from kserket import hosts, metrics
from kserket.core import drawing, joint
from kserket.core.beliefs import pass_messages
from kserket.core.callback_target import CallbackTarget
from kserket.core.export import export
from kserket.core.host_rounds import hosts_of
from kserket.core.keywords import suggests
from kserket.core.learning_module import LearningModule
from kserket.core.messenger import call
from kserket.core.module import Module
from kserket.core.node import check_unchanged, in_order, unique_names
from kserket.core.observation import Observation
from kserket.core.options import (
    check_flag,
    check_names,
    check_nonnegative_int,
    check_path,
    check_positive,
    check_positive_int,
    check_seed,
    foreign_ending,
    make_rng,
    shown,
)
from kserket.core.prediction import (
    check_labels_in_order,
    check_observed,
    framing,
    generate,
    predict,
    read_data,
    warn_of_units,
    warn_unless_settled,
)
from kserket.core.rounds import Plan, run_rounds
from kserket.core.saving import save_graph
from kserket.core.sequence_lengths import lengths_set, readers_of_sequences
from kserket.labels import as_labels
from kserket.typing import Array, Callbacks, Data, PathLike, Seed, Verbose

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Graph(CallbackTarget):
    """Everything that the given modules are connected to, downwards, as one model.

    `fit` runs rounds; a round lets every module `update()` once, from the data upwards, and
    does exactly what the same calls in your own loop do. Connect modules first: a graph whose
    modules are reconnected afterwards raises RuntimeError.

    Args:
        *tops: The modules at the top. What they read, directly or not, belongs to the graph.
        seed: Integer from which every learning module takes one that was not given a seed of its
            own; another graph's, or one that was drawn, is replaced.

    Raises:
        TypeError: If something is not a module.
        ValueError: If nothing is given or the modules form a cycle.

    Example:

    ```python
    import kserket as srk
    from kserket import gmm, vae

    x, labels = srk.datasets.load_digits()
    obs = srk.Observation(x)
    vae1 = vae.VAE(10, itr=10, batch_size=100, KL_param=1 / 16)
    gmm1 = gmm.GMM(10, category=labels)
    vae1.connect(obs)
    gmm1.connect(vae1)

    graph = srk.Graph(gmm1, seed=0)
    history = graph.fit(rounds=2)
    print(history.history["gmm/accuracy"])
    print(graph.predict(x[:3]).shape)
    ```
    """

    @suggests
    def __init__(self, *tops: Module, seed: int | None = None) -> None:
        if not tops:
            raise ValueError("Graph() needs the module at the top: Graph(gmm1).")
        for top in tops:
            if not isinstance(top, Module):
                raise TypeError(f"Graph() takes modules. Received: {type(top).__name__}")
        self.tops = tuple(tops)
        self.modules: list[Module] = in_order(tops)
        self.names: dict[Module, str] = unique_names(self.modules)
        super().__init__()
        self.round = 0
        self.program = None  # compiled for `predict` when it is first called
        self._seed = check_seed(seed)
        if seed is not None:
            self._hand_out_seed()

    def _hand_out_seed(self):
        """Gives the seed to the modules that learn; warns of those that were given their own."""
        for module, name in self.names.items():
            if not isinstance(module, LearningModule) or module.take_seed(self._seed, name):
                continue
            if module.seed != self._seed:
                warnings.warn(
                    f"{module.get_name()} keeps the seed={module.seed} that it was made with; the "
                    f"seed={self._seed} of this graph does not reach it. Leave one of them out.",
                    stacklevel=3,
                )

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: compiled functions cannot be."""
        return {**vars(self), "program": None}

    def __getitem__(self, name: str) -> Module:
        for module, own in self.names.items():
            if isinstance(name, str) and name in (own, module.get_name()):
                return module
        raise KeyError(
            f"There is no module {shown(name)} in this graph. It holds: {list(self.names.values())}"
        )

    @property
    def seed(self) -> int | None:
        """The seed that its modules have from it; None once another graph gave them another.

        A graph that is made later of the same modules gives them its own seed. Set the `seed` of a
        module to give that another one.
        """
        given = [
            module.seed
            for module in self.modules
            if isinstance(module, LearningModule) and not module.owns_seed
        ]
        return self._seed if all(seed == self._seed for seed in given) else None

    def keep_seed(self, seed: int | None) -> None:
        """Takes the seed that its modules have already, such as those of a file.

        Args:
            seed: Integer, or None.
        """
        self._seed = check_seed(seed)

    @property
    def observations(self) -> dict[str, Observation]:
        """Dict from name to `Observation`."""
        return {
            name: module for module, name in self.names.items() if isinstance(module, Observation)
        }

    # Rounds -----------------------------------------------------------------------------

    @suggests
    def fit(
        self,
        rounds: int = 5,
        callbacks: Callbacks = (),
        verbose: Verbose = "auto",
        *,
        validation_data: Any = None,
        tolerance: float | None = None,
        schedule: dict[str, int] | None = None,
        module_callbacks: dict[str, Callbacks] | None = None,
        backup_dir: PathLike | None = None,
        n_init: int | None = None,
        n_jobs: int | None = None,
    ) -> keras.callbacks.History:
        """Runs rounds of message passing and learning, going on from where the graph is.

        Ctrl-C lets the running step end, takes one more step of each module above, and returns;
        a second one raises KeyboardInterrupt.

        Args:
            rounds: Number of rounds.
            callbacks: Keras callbacks; an epoch is a round, a batch one module's update, logs
                are named "gmm/accuracy".
            verbose: "auto" or 1 shows progress, 2 one line a round, 0 nothing.
            validation_data: Data as in `predict`, or a tuple (data, labels), that `evaluate` scores
                after each round. Figures are named "val_gmm/accuracy" and stand in the history,
                where Keras' `EarlyStopping(monitor="val_vae/loss")` finds them.
            tolerance: Stops after a round in which every module's message changed by less than
                this (total variation of classes, relative change of vectors). None runs all.
            schedule: Dict from a module's name to its updates in a round, 1 where not named.
                With 0 it keeps its messages as they are; `module.trainable = False` lets it
                infer but not learn.
            module_callbacks: Dict from a module's name to Keras callbacks for its own fits.
            backup_dir: Folder that keeps the last finished round. If the process dies, the same
                program run again goes on from there and ends where it would have ended; data
                (but for what a `utils.Buffer` collected) and the state of callbacks are not
                kept. A call that had finished returns at once; with more rounds it runs those
                that are left.
            n_init: Number of runs from different random numbers, before the one that stays: the
                best of them by log p(x) of the whole graph (`log_likelihood` of `evaluate`, or
                `bound` where a VAE takes part), once more. The first has the numbers that the graph
                has anyway. None is that one alone.
            n_jobs: Number of processes for these runs; None runs them one after another. A script
                that asks for several needs `if __name__ == "__main__":`.

        Returns:
            A `keras.callbacks.History` of this graph's rounds, also kept as `graph.history`: one
            value a round for each figure, NaN where a module did not report it.

        Raises:
            ValueError: If an option is wrong, or `backup_dir` holds another graph's run; and what
                the modules' `update()` raises.
        """
        check_unchanged(self.tops, self.names)
        how = Plan(
            rounds, tolerance, schedule, callbacks, verbose, validation_data, module_callbacks
        )
        history = run_rounds(self, how, backup_dir, n_init, n_jobs)
        for module in self.modules:
            text = module.empty_classes() if isinstance(module, LearningModule) else None
            if text is not None:
                warnings.warn(f"{module.get_name()} {text}", stacklevel=3)
        return history

    # Use --------------------------------------------------------------------------------

    @overload
    def predict(
        self,
        x: Data,
        outputs: str,
        *,
        lengths: ArrayLike | None = None,
        batch_size: int | None = None,
        max_passes: int = 50,
        tolerance: float = 1e-6,
        as_frame: Literal[False] = False,
    ) -> Array: ...

    @overload
    def predict(
        self,
        x: Data,
        outputs: list[str] | tuple[str, ...],
        *,
        lengths: ArrayLike | None = None,
        batch_size: int | None = None,
        max_passes: int = 50,
        tolerance: float = 1e-6,
        as_frame: Literal[False] = False,
    ) -> dict[str, Array]: ...

    @overload
    def predict(
        self,
        x: Data,
        outputs: None = None,
        *,
        lengths: ArrayLike | None = None,
        batch_size: int | None = None,
        max_passes: int = 50,
        tolerance: float = 1e-6,
        as_frame: Literal[False] = False,
    ) -> Array | Any: ...  # a dict where the graph has several tops

    @overload
    def predict(
        self,
        x: Data,
        outputs: str | list[str] | tuple[str, ...] | None = None,
        *,
        lengths: ArrayLike | None = None,
        batch_size: int | None = None,
        max_passes: int = 50,
        tolerance: float = 1e-6,
        as_frame: bool,
    ) -> Any: ...

    def predict(
        self,
        x: Data,
        outputs: str | list[str] | tuple[str, ...] | None = None,
        *,
        lengths: ArrayLike | None = None,
        batch_size: int | None = None,
        max_passes: int = 50,
        tolerance: float = 1e-6,
        as_frame: bool = False,
    ) -> Any:
        """What the graph concludes of new data, with messages passed until they settle.

        Nothing learned, sent or written before is changed. Observations left out, None, and
        rows that are NaN throughout were not observed; they are inferred.

        Args:
            x: What `Observation` takes if the graph has one observation, or a dict from the names
                of observations to such data of one length.
            outputs: A name or a list of names: of modules, for their class probabilities (or
                latent means), and of observations, for what the graph predicts of them. Of a table
                whose cells may be missing (a mixture over `allow_missing=True`) the cells that were
                observed stay, and gaps are filled: each with its mean given the row's other cells
                and a class, weighted by the probabilities of classes; under a power transform with
                the medians. None is the module at the top.
            lengths: Lengths (S,) of the sequences in x, for a Markov model in the graph. Those that
                it holds stay what they are. None takes its own where they fit, else one sequence.
            batch_size: Samples inferred at a time; None is all. Modules that link samples, such
                as a Markov model, see no further than this.
            max_passes: Most passes over the graph.
            tolerance: Messages have settled when none changes by more than this.
            as_frame: Whether each array comes as a pandas DataFrame, with the index of that in x,
                and columns "gmm/0", "gmm/1", ...; those of an observation keep their names, and
                counts have those of their words.

        Returns:
            The top module's probabilities (N, K), or what `outputs` names; a dict by name if
            `outputs` is a list or there are several tops.

        Raises:
            ImportError: If `as_frame` needs pandas, and it is not installed.
            KeyError: If `outputs` names something unknown.
            RuntimeError: If a module has learned nothing yet.
            ValueError: If data do not fit.
        """
        check_unchanged(self.tops, self.names)
        check_positive_int(
            max_passes=max_passes, batch_size=1 if batch_size is None else batch_size
        )
        check_positive(tolerance=tolerance, allow_zero=True)
        names = None if outputs is None else check_names("outputs", outputs)
        check_flag(as_frame=as_frame)
        wanted = [self[name] for name in names] if names is not None else self.tops
        framed = framing(self, x) if as_frame else None
        with hosts.alone():
            answers = predict(self, x, wanted, lengths, batch_size, max_passes, tolerance)
        if framed is not None:
            answers = [framed(*pair) for pair in zip(wanted, answers, strict=True)]
        if isinstance(outputs, str) or (outputs is None and len(wanted) == 1):
            return answers[0]
        return {self.names[module]: answer for module, answer in zip(wanted, answers, strict=True)}

    def evaluate(
        self,
        x: Data,
        y_true: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        max_passes: int = 50,
        tolerance: float = 1e-6,
    ) -> dict[str, float]:
        """Scores of every module on data.

        Args:
            x: As in `predict`.
            y_true: Optional labels (N,): every module that classifies N samples is scored by
                accuracy (classes matched), NMI and ARI.
            lengths: As in `predict`.
            max_passes: As in `predict`.
            tolerance: As in `predict`.

        Returns:
            Dict such as `{"vae/loss": 101.5, "gmm/log_likelihood": -24.1, "gmm/accuracy": .9}`;
            losses and log-likelihoods are means over samples, in nats. `log_likelihood`, without
            a name before it, is that of the whole graph, log p(x) with all classes and states
            summed out. It is there where it is exact: a Markov
            model or topics over mixtures, a Markov model over topics. Where a VAE takes part, it is
            a lower bound, estimated from draws of z that are the same in every call, and called
            `bound`.
        """
        check_unchanged(self.tops, self.names)
        check_positive_int(max_passes=max_passes)
        check_positive(tolerance=tolerance, allow_zero=True)
        check_labels_in_order(x, y_true, "`y_true`")
        with hosts.alone():
            data = read_data(self, x)
            with lengths_set(self, lengths, data):
                return self._evaluate(data, y_true, max_passes, tolerance)

    def segments(
        self,
        x: Data,
        lengths: ArrayLike | None = None,
        *,
        max_passes: int = 50,
        tolerance: float = 1e-6,
    ) -> list[Any]:
        """Stretches of time in one state, along the most probable path of new data.

        Args:
            x: As in `predict`.
            lengths: As in `predict`.
            max_passes: As in `predict`.
            tolerance: As in `predict`.

        Returns:
            List of `inference.markov_chain.Segment`: first row, row after the last one, state.

        Raises:
            RuntimeError: If a module has learned nothing yet.
            ValueError: If the graph holds no Markov model, or several, or data do not fit.
        """
        check_unchanged(self.tops, self.names)
        check_positive_int(max_passes=max_passes)
        check_positive(tolerance=tolerance, allow_zero=True)
        chains = readers_of_sequences(self)
        if len(chains) > 1:
            raise ValueError(f"There are several Markov models: {[self.names[m] for m in chains]}.")
        with hosts.alone():
            data = read_data(self, x)
            check_observed(self, data)
            warn_of_units(self, data)
            with lengths_set(self, lengths, data):
                beliefs = pass_messages(self, data, max_passes, tolerance)
                warn_unless_settled(beliefs.change, max_passes, tolerance)
                return chains[0].segments(*beliefs.heard(chains[0]))

    def _evaluate(self, data, y_true, max_passes, tolerance):
        """`evaluate` of what this host has."""
        y_true = None if y_true is None else as_labels(y_true, "`y_true`")
        check_observed(self, data)
        warn_of_units(self, data)
        beliefs = pass_messages(self, data, max_passes, tolerance)
        warn_unless_settled(beliefs.change, max_passes, tolerance)
        figures: dict[str, float] = {}
        for module, inference in beliefs.inferences.items():
            inputs, prior = beliefs.heard(module)
            scores = dict(call(module.evaluate, module.read(inputs, prior)))
            if y_true is not None and _has_rows(inference.posterior, y_true, self.modules):
                classes = inference.posterior.classes
                scores |= metrics.clustering_scores(y_true, classes)
            figures |= {f"{self.names[module]}/{name}": value for name, value in scores.items()}
        return figures | joint.score(self, beliefs)

    def generate(
        self,
        num_samples: int = 1,
        component: ArrayLike | None = None,
        *,
        top: str | None = None,
        outputs: str | list[str] | tuple[str, ...] | None = None,
        seed: Seed = None,
        as_frame: bool = False,
    ) -> Array | Any:
        """Draws new data, from the top module's classes down to the observations.

        Args:
            num_samples: How many.
            component: Class of the top module, or one per sample (num_samples,); None draws classes
                from its own weights.
            top: Name of the module to start from; None is the graph's top.
            outputs: Name of an observation, or a list; None is all.
            seed: Integer or `numpy.random.Generator`.
            as_frame: Whether each array comes as a pandas DataFrame, with the names of the columns
                that the observation holds.

        Returns:
            Array (num_samples, ...): probabilities or means of the data; a dict by name if
            there are several.

        Raises:
            ImportError: If `as_frame` needs pandas, and it is not installed.
            RuntimeError: If a module has learned nothing yet.
            TypeError: If a module cannot generate.
            ValueError: If `component` is not a class of that module, or `top` is an observation.
        """
        check_unchanged(self.tops, self.names)
        check_nonnegative_int(num_samples=num_samples)
        check_flag(as_frame=as_frame)
        names = list(self.observations) if outputs is None else check_names("outputs", outputs)
        start = self.tops[0] if top is None else self[top]
        samples = generate(self, start, num_samples, component, make_rng(seed))
        if not any(self[name] in samples for name in names):
            raise TypeError(
                f"Nothing below {self.names[start]} draws {' and '.join(names)}. Name another "
                "observation in `outputs`, or in `top` a module above what draws it."
            )
        if as_frame:
            framed = framing(self, {})
            drawn = [self[name] for name in names if self[name] in samples]
            samples |= {module: framed(module, samples[module]) for module in drawn}
        if len(names) == 1:
            return samples[self[names[0]]]
        return {name: samples[self[name]] for name in names if self[name] in samples}

    def summary(self, print_fn: Callable[[str], object] = print) -> None:
        """Prints the modules, what they read, what they send, and how many parameters they own.

        Args:
            print_fn: Called with each line.
        """
        check_unchanged(self.tops, self.names)
        drawing.summary(self, print_fn)

    def to_mermaid(self) -> str:
        """The graph as Mermaid text: a flowchart from the data upwards, messages on the edges."""
        check_unchanged(self.tops, self.names)
        return drawing.to_mermaid(self)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draws the graph with messages and their shapes on the edges.

        Args:
            ax: Matplotlib axes; None makes new ones.

        Returns:
            The axes.
        """
        check_unchanged(self.tops, self.names)
        return drawing.plot(self, ax)

    # Files ------------------------------------------------------------------------------

    def save(self, path: PathLike, include_data: bool = True, overwrite: bool = True) -> None:
        """Writes everything to one file: structure, models with optimizers, messages, history.

        `kserket.load_graph` makes the graph again, which then predicts the same and trains on
        as this one would. Callbacks are not kept. Of several hosts the first one writes, with the
        data and messages of the rows that it has.

        Args:
            path: The file, "digits.kserket". Replaced only when the new one is complete. An ending
                of others, such as ".keras", is warned of.
            include_data: Whether data in memory are written too. Data in files never are, but for
                what a `utils.Buffer` collected of them.
            overwrite: Whether a file of that name may be replaced.

        Raises:
            FileExistsError: If the file is there and must not be replaced.
            TypeError: If a module holds something that cannot be saved.
            ValueError: If a module's class is not registered (`kserket.register_module`), or
                `include_data` is False and a `utils.Buffer` holds data that nothing else holds.
        """
        check_unchanged(self.tops, self.names)
        check_path(path=path)
        check_flag(include_data=include_data, overwrite=overwrite)
        if not overwrite and os.path.exists(path):
            raise FileExistsError(f"{path} is there already. Pass overwrite=True to replace it.")
        foreign = foreign_ending(
            path,
            "a file of kserket",
            "kserket.load_graph reads it, and nothing else does: let it end in .kserket. For one "
            "module's Keras model there is graph[name].model.save(), for serving graph.export().",
        )
        if foreign and not self._is_running:  # Keras' ModelCheckpoint knows no other ending
            warnings.warn(foreign, stacklevel=2)
        if hosts_of(self).index == 0:
            save_graph(self, path, include_data)

    def export(
        self, path: PathLike, format: str | None = None, dtype: str = "float32"
    ) -> list[str]:
        """Writes what the graph has learned for serving, without kserket.

        A SavedModel has these signatures, each with a free number of samples; inputs and
        outputs are named after observations and modules:

        - `classify`, the default: what `predict` returns, from the observations;
        - `encode`: what every module concludes of the observations, latent means or class
          probabilities, and variances ("vae", "vae_variance", "gmm");
        - `decode`: observations, from latent variables of the modules that read them;
        - `generate`: observations, drawn from `component` (N,), classes of the module at the
          top, and the integer `seed`.

        `decode` and `generate` are there if the modules offer `tensor_decode` and
        `tensor_generate`; `generate` also needs one classifier at the top, and one reader of
        everything below. A row of NaN is a sample that was not observed there.

        Args:
            path: Folder of the SavedModel; file that ends in ".tflite" for LiteRT.
            format: "tf_saved_model", or "litert", which holds `classify` only. None is "litert" if
                `path` ends in ".tflite".
            dtype: Precision of inputs and outputs of a SavedModel, "float32" or "float64".

        Returns:
            List of the signatures that were written.

        Raises:
            TypeError: If a module offers no `tensor_infer`.
            RuntimeError: If a module has learned nothing yet.
            ValueError: If an option is unknown, or TensorFlow would answer otherwise than
                `predict`.
        """
        check_path(path=path)
        check_unchanged(self.tops, self.names)
        for module in self._learned():
            if module.get_forward_msg() is None:
                raise RuntimeError(
                    f"{module.get_name()} has sent nothing yet of the data that the graph holds. "
                    "Call fit() first."
                )
        return export(self, path, format, dtype)

    def __repr__(self) -> str:
        rounds = "1 round" if self.round == 1 else f"{self.round} rounds"
        return f"<Graph of {', '.join(self.names.values())}; {rounds} done>"

    def _repr_html_(self) -> str:
        """The picture of `plot`, or the table of `summary` where matplotlib is not installed."""
        return drawing.to_html(self)


def _has_rows(posterior, labels, modules):
    """Whether there are classes to compare with labels; of others, where rows are summed, not."""
    if posterior is None:
        return False
    return len(posterior) == len(labels) or not any(module.num_rows for module in modules)
