"""The base of modules that pass messages on."""

from typing import Any

import numpy as np

from kserket.core import messages, tensors
from kserket.core.inference import Inference
from kserket.core.module import Module
from kserket.core.observation import Observation


class PassThrough(Module):
    """Base of modules that read one module and pass messages on by `infer`."""

    passes_through = True  # so that it may hear whatever the module below may
    links_samples = False

    def __init__(self, name: str) -> None:
        super().__init__(name, learnable=False)

    @property
    def holds_data(self) -> bool:
        """Whether what it passes on are data that the observation below no longer has."""
        data, forward = _data_below(self), self.get_forward_msg()
        return data is not None and forward is not None and forward is not data

    def update(self) -> None:
        """Reads, passes on what was read, and passes down what came from above."""
        self.set_forward_msg(self.infer(self.get_messages().inputs, None).evidence)
        self._pass_down()

    def set_backward_msg(self, message: Any, sender: Module | None = None) -> None:
        """Receives a message from above, and passes it down at once.

        Args:
            message: A message or array of the shape of the forward message, or None.
            sender: The module that sends it.
        """
        super().set_backward_msg(message, sender)
        self._pass_down()

    def withdraw_backward_msg(self, sender: Module | None) -> None:
        """Takes a message from above back, and what was passed down of it.

        Args:
            sender: The module that sent it.
        """
        super().withdraw_backward_msg(sender)
        self._pass_down()

    def _pass_down(self):
        """Sends what came from above to the module below, or takes back what was sent."""
        prior = self.get_backward_msg()
        if prior is None or self.get_forward_msg() is None:
            self._withdraw()
        else:
            self.send_backward_msgs([self._rows_below(prior)])

    def _rows_below(self, prior):
        """What the message from above says of the rows that were read."""
        return prior

    def infer(self, inputs: list[Any], prior: Any) -> Inference:
        """What goes up and down. Changes nothing.

        Args:
            inputs: List of one message or array.
            prior: The message from above, or None.

        Returns:
            An `Inference` without posterior.
        """
        if len(inputs) != 1:
            raise ValueError(f"{self.get_name()} reads one module. Received: {len(inputs)}")
        return Inference(inputs[0], [prior])

    def terms(self) -> Any:
        return ()

    def tensor_infer(self, inputs: list[Any], prior: Any) -> tensors.Inference:
        """`infer` on tensors.

        Args:
            inputs: List of one message or tensor.
            prior: The message from above, or None.
        """
        return tensors.Inference(inputs[0], [prior])

    def generate(self, latent: Any, num_samples: int, rng: np.random.Generator) -> list[Any]:
        """What the module below is to draw from: what was drawn above.

        Args:
            latent: What was drawn above, or None where nothing was.
            num_samples: How many rows.
            rng: Not used.

        Raises:
            ValueError: If nothing was drawn, and there are only data below.
        """
        if latent is None and isinstance(self.inputs[0], Observation):
            raise ValueError(
                f"{self.get_name()} passes on what it is given and draws nothing itself. Name a "
                "module above it that learns: graph.generate(top=...)."
            )
        return [latent]

    def tensor_generate(self, latent: Any, seed: Any) -> list[Any]:
        """`generate` on tensors.

        Args:
            latent: What was drawn above.
            seed: Not used.
        """
        return [latent]


def take(message, rows):
    """Some rows of a message or array, of the same kind.

    Args:
        message: Message or array (N, ...).
        rows: A slice or an index array.
    """
    return message.take(rows) if isinstance(message, messages.Message) else message[rows]


def _data_below(module):
    """The data that reach a module as they are, or None."""
    while isinstance(module, PassThrough) and module.num_rows is None and module.inputs:
        module = module.inputs[0]
    return module.data if isinstance(module, Observation) else None
