"""Connected modules as one model: rounds, history, prediction."""

import graphlib

import keras
import numpy as np

from kserket.core import messages
from kserket.core.learning_module import LearningModule
from kserket.core.mailbox import DataBox, Mailbox
from kserket.core.module import Module, Observation, check_data
from kserket.core.progress import Progress


class Graph:
    """Everything that the given modules are connected to, downwards, as one model.

    `fit` runs rounds; a round lets every module `update()` once, from the data upwards, and
    does exactly what the same calls in a loop of one's own do.

    Args:
        *tops: The modules at the top. What they read, directly or not, belongs to the graph.
        seed: Integer from which every learning module without a seed of its own takes one.

    Raises:
        TypeError: If something is not a module.
        ValueError: If nothing is given or the modules form a cycle.

    Example:

    ```python
    import kserket as srk
    from kserket import gmm, vae

    x, labels = srk.datasets.load_digits()
    obs = srk.Observation(x)
    vae1 = vae.VAE(10, itr=5, batch_size=256)
    gmm1 = gmm.GMM(10, category=labels)
    vae1.connect(obs)
    gmm1.connect(vae1)

    graph = srk.Graph(gmm1, seed=0)
    history = graph.fit(rounds=2)
    print(history.history["gmm/accuracy"])
    print(graph.predict(x[:3]).shape)
    ```
    """

    def __init__(self, *tops, seed=None):
        if not tops:
            raise ValueError("Graph() needs the module at the top: Graph(gmm1).")
        for top in tops:
            if not isinstance(top, Module):
                raise TypeError(f"Graph() takes modules. Received: {type(top).__name__}")
        self.tops = tuple(tops)
        self.modules = _in_order(tops)
        self.names = _unique_names(self.modules)
        self.history = keras.callbacks.History()
        self.history.set_model(self)
        self.history.epoch = []
        self.stop_training = False
        self.round = 0
        self.seed = seed
        if seed is not None:
            for module, name in self.names.items():
                if isinstance(module, LearningModule) and module.seed is None:
                    module.seed, module.seed_key = int(seed), name

    def __getitem__(self, name):
        for module, own in self.names.items():
            if name in (own, module.get_name()):
                return module
        raise KeyError(
            f"There is no module {name!r} in this graph. It holds: {list(self.names.values())}"
        )

    @property
    def observations(self):
        """Dict from name to `Observation`."""
        return {
            name: module for module, name in self.names.items() if isinstance(module, Observation)
        }

    # Rounds -----------------------------------------------------------------------------

    def fit(self, rounds=5, callbacks=(), verbose="auto", *, tolerance=None):
        """Runs rounds of message passing and learning, going on from where the graph is.

        Args:
            rounds: Number of rounds.
            callbacks: Keras callbacks; an epoch is a round, logs are named "gmm/accuracy".
            verbose: "auto" or 1 shows progress, 2 one line a round, 0 nothing.
            tolerance: Stops after a round in which every module's message changed by less than
                this (total variation of classes, relative change of vectors). None runs all.

        Returns:
            A `keras.callbacks.History` of this graph's rounds, also kept as `graph.history`.

        Raises:
            ValueError: If an option is wrong; and what the modules' `update()` raises.
        """
        if isinstance(rounds, bool) or int(rounds) != rounds or rounds < 0:
            raise ValueError(f"`rounds` must be an integer >= 0. Received: {rounds!r}")
        progress = Progress(self.round + rounds, verbose, first=self.round)
        observers = keras.callbacks.CallbackList(
            [self.history, *callbacks], model=self, epochs=self.round + rounds, verbose=0
        )
        self.stop_training = False
        kept = self.history.history, self.history.epoch
        observers.on_train_begin()
        self.history.history, self.history.epoch = kept  # one history over all calls of fit
        for _ in range(rounds):
            observers.on_epoch_begin(self.round)
            figures = self._run_round(progress)
            progress.end_round(self.round, figures)
            self.round += 1
            observers.on_epoch_end(self.round - 1, figures)
            if tolerance is not None and _settled(figures, tolerance):
                break
            if self.stop_training:
                break
        observers.on_train_end()
        return self.history

    def _run_round(self, progress):
        """Every module's update, from the data upwards; the figures of the round."""
        figures = {}
        for module, name in self.names.items():
            if isinstance(module, LearningModule):
                module.on_step = lambda done, total, unit, name=name: progress.step(
                    self.round, name, done, total, unit
                )
            try:
                module.update()
            finally:
                module.on_step = None
            for figure, value in module.logs.items():
                figures[f"{name}/{figure}"] = value
        return figures

    # Prediction -------------------------------------------------------------------------

    def predict(self, x, max_passes=20, tolerance=1e-6):
        """Class probabilities of new data, with messages passed until they settle.

        Nothing learned, sent or written before is changed.

        Args:
            x: Array (N, ...) if the graph has one observation, or a dict from the names of
                observations to arrays of one length.
            max_passes: Most passes over the graph.
            tolerance: Messages have settled when none changes by more than this.

        Returns:
            The top module's probabilities (N, K); a dict by name if there are several tops.

        Raises:
            RuntimeError: If a module has learned nothing yet.
            ValueError: If data do not fit.
        """
        inferences = self._infer(self._read_data(x), max_passes, tolerance)
        answers = {self.names[top]: _answer(inferences[top]) for top in self.tops}
        return next(iter(answers.values())) if len(answers) == 1 else answers

    def _infer(self, data, max_passes, tolerance):
        """Messages among the modules for these data: dict from module to `Inference`."""
        boxes = {
            module: DataBox(data[module]) if module in data else Mailbox()
            for module in self.modules
        }
        inferences, heard = {}, {}
        for _ in range(max_passes):
            largest = 0.0
            for module in self.modules:
                if module in data:
                    continue
                inputs, prior = module.read(boxes), boxes[module].prior()
                if not getattr(module, "evidence_uses_prior", True):
                    prior = None
                if _change(heard.get(module), (inputs, prior)) <= tolerance:
                    continue
                heard[module] = inputs, prior
                inference = inferences[module] = _infer_one(module, inputs, prior)
                largest = max(largest, messages.change(boxes[module].forward, inference.evidence))
                boxes[module].forward = inference.evidence
                if module.sends_back:
                    for source, message in zip(module.inputs, inference.downward, strict=True):
                        if message is not None:
                            source.check_backward(message, module, boxes[source].forward)
                            boxes[source].backward[module] = message
            if largest <= tolerance:
                break
        return inferences

    def _read_data(self, x):
        """New data by observation."""
        observations = self.observations
        if not isinstance(x, dict):
            if len(observations) != 1:
                raise ValueError(
                    "This graph has several observations. Give a dict with the names "
                    f"{list(observations)}. Received: {type(x).__name__}"
                )
            x = {next(iter(observations)): x}
        if x.keys() != observations.keys():
            raise ValueError(f"Data must be named {list(observations)}. Received: {list(x)}")
        data = {observations[name]: check_data(part, name) for name, part in x.items()}
        for observation, part in data.items():
            if np.shape(part)[1:] != np.shape(observation.data)[1:]:
                raise ValueError(
                    f"{observation.get_name()} holds samples of shape "
                    f"{np.shape(observation.data)[1:]}. Received: {np.shape(part)[1:]}"
                )
        return data

    def summary(self, print_fn=print):
        """Prints the modules, what they read, what they send, and how many parameters they own.

        Args:
            print_fn: Called with each line.
        """
        rows = [("Module (class)", "Reads", "Sends up", "Parameters")]
        for module, name in self.names.items():
            reads = ", ".join(self.names[source] for source in module.inputs) or "-"
            forward = module.get_forward_msg()
            sends = "-" if forward is None else f"{_kind(forward)} {tuple(np.shape(forward))}"
            model = getattr(module, "model", None)
            size = "-" if model is None else f"{model.count_params():,}"
            rows.append((f"{name} ({type(module).__name__})", reads, sends, size))
        widths = [max(len(row[column]) for row in rows) + 2 for column in range(4)]
        rule = "\u2500" * sum(widths)
        print_fn(f"Graph of {len(self.modules)} modules, {self.round} rounds done")
        for index, row in enumerate(rows):
            line = "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            print_fn(line.rstrip())
            if index in (0, len(rows) - 1):
                print_fn(rule)

    def __repr__(self):
        return f"<Graph of {', '.join(self.names.values())}>"


