"""Small modules that stand between others: `GroupSum`, `TextSaver`, `Buffer`.

They learn nothing. What comes from above goes down through them, row by row to where it belongs.
"""

import pathlib

import numpy as np

from kserket.core import messages, results
from kserket.core.learning_module import Inference
from kserket.core.module import Module
from kserket.core.options import is_whole
from kserket.core.registry import register_module


class _Passage(Module):
    """Base of modules that read one module and pass messages on by `infer`."""

    def __init__(self, name):
        super().__init__(name, learnable=False)

    def update(self):
        """Reads, passes on what was read, and hands down what came from above."""
        self.pass_on(self.infer(self.get_observations(), self.get_backward_msg()))

    def pass_on(self, inference):
        """Sends what `infer` concluded both ways."""
        self.set_forward_msg(inference.evidence)
        self.send_backward_msgs(inference.downward)

    def infer(self, inputs, prior):
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


@register_module("kserket")
class GroupSum(_Passage):
    """Adds up the rows of each group: frames of a video, words of a scene, parts of an object.

    What a module above then says of a group goes down to each of its rows.

    Args:
        group_idx: Integers (N,) from 0 to G - 1: the group of each row.
        name: Module name.

    Messages:
        Reads: an array or `Categorical` (N, D), from one module. Missing rows add nothing.
        Forward: array (G, D), sums over groups; of class probabilities, expected counts.
        Backward: what came from above for its group, (N, D).
        Prior: anything of shape (G, D).

    Raises:
        ValueError: If `group_idx` is not a list of whole numbers >= 0, or has another length
            than the data.

    Example:

    ```python
    import kserket as srk
    from kserket import utils

    obs = srk.Observation([[1.0, 0.0], [2.0, 1.0], [0.0, 5.0]])
    groups = utils.GroupSum([0, 0, 1])
    groups.connect(obs)
    groups.update()
    print(groups.get_forward_msg())  # [[3. 1.] [0. 5.]]
    ```
    """

    def __init__(self, group_idx, name="groupsum"):
        group_idx = np.asarray(group_idx)
        if group_idx.ndim == 2 and 1 in group_idx.shape:
            group_idx = group_idx.ravel()
        finite = group_idx.dtype.kind in "iuf" and np.isfinite(group_idx).all()
        whole = finite and group_idx.ndim == 1 and len(group_idx) > 0
        if not whole or (group_idx != np.floor(group_idx)).any() or (group_idx < 0).any():
            raise ValueError(
                "`group_idx` must hold the group of each row, whole numbers from 0. "
                f"Received: {np.array2string(group_idx, threshold=8)}"
            )
        super().__init__(name)
        self.group_idx = group_idx.astype(int)
        self.num_groups = int(self.group_idx.max()) + 1

    def infer(self, inputs, prior):
        """Sums over groups upwards, each group's message to its rows downwards.

        Args:
            inputs: List of one message or array (N, D).
            prior: Message or array (G, D), or None.

        Returns:
            An `Inference` without posterior.
        """
        super().infer(inputs, prior)
        rows = np.asarray(inputs[0])
        if len(rows) != len(self.group_idx):
            raise ValueError(
                f"{self.get_name()} knows the groups of {len(self.group_idx)} rows and reads "
                f"{len(rows)}. Make one with the `group_idx` of these data."
            )
        missing = messages.missing_rows(inputs[0])
        seen = slice(None) if missing is None else ~missing
        sums = np.zeros((self.num_groups, *rows.shape[1:]), np.result_type(rows, np.float32))
        np.add.at(sums, self.group_idx[seen], rows[seen])
        return Inference(sums, [None if prior is None else _take(prior, self.group_idx)])


