"""How a module reads messages, and sends them up and down."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kserket import storage
from kserket.arrays import as_numbers, check_finite
from kserket.core.mailbox import Mailbox, seats
from kserket.core.messages import Categorical, Message, as_categorical
from kserket.core.node import Node, is_data
from kserket.core.user_line import user_level


class Received(NamedTuple):
    """What a module has received, where it has no `read` of its own.

    Attributes:
        inputs: List of messages or arrays, one per connected module.
        prior: The product of what came from above, or None.
    """

    inputs: list[Any]
    prior: Any = None


def call(hook, data, *arguments):
    """Calls a module's hook with what its `read` returned: `Received` as two arguments.

    Args:
        hook: Bound method, such as `module.infer`.
        data: What `module.read` returned.
        *arguments: What the hook takes beside it.
    """
    parts = data if isinstance(data, Received) else (data,)
    return hook(*parts, *arguments)


class Messenger(Node):
    """A node that reads what the nodes below say, and tells them what it makes of it."""

    waits_for_inputs: bool = True

    def update(self) -> None:
        """Reads, learns, and sends messages. A subclass says how."""

    def get_observations(self) -> list[Any]:
        """What the connected modules say to this one.

        Returns:
            A list, one entry per connected module, each with one row per sample. A module that
            writes `update()` itself gets new arrays, which it may write to; modules of the
            library get messages or read-only arrays. Class probabilities include what *other*
            readers told that module, never what this one did. None stands for a module that has
            said nothing yet, where that is no error (`waits_for_inputs`).

        Raises:
            RuntimeError: If nothing is connected or an input has not been updated yet.
            ValueError: If the inputs hold different numbers of samples.
        """
        mailboxes = {module: module.mailbox for module in self._inputs}
        return self._as_heard(self.receive(mailboxes), None).inputs

    def get_messages(self) -> Received:
        """What this module has received, with its uncertainty.

        Returns:
            `Received`: `inputs`, a list of messages and read-only arrays, and `prior`, the message
            from above or None.

        Raises:
            RuntimeError: If nothing is connected or an input has not been updated yet.
            ValueError: If the inputs hold different numbers of samples.
        """
        mailboxes = {module: module.mailbox for module in self._inputs}
        return Received(self.receive(mailboxes), self.mailbox.prior())

    def receive(self, mailboxes: dict[Any, Mailbox]) -> list[Any]:
        """The inputs of `get_messages` from other mailboxes than the modules' own.

        Args:
            mailboxes: Dict from module to `Mailbox`.
        """
        if not self._inputs:
            raise RuntimeError(
                f"{self.get_name()} has nothing to read. "
                f"Call {self.name or 'module'}.connect(observation) before update()."
            )
        received = []
        for module in self._inputs:
            message = mailboxes[module].forward_for(self)
            if message is None and self.waits_for_inputs and not self._writes_update:
                raise RuntimeError(
                    f"{module.get_name()} has sent nothing to {self.get_name()} yet. "
                    f"Call its update() before {self.get_name()}'s."
                )
            received.append(message)
        spoken = [
            (module, len(message))
            for module, message in zip(self._inputs, received, strict=True)
            if message is not None
        ]
        for module, length in spoken:
            first, expected = spoken[0]
            if length != expected:
                raise ValueError(
                    f"{self.get_name()} reads {expected} samples from {first.get_name()} and "
                    f"{length} from {module.get_name()}. "
                    "All inputs need the same number of samples."
                )
        return received

    def get_forward_msg(self) -> Any:
        """This module's evidence: what its own inputs say about its latent variable."""
        return self.mailbox.forward

    def set_forward_msg(self, message: Any) -> None:
        """States this module's evidence.

        Args:
            message: A message, or an array with one row per sample.

        Raises:
            TypeError: If it holds something else than numbers.
            ValueError: If it is empty, something in it is masked, or not finite where not the whole
                row is NaN.
        """
        name = f"The forward message of {self.get_name()}"
        self.mailbox.forward = _as_message(message, name, self.may_have_gaps)

    @property
    def may_have_gaps(self) -> bool:
        """Whether single cells of what it sends may be NaN."""
        return False

    def get_backward_msg(self) -> Any:
        """The product of what the readers sent down, or None while nothing came.

        A module that writes `update()` itself gets a new array, as in `get_observations`.
        """
        return self._as_heard([], self.mailbox.prior()).prior

    def _as_heard(self, inputs, prior):
        """`Received` in the form that this module works on: new arrays, or what was sent."""
        if self._writes_update:
            inputs = [_writable(message) for message in inputs]
            prior = _writable(prior)
        return Received(inputs, prior)

    @property
    def _writes_update(self):
        """Whether `update` is a user's own."""
        return type(self).update.__module__.partition(".")[0] != __name__.partition(".")[0]

    def set_backward_msg(self, message: Any, sender: Node | None = None) -> None:
        """Receives a message from above.

        Args:
            message: A message or an array of the shape of the forward message. None takes
                every message from above back: the default prior holds again.
            sender: The module that sends it. Messages of several senders multiply; one set
                by hand (None) stands beside them.

        Raises:
            TypeError: If it holds something else than numbers.
            ValueError: If the shape is not that of the forward message.
        """
        if message is None:
            self.mailbox.backward.clear()
            return
        message = _as_message(message, f"A message to {self.get_name()}")
        self.check_backward(message, sender)
        self.mailbox.backward[sender] = message

    def withdraw_backward_msg(self, sender: Node | None) -> None:
        """Takes a message from above back, if there is one.

        Args:
            sender: The module that sent it.
        """
        self.mailbox.backward.pop(sender, None)

    def check_backward(self, message: Any, sender: Node | None = None, forward: Any = None) -> None:
        """Raises ValueError unless `message` is of the shape and kind of what went up."""
        forward = self.mailbox.forward if forward is None else forward
        if forward is None:
            return
        if np.shape(message) != np.shape(forward):
            by = sender.get_name() if sender is not None else "Somebody"
            rows = len(np.shape(message)) < 1 or len(message) != len(forward)
            raise ValueError(
                f"{by} sent {self.get_name()} a message of shape {np.shape(message)}, but "
                f"{self.get_name()} sent {np.shape(forward)}. "
                + ("Both must hold one row per sample." if rows else "Both must have one shape.")
            )
        if isinstance(forward, Categorical):
            try:
                as_categorical(message)
            except ValueError as error:
                by = sender.get_name() if sender is not None else "Somebody"
                raise ValueError(
                    f"{by} sent {self.get_name()} a message that holds no class probabilities: "
                    f"{error}"
                ) from error

    def send_backward_msgs(self, messages: Sequence[Any]) -> None:
        """Sends each connected module its message.

        Args:
            messages: One message or array per connected module, in their order; None sends
                nothing to that one.

        Raises:
            ValueError: If their number is not that of the inputs, or a shape is wrong. Then
                nothing is sent.
        """
        if not self._sends_back:
            return
        messages = list(messages)
        if len(messages) != len(self._inputs):
            raise ValueError(
                f"{self.get_name()} sent {len(messages)} backward messages, but is connected to "
                f"{len(self._inputs)} modules. Send one per connected module."
            )
        sent = [
            (module, seat, _as_message(message, f"A message to {module.get_name()}"))
            for module, seat, message in zip(self._inputs, seats(self), messages, strict=True)
            if message is not None
        ]
        if self._writes_update:
            sent = [one for one in sent if not self._says_something_else(one[0], one[2])]
        for module, seat, message in sent:
            module.check_backward(message, sender=seat)
        for module, seat, message in sent:
            module.set_backward_msg(message, sender=seat)

    def _says_something_else(self, module, message):
        """Whether a message to an observation has another shape than its data: then a warning."""
        if not is_data(module) or np.shape(message) == np.shape(module.data):
            return False
        warnings.warn(
            f"{self.get_name()} sent {module.get_name()} a message of shape {np.shape(message)}, "
            f"and its data have {np.shape(module.data)}. It is left out: an observation keeps "
            "predictions of its data only.",
            stacklevel=user_level(),
        )
        return True


def _as_message(message, name, allow_gaps=False):
    """A message unchanged; anything else as an array of numbers that cannot be written to."""
    if not isinstance(message, Message):
        message = as_numbers(message, name)
        if message.flags.writeable:
            message = message.view()
            message.flags.writeable = False
    if len(message.shape) == 0:
        raise ValueError(f"{name} must hold one row per sample. Received: {message!r}")
    if not isinstance(message, Message):
        if 0 in message.shape:
            raise ValueError(f"{name} must not be empty. Received: shape {message.shape}")
        check_finite(message, name, allow_missing=True, allow_gaps=allow_gaps)
    return message


def _writable(message):
    """A new array of what a message stands for, in a scratch file if it is large; None of None."""
    if message is None:
        return None
    return storage.apply(np.array, np.asarray(message))
