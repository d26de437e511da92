"""Small modules that stand between others: `GroupSum`, `TextSaver`, `Buffer`.

They learn nothing. What comes from above goes down through them, row by row to where it belongs.
"""

import pathlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kserket.arrays import as_numbers
from kserket.core import messages, results, tensors
from kserket.core.learning_module import Inference
from kserket.core.module import Module, Observation
from kserket.core.options import check_path, is_whole
from kserket.core.registry import register_module
from kserket.typing import PathLike


class _PassThrough(Module):
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


@register_module("kserket")
class GroupSum(_PassThrough):
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

    links_samples = True
    has_tensor_rule = False  # it knows these rows, and a compiled graph takes any number

    def __init__(self, group_idx: ArrayLike, name: str = "groupsum") -> None:
        group_idx = as_numbers(group_idx, "`group_idx`")
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
        self.num_rows = len(self.group_idx), self.num_groups

    def infer(self, inputs: list[Any], prior: Any) -> Inference:
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
        return Inference(sums, [None if prior is None else self._rows_below(prior)])

    def generate(self, latent: Any, num_samples: int, rng: np.random.Generator) -> list[Any]:
        """Not possible.

        Raises:
            TypeError: Always: a sum does not tell its rows.
        """
        raise TypeError(
            f"{self.get_name()} cannot generate: a group's sum does not tell its rows. Name a "
            "module below it: graph.generate(top=...)."
        )

    def tensor_infer(self, inputs: list[Any], prior: Any) -> tensors.Inference:
        """Not possible.

        Raises:
            TypeError: Always: `group_idx` belongs to these rows, a served graph takes any number.
        """
        raise TypeError(
            f"{self.get_name()} cannot be exported: it knows the groups of {len(self.group_idx)} "
            "rows, and a served graph takes any number. Export a graph of the modules below it."
        )

    def _rows_below(self, prior):
        return _take(prior, self.group_idx)


@register_module("kserket")
class TextSaver(_PassThrough):
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

    def __init__(self, filename: PathLike, name: str = "textsaver") -> None:
        check_path(filename=filename)
        super().__init__(name)
        self.filename: pathlib.Path | None = pathlib.Path(filename)

    def write_below(self, folder: PathLike | None) -> None:
        """A relative path keeps its folders below `folder`; of another only its last part stays."""
        own = self.filename
        if own.anchor or ".." in own.parts:
            own = pathlib.Path(f"{self.get_name()}.txt" if own.name in ("", "..") else own.name)
        self.filename = None if folder is None else pathlib.Path(folder) / own

    def update(self) -> None:
        """Passes on what is read, and writes it."""
        super().update()
        if self.filename is None:
            return
        self.filename.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(self.filename, self.get_forward_msg())


@register_module("kserket")
class Buffer(_PassThrough):
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
            held = _take(held, slice(len(held) - self.size, None))
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
        rows = _take(prior, slice(len(self.held) - self.num_last, len(self.held)))
        return _narrowed(rows, self.inputs[0].get_forward_msg())


def _data_below(module):
    """The data that reach a module as they are, or None."""
    while isinstance(module, (TextSaver, Buffer)) and module.inputs:
        module = module.inputs[0]
    return module.data if isinstance(module, Observation) else None


def _take(message, rows):
    """Some rows of a message or array, of the same kind."""
    return message.take(rows) if isinstance(message, messages.Message) else message[rows]


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