def _in_order(tops):
    """The modules below `tops` and these, each after what it reads; ties by number."""
    readers, waiting = {}, list(tops)
    while waiting:
        module = waiting.pop()
        if module not in readers:
            readers[module] = module.inputs
            waiting.extend(module.inputs)
    sorter = graphlib.TopologicalSorter(readers)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        names = " -> ".join(module.get_name() for module in error.args[1])
        raise ValueError(
            f"The graph has a cycle: {names}. Connect modules from data upwards."
        ) from None
    ordered = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=lambda module: module.number)
        ordered.extend(ready)
        sorter.done(*ready)
    return ordered


def _unique_names(modules):
    """Dict from module to its name, numbered from the second of a name on."""
    names, seen = {}, {}
    for module in modules:
        base = module.name or type(module).__name__.lower()
        seen[base] = seen.get(base, 0) + 1
        names[module] = base if seen[base] == 1 else f"{base}_{seen[base]}"
    return names


def _infer_one(module, inputs, prior):
    if not hasattr(module, "infer"):
        raise TypeError(
            f"{module.get_name()} defines update() only. To predict new data it needs "
            "infer(inputs, prior), which returns a kserket.Inference and changes nothing."
        )
    if isinstance(module, LearningModule) and module.model is None:
        raise RuntimeError(
            f"{module.get_name()} has learned nothing yet. Call graph.fit() or update() first."
        )
    return module.infer(inputs, prior)


def _answer(inference):
    """The posterior of a module that classifies, else its evidence, as an array."""
    message = inference.evidence if inference.posterior is None else inference.posterior
    return np.array(message)


def _change(before, after):
    """How much inputs and prior changed since a module last heard them."""
    if before is None:
        return float("inf")
    inputs = max(messages.change(old, new) for old, new in zip(before[0], after[0], strict=True))
    return max(inputs, messages.change(before[1], after[1]))


def _settled(figures, tolerance):
    changes = [value for name, value in figures.items() if name.endswith("/message_change")]
    return bool(changes) and max(changes) < tolerance


def _kind(message):
    return type(message).__name__ if isinstance(message, messages.Message) else "data"
