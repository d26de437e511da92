"""Messages among the modules of a graph for data that nobody learns from."""

import warnings

import numpy as np

from kserket.core import messages
from kserket.core.checking import check_data
from kserket.core.learning_module import as_inference, check_learned
from kserket.core.mailbox import DataBox, Mailbox
from kserket.core.module import Observation, call
from kserket.core.options import check_classes


class Beliefs:
    """What the modules of a graph conclude of some data.

    Attributes:
        boxes: Dict from module to `Mailbox`.
        inferences: Dict from module (observations left out) to `Inference`.
    """

    def __init__(self, graph, data):
        self.boxes = {
            module: DataBox(data[module]) if module in data else Mailbox()
            for module in graph.modules
        }
        self.inferences = {}

    def heard(self, module):
        """The inputs of a module, and the prior."""
        return module.receive(self.boxes), self.boxes[module].prior()

    def post(self, module, inference):
        """Sends what a module concluded, both ways; how much its forward message changed."""
        self.inferences[module] = inference
        change = messages.change(self.boxes[module].forward, inference.evidence)
        self.boxes[module].forward = inference.evidence
        if module.sends_back:
            for source, message in zip(module.inputs, inference.downward, strict=True):
                if message is not None:
                    source.check_backward(message, module, self.boxes[source].forward)
                    self.boxes[source].backward[module] = message
        return change

    def answer(self, module):
        """A module's posterior or latent means, or what its readers predict of an observation."""
        if isinstance(module, Observation):
            predictions = list(self.boxes[module].backward.values())
            if not predictions:
                raise ValueError(f"No module predicts {module.get_name()}: nothing reads it.")
            return np.mean([np.asarray(prediction) for prediction in predictions], axis=0)
        inference = self.inferences[module]
        return np.array(inference.evidence if inference.posterior is None else inference.posterior)


def pass_messages(graph, data, max_passes, tolerance):
    """Passes messages up and down until none changes any more.

    Args:
        graph: The `Graph`.
        data: Dict from `Observation` to array.
        max_passes: Most passes.
        tolerance: The change, as `messages.change` has it, that no longer counts.

    Returns:
        `Beliefs`. A warning tells if the messages have not settled.
    """
    beliefs, before = Beliefs(graph, data), {}
    largest = 0.0
    for _ in range(int(max_passes)):
        largest, settled = 0.0, True
        for module in graph.modules:
            if module in data:
                continue
            inputs, prior = beliefs.heard(module)
            if not _listens_to_prior(module, inputs):
                prior = None
            if _change(before.get(module), (inputs, prior)) <= tolerance:
                continue
            before[module], settled = (inputs, prior), False
            largest = max(largest, beliefs.post(module, _infer(module, inputs, prior)))
        if settled:
            return beliefs
    warnings.warn(
        f"Messages have not settled after {max_passes} passes: the largest change was "
        f"{largest:.2g}, above tolerance={tolerance:g}. Raise max_passes, or accept the answer.",
        stacklevel=3,
    )
    return beliefs


def generate(graph, start, num_samples, component, rng):
    """Draws data from a module downwards.

    Args:
        graph: The `Graph`.
        start: The module to start from.
        num_samples: How many.
        component: Class of `start`, one or (num_samples,); None draws it.
        rng: `numpy.random.Generator`.

    Returns:
        Dict from module to what was drawn for it.
    """
    if isinstance(start, Observation):
        raise ValueError(
            f"`top` must be a module that learns. {graph.names[start]!r} is an observation, which "
            "modules draw; name it in `outputs`."
        )
    drawn = {start: None if component is None else _classes(component, num_samples, start)}
    for module in reversed(graph.modules):
        if module not in drawn or isinstance(module, Observation):
            continue
        check_learned(module)
        samples = module.generate(drawn[module], num_samples, rng)
        for source, sample in zip(module.inputs, samples, strict=True):
            drawn.setdefault(source, sample)
    return drawn


def read_data(graph, x):
    """New data by observation; what is left out becomes rows of NaN.

    Args:
        graph: The `Graph`.
        x: Array, or dict from names of observations to arrays or None.

    Returns:
        Dict from `Observation` to array.

    Raises:
        ValueError: If names, shapes or values do not fit.
    """
    observations = graph.observations
    if not isinstance(x, dict):
        if len(observations) != 1:
            raise ValueError(
                "This graph has several observations. Give a dict with the names "
                f"{list(observations)}. Received: {type(x).__name__}"
            )
        x = {next(iter(observations)): x}
    unknown = x.keys() - observations.keys()
    given = {name: part for name, part in x.items() if part is not None}
    if unknown or not given:
        raise ValueError(
            f"Data must be named {list(observations)}, one of them at least. Received: {list(x)}"
        )
    data = {}
    for name, part in given.items():
        part = check_data(part, name, allow_missing=True)
        expected = np.shape(observations[name].data)[1:]
        if np.shape(part)[1:] != expected:
            raise ValueError(
                f"{name} holds samples of shape {expected}. Received: {np.shape(part)[1:]}"
            )
        data[observations[name]] = part
    lengths = {graph.names[observation]: len(part) for observation, part in data.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"All data need the same number of samples. Received: {lengths}")
    size = next(iter(lengths.values()))
    for observation in observations.values():
        if observation not in data:
            shape = (size, *np.shape(observation.data)[1:])
            data[observation] = np.full(shape, np.nan, "float32")
    return data


def _infer(module, inputs, prior):
    check_learned(module)
    return as_inference(module, call(module.infer, module.read(inputs, prior)))


def _listens_to_prior(module, inputs):
    """Whether a prior changes what the module concludes; missing rows are filled in by it."""
    if module.evidence_uses_prior:
        return True
    return any(messages.missing_rows(message) is not None for message in inputs)


def _change(before, after):
    """How much inputs and prior changed since a module last heard them."""
    if before is None:
        return float("inf")
    inputs = max(messages.change(old, new) for old, new in zip(before[0], after[0], strict=True))
    return max(inputs, messages.change(before[1], after[1]))


def _classes(component, num_samples, start):
    """Classes (num_samples,) of the module that data are drawn from."""
    sent = start.get_forward_msg()
    if sent is None:  # nothing is known of its classes: its own generate() will see
        return check_classes("component", component, num_samples)
    if not messages.is_categorical(sent):
        raise ValueError(
            f"`component` needs a module of classes to start from, and {start.get_name()} sends "
            "none. Leave `component` out."
        )
    return check_classes("component", component, num_samples, np.shape(sent)[1])
