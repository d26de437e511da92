"""Messages among the modules of a graph in NumPy, by what each module's `infer` concludes.

How a graph is evaluated, how it predicts where a module has no rule on tensors, and what a compiled
graph is compared with.
"""

import numpy as np

from kserket.core import messages
from kserket.core.inference import as_inference
from kserket.core.learning_module import check_learned
from kserket.core.mailbox import DataBox, Mailbox, seats
from kserket.core.messenger import call
from kserket.core.observation import Observation


class Beliefs:
    """What the modules of a graph conclude of some data.

    Attributes:
        boxes: Dict from module to `Mailbox`.
        inferences: Dict from module (observations left out) to `Inference`.
        change: The largest change in the last pass, 0 if messages have settled.
    """

    def __init__(self, graph, data):
        self.boxes = {
            module: DataBox(data[module]) if module in data else Mailbox()
            for module in graph.modules
        }
        self.inferences = {}
        self.change = 0.0

    def heard(self, module):
        """The inputs of a module, and the prior."""
        return module.receive(self.boxes), self.boxes[module].prior()

    def post(self, module, inference):
        """Sends what a module concluded, both ways; how much its forward message changed."""
        self.inferences[module] = inference
        change = messages.change(self.boxes[module].forward, inference.evidence)
        self.boxes[module].forward = inference.evidence
        if module.sends_back:
            parts = zip(module.inputs, seats(module), inference.downward, strict=True)
            for source, seat, message in parts:
                if message is not None:
                    source.check_backward(message, seat, self.boxes[source].forward)
                    self.boxes[source].backward[seat] = message
        return change

    def answer(self, module):
        """A module's posterior or latent means, or what its readers predict of an observation."""
        if isinstance(module, Observation):
            predictions = list(self.boxes[module].backward.values())
            if not predictions:
                raise ValueError(nothing_predicts(module))
            return np.mean([np.asarray(prediction) for prediction in predictions], axis=0)
        inference = self.inferences[module]
        return np.array(inference.evidence if inference.posterior is None else inference.posterior)


def nothing_predicts(observation):
    """Words on an observation of which its readers send nothing down."""
    readers = ", ".join(sorted(reader.name for reader in observation.readers))
    return (
        f"No module predicts {observation.name}: {readers} only reads it. "
        "Connect a module to it that sends down what it expects, such as a VAE or a mixture."
    )


def pass_messages(graph, data, max_passes, tolerance):
    """Passes messages up and down until none changes any more.

    Args:
        graph: The `Graph`.
        data: Dict from `Observation` to array.
        max_passes: Most passes.
        tolerance: The change, as `messages.change` has it, that no longer counts.

    Returns:
        `Beliefs`.
    """
    beliefs, before = Beliefs(graph, data), {}
    for _ in range(int(max_passes)):
        beliefs.change, settled = 0.0, True
        for module in graph.modules:
            if module in data:
                continue
            inputs, prior = beliefs.heard(module)
            if not _listens_to_prior(module, inputs):
                prior = None
            if _change(before.get(module), (inputs, prior)) <= tolerance:
                continue
            before[module], settled = (inputs, prior), False
            change = beliefs.post(module, infer(module, inputs, prior))
            beliefs.change = max(beliefs.change, change)
        if settled:
            break
    return beliefs


def infer(module, inputs, prior):
    """What a module concludes of what it hears: an `Inference`.

    Args:
        module: The `Module`.
        inputs: List of messages or arrays.
        prior: The product of what came from above, or None.
    """
    check_learned(module)
    try:
        return as_inference(module, call(module.infer, module.read(inputs, prior)))
    except Exception as error:  # in a hook of the user's: of any class
        note = f"It was raised in infer() of {module.get_name()}"
        if any(messages.missing_rows(given) is not None for given in inputs):
            note += (
                ", which was given rows of NaN, samples that were not observed: see 'Rows that are "
                "missing' in 'A module of your own'"
            )
        error.add_note(f"{note}.")
        raise


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
