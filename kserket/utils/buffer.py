"""Data that arrive in parts, collected."""

from typing import Any

import numpy as np

from kserket.core import messages
from kserket.core.attributes import Fixed
from kserket.core.inference import Inference
from kserket.core.options import is_whole
from kserket.core.registry import register_module
from kserket.utils.pass_through import PassThrough, take


@register_module("kserket")
class Buffer(PassThrough):
    """Collects what it reads, update by update, for modules above that learn from many samples.

    For data that arrive in parts: `obs.set_data(part)`, then `update()` of each module once, adds
    the part. A module between the observation and the buffer learns from the new part before
    anything above has spoken of it.

    Args:
        size: How many rows it holds at most: once full, the oldest make way for new ones. -1 keeps
            everything.
        name: Module name.

    Messages:
        Reads: an array, `Categorical` or `Gaussian`, from one module.
        Forward: the collected rows, oldest first. Where a later part of an array is wider, as
            counts of words are when the vocabulary grows, earlier rows have zeros there.
        Backward: what is said above of the part that was read last, passed down when it comes,
            and withdrawn with the next part, as is all that modules above tell each other of
            their samples.
        Prior: anything of the shape that went up.

    Raises:
        ValueError: If `size` is not -1 or a positive integer, or a part is larger than that.

    Example:

    ```python
    import numpy as np

    import kserket as srk
    from kserket import utils

    obs, buffer = srk.Observation(np.zeros((2, 1))), utils.Buffer(3)
    buffer.connect(obs)
    for value in (1.0, 2.0):
        obs.set_data(np.full((2, 1), value))
        buffer.update()
    print(buffer.get_forward_msg().ravel())  # [1. 2. 2.]
    ```
    """

    size = Fixed()

    def __init__(self, size: int = -1, name: str = "buffer") -> None:
        if not is_whole(size, least=-1) or size == 0:
            raise ValueError(f"`size` must be -1 or a positive integer. Received: {size!r}")
        super().__init__(name)
        self.size = int(size)
        self.held = None
        self.num_last = 0

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "held": self.held, "num_last": self.num_last}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.held = state.get("held", self.held)
        self.num_last = state.get("num_last", self.num_last)

    def update(self) -> None:
        """Adds what is read now, and passes on what is held."""
        part = self.infer(self.get_messages().inputs, None).evidence
        if self.size != -1 and len(part) > self.size:
            raise ValueError(
                f"{self.get_name()} holds {self.size} rows and reads {len(part)} at once. "
                "Give it a larger size, or -1."
            )
        held = part if self.held is None else _stack(self.held, part)
        if self.size != -1 and len(held) > self.size:
            held = take(held, slice(len(held) - self.size, None))
        if self.held is not None:  # the rows above are others from now on
            for reader in self._readers:
                reader.forget_samples()
        self.held, self.num_last = held, len(part)
        self.set_backward_msg(None)
        self.set_forward_msg(held)

    def infer(self, inputs: list[Any], prior: Any) -> Inference:
        """What goes up and down. Changes nothing.

        Args:
            inputs: List of one message or array; columns that it lacks are zeros.
            prior: The message from above, or None.
        """
        evidence, (down,) = super().infer(inputs, prior)[:2]
        if self.held is not None and _kind(evidence) is np.ndarray and evidence.ndim == 2:
            evidence = _widened(evidence, max(evidence.shape[1], self.held.shape[1]))
        return Inference(evidence, [None if down is None else _narrowed(down, inputs[0])])

    def forget_samples(self) -> None:
        """Takes back what was said of the last part; what is held, and said of it, stays."""
        self._withdraw()

    def _rows_below(self, prior):
        rows = take(prior, slice(len(self.held) - self.num_last, len(self.held)))
        return _narrowed(rows, self.inputs[0].get_forward_msg())


def _kind(message):
    """The kind of message that rows are collected as; files and mixtures become arrays."""
    kinds = messages.Categorical, messages.Gaussian
    return next((kind for kind in kinds if isinstance(message, kind)), np.ndarray)


def _stack(first, second):
    """Two messages or arrays of one kind, one under the other."""
    if _kind(first) is _kind(second) is np.ndarray and first.ndim == second.ndim == 2:
        width = max(first.shape[1], second.shape[1])  # new words are new columns
        return np.concatenate([_widened(first, width), _widened(second, width)])
    if _kind(first) is not _kind(second) or first.shape[1:] != second.shape[1:]:
        raise ValueError(
            "A Buffer collects rows of one kind and shape. Received: "
            f"{_kind(first).__name__} {first.shape} and {_kind(second).__name__} {second.shape}"
        )
    if isinstance(first, messages.Categorical):
        missing = [
            np.zeros(len(part), bool) if part.missing is None else part.missing
            for part in (first, second)
        ]
        log_probs = np.concatenate([first.log_probs, second.log_probs])
        return messages.Categorical.from_log(log_probs, np.concatenate(missing))
    if isinstance(first, messages.Gaussian):
        variances = [
            np.ones(part.shape) if part.variance is None else part.variance
            for part in (first, second)
        ]
        means = np.concatenate([first.mean, second.mean])
        return messages.Gaussian(means, np.concatenate(variances))
    return np.concatenate([np.asarray(first), np.asarray(second)])


def _narrowed(rows, like):
    """Rows (N, D) of a message without the columns at the end that another one lacks."""
    if like is None or len(rows.shape) != 2 or rows.shape[1] <= like.shape[1]:
        return rows
    return np.asarray(rows)[:, : like.shape[1]]


def _widened(rows, width):
    """Rows (N, D) with columns of zeros at the end, (N, width)."""
    return np.pad(np.asarray(rows), [(0, 0), (0, width - rows.shape[1])])