@register_module("kserket")
class TextSaver(_Passage):
    """Writes what passes to a text file at every update, and passes all of it on, both ways.

    Args:
        filename: The file. Its folder is made if there is none.
        name: Module name.

    Messages:
        Reads: anything, from one module. Forward: the same. Backward: what came from above.

    Files:
        `filename`, one row a line, as `np.loadtxt` reads it.

    Example:

    ```python
    import numpy as np

    import kserket as srk
    from kserket import utils

    obs = srk.Observation(np.eye(3))
    saver = utils.TextSaver("eye.txt")
    saver.connect(obs)
    saver.update()
    print(np.loadtxt("eye.txt"))
    ```
    """

    def __init__(self, filename, name="textsaver"):
        super().__init__(name)
        self.filename = pathlib.Path(filename)

    def pass_on(self, inference):
        """Writes the file, then sends."""
        self.filename.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(self.filename, inference.evidence)
        super().pass_on(inference)


@register_module("kserket")
class Buffer(_Passage):
    """Collects what it reads, update by update, for modules above that learn from many samples.

    For data that arrive in parts: `obs.set_data(part)`, then `update()` of each module once, adds
    the part. A module between the observation and the buffer learns from the new part before
    anything above has spoken of it.

    Args:
        size: How many rows it holds: once full, the oldest make way for new ones; until then the
            rest are missing rows, so that its message keeps one shape. -1 keeps everything, and
            grows.
        name: Module name.

    Messages:
        Reads: an array, `Categorical` or `Gaussian`, from one module.
        Forward: the collected rows, oldest first.
        Backward: what is said above of the part that was read last, passed down when it comes,
            and withdrawn with the next part.
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

    _saved = (*Module._saved, "held", "num_last")

    def __init__(self, size=-1, name="buffer"):
        if not is_whole(size, least=-1) or size == 0:
            raise ValueError(f"`size` must be -1 or a positive integer. Received: {size!r}")
        super().__init__(name)
        self.size = int(size)
        self.held = None
        self.num_last = 0

    def update(self):
        """Adds what is read now, and passes on what is held."""
        part = self.infer(self.get_observations(), None).evidence
        if self.size != -1 and len(part) > self.size:
            raise ValueError(
                f"{self.get_name()} holds {self.size} rows and reads {len(part)} at once. "
                "Give it a larger size, or -1."
            )
        held = part if self.held is None else _stack(self.held, part)
        if self.size != -1:
            held = _take(held, slice(max(0, len(held) - self.size), None))
        self.held, self.num_last = held, len(part)
        self.set_backward_msg(None)
        self.set_forward_msg(held if self.size == -1 else _pad(held, self.size))

    def forget_samples(self):
        """Takes back what was said of the last part; what is held, and said of it, stays."""
        self._withdraw()

    def set_backward_msg(self, message, sender=None):
        """Receives a message from above, and hands on what it says of the part read last.

        Args:
            message: A message or array of the shape of the forward message, or None.
            sender: The module that sends it.
        """
        super().set_backward_msg(message, sender)
        prior = self.get_backward_msg()
        if prior is not None and self.held is not None:
            end = len(self.held)
            self.send_backward_msgs([_take(prior, slice(end - self.num_last, end))])
        else:
            self._withdraw()


def _take(message, rows):
    """Some rows of a message or array, of the same kind."""
    return message.take(rows) if isinstance(message, messages.Message) else message[rows]


def _stack(first, second):
    """Two messages or arrays of one kind, one under the other."""
    if type(first) is not type(second) or first.shape[1:] != second.shape[1:]:
        raise ValueError(
            "A Buffer collects rows of one kind and shape. Received: "
            f"{type(first).__name__} {first.shape} and {type(second).__name__} {second.shape}"
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
    return np.concatenate([first, second])


def _pad(message, size):
    """The message with missing rows at the end, `size` rows in all."""
    shape = (size - len(message), *message.shape[1:])
    if shape[0] == 0:
        return message
    if isinstance(message, messages.Categorical):
        uniform = np.full(shape, 1.0 / shape[1])
        return _stack(message, messages.Categorical(uniform, np.ones(shape[0], bool)))
    if isinstance(message, messages.Gaussian):
        return _stack(message, messages.Gaussian(np.zeros(shape), np.full(shape, np.inf)))
    return np.concatenate([message, np.full(shape, np.nan, np.result_type(message, np.float32))])
